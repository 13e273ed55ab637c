"""The settings in which runs differ, without those that follow from the recipe or from another setting."""

from typing import Any

from imclass.app.overview.differences import differing_keys, option_names, setting_text, shared_settings
from imclass.app.report.facts import recipe_values
from imclass.store.context import open_context

CONTEXT = open_context()


def of(recipe: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of a run: those of its recipe, with changes. Two underscores stand for a dot."""
    values = recipe_values(recipe, CONTEXT)
    assert values is not None
    return {**values, **{key.replace("__", "."): value for key, value in changes.items()}}


def test_only_different_values_are_listed() -> None:
    each = [of("mnist-lenet"), of("mnist-lenet", seed=1), of("mnist-lenet", stages__0__batch=32, crossval=5)]
    assert differing_keys(each, CONTEXT) == [["stages.0.batch", "seed", "crossval"]] * 3
    assert differing_keys(each[:1], CONTEXT) == [[]]
    shared = shared_settings(each)
    assert shared["recipe"] == "mnist-lenet" and not {"seed", "stages.0.batch", "crossval", "init"} & set(shared)


def test_values_that_follow_from_the_recipe_are_not_listed() -> None:
    """Check both directions: what deviates from the recipe is listed, even if it is in only one run."""
    same = [of("mnist-lenet"), of("cifar10-vgg")]
    assert differing_keys(same, CONTEXT) == [["recipe"], ["recipe"]]
    other = [of("mnist-lenet"), of("mnist-lenet", seed=1), of("cifar10-vgg", stages__0__epochs=3)]
    assert differing_keys(other, CONTEXT) == [["recipe", "seed"], ["recipe", "seed"], ["recipe", "stages.0.epochs"]]
    unknown = [{"recipe": "mine", "seed": 1, "data": "a"}, {"recipe": "yours", "seed": 1, "data": "b"}]
    assert differing_keys(unknown, CONTEXT) == [["recipe", "data"]] * 2


def test_a_digest_is_listed_if_nothing_else_explains_it() -> None:
    a, b = ({"recipe": "r", "init": init, "init_digest": digest} for init, digest in (("m", "1"), ("n", "2")))
    assert differing_keys([a, b], CONTEXT) == [["init"]] * 2
    assert differing_keys([a, {**a, "init_digest": "3"}], CONTEXT) == [["init_digest"]] * 2
    c, d = ({"recipe": "r", "data": "pets", "split_seed": seed, "data.digest": f"d{seed}"} for seed in (0, 1))
    assert differing_keys([c, d], CONTEXT) == [["split_seed"]] * 2
    assert differing_keys([c, {**c, "data.digest": "x"}], CONTEXT) == [["data.digest"]] * 2


def test_settings_are_named_and_written_like_options() -> None:
    one = {"stages.0.schedule.rate": 0.1, "model.row.dropout": 0.5, "split_seed": 1}
    assert list(option_names([one]).values()) == ["schedule.rate", "model.dropout", "split-seed"]
    assert option_names([one, {"stages.1.epochs": 2}])["stages.0.schedule.rate"] == "stages.0.schedule.rate"
    values: tuple[object, ...] = (None, "", [], [3, 4], 0.1, True)
    assert [setting_text("x", value) for value in values] == ["-", "-", "none", "3 4", "0.1", "yes"]
    assert setting_text("init_digest", "0123456789abcdef") == "0123456789ab"
