"""Runs that begin from a model: its network, preprocess and weights, and its record in the new model file."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from imclass.app.api import configure, train
from imclass.app.cli.main import main
from imclass.app.load import load_network
from imclass.app.runs.directory import Run
from imclass.app.runs.train import prepare
from imclass.core.codec import to_json
from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.core.model_file import Ancestor, DataFacts, Provenance, tensors_digest
from imclass.core.preprocess import Preprocess
from imclass.models.classifier import create
from imclass.store.context import open_context
from imclass.training.events import Saved
from tests.support.command import json_output
from tests.support.small import provenance, tree

VIEW = Preprocess(28, "grey", "squash", channels="rgb")
ROW = {"widths": (3, 5), "hidden": (7, 6), "dropout": 0.25}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with photos and a model of two of their classes and another one."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets", classes=("cat", "dog", "owl"))
    found = create(Model("lenet-5", ROW, mean=(0.3,), std=(0.2,)), ("dog", "emu", "cat"), VIEW, seed=7)
    data = DataFacts(name="zoo", licence="CC-BY-4.0", path="/zoo")
    trained = Provenance(data=data, recipe={"recipe": "keeper"})
    replace(found, trained=trained, licence="BSD-2-Clause").save(tmp_path / "old.safetensors")
    return tmp_path


def prepare_run(dry: bool = True, **choices: Any) -> Any:
    config = configure("mnist-lenet", data="pets", batch=8, epochs=1, **choices)
    return prepare(config, Run(Path("run").absolute()), open_context(), dry=dry)


def test_network_normalisation_and_preprocess_come_from_the_source(folder: Path) -> None:
    config = configure("mnist-lenet", init="./old.safetensors")
    source = load_network("old.safetensors", open_context())
    assert (config.model.network, config.preprocess) == ("lenet-5", VIEW)
    assert to_json(config.model.row) == to_json(source.row)
    assert (config.model.mean, config.model.std) == ((0.3,), (0.2,))
    assert config.model.initialiser == "" and not config.model.mean_image
    assert config.init == "old.safetensors" and config.init_digest == tensors_digest(source.network.state_dict())
    assert config.stages == configure("mnist-lenet").stages


def test_a_user_s_choices_override_the_source_and_stay(folder: Path) -> None:
    choices: dict[str, Any] = {"model.dropout": 0.5, "model.mean": (0.4,), "preprocess.resize": "shorter"}
    config = configure("mnist-lenet", init="old.safetensors", override=choices)
    assert config.model.row["dropout"] == 0.5 and config.model.row["widths"] == (3, 5)
    assert config.model.mean == (0.4,) and config.model.std == (0.2,) and config.preprocess.resize == "shorter"
    assert configure(config) == config and configure(config, seed=3).model == config.model  # it is not adopted twice


def test_rows_of_classes_are_taken_by_name_and_noted(folder: Path) -> None:
    job, source = prepare_run(init="old.safetensors"), load_network("old.safetensors", open_context())
    ours, theirs = job.legs[0].make().network.state_dict(), source.network.state_dict()
    for name, axis in source.network.class_tensors().items():
        assert axis == 0 and torch.equal(ours[name][:2], theirs[name][[2, 0]])
        assert not torch.equal(ours[name][2], theirs[name][1])
    assert torch.equal(ours["features.0.weight"], theirs["features.0.weight"])
    (note,) = [note for note in job.notes if note.startswith("begins from")]
    assert note.endswith("rows of 2 of 3 classes copied: cat, dog") and "8 of 10 tensors copied" in note
    assert not any("few for random" in note for note in job.notes)
    assert any("--init googlenet:bvlc" in note for note in prepare_run().notes)


def test_fresh_takes_the_network_and_no_weights(folder: Path) -> None:
    fresh = prepare_run(init="old.safetensors", begin="fresh").legs[0].make()
    again = create(Model("lenet-5", fresh.row), fresh.classes, VIEW, seed=0)
    name = "features.0.weight"
    assert torch.equal(fresh.network.state_dict()[name], again.network.state_dict()[name])


def test_the_model_file_records_the_model_that_it_began_from(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "mnist-lenet", "--data", "pets", "--batch", "8", "--epochs", "1", "--out", "run"]
    assert main([*words, "--init", "./old.safetensors", "--rates.*", "0", "--rates.head", "1"]) == 0
    assert "note: begins from old.safetensors: 8 of 10 tensors copied" in capsys.readouterr().err
    record = json_output(capsys, "info", "run")
    digest = tensors_digest(load_network("old.safetensors", open_context()).network.state_dict())
    assert record["licence"] == "BSD-2-Clause" and record["trained"]["recipe"]["init_digest"] == digest
    old = Ancestor(
        model="old.safetensors",
        digest=digest,
        network="lenet-5",
        licence="BSD-2-Clause",
        trained=provenance(Path("old.safetensors")),
    )
    assert provenance(Path("run")).init == old
    now, before = (load_network(m, open_context()).network.state_dict() for m in ("run", "old.safetensors"))
    assert torch.equal(now["features.0.weight"], before["features.0.weight"])  # frozen
    assert not torch.equal(now["head.1.weight"], before["head.1.weight"])
    assert main([*words[:-1], "more", "--init", "run"]) == 0
    capsys.readouterr()
    assert json_output(capsys, "info", "more")["trained"]["init"]["trained"]["init"]["model"] == "old.safetensors"


def test_another_model_of_that_name_is_refused_on_resume(folder: Path) -> None:
    config = configure("mnist-lenet", data="pets", batch=8, epochs=2, init="old.safetensors")
    next(iter(train(config, "run")))
    Path("run/checkpoints").mkdir(exist_ok=True)  # as if it had saved something
    create(Model("lenet-5", ROW), ("dog", "emu", "cat"), VIEW, seed=8).save(folder / "old.safetensors")
    with pytest.raises(UserError, match=r"\n  init: the SHA-256 of the tensors of old.safetensors was \w{12} and is"):
        train("mnist-lenet", "run", data="pets", batch=8, epochs=2, init="old.safetensors")
    with pytest.raises(UserError, match=r"--init old.safetensors has changed: the SHA-256 of its tensors was"):
        train(config, "run")


def test_another_network_takes_tensors_of_equal_name_and_shape(folder: Path) -> None:
    other = {"model.network": "lenet-5-32", "model.widths": (3, 5), "preprocess.size": 32}
    job = prepare_run(init="old.safetensors", override=other)
    assert job.legs[0].make().name == "lenet-5-32" and job.config.model.mean == (0.3,)
    with pytest.raises(UserError, match="no tensor of lenet-5 matches one of vgg-bn-drop in name and shape"):
        prepare_run(init="old.safetensors", override={"model.network": "vgg-bn-drop", "preprocess.size": 32})


def test_a_mean_image_is_kept(folder: Path) -> None:
    found = create(Model("lenet-5"), ("cat", "dog"), VIEW)
    image = torch.rand(1, 28, 28)
    found.network.normalise(image, (0.5,))
    found.save(folder / "image.safetensors")
    job = prepare_run(dry=False, init="image.safetensors")
    assert torch.equal(job.legs[0].make().network.mean, image) and job.config.model.mean_image
    plain = prepare_run(init="image.safetensors", override={"model.mean_image": False, "model.mean": (0.5,)})
    assert plain.legs[0].make().network.mean.shape == (1, 1, 1)


def test_the_normalisation_of_an_image_by_itself_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "train mnist-lenet --data pets --batch 8 --epochs 1"
    assert main(shlex.split(f"{words} --model.standardise --out alone")) == 0
    alone = load_network("alone", open_context())
    assert alone.network.standardise
    assert main(shlex.split(f"{words} --init alone --out next")) == 0
    capsys.readouterr()
    assert load_network("next", open_context()).network.standardise
    assert not configure("mnist-lenet", init="alone", override={"model.standardise": False}).model.standardise
    assert main(["evaluate", "alone", "--data", "pets", "--split", "train"]) == 0
    message = "--model.standardise is true; it must be false if model.mean-image or model.mean-colour is true"
    assert main(shlex.split(f"{words} --model.standardise --model.mean-colour --out bad")) == 2
    assert message in capsys.readouterr().err and not (folder / "bad").exists()


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (
            "nowhere",
            "--init: the model file nowhere does not exist. Give a run, a model file, or published weights",
        ),
        ("lenet-5:none", "no published weights are called 'lenet-5:none'"),
        (3, "--init is 3; it must be text"),
    ],
)
def test_an_init_that_is_not_a_model_is_refused(init: Any, message: str, folder: Path) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        configure("mnist-lenet", init=init)


def test_an_ensemble_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(Model("lenet-5", ROW), ("dog", "emu", "cat"), VIEW, seed=8).save(folder / "b.safetensors")
    tree(folder / "zoo", classes=("cat", "dog", "emu"))
    words = ["old.safetensors", "b.safetensors", "--data", "zoo", "--save", "both.safetensors"]
    assert main(["evaluate", *words]) == 0
    capsys.readouterr()
    assert main(["train", "mnist-lenet", "--init", "both.safetensors", "--dry-run"]) == 2
    assert "--init: both.safetensors is not a single network" in capsys.readouterr().err


def test_a_path_in_the_home_folder_and_a_pinned_digest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    config = configure("mnist-lenet", init="~/old.safetensors")
    assert config.init == str(folder / "old.safetensors")
    assert prepare_run(init="old.safetensors", init_digest=config.init_digest).config.init_digest == config.init_digest
    with pytest.raises(UserError, match="has changed"):
        prepare_run(init="old.safetensors", init_digest="0" * 64)
    json.dumps(config.model.row)  # config.json keeps it


def test_first_and_last_layers_need_a_model(folder: Path) -> None:
    with pytest.raises(UserError, match="--begin first-and-last copies layers from another model; specify that model"):
        prepare_run(override={"begin": "first-and-last"})
    assert prepare_run(override={"begin": "fresh"}).notes


def test_a_run_that_is_resumed_or_finished_does_not_begin_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split("train mnist-lenet --data pets --batch 8 --epochs 2 --init old.safetensors --out run")
    for event in train("mnist-lenet", "run", data="pets", batch=8, epochs=2, init="old.safetensors"):
        if isinstance(event, Saved):
            break
    for line in ("resuming", "finished"):
        assert main(words) == 0
        shown = "".join(capsys.readouterr())
        assert line in shown and "begins from" not in shown and "few to begin" not in shown


@pytest.mark.slow
def test_fresh_weights_were_not_trained_on_the_images_of_the_source(folder: Path) -> None:
    """Keep `evaluate` from leaving out images that these weights have never seen."""
    tree(folder / "zoo", classes=("emu", "gnu"), side=20)
    list(train("mnist-lenet", "first", data="zoo", batch=8, epochs=1))
    counts = {}
    for how in ("continue", "fresh"):
        list(train("mnist-lenet", how, data="pets", batch=8, epochs=1, init="first", override={"begin": how}))
        counts[how] = load_network(how, open_context()).trained_on
    alone = load_network("first", open_context()).trained_on
    assert alone is not None and counts["continue"] is not None and counts["fresh"] is not None
    assert len(counts["continue"]) == len(counts["fresh"]) + len(alone)
