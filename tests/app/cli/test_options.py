"""Every field of a config is an option of `imclass train`, and the config holds the values given."""

import contextlib
import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from imclass.app.cli.main import main
from imclass.app.cli.options import read_train
from imclass.app.settings.configure import configure
from imclass.core.codec import flatten, to_json
from imclass.core.config import Model, Training
from imclass.core.errors import UserError
from imclass.core.override import keys_of
from imclass.core.preprocess import Preprocess
from imclass.store.context import open_context
from imclass.training.kinds import kind_tables
from imclass.training.schedules.step import StepDecay
from tests.support.small import tree

# A value for each field that differs from the recipe's, followed by any further option that it requires.
OTHERS = {
    "stages.0.name": "first",
    "begin": "fresh",
    "patience": "4 --validation 0.25",
    "keep-start": "--keep-start",
    "epochs": "3",
    "minutes": "1.5",
    "batch": "12",
    "micro-batches": "2",
    "data": "pets",
    "seed": "5",
    "split.test": "0.25",
    "split-seed": "5",
    "validation": "0.25",
    "balance": "weights",
    "device": "cpu",
    "precision": "bf16",
    "workers": "1",
    "memory": "7",
    "save-every": "9",
    "save-steps": "9",
    "keep": "4",
    "nonfinite": "skip",
    "max-megapixels": "60.5",
    "keep-checkpoints": "--keep-checkpoints",
    "strict": "--strict",
    "pictures": "--no-pictures",
    "plugins-changed": "--plugins-changed",
    "model.network": "lenet-5-32 --preprocess.size 32",
    "model.mean": "0.5",
    "model.std": "0.25",
    "model.mean-image": "--model.mean-image",
    "model.mean-colour": "--model.mean-colour",
    "model.standardise": "--model.standardise",
    "model.initialiser": "glorot",
    "model.widths": "4 9",
    "model.hidden": "30 20",
    "model.dropout": "0.5",
    "model.size": "32 --preprocess.size 32",
    "optimiser.momentum": "0.5",
    "optimiser.nesterov": "--optimiser.nesterov",
    "optimiser.weight-decay": "0.25",
    "objective.smoothing": "0.25",
    "schedule.rate": "0.125",
    "schedule.final": "0.5",
    "schedule.warmup": "4",
    "schedule.warmup-share": "0.5",
    "augment": "pad flip",
    "augment.pad.pixels": "1",
    "preprocess.size": "32 --model.network lenet-5-32",
    "preprocess.colour": "rgb",
    "preprocess.resize": "none",
    "preprocess.scale": "300",
    "preprocess.interpolation": "bicubic",
    "preprocess.channels": "bgr",
}


INITS = ("init", "init-digest")  # these name a model; see tests/app/runs/test_beginning.py
CLASSES = ("classes", "grow")  # these change the data; see tests/app/runs/test_classes.py
AVERAGE = ("average",)  # unset; see tests/training/test_averaging.py
SOLVED = ("solver",)  # only in a stage of kind solve; see tests/recipes/test_finetune.py
OF_A_STAGE = ("stages.0.name", "stages.0.model", "stages.0.preprocess")  # the first two bear other options' names


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a small tree, and change to the folder that holds it."""
    monkeypatch.chdir(tmp_path)
    return tree(tmp_path / "pets", per_class=20, side=32)


def dry(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the config that a dry run prints."""
    assert main(["train", *words, "--dry-run", "--json"]) == 0
    return merge_configs(json.loads(capsys.readouterr().out))


def merge_configs(record: dict[str, Any]) -> dict[str, Any]:
    """Return the `training` and `execution` of a dry run or a config.json as one object."""
    return {**record["training"], **record["execution"]}


PETS = ["mnist-lenet", "--data", "pets", "--batch", "8"]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the config of a dry run without further options, by option."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(printed):
        patched.chdir(tmp_path_factory.mktemp("before"))
        tree(Path("pets"), per_class=20, side=32)
        assert main(["train", *PETS, "--dry-run", "--json"]) == 0
    return by_option(merge_configs(json.loads(printed.getvalue())))


def by_option(config: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a config of one stage by option."""
    flat = flatten(config)
    kept = {k: v for k, v in flat.items() if k != "recipe" and not k.endswith("kind")}
    short = {k if k in OF_A_STAGE else k.removeprefix("stages.0."): v for k, v in kept.items()}
    return {k.replace("model.row.", "model.").replace("_", "-"): v for k, v in short.items()}


def test_every_field_is_in_the_table_above(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = dry(["mnist-lenet"], capsys)
    assert set(by_option(config)) == {*OTHERS, *OF_A_STAGE, *INITS, *CLASSES, *AVERAGE, *SOLVED}
    keys = keys_of(Training, to_json(configure("mnist-lenet")), kind_tables(open_context()))
    others = {
        "optimiser.kind",
        "optimiser.betas",
        "optimiser.eps",
        "schedule.kind",
        "split.kind",
        "objective.kind",
        "recipe",
    }
    others |= {"name", "kind", "model", "preprocess"}  # of a stage
    others |= {key for key in keys if key.startswith("augment.")}  # each kind has its tests
    others |= {"average.decay", "average.start"}
    others |= {"solver.grid", "solver.folds", "solver.scaling"}
    others |= {f"schedule.{k}" for k in ("factor", "steps", "epochs", "falls", "warm_rate", "warm_error")}
    others |= {f"schedule.{k}" for k in ("every", "patience", "peak")}
    assert others <= keys and {key.replace("_", "-") for key in keys - others} <= {
        *OTHERS,
        *INITS,
        *CLASSES,
        *AVERAGE,
        *SOLVED,
    }


@pytest.mark.parametrize("name", OTHERS)
def test_an_option_sets_its_field_and_no_other(
    name: str, before: dict[str, Any], pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = [*PETS]
    value = OTHERS[name]
    words = shlex.split(value if value.startswith("--") else f"--{name} {value}")
    if name == "data":
        del start[1:3]
        before = {**before, "data": "mnist-sample"}
    after = by_option(dry([*start, *words], capsys))
    changed = {key for key in before if before[key] != after[key]}
    assert name in changed or value.split()[0] == before[name]
    assert changed <= {name, *(w.removeprefix("--") for w in words), *companions(name)}
    flag = [str(not value.startswith("--no-"))]
    assert words_for(after[name]) == (flag if value.startswith("--") else value.split(" --")[0].split())


def companions(name: str) -> set[str]:
    """Return the options that change together with a field, because a network determines its size."""
    return {"model.size", "model.network", "preprocess.size"} if name in ("model.network", "preprocess.size") else set()


def words_for(value: Any) -> list[str]:
    """Return the words that set an option to a value."""
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]


def test_a_dry_run_writes_nothing(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dry(["mnist-lenet", "--data", "pets", "--batch", "8", "--out", "run"], capsys)
    assert [path.name for path in pets.parent.iterdir()] == ["pets"]
    assert main(shlex.split("train mnist-lenet --data pets --batch 8 --out run --epochs 1")) == 0
    assert sorted(path.name for path in pets.parent.iterdir()) == ["pets", "run"]  # without --dry-run a run is written


def test_a_config_file_yields_the_same_config(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split("--data pets --batch 8 --epochs 1 --model.widths 2 3 --no-strict --augment.area.area 0.5 1")
    assert main(["train", "mnist-lenet", *words, "--out", "run"]) == 0
    capsys.readouterr()
    expected = merge_configs(json.loads(Path("run/config.json").read_text()))
    assert dry(["--config", "run/config.json"], capsys) == expected
    assert dry(["mnist-lenet", "--config", "run/config.json"], capsys) == expected
    alone = json.loads(Path("run/config.json").read_text())["training"]
    Path("alone.json").write_text(json.dumps(alone))
    assert dry(["--config", "alone.json"], capsys) == expected
    changed = dry(["--config", "run/config.json", "--epochs", "2", "--model.dropout", "0.5"], capsys)
    assert changed["stages"][0]["epochs"] == 2 and changed["model"]["row"]["widths"] == [2, 3]
    assert (
        main(["train", "--config", "run/config.json", "--out", "run", "--json"]) == 0
    )  # the same run, which is finished
    assert json.loads(capsys.readouterr().out)["model"] == "run/model.safetensors"


def test_another_network_starts_from_its_row(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split("mnist-lenet --data pets --batch 8 --preprocess.size 32 --model.widths 2 3")
    config = dry([*words, "--model.network=lenet-5-32", "--model.hidden", "9", "8"], capsys)
    assert config["model"]["network"] == "lenet-5-32"
    assert config["model"]["row"] == {"widths": [2, 3], "hidden": [9, 8], "dropout": 0.0, "size": 32}


TWO_STAGES = """
from imclass.core.config import Model, Stage, Training
from imclass.core.preprocess import Preprocess
from imclass.training.optimisers.sgd import SGD
from imclass.training.schedules.constant import Constant

def twice(epochs: int = 2) -> Training:
    first = Stage(epochs=epochs, batch=8, optimiser=SGD(), schedule=Constant())
    stages = (first, Stage(epochs=1, batch=4, optimiser=SGD(), schedule=Constant()))
    return Training("twice", Model("lenet-5"), stages, Preprocess(28, "grey", "squash"), "pets")

RECIPES = {"twice": twice}
"""


@pytest.fixture
def plugins(pets: Path) -> Path:
    folder = pets.parent / "plugins"
    folder.mkdir()
    (folder / "twice.py").write_text(TWO_STAGES)
    return folder


def test_a_stage_is_set_by_its_number(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ["twice", "--plugins", "plugins"]
    before, after = dry(start, capsys), dry([*start, "--stages.1.epochs", "5", "--seed", "3"], capsys)
    assert [stage["epochs"] for stage in before["stages"]] == [2, 1]
    assert [stage["epochs"] for stage in after["stages"]] == [2, 5]
    assert [stage["batch"] for stage in after["stages"]] == [8, 4]
    deep = dry([*start, "--stages.0.schedule.rate", "0.25", "--stages.1.augment.flip.probability", "0.3"], capsys)
    assert deep["stages"][0]["schedule"]["rate"] == 0.25 and deep["stages"][1]["augment"][0]["probability"] == 0.3


def test_an_option_without_a_stage_number_sets_every_stage(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    after = dry(["twice", "--plugins", "plugins", "--epochs", "5", "--schedule.rate", "0.25"], capsys)
    assert [(s["epochs"], s["schedule"]["rate"]) for s in after["stages"]] == [(5, 0.25), (5, 0.25)]
    assert main(["train", "twice", "--plugins", "plugins", "--stages.2.epochs", "5", "--dry-run"]) == 2
    assert "there is no 'stages.2.epochs'; the number may be 0 to 1" in capsys.readouterr().err


def test_an_option_of_the_network_or_preprocess_sets_all_stages() -> None:
    """Check that the number of a stage still sets only this stage, and that stages keep their networks."""
    choices: dict[str, Any] = {"preprocess.interpolation": "bicubic", "model.init_std": 0.25}
    stages = configure("imagenet-vgg", None, **choices, **{"stages.2.preprocess.interpolation": "nearest"}).stages
    found = [stage.preprocess.interpolation for stage in stages if stage.preprocess]
    assert found == ["bicubic", "bicubic", "nearest", "bicubic"]
    deep = stages[1].model
    assert deep and (deep.network, deep.row["init_std"]) == ("vgg-d", 0.25)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--schedule.steps 5 9",
            "--schedule.steps belongs to the schedule kind step, but the schedule of this run is cosine",
        ),
        (
            "--optimiser.betas .5 .6",
            "--optimiser.betas belongs to the optimiser kind adam, but the optimiser of this run is sgd",
        ),
        ("--optimiser.kind adam --optimiser.nesterov", "--optimiser.nesterov belongs to the optimiser kind sgd"),
        ("--schedule.kind step", "--schedule.steps is empty; it must be given unless schedule.epochs is, but not both"),
        ("--schedule.kind cosin", "no schedule is named 'cosin'; did you mean 'cosine'?"),
        ("--schedule.name step", "unknown option --schedule.name: --schedule.kind sets the schedule"),
        ("--opt sgd", "unknown option --opt: --optimiser.kind sets the optimiser"),
        ("--val-split .2", "unknown option --val-split: --validation sets the fraction"),
        ("--early-stopping 3", "unknown option --early-stopping: --patience sets the number"),
        ("--freeze 10", "unknown option --freeze: --rates.LAYER 0 freezes a layer"),
        ("--pretrained", "unknown option --pretrained: --init sets the model"),
        ("--weights x.pth", "unknown option --weights: --init sets the model"),
        ("--rates.hed 0", "--rates.hed matches no layer of the network; did you mean 'head'?"),
        ("--rates.* 0", "--rates freezes every layer, so nothing would be trained"),
        ("--rates.head x", "--rates.head is 'x'; it must be a finite number"),
        ("--rates.head -1", "--rates.head is -1.0; it must be a number of at least 0"),
        ("-b 8", "unknown option -b: options begin with two dashes"),
        ("-j8", "unknown option -j8: options begin with two dashes"),
        ("--model resnet-18", "unknown option --model: --model.network sets the network"),
        ("epochs=3", "to set an option, write --epochs 3"),
        (".", "to use a folder of images, pass --data ."),
        ("--lr .1", "unknown option --lr: --schedule.rate sets the learning rate"),
        ("--batch-size 8", "unknown option --batch-size: --batch"),
        ("--recipe x", "unknown option --recipe: the recipe's name comes first"),
        ("--augment.pad.pixel 3", "unknown option --augment.pad.pixel; did you mean '--augment.pad.pixels'?"),
        ("--augment.padd.pixels 3", "no augmentation is named 'padd'; did you mean 'pad'?"),
        ("--augment flop", "no augmentation is named 'flop'; did you mean 'flip'?"),
        ("--augment.pad 3", "--augment.pad does not accept a value; set one of its fields: --augment.pad.pixels"),
        ("--optimiser adam", "--optimiser does not accept a value; set one of its fields: --optimiser.kind"),
        ("--optimiser.lr .1", "unknown option --optimiser.lr: --schedule.rate sets the learning rate"),
        ("--hflip .5", "unknown option --hflip: --augment.flip.probability"),
        ("--ot x", "unknown option --ot; did you mean '--out'?"),
        ("--schedule.rat 1", "unknown option --schedule.rat; did you mean '--schedule.rate'?"),
        ("--model.width 1", "unknown option --model.width; did you mean '--model.widths'?"),
        ("--resume", "unknown option --resume: the same command resumes"),
        ("--device 0", "--device 0 is not a device; write cuda:0"),
    ],
)
def test_an_option_that_does_not_apply_is_refused(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "mnist-lenet", *shlex.split(words), "--dry-run"]) == 2
    assert message in capsys.readouterr().err


def test_another_kind_has_other_options(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--schedule.steps 5 9 --schedule.kind step --optimiser.kind adam --optimiser.betas .5 .6"
    (stage,) = dry([*PETS, *shlex.split(words)], capsys)["stages"]
    assert stage["schedule"] == to_json(StepDecay(steps=(5, 9)))
    assert stage["optimiser"] == {"kind": "adam", "betas": [0.5, 0.6], "eps": 1e-08, "weight_decay": 0.0}


def test_two_stages_are_trained(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "twice", "--plugins", "plugins", "--out", "run", "--stages.0.epochs", "1"]) == 0
    records = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    starts = [(r["stage"], r["epoch"], r["batches"]) for r in records if r["event"] == "epoch_start"]
    assert starts == [(0, 0, 4), (1, 1, 8)]


def test_help_lists_the_options_of_the_recipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["train", "mnist-lenet", "--help"]) == 0
    shown = capsys.readouterr().out
    names = (
        "epochs",
        "schedule.rate",
        "preprocess.colour",
        "augment",
        "augment.pad.pixels",
        "out",
        "config",
        "dry-run",
        "json",
        "store",
    )
    assert all(f"--{name} " in shown or f"--{name}," in shown for name in names)
    assert "  --optimiser.kind sgd                       one of adam, sgd" in shown
    assert "  --batch 64                                 images in a step" in shown
    assert "  --augment pad                              kinds in order, such as flip and pad" in shown
    assert (
        "  --augment.pad.pixels 2                     pixels of padding on each side" in shown and "  # " not in shown
    )
    assert "--name " not in shown  # names the folder of a leg, and a run of one stage has none
    assert "--begin continue                           inherit all weights" in shown
    assert "--augment.KIND.FIELD VALUE" in shown and "    area.aspect\n" in shown
    assert "--model.FIELD VALUE" in shown and "imclass models NETWORK" in shown


@pytest.mark.parametrize("words", [["--batch", "abc"], ["--batch=abc"], ["--save_every", "soon"]])
def test_a_word_in_place_of_a_number_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "mnist-lenet", *words, "--dry-run"]) == 2
    option, value = words if len(words) == 2 else words[0].split("=")
    assert capsys.readouterr().err == f"imclass: {option.replace('_', '-')} is '{value}'; it must be a whole number\n"


def test_a_value_that_the_network_rejects_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "mnist-lenet", "--model.dropout", "2", "--dry-run"]) == 2
    message = capsys.readouterr().err
    assert "lenet-5 cannot be built with --model.dropout 2.0: " in message and "{" not in message


def read_training(words: list[str]) -> Training:
    """Return the config of a network's training on the command line."""
    config = read_train(words).config
    assert isinstance(config, Training)
    return config


def test_the_request_holds_the_config_of_the_recipe() -> None:
    request = read_train(["mnist-lenet", "--out", "here"])
    config = configure("mnist-lenet")
    assert request.arguments.out == Path("here")
    assert request.config == config


@pytest.mark.parametrize("word", ["--strict", "--no-strict", "--optimiser.no-nesterov", "--save_every=3", "--seed=3"])
def test_every_spelling_of_an_option_is_known(word: str) -> None:
    assert read_train(["mnist-lenet", word]).config.recipe == "mnist-lenet"


@pytest.mark.parametrize("word", ["--strikt", "--no-strikt", "--noptimiser.nesterov"])
def test_unknown_options_are_refused(word: str) -> None:
    with pytest.raises(UserError, match="unknown option --"):
        read_train(["mnist-lenet", word])


def test_rates_keep_the_order_of_the_command_line(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--rates.*", "0", "--stages.1.rates.features", "0.5", "--rates.head.*", "1"]
    config = dry(["twice", "--plugins", "plugins", *words], capsys)
    first, second = (list(stage["rates"].items()) for stage in config["stages"])
    assert first == [("*", 0.0), ("head.*", 1.0)] and second == [("*", 0.0), ("features", 0.5), ("head.*", 1.0)]


def test_a_stage_may_have_another_network_and_preprocess(plugins: Path) -> None:
    words = "--model.mean .5 --stages.1.model.network lenet-5-32 --stages.1.model.widths 2 3"
    words += " --stages.1.preprocess.size 32"
    training = read_training(["twice", "--plugins", "plugins", *words.split()])
    assert training.stages[1].model == Model("lenet-5-32", {"widths": (2, 3)}, mean=(0.5,))
    assert training.stages[1].preprocess == Preprocess(32, "grey", "squash")  # the run's, except for the size
    assert training.stages[0].model is None and training.model == Model("lenet-5", mean=(0.5,))
    vgg = read_training(["twice", "--plugins", "plugins", "--stages.1.model.network", "vgg-d"])
    assert vgg.stages[1].model == Model("vgg-d")
    row = read_training(["twice", "--plugins", "plugins", "--stages.1.model.dropout", ".5", "--model.widths", "2", "3"])
    assert row.stages[1].model == Model("lenet-5", {"widths": (2, 3), "dropout": 0.5})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--stages.2.model.network vgg-d", "there is no 'stages.2.model.network'; the number may be 0 to 1"),
        ("--stages.1.model.width 3", "--stages.1.model.width; did you mean '--stages.1.model.widths'?"),
        ("--stages.1.rates.head nan", "--stages.1.rates.head is nan; it must be a finite number"),
    ],
)
def test_a_mistake_in_a_stage_is_named(
    words: str, message: str, plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "twice", "--plugins", "plugins", *words.split(), "--dry-run"]) == 2
    assert message in capsys.readouterr().err


def test_augmentations_are_chosen_and_set(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that a field adds its kind to a stage without it, a list replaces the list, and `none` empties it."""
    before = [{"kind": "pad", "pixels": 2}]
    flip, pad = {"kind": "flip", "probability": 0.5}, {"kind": "pad", "pixels": 3}

    def augment(words: str) -> list[Any]:
        (stage,) = dry([*PETS, *shlex.split(words)], capsys)["stages"]
        found: list[Any] = stage["augment"]
        return found

    area = {"kind": "area", "area": [0.08, 1.0], "aspect": [0.75, 4 / 3]}
    assert augment("") == before
    assert augment("--augment.pad.pixels 3 --augment.area.area .08 1") == [pad, area]
    assert augment("--augment flip pad") == augment("--stages.0.augment flip pad") == [flip, *before]
    assert augment("--augment.flip") == [*before, flip]
    assert augment("--augment none") == [] and augment("--augment none --augment.pad.pixels 3") == [pad]
    stages = dry(["twice", "--plugins", "plugins", "--stages.0.augment.flip.probability", "0.5"], capsys)["stages"]
    assert [stage["augment"] for stage in stages] == [[flip], []]


LONGER = """
from imclass.core.config import Model, Stage, Training
from imclass.core.preprocess import Preprocess
from imclass.training.optimisers.sgd import SGD
from imclass.training.schedules.constant import Constant

def longer(data: str = "pets", epochs: int = 2, factor: float = 1.0, wide: bool = False) -> Training:
    stage = Stage(epochs=round(epochs * factor), batch=8, optimiser=SGD(), schedule=Constant())
    model = Model("lenet-5", {"hidden": (60, 40)} if wide else {})
    return Training("longer", model, (stage,), Preprocess(28, "grey", "squash"), data)

RECIPES = {"longer": longer}
"""


def test_a_parameter_of_a_recipe_is_an_option(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pets.parent / "plugins").mkdir()
    (pets.parent / "plugins" / "longer.py").write_text(LONGER)
    start = ["longer", "--plugins", "plugins"]
    found = dry([*start, "--factor", "2", "--wide", "--seed", "3"], capsys)
    assert (found["stages"][0]["epochs"], found["model"]["row"]["hidden"], found["seed"]) == (4, [60, 40], 3)
    assert dry([*start, "--factor", "2", "--epochs", "3"], capsys)["stages"][0]["epochs"] == 3  # a field has precedence
    assert main(["train", *start, "--factor", "fast", "--dry-run"]) == 2
    assert "--factor is 'fast'; it must be a finite number" in capsys.readouterr().err
    assert main(["train", *start, "--help"]) == 0
    assert "--factor 1.0" in (shown := capsys.readouterr().out) and "--wide False" in shown
