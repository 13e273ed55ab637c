"""The verb `info` describes a model file, and renames classes in a copy."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imclass.app.cli.main import main
from imclass.core.files import file_digest
from imclass.core.model_file import Metrics, read_model, tensors_digest
from imclass.evaluation.ensemble import Ensemble, EnsembleMember
from imclass.evaluation.protocols.center import Center
from imclass.evaluation.unpack import read_classifier, save_classifier
from tests.support.command import json_output, text
from tests.support.small import picture, save_untrained


def test_a_model_file_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.safetensors"
    classifier = save_untrained(
        path, recipe={"seed": 3}, metrics={"test": Metrics({"top1": 0.5}, 1, 2)}, chosen="last step"
    )
    record = json_output(capsys, "info", str(path))
    assert record["file"] == str(path) and record["sha256"] == file_digest(path)
    assert record["parameters"] == sum(p.numel() for p in classifier.network.parameters())
    assert (record["kind"], record["classes"], record["link"]) == ("network", ["cat", "dog"], "softmax")
    assert record["body"]["network"] == "lenet-5" and record["body"]["preprocess"]["resize"] == "squash"
    assert record["trained"]["chosen"] == "last step" and record["trained"]["recipe"] == {"seed": 3}
    assert json_output(capsys, "info", str(tmp_path)) == record  # a run's directory means its model
    assert "trained.metrics.test.measures.top1: 0.5" in text(capsys, "info", str(path)).splitlines()


def test_the_number_of_training_images_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.safetensors"
    classifier = save_untrained(path)
    assert json_output(capsys, "info", str(path))["trained_on"] is None
    assert "trained on" not in text(capsys, "info", str(path))
    replace(classifier, trained_on=np.arange(1200, dtype=np.uint64)).save(path)
    assert json_output(capsys, "info", str(path))["trained_on"] == 1200
    assert text(capsys, "info", str(path)).splitlines()[-1] == "trained on 1,200 images"
    members = [replace(classifier, trained_on=np.arange(n, dtype=np.uint64)) for n in (5, 8)]
    save_classifier(path, Ensemble(tuple(map(EnsembleMember, members))))
    assert json_output(capsys, "info", str(path))["trained_on"] == 8  # each image counts once


RENAME = ("--rename", "cat=Katze", "--rename", "dog=Hund")


def test_renaming_changes_only_the_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "model.safetensors", tmp_path / "new.safetensors"
    classifier = save_untrained(path, recipe={"seed": 3}, chosen="last step")
    replace(classifier, licence="CC0", trained_on=np.arange(3, dtype=np.uint64)).save(path)
    before, digest = json_output(capsys, "info", str(path)), file_digest(path)
    after = json_output(capsys, "info", str(path), *RENAME, "--out", str(out))
    assert after["classes"] == ["Katze", "Hund"] and after["file"] == str(out)
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"file", "sha256", "classes"} and file_digest(path) == digest
    assert tensors_digest(read_model(out)[0]) == tensors_digest(read_model(path)[0])
    assert text(capsys, "info", str(out)).splitlines()[-1] == "trained on 3 images"


def test_the_members_of_an_ensemble_are_renamed_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "fused.safetensors", tmp_path / "new.safetensors"
    one, other = save_untrained(tmp_path / "a"), save_untrained(tmp_path / "b", ("dog", "cat"))
    save_classifier(path, Ensemble((EnsembleMember(Ensemble((EnsembleMember(one),))), EnsembleMember(other, Center()))))
    assert json_output(capsys, "info", str(path), *RENAME, "--out", str(out))["classes"] == ["Katze", "Hund"]
    found = read_classifier(out)
    assert [network.classes for network in found.networks().values()] == [("Katze", "Hund"), ("Hund", "Katze")]
    images = [picture(i) for i in range(3)]
    assert torch.equal(found.classify(images), read_classifier(path).classify(images))


def test_two_classes_may_swap_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_untrained(tmp_path / "m.safetensors")
    words = ("--rename", "cat=dog", "--rename", "dog=cat", "--out", str(tmp_path / "n.safetensors"))
    assert json_output(capsys, "info", str(tmp_path / "m.safetensors"), *words)["classes"] == ["dog", "cat"]


def test_names_are_kept_in_their_composed_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_untrained(tmp_path / "m.safetensors", ("a=b", "caf\u00e9"))
    words = ("--rename", "cafe\u0301=the\u0301", "--rename", "a=b=c", "--out", str(tmp_path / "n.safetensors"))
    assert json_output(capsys, "info", str(tmp_path / "m.safetensors"), *words)["classes"] == ["c", "th\u00e9"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--rename cow=ox --out n.safetensors", "--rename cow=ox: the model has no class 'cow'"),
        ("--rename Cat=x --out n.safetensors", "the model has no class 'Cat'; did you mean 'cat'?"),
        (
            "--rename cat=dog --out n.safetensors",
            "--rename cat=dog: another class is named 'dog'; rename that class too",
        ),
        ("--rename cat=Dog --out n.safetensors", "classes 'Dog' and 'dog' differ only in case"),
        ("--rename cat --out n.safetensors", "--rename cat does not have the form OLD=NEW"),
        ("--rename cat= --out n.safetensors", "--rename cat= does not have the form OLD=NEW"),
        ("--rename cat=x --rename cat=y --out n.safetensors", "--rename cat=y: class 'cat' is given two new names"),
        ("--rename cat=x", "--rename does not change MODEL but writes a copy; choose the file for the copy with --out"),
        ("--out n.safetensors", "--out n.safetensors requires --rename OLD=NEW; pass the new names"),
        ("--rename cat=x --out m.safetensors", "--out m.safetensors already exists"),
        ("--rename cat=x --out n.pth", "the file name must end in .safetensors"),
    ],
)
def test_a_mistake_in_renaming_yields_one_message(
    words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_untrained(Path("m.safetensors"))
    assert main(["info", "m.safetensors", *words.split()]) == 2
    printed = capsys.readouterr().err
    assert message in printed and len(printed.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
