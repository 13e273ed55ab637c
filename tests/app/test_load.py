"""MODEL may name an unfinished run, a checkpoint or a leg."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from imclass.app.api import load as load_public
from imclass.app.api import train
from imclass.app.cli.main import main
from imclass.app.load import load_network, normal_spelling, read_packed
from imclass.core.errors import UserError
from imclass.store.context import open_context
from imclass.training.checkpoint import load_checkpoint
from imclass.training.events import EpochEnd
from tests.support.command import json_output
from tests.support.small import save_untrained, tree


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data and a run that was stopped in its last epoch."""
    folder = tmp_path_factory.mktemp("half")
    pets = tree(folder / "pets")
    epochs = 0
    for event in train("mnist-lenet", folder / "run", data=str(pets), batch=4, epochs=3, seed=1):
        epochs += isinstance(event, EpochEnd)
        if epochs == 3:
            break
    return folder


@pytest.fixture
def run(half: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(half / "run", tmp_path / "run"))


def newest(run: Path) -> Path:
    return sorted((run / "checkpoints").iterdir())[-1]


def test_an_unfinished_run_means_its_newest_checkpoint(
    run: Path, half: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = load_network(run, open_context())
    tensors = load_checkpoint(newest(run)).tensors
    assert all(torch.equal(t, tensors[f"model.{name}"]) for name, t in found.network.state_dict().items())
    assert found.classes == ("cat", "dog") and found.trained is not None and found.trained.chosen == "step 8"
    assert main(["predict", str(run), str(half / "pets" / "cat" / "000.png")]) == 0
    assert capsys.readouterr().err.startswith(f"note: {run} is not finished: these are the weights of step 8\n")


def test_verbs_accept_a_checkpoint(run: Path, half: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    older, last = sorted((run / "checkpoints").iterdir())
    record = json_output(capsys, "info", str(older))
    assert record["trained"]["chosen"] == "step 4" and record["file"] == str(older / "tensors.safetensors")
    trained = record["trained"]
    assert trained["data"]["path"] == str(half / "pets") and trained["recipe"]["recipe"] == "mnist-lenet"
    assert json_output(capsys, "evaluate", str(last), "--workers", "0")["total"] == 4  # held out by the run's own split
    words = [str(half / "pets"), "--layer", "head.1", "--out", str(tmp_path / "f.npy")]
    assert json_output(capsys, "features", str(last), *words)["shape"][0] == 20
    assert main(["weights", "export", str(last), "--format", "torchvision", "--out", str(tmp_path / "x.pth")]) == 2
    assert "lenet-5" in capsys.readouterr().err  # it was read, but torchvision has no such network
    assert load_public(last).classes == ("cat", "dog")


def test_a_damaged_checkpoint_is_skipped_in_a_run_and_refused_by_name(run: Path) -> None:
    last = newest(run)
    (last / "tensors.safetensors").write_bytes(b"0")
    packed = read_packed(run, open_context())
    assert "is damaged and was skipped" in packed.notes[0] and packed.notes[1].endswith("the weights of step 4")
    with pytest.raises(UserError, match=f"the checkpoint {last} is damaged: tensors.safetensors does not match"):
        read_packed(last, open_context())


def test_a_run_without_a_checkpoint_has_no_weights(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UserError, match=r"is not finished: it has no model.safetensors yet, and no complete check"):
        read_packed(run, open_context())


def test_a_checkpoint_that_names_no_network_is_refused(run: Path) -> None:
    from imclass.training.checkpoint import Checkpoints

    found = load_checkpoint(newest(run))
    record = {key: value for key, value in found.record.items() if key != "model"}
    Checkpoints(run / "checkpoints").save(newest(run).name, found.tensors, record)
    with pytest.raises(UserError, match="does not record its network"):
        read_packed(run, open_context())


def test_a_leg_may_be_named(tmp_path: Path) -> None:
    leg = tmp_path / "run" / "legs" / "00-first"
    leg.mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text(json.dumps({}))
    save_untrained(leg / "model.safetensors")
    assert read_packed(leg, open_context()).notes == ()


def test_the_spelling_of_a_model_is_normalised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert normal_spelling("./runs//a/") == "runs/a" and normal_spelling("~/a") == str(tmp_path / "a")
    assert normal_spelling("googlenet:bvlc") == "googlenet:bvlc" and normal_spelling("") == ""
