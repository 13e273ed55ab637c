"""Classifiers are created by name, keep their scores in a file, and answer mistakes with the nearest valid name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imclass.core.config import Model
from imclass.core.contracts import Classifier
from imclass.core.errors import UserError
from imclass.core.model_file import Metrics, Provenance, read_model, save_model, tensors_digest
from imclass.core.preprocess import Preprocess
from imclass.models.classifier import NetworkClassifier, create, load_network_classifier, networks
from imclass.store.context import open_context

DIGITS = tuple("0123456789")


def views(n: int, size: int = 28) -> torch.Tensor:
    return torch.randint(0, 256, (n, 1, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def pictures(n: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (n, 40, 33, 1), np.uint8))


def test_every_network_can_be_found() -> None:
    found = networks()
    assert {"lenet-5", "lenet-5-32"} <= set(found.entries)
    assert found.failures == ()


def test_it_fulfils_the_contract_of_a_classifier() -> None:
    assert isinstance(create("lenet-5", DIGITS), Classifier)


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    digests = [tensors_digest(create("lenet-5", DIGITS, seed=seed).network.state_dict()) for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("n", [1, 3])
def test_any_batch_size_and_number_of_classes_works(classes: int, n: int) -> None:
    classifier = create("lenet-5", [f"class {k}" for k in range(classes)])
    scores = classifier.scores(views(n))
    assert scores.shape == (n, classes)
    assert scores.dtype == torch.float32
    assert not scores.requires_grad


def test_scores_are_computed_without_dropout() -> None:
    classifier = create(Model("lenet-5", {"dropout": 0.5}), DIGITS)
    classifier.network.train()
    assert torch.equal(classifier.scores(views(2)), classifier.scores(views(2)))


def test_a_file_keeps_the_scores(tmp_path: Path) -> None:
    model = Model("lenet-5", {"widths": (3, 5), "hidden": (20, 10)}, mean=(0.13,), std=(0.31,))
    classifier = create(model, DIGITS, seed=2)
    trained = Provenance(metrics={"test": Metrics({"top1": 0.5}, 9, 10)})
    replace(classifier, trained=trained, licence="CC0").save(tmp_path / "model.safetensors")
    loaded = load_network_classifier(tmp_path / "model.safetensors")
    assert torch.equal(loaded.scores(views(5)), classifier.scores(views(5)))
    assert (loaded.classes, loaded.preprocess, loaded.row) == (
        classifier.classes,
        classifier.preprocess,
        classifier.row,
    )
    assert (loaded.trained, loaded.licence) == (trained, "CC0")
    assert not torch.equal(create("lenet-5", DIGITS).scores(views(5)), classifier.scores(views(5)))


def test_mean_and_std_are_part_of_the_model_and_its_file(tmp_path: Path) -> None:
    classifier = create(Model("lenet-5", mean=(0.13,), std=(0.31,)), DIGITS)
    classifier.save(tmp_path / "model.safetensors")
    for network in (classifier.network, load_network_classifier(tmp_path).network):
        assert (network.mean.item(), network.std.item()) == pytest.approx((0.13, 0.31))
    assert not torch.equal(create("lenet-5", DIGITS).scores(views(2)), classifier.scores(views(2)))


def test_the_normalisation_of_an_image_by_itself_is_part_of_the_model_and_its_file(tmp_path: Path) -> None:
    plain, found = (create(Model("lenet-5", standardise=each), DIGITS) for each in (False, True))
    assert not torch.allclose(found.scores(views(5)), plain.scores(views(5)))
    assert torch.allclose(found.scores(views(5) // 2 + 50), found.scores(views(5)), atol=0.02)  # contrast is lost
    found.save(tmp_path / "model.safetensors")
    loaded = load_network_classifier(tmp_path)
    assert loaded.network.standardise and torch.equal(loaded.scores(views(5)), found.scores(views(5)))
    with pytest.raises(UserError, match=r"model\.standardise is true; it must be false if model\.mean-image"):
        create(Model("lenet-5", standardise=True, mean_image=True), DIGITS)


def test_a_run_directory_is_a_model_too(tmp_path: Path) -> None:
    classifier = create("lenet-5", DIGITS)
    classifier.save(tmp_path / "model.safetensors")
    assert torch.equal(load_network_classifier(str(tmp_path)).scores(views(1)), classifier.scores(views(1)))


def test_saving_a_loaded_model_gives_the_same_file(tmp_path: Path) -> None:
    create("lenet-5", DIGITS).save(tmp_path / "one")
    load_network_classifier(tmp_path / "one").save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("lenet5", "no network is named 'lenet5'; did you mean 'lenet-5'?"),
        ("vgg16", "no network is named 'vgg16'; torchvision's vgg16 is named 'vgg-d' here"),
        ("VGG-19", "no network is named 'VGG-19'; torchvision's vgg19 is named 'vgg-e' here"),
        ("resnet-20", "no network is named 'resnet-20'; akamaster's resnet20 is named 'resnet-cifar-20' here"),
        ("resnet50", "no network is named 'resnet50'; did you mean 'resnet-50'?"),  # the paper's, not torchvision's
        (Model("lenet-5", {"hiden": (1, 2)}), "'the row of lenet-5.hiden'; did you mean 'hidden'?"),
        (Model("lenet-5", {"dropout": "half"}), "the row of lenet-5.dropout is 'half'; it must be a finite number"),
        (Model("lenet-5", {"dropout": 2.0}), "lenet-5 cannot be built with --model.dropout 2.0: "),
        (Model("lenet-5", {"size": 10}), "lenet-5 cannot be built with --model.size 10: size is 10"),
        (Model("lenet-5", mean=(0.1, 0.2, 0.3)), "--model.mean is (0.1, 0.2, 0.3); it must be 1 value"),
        (Model("lenet-5", std=(0.1, 0.2)), "--model.std is (0.1, 0.2); it must be 1 value"),
        (
            Model("lenet-5", mean=(33.3,)),
            "--model.mean is (33.3,); it must be computed from images in [0, 1]; divide a mean and std",
        ),
        (
            Model("lenet-5", std=(78.6,)),
            "--model.std is (78.6,); it must be computed from images in [0, 1]; divide a mean and std",
        ),
        (Model("lenet-5", mean=(float("nan"),)), "--model.mean is (nan,); it must be a list of numbers"),
        (
            "googlenet:bvlc",
            "googlenet:bvlc refers to weights, not a network. To train from these weights, use --init googlenet:bvlc",
        ),
        ("googlenet:bvlc", "to train from random weights, use --model.network googlenet"),
    ],
)
def test_a_wrong_model_is_refused_with_a_fix(model: str | Model, message: str) -> None:
    with pytest.raises(UserError) as caught:
        create(model, DIGITS)
    assert message in str(caught.value)


def test_wrong_classes_and_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="at least two classes"):
        create("lenet-5", ["cat"])
    with pytest.raises(
        UserError,
        match=r"size is 32, but --model\.size, .* is 28\. Set both to the same value, such as --model\.size 28",
    ):
        create("lenet-5", DIGITS, Preprocess(32, "grey"))


def test_the_default_preprocess_is_that_of_the_publication() -> None:
    preprocess = create("lenet-5", DIGITS).preprocess
    assert (preprocess.size, preprocess.scale, preprocess.colour) == (28, 32, "grey")
    assert create("lenet-5", DIGITS, Preprocess(28)).network.w_in == 3  # in colour on request


def save_changed(path: Path, classifier: NetworkClassifier, **fields: Any) -> None:
    tensors, header = classifier.pack()
    body = {name: fields.pop(name) for name in ("network", "row") if name in fields}
    save_model(path, tensors, replace(header, body=header.body | body, **fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": "lenet-6"}, "no network is named 'lenet-6'; did you mean 'lenet-5'?"),
        ({"row": {"width": [1, 2]}}, "'the row of lenet-5.width'; did you mean 'widths'?"),
        (
            {"row": {"widths": [6, 17]}},
            "tensor 'features.3.weight' is 16 x 6 x 5 x 5 in the file and 17 x 6 x 5 x 5 in",
        ),
        ({"classes": ("a", "b")}, "tensor 'head.7.weight' is 10 x 84 in the file and 2 x 84 in lenet-5"),
    ],
)
def test_a_file_that_does_not_match_its_network_is_refused(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    path = tmp_path / "model.safetensors"
    save_changed(path, create("lenet-5", DIGITS), **fields)
    with pytest.raises(UserError) as caught:
        load_network_classifier(path)
    assert message in str(caught.value)


def test_the_plugin_of_an_unknown_network_is_asked_for(tmp_path: Path) -> None:
    text = "from imclass.models.nets.lenet import NETS as A\nNETS = {'mine': A['lenet-5']}\n"
    (tmp_path / "mine.py").write_text(text)
    path = tmp_path / "model.safetensors"
    create("mine", DIGITS, context=open_context(plugins=[tmp_path])).save(path)
    assert load_network_classifier(path, open_context(plugins=[tmp_path])).name == "mine"
    with pytest.raises(UserError, match="plugin, add the --plugins DIR that it was trained with") as caught:
        load_network_classifier(path)
    assert str(caught.value).startswith(f"{path}: no network is named 'mine'")


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_a_missing_or_extra_tensor_is_named(tmp_path: Path, change: str) -> None:
    path = tmp_path / "model.safetensors"
    create("lenet-5", DIGITS).save(path)
    tensors, header = read_model(path)
    if change == "missing":
        del tensors["head.7.bias"]
    else:
        tensors["head.8.bias"] = torch.zeros(3)
    save_model(path, tensors, header)
    expected = {
        "missing": "'head.7.bias' is absent in the file",
        "extra": "'head.8.bias' is 3 in the file and absent in",
    }
    with pytest.raises(UserError) as caught:
        load_network_classifier(path)
    assert f"{path}: tensor {expected[change]}" in str(caught.value)


def test_a_network_whose_layers_do_not_fit_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from torch import nn\nfrom imclass.models.entry import NetworkEntry\n"
        "from imclass.models.network import Network\n"
        "class Broken(Network):\n    def __init__(self, row, classes, w_in):\n        super().__init__(8, w_in)\n"
        "        self.features = nn.Conv2d(w_in, 4, 3)\n"
        "        self.head = nn.Sequential(nn.Flatten(), nn.Linear(row['wide'], row['out']))\n"
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Row:\n    wide: int = 144\n"
        "    out: int = 2\n    size: int = 8\n"
        "    def __getitem__(self, k): return getattr(self, k)\n"
        "NETS = {'broken': NetworkEntry(build=Broken, row=Row(), parameters=0, paper='none', year=2026)}\n"
    )
    create(Model("broken"), ["a", "b"], context=open_context(plugins=[tmp_path]))  # unchanged it fits
    with pytest.raises(UserError, match="broken cannot process 3 x 8 x 8 pixels: "):
        create(Model("broken", {"wide": 99}), ["a", "b"], context=open_context(plugins=[tmp_path]))
    with pytest.raises(UserError, match="returns 2 scores per image, but there are 3 classes"):
        create(Model("broken"), ["a", "b", "c"], context=open_context(plugins=[tmp_path]))


def test_a_classifier_describes_itself_on_one_line() -> None:
    text = repr(create("lenet-5", DIGITS))
    assert text == str(create("lenet-5", DIGITS)) == (
        f"NetworkClassifier(lenet-5, 44,426 parameters, 10 classes: {DIGITS[0]!r}, {DIGITS[1]!r}, {DIGITS[2]!r} "
        "and 7 more; images 28 x 28 grey)"
    )  # fmt: skip


@pytest.mark.parametrize("fields", [{"row": {"window": 3}}, {"network": "lenet-6"}])
def test_a_file_that_cannot_be_built_names_the_version_that_wrote_it(tmp_path: Path, fields: dict[str, Any]) -> None:
    save_changed(tmp_path / "m", create("lenet-5", DIGITS), versions={"imclass": "9.1"}, **fields)
    with pytest.raises(UserError) as caught:
        load_network_classifier(tmp_path / "m")
    assert str(caught.value).startswith(f"{tmp_path / 'm'}: ")
    assert "install imclass 9.1, which wrote it" in str(caught.value) or "network" in fields


class TestTrainedOn:
    CONTENTS = np.array([7, 2**64 - 1, 0, 2**63, 7], np.uint64)

    def test_a_file_keeps_the_contents_sorted(self, tmp_path: Path) -> None:
        path, classifier = tmp_path / "model.safetensors", create("lenet-5", DIGITS)
        replace(classifier, trained_on=self.CONTENTS).save(path)
        found = load_network_classifier(path)
        assert found.trained_on is not None
        assert found.trained_on.tolist() == [0, 7, 7, 2**63, 2**64 - 1]
        assert torch.equal(found.scores(views(2)), classifier.scores(views(2)))
        assert read_model(path)[0].keys() - classifier.network.state_dict().keys() == {"trained_on"}
        found.save(tmp_path / "again.safetensors")  # the loaded classifier keeps the contents
        again = load_network_classifier(tmp_path / "again.safetensors").trained_on
        assert again is not None and again.tolist() == found.trained_on.tolist()

    def test_a_file_without_them_is_loaded(self, tmp_path: Path) -> None:
        path, classifier = tmp_path / "model.safetensors", create("lenet-5", DIGITS)
        classifier.save(path)
        assert load_network_classifier(path).trained_on is None
        assert read_model(path)[0].keys() == classifier.network.state_dict().keys()

    @pytest.mark.parametrize("tensor", [torch.zeros(3), torch.zeros(2, 2).to(torch.uint64)])
    def test_a_tensor_of_that_name_but_another_kind_is_refused(self, tensor: torch.Tensor, tmp_path: Path) -> None:
        path, classifier = tmp_path / "model.safetensors", create("lenet-5", DIGITS)
        save_model(path, {**classifier.network.state_dict(), "trained_on": tensor}, classifier.pack()[1])
        with pytest.raises(UserError, match=r"model\.safetensors: tensor 'trained_on' is .*, not a list of uint64"):
            load_network_classifier(path)
