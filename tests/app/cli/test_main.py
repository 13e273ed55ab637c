"""The command line: exit codes, and one message for each mistake, before anything is written."""

import errno
import json
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest
import safetensors.torch
import torch

from imclass.app.cli.arguments import VERBS
from imclass.app.cli.elsewhere import OPTIONS_ELSEWHERE, VERBS_ELSEWHERE
from imclass.app.cli.main import issues_url_text, main
from imclass.app.cli.words import option_hints
from imclass.app.verbs import models
from imclass.core.model_file import DataFacts
from tests.support.small import fingerprint, save_untrained, tree

DRY = "train mnist-lenet --dry-run --data pets --batch 8"
OTHER = "another.safetensors"

# Commands with a mistake, and words that the message must contain.
MISTAKES = {
    # paths
    "trian mnist-lenet": ["unknown verb 'trian'", "'train'"],
    "train": ["RECIPE is missing", "imclass recipes"],
    "train --epochs 2 mnist-lenet": ["RECIPE is missing"],
    "train mnist-lenet --data ./pest": ["the folder pest does not exist", "'pets'"],
    "train mnist-lenet --data mnist-sampel": ["'mnist-sampel'", "'mnist-sample'"],
    "train mnist-lenet --data ./notes.txt": ["notes.txt, line 1", "correct or remove the line"],
    "train mnist-lenet --data ./hollow": ["hollow has no class folders"],
    "train mnist-lenet --data ./flat": ["the images are directly in flat"],
    "train mnist-lenet --data pets --batch 8 --out notes.txt": ["--out notes.txt is a file"],
    "train mnist-lenet --data pets --batch 8 --out notes.txt/run": ["notes.txt/run"],
    "train mnist-lenet --data pets --batch 8 --out pets": ["--out pets contains other files"],
    "train mnist-lenet --data pets --batch 8 --out foreign": [
        "foreign/config.json is not a run's config",
        "train again with another --out",
    ],
    "train mnist-lenet --data pets --batch 8 --epochs 40 --out begun": [
        "begun was begun",
        "stages.0.epochs: 41 before, 40 now",
    ],
    f"{DRY} --out begun": ["begun was begun", "stages.0.epochs: 41 before, 30 now"],
    f"{DRY} --out notes.txt": ["--out notes.txt is a file"],
    "evaluate nowhere.safetensors": ["the model file nowhere.safetensors does not exist"],
    "evaluate begun": ["the run in begun is not finished", "Run its `imclass train` command again"],
    "info begun": ["the run in begun is not finished"],
    "evaluate pets": ["pets is not a run: pets/model.safetensors does not exist"],
    "evaluate model.safetensors --plot no/where.png": ["--plot no/where.png", "the folder no does not exist"],
    "evaluate model.safetensors --plot pets": ["--plot pets is a folder"],
    "evaluate model.safetensors --plot pets/cat/000.png": ["--plot pets/cat/000.png already exists"],
    "evaluate model.safetensors --reliability pets/cat/000.png": ["--reliability pets/cat/000.png already exists"],
    "evaluate model.safetensors --device 0": ["--device 0 is not a device", "cuda:0"],
    "compare model.safetensors run --device gpu": ["--device gpu is not a device", "cuda:N"],
    "predict model.safetensors pets --device cuda:99": ["--device cuda:99: this machine has", "CUDA device"],
    "features model.safetensors pets --out a.npy --device 1": ["write cuda:1"],
    "predict model.safetensors": ["specify at least one image"],
    "predict model.safetensors https://example.org/a.jpg": ["is a URL", "path to the file"],
    "train mnist-lenet --data https://example.org/pets": ["is a URL", "in a folder"],
    "predict model.safetensors pets/bird": ["no file or folder matches pets/bird"],
    "predict model.safetensors pets/*.gif": ["no file or folder matches pets/*.gif"],
    "predict model.safetensors hollow": ["no image files in hollow"],
    f"predict model.safetensors {'long' * 100}": ["no file or folder matches long"],
    "predict model.safetensors --cat.png": ["unknown option --cat.png"],
    "features model.safetensors pets": ["--out FILE.npz", "--grid FILE.png"],
    "features model.safetensors pets --out no/where.npy": ["--out no/where.npy", "the folder no does not exist"],
    "features model.safetensors pets --grid pets": ["--grid pets is a folder"],
    "features model.safetensors pets --grid pets/cat/000.png": ["--grid pets/cat/000.png already exists"],
    "features model.safetensors pets --grid notes.jpg": ["use notes.png"],
    "features model.safetensors pets --out model.safetensors": ["use model.npz"],
    "features model.safetensors notes.jpg --out maps.npy": ["could not use any file (1 refused)", "notes.jpg"],
    "data export mnist-sample": ["--out"],
    "data export mnist-sample --out pets": ["--out pets already exists"],
    "data export mnist-sample --out notes.txt": ["--out notes.txt already exists"],
    "models --plugins nowhere": ["--plugins nowhere is not a folder"],
    "train mnist-lenet --data mnist --store notes.txt": ["notes.txt is not a folder", "--store"],
    "train mnist-lenet --data mnist --store hollow --offline": ["--offline", "mnist"],
    # classes
    "train mnist-lenet --data ./single": ["only 'cat'", "two classes"],
    "train mnist-lenet --data ./twins": ["'Cat' and 'cat' differ only in case"],
    "train mnist-lenet --data ./gap": ["the class folders 'dog' in gap have no images"],
    "train mnist-lenet --data ./untaught": ["wolf", "is not in"],
    "evaluate model.safetensors --data birds": ["Not in the model: 'hen', 'owl'", "--classes"],
    "evaluate model.safetensors --data birds --classes notes.txt": ["--classes notes.txt", "JSON object"],
    "evaluate model.safetensors --data birds --classes nowhere.json": ["--classes nowhere.json"],
    "evaluate model.safetensors --data birds --classes numbers.json": ["--classes numbers.json", '"puppy": "dog"'],
    "evaluate model.safetensors --data birds --classes typo.json": ["'dgo'", "'dog'"],
    # sizes
    f"{DRY} --preprocess.size 32": ["--preprocess.size is 32", "28"],
    f"{DRY} --preprocess.size 0": ["preprocess.size is 0"],
    f"{DRY} --preprocess.resize shorter --preprocess.scale 20": ["scale 20 is below", "28"],
    f"{DRY} --model.mean 0.1 0.2 --model.std 1 1": ["--model.mean"],
    f"{DRY} --model.mean 0.1 0.2 0.3": ["--model.mean", "per channel"],
    f"{DRY} --model.std 0": ["--model.std", "above 0"],
    # numbers
    f"{DRY} --schedule.rate 0": ["--schedule.rate is 0", "above 0"],
    f"{DRY} --schedule.rate -1": ["--schedule.rate is -1"],
    f"{DRY} --schedule.rate nan": ["--schedule.rate is nan"],
    f"{DRY} --batch 0": ["--batch is 0", "at least 1"],
    f"{DRY} --batch 1000": ["--batch 1000", "training images (16)"],
    f"{DRY} --batch 4 --micro-batches 5": ["--micro-batches is 5"],
    f"{DRY} --epochs 0": ["--epochs is 0"],
    f"{DRY} --workers -1": ["--workers is -1"],
    f"{DRY} --seed -1": ["--seed is -1"],
    f"{DRY} --keep 1": ["--keep is 1"],
    f"{DRY} --save-every -1": ["--save-every is -1"],
    f"{DRY} --optimiser.momentum 1": ["--optimiser.momentum is 1"],
    f"{DRY} --augment.area.area 0 1": ["--augment.area.area"],
    f"{DRY} --epochs two": ["--epochs", "'two'"],
    f"{DRY} --batch 8 --schedule.kind plateau": ["plateau", "validation"],
    "evaluate model.safetensors --batch many": ["--batch", "'many'"],
    f"{DRY} --seed 1.5": ["--seed is '1.5'", "a whole number"],
    "evaluate model.safetensors --batch 0": ["--batch is 0"],
    "evaluate model.safetensors --workers -1": ["--workers is -1"],
    "predict model.safetensors pets --top 0": ["--top is 0", "at least 1"],
    "predict model.safetensors pets --workers -1": ["--workers is -1"],
    "features model.safetensors pets --grid maps.png --workers -1": ["--workers is -1"],
    "data check pets --workers -1": ["--workers is -1"],
    "data export mnist-sample --out new --most 0": ["--most is 0"],
    # devices
    f"{DRY} --device tpu": ["--device tpu is not a device", "cuda"],
    # config
    "train --config nowhere.json": ["--config nowhere.json", "No such file"],
    "train --config notes.txt": ["--config notes.txt", "JSON", "pass a run or its config.json"],
    "train --resume begun": ["unknown option --resume: the same command resumes"],
    "train --recipe mnist-lenet": ["unknown option --recipe: the recipe's name comes first"],
    "train --config deep.json": ["--config deep.json", "JSON"],
    "train --config pets": ["--config pets cannot be read", "a run's directory"],
    "train --config old.json": ["--config old.json: it has format 1", "reads format 2", "train again"],
    "train --config list.json": ["--config list.json", "an object"],
    "train --config unknown.json": ["--config unknown.json", "no field 'sead'", "'seed'"],
    "train --config wrong.json": ["--config wrong.json", "epochs is 'two'", "a whole number"],
    "train --config lacking.json": ["--config lacking.json", "lacks the field 'model'"],
    "train --config zero.json": ["--config zero.json", "--epochs is 0"],
    "train mnist-vgg --config config.json": ["config.json belongs to the recipe 'mnist-lenet', not 'mnist-vgg'"],
    # model files
    "info truncated.safetensors": ["truncated.safetensors", "is not a model file, or is incomplete"],
    "info cut.safetensors": ["cut.safetensors is damaged"],
    "info flipped.safetensors": ["flipped.safetensors is damaged"],
    "info relabelled.safetensors": ["relabelled.safetensors is damaged"],
    "info empty.safetensors": ["empty.safetensors", "0 bytes"],
    "info stranger.safetensors": ["stranger.safetensors", "no readable header"],
    "info newer.safetensors": ["newer.safetensors has model format 3", "format 2"],
    "info reshaped.safetensors": ["reshaped.safetensors", "another network"],
    "info pickle.safetensors": ["pickle.safetensors"],
    "predict weights.pt pets": ["weights.pt"],
    "evaluate notes.jpg": ["notes.jpg", "is not a model file, or is incomplete"],
    # names
    f"{DRY} --epoch 3": ["unknown option --epoch", "'--epochs'"],
    f"{DRY} --schedule.rat 3": ["unknown option --schedule.rat", "'--schedule.rate'"],
    f"{DRY} --model.width 3": ["unknown option --model.width", "'--model.widths'"],
    f"{DRY} --schedule.kind cosin": ["'cosin'", "'cosine'"],
    f"{DRY} --epochs": ["--epochs"],
    f"{DRY} extra": ["extra"],
    f"{DRY} --model.network lenet-6": ["'lenet-6'", "'lenet-5'"],
    "train mnist-lenett": ["no recipe is named 'mnist-lenett'", "'mnist-lenet'"],
    "train mnist-lenett --help": ["no recipe is named 'mnist-lenett'"],
    "models lenet5": ["no network is named 'lenet5'", "'lenet-5'"],
    "models lenet-5 lenet-5": ["lenet-5"],
    "recipes mnist": ["no recipe is named 'mnist'", "'mnist-lenet'"],
    "data mnst": ["no data set is named 'mnst'", "'mnist'"],
    "data get": ["imclass data get NAME"],
    "data get mnst": ["'mnst'", "'mnist'"],
    "data get mnist-sample": ["mnist-sample cannot be downloaded"],
    "data check mnst": ["'mnst'", "'mnist'"],
    "data export mnist-sample --out new --split tset": ["'tset'", "'test'"],
    "evaluate": ["MODEL"],
    "evaluate model.safetensors --protocl center": ["unknown option --protocl", "'--protocol'"],
    "evaluate model.safetensors --protocol centre": ["no protocol is named 'centre'", "'center'"],
    "predict model.safetensors pets --protocol centre": ["no protocol is named 'centre'"],
    "predict model.safetensors pets --protocol center,flip": ["center,flip specifies more than one protocol"],
    "predict model.safetensors pets --json --format csv": ["--json and --format csv"],
    "predict model.safetensors pets --format xml": ["'xml'", "csv"],
    "evaluate model.safetensors --table 8": [
        "'8'",
        "--table",
        "'3', '4', '5', '6', '7', 'resnet'",
    ],
    "compare model.safetensors": ["MODEL"],
    "compare model.safetensors cropping.safetensors extra": ["extra", "imclass compare --help"],
    "evaluate model.safetensors --split tets": ["no split 'tets'", "'test'"],
    "evaluate model.safetensors --split validation": ["no split 'validation'", "test, train"],
    "evaluate digits.safetensors --split validation": ["no split 'validation'"],
    f"evaluate {OTHER}": [OTHER, "does not record what it was trained on", "--data"],
    "features model.safetensors pets --layer featuers --grid maps.png": ["no layer 'featuers'", "'features'"],
    "features model.safetensors pets --layer head.1 --grid maps.png": ["'head.1'", "instead of maps", "--grid"],
}

# Corrected commands: they exit with code 0, and do not touch the user's files either.
ACCEPTED = [
    "",
    "help",
    "--version",
    "train --help",
    "train mnist-lenet --help",
    DRY,
    f"{DRY} --preprocess.size 32 --model.network lenet-5-32",
    f"{DRY} --preprocess.resize shorter --preprocess.scale 28",
    f"{DRY} --preprocess.colour rgb --model.mean 0.1 0.2 0.3 --model.std 1 1 1",
    f"{DRY} --schedule.rate 1e-3 --batch 16 --micro-batches 4 --workers 1 --seed 0 --keep 2 --save-every 0",
    f"{DRY} --optimiser.momentum 0 --augment.area.area 0.5 1 --schedule.kind cosine --device cpu",
    f"{DRY} --optimiser.nesterov --strict --model.widths 4 8",
    f"{DRY} --out new",
    "train --config begun --out new --dry-run",
    "train mnist-lenet --config config.json --dry-run",
    "train mnist-lenet --data valid --batch 4 --schedule.kind plateau --dry-run",
    "train mnist-lenet --dry-run",
    "evaluate model.safetensors",
    "evaluate model.safetensors --split train --batch 1 --workers 1 --protocol center",
    "evaluate model.safetensors --data birds --classes birds.json",
    "evaluate digits.safetensors --data mnist-sample",
    f"evaluate {OTHER} --data pets",
    "predict model.safetensors pets --top 1 --protocol resize --format csv",
    "predict model.safetensors pets/*/00?.png --workers 1",
    "predict cropping.safetensors pets --protocol resize",
    "info model.safetensors",
    "models lenet-5",
    "recipes --plugins hollow",
    "recipes mnist-lenet",
    "data mnist",
    "data check pets",
]


class Trap:
    """An object that makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("executed",)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with everything that the commands above name."""
    world = tmp_path_factory.mktemp("world")
    for name in ("pets", "gap", "untaught/train", "untaught/test", "valid/train", "valid/validation"):
        tree(world / name)
    tree(world / "birds", classes=("hen", "owl"))
    tree(world / "single", classes=("cat",))
    tree(world / "twins", classes=("Cat", "cat", "dog"))
    (world / "untaught/test/dog").rename(world / "untaught/test/wolf")
    for path in (world / "gap/dog").iterdir():
        path.unlink()
    for name in ("hollow", "flat", "foreign"):
        (world / name).mkdir()
    shutil.copy(world / "pets/cat/000.png", world / "flat")
    for name in ("notes.txt", "notes.jpg", "foreign/config.json"):
        (world / name).write_text("{not what it should be")
    write_models(world)
    write_configs(world)
    return world


def write_models(world: Path) -> None:
    """Write a good model file, and damaged copies of it."""
    save_untrained(world / "model.safetensors", recipe={"data": "pets"}, data=DataFacts(path=str(world / "pets")))
    save_untrained(world / OTHER)
    save_untrained(world / "digits.safetensors", tuple("0123456789"), recipe={"data": "mnist-sample"})
    good = (world / "model.safetensors").read_bytes()
    middle = len(good) // 2
    changed = {
        "truncated": good[:100],
        "cut": good[:middle],
        "flipped": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "relabelled": good.replace(b"cat", b"cow", 1),
        "cropping": good,
        "empty": b"",
        "stranger": safetensors.torch.save({"weight": torch.zeros(3)}),
        "pickle": pickle.dumps(Trap()),
    }
    for name, content in changed.items():
        (world / f"{name}.safetensors").write_bytes(content)
    torch.save({"weight": Trap()}, world / "weights.pt")
    write_odd_models(world)


def write_odd_models(world: Path) -> None:
    """Write model files that are intact but cannot be used with default options."""
    from dataclasses import replace

    from imclass.core.model_file import read_model, save_model

    tensors, header = read_model(world / "model.safetensors")
    save_model(world / "newer.safetensors", tensors, replace(header, format=3))
    save_model(world / "reshaped.safetensors", tensors, replace(header, classes=("cat", "dog", "hen")))
    preprocess = header.body["preprocess"] | {"resize": "none"}
    cropping = replace(header, body=header.body | {"preprocess": preprocess})
    save_model(world / "cropping.safetensors", tensors, cropping)


def write_configs(world: Path) -> None:
    """Write a good config, one of a run with checkpoints, bad ones, and class mappings."""
    from imclass.app.settings.configure import configure
    from imclass.core.codec import to_json

    good = to_json(configure("mnist-lenet", data="pets", batch=8))
    lacking = {k: v for k, v in good.items() if k != "model"}
    wrong = {**good, "stages": [{**good["stages"][0], "epochs": "two"}]}
    zero = {**good, "stages": [{**good["stages"][0], "epochs": 0}]}
    begun = to_json(configure("mnist-lenet", data="pets", batch=8, epochs=41))
    (world / "begun/checkpoints").mkdir(parents=True)
    begun["model"]["row"] = {"widths": [6, 16], "hidden": [120, 84], "dropout": 0.0, "size": 28}
    files = {
        "config": good, "list": [good], "unknown": {**good, "sead": 1}, "wrong": wrong, "lacking": lacking,
        "zero": zero, "begun/config": {
            "format": 2, "training": begun, "execution": {}, "data": {"digest": "of other data"}, "runtime": {},
        },
        "old": {"format": 1, "config": good},
        "birds": {"hen": "cat", "owl": "dog"}, "numbers": {"hen": 1}, "typo": {"hen": "cat", "owl": "dgo"},
    }  # fmt: skip
    for name, content in files.items():
        (world / f"{name}.json").write_text(json.dumps(content))
    (world / "deep.json").write_text("[" * 100_000)


@pytest.fixture
def inside(world: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Change to the world, and check afterwards that nothing in it has changed."""
    monkeypatch.chdir(world)
    before = fingerprint(world)
    yield world
    assert fingerprint(world) == before


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_yields_one_message_and_code_2(typed: str, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(typed)) == 2
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    message = " ".join(shown.err.split())
    for words in MISTAKES[typed]:
        assert words in message
    assert shown.err.count("imclass: ") == 1


@pytest.mark.parametrize("typed", ACCEPTED)
def test_the_corrected_command_succeeds(typed: str, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(typed)) == 0
    assert capsys.readouterr().out


def test_the_table_is_long_enough() -> None:
    assert len(MISTAKES) >= 60


def test_cuda_is_refused_where_it_is_missing(
    inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([*shlex.split(DRY), "--device", "cuda"]) == 2
    assert "--device cuda" in capsys.readouterr().err


def test_the_trap_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that the pickles above would make a folder if they were unpickled."""
    monkeypatch.chdir(tmp_path)
    assert b"executed" in pickle.dumps(Trap())
    act, arguments = Trap().__reduce__()  # as a plain unpickler would call it
    act(*arguments)
    assert (tmp_path / "executed").is_dir()


@pytest.mark.parametrize("words", [["--help"], *([verb, "--help"] for verb in VERBS), ["train", "mnist-lenet", "-h"]])
def test_help_is_printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "usage: imclass" in shown
    assert "{None}" not in shown and "default: None" not in shown


@pytest.mark.parametrize("columns", ["1", "5", "0", "x"])
def test_help_is_printed_at_any_width(columns: str) -> None:
    environment = {**os.environ, "COLUMNS": columns}
    done = command("train", "--help", stdout=subprocess.PIPE, env=environment, timeout=60)  # it used to hang
    assert done.returncode == 0 and "--dry-run" in done.stdout


def test_help_does_not_import_torch() -> None:
    words = [[], ["--help"], ["--version"], ["train", "mnist-lenet", "--help"], *([verb, "-h"] for verb in VERBS)]
    program = f"""
import sys
from imclass.app.cli.main import main
codes = [main(words) for words in {words!r}]
assert codes == [0] * len(codes), codes
print(sorted({{"torch", "sklearn", "matplotlib", "cv2"}} & set(sys.modules)), file=sys.stderr)
main(["models", "lenet-5"])
print("torch" in sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == "[]\nTrue\n"  # the second line shows that the check would detect torch


def code_after(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the exit code of a verb that raises this error."""

    def fail(arguments: object) -> int:
        raise error

    monkeypatch.setattr(models, "run", fail)
    return main(["models", "a b"])


def test_an_interrupt_prints_how_to_resume(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_after(KeyboardInterrupt(), monkeypatch) == 75
    assert "interrupted. To resume: imclass models 'a b'" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "reason"), [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota")])
def test_a_full_disk_is_one_message(
    number: int, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_after(OSError(number, os.strerror(number)), monkeypatch) == 2
    assert reason in capsys.readouterr().err


def test_a_file_that_the_system_refuses_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_after(PermissionError(errno.EACCES, "Permission denied", "secret.png"), monkeypatch) == 2
    assert "Permission denied at secret.png" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero\nand more"), OSError("no file is named"), KeyError("x")])
def test_a_bug_has_a_separate_code_and_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_after(error, monkeypatch) == 70
    message = capsys.readouterr().err
    first = f"{type(error).__name__}: {error}".splitlines()[0]
    assert message.startswith(f"imclass: {first} ({__file__}:") and message.count("\n") == 1
    assert "a bug in imclass. Report it to whoever installed imclass" in message
    assert "IMCLASS_TRACEBACK=1 to print the traceback" in message and "Traceback" not in message
    monkeypatch.setenv("IMCLASS_TRACEBACK", "1")
    assert code_after(error, monkeypatch) == 70
    message = capsys.readouterr().err
    assert "Traceback" in message and "in fail" in message and message.count("imclass: ") == 1


def test_bugs_are_reported_at_the_address_in_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = Message()
    fields["Project-URL"] = "Source, https://example.org/source"
    fields["Project-URL"] = "Issues, https://example.org/issues"
    monkeypatch.setattr(metadata, "metadata", lambda name: fields)
    assert issues_url_text() == "at https://example.org/issues"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA"),
        RuntimeError("can't start new thread"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_too_little_memory_is_not_reported_as_a_bug(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_after(error, monkeypatch) == 2
    assert "not enough memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("finetune photos", "unknown verb 'finetune': imclass train finetune"),
        ("classify x.jpg", "unknown verb 'classify': imclass predict MODEL PATH"),
        ("evaluate model.safetensors --pretrained", "unknown option --pretrained: MODEL may be NETWORK:WEIGHTS"),
        ("predict model.safetensors pets --gpu 0", "unknown option --gpu: --device cuda"),
        ("predict --model model.safetensors --source pets", "unknown option --model: MODEL is the first argument"),
        ("evaluate model.safetensors --save-json x.json", "unknown option --save-json: --json prints records"),
        ("predict model.safetensors pets --threshold .3", "unknown option --threshold: imclass evaluate MODEL"),
        ("-v train mnist-lenet", "the verb must come before -v, as in imclass VERB ..."),
        ("--json models", "the verb must come before --json"),
        ("train .", ". is a folder, not a recipe; run imclass train folder --data ."),
        ("eval model.safetensors", "did you mean 'evaluate'?"),
    ],
)
def test_words_of_other_tools_get_advice(typed: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(typed)) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("table", [VERBS_ELSEWHERE, OPTIONS_ELSEWHERE])
def test_advice_names_verbs_and_options_that_exist(table: Mapping[str, str]) -> None:
    """Check also that no word with advice is a verb or an option of imclass."""
    options = {f"--{name}" for kind in VERBS.values() for name in option_hints(kind)} | {"--version", "--init"}
    for text in table.values():
        assert set(re.findall(r"imclass (\w+)", text)) <= set(VERBS) and set(re.findall(r"--\w+", text)) <= options
    assert not set(table) & (set(VERBS) if table is VERBS_ELSEWHERE else {name.lstrip("-") for name in options})


def test_verbs_are_listed_without_docstrings(tmp_path: Path) -> None:
    """Check `python -OO`, which drops docstrings, so that a dataclass has only its signature."""
    done = command("--help", stdout=subprocess.PIPE, env={**os.environ, "PYTHONOPTIMIZE": "2"})
    assert done.returncode == 0 and "evaluate" in done.stdout and "Annotated" not in done.stdout


def test_a_message_is_safe_for_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "\x1b[31mred\n\udcff"]) == 2
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert main(["info", "\x1b[31mred\n\udcff"]) == 2
    shown = capsys.readouterr().err
    assert "\x1b" not in shown and "\\x1b[31mred" in shown and "\\udcff" in shown


def command(*words: str, **pipes: object) -> "subprocess.CompletedProcess[str]":
    """Run imclass in a child process."""
    return subprocess.run([sys.executable, "-m", "imclass", *words], text=True, check=False, **pipes)  # type: ignore[call-overload,no-any-return]


def test_a_closed_pipe_is_not_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0  # writes an index, with which the command need not import PyTorch
    reader, writer = os.pipe()
    os.close(reader)
    done = command("recipes", "mnist-lenet", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_standard_output_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0  # as above
    with open("/dev/full", "w") as full:
        done = command("recipes", "mnist-lenet", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "disk is full" in done.stderr


def test_a_bug_in_a_plugin_names_the_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check an error that a library raises far below the plugin."""
    monkeypatch.chdir(tmp_path)
    Path("plugins").mkdir()
    Path("plugins/mine.py").write_text("import json\ndef mine():\n    json.loads('{')\nRECIPES = {'mine': mine}\n")
    assert main(["train", "mine", "--plugins", "plugins"]) == 2
    message = capsys.readouterr().err
    assert re.search(
        r"JSONDecodeError: .* \(\S*plugins/mine.py:3\)\. This is a bug in the plugin \S*mine.py; ", message
    )
    assert "bug in imclass" not in message and message.count("\n") == 1
