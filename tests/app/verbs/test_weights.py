"""The verb `weights` on the command line, and published weights wherever a MODEL is taken."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from imclass.app.cli.main import main
from imclass.app.load import is_published
from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.core.files import file_digest
from imclass.core.model_file import Provenance, save_model, tensors_digest
from imclass.evaluation.results import read_scores
from imclass.evaluation.unpack import read_classifier as load_any
from imclass.models.analysis.surgery import batch_norms
from imclass.models.classifier import NetworkClassifier, create, load_network_classifier, networks
from imclass.models.foreign import published
from imclass.models.foreign.export import export_network
from tests.support.narrow import imitate_training, narrow
from tests.support.small import tree
from tests.support.tolerance import assert_near

NET = "resnet-cifar-20"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write theirs.th, a state dict of a network for CIFAR-10 with akamaster's names."""
    monkeypatch.chdir(tmp_path)
    classifier = create(published_model(), [f"class {k}" for k in range(10)], seed=5)
    tensors = export_network(classifier, "akamaster").tensors
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}}, "theirs.th")
    return tmp_path


def published_model() -> Any:
    """Return the network with the row that akamaster's weights need."""
    return Model(NET, {"zeros": "both"})


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """Return what a command prints, on standard error if it is refused."""
    capsys.readouterr()
    assert main(list(words)) == code
    out = capsys.readouterr()
    return out.out or out.err


def test_a_file_is_verified_imported_and_exported(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = file_digest(Path("theirs.th"))
    assert "the file can be imported" in run(capsys, "weights", "verify", "theirs.th", "--as", NET)
    printed = run(
        capsys, "weights", "import", "theirs.th", "--as", NET, "--out", "m.safetensors", "--from", "akamaster"
    )
    assert f"{NET} under akamaster's names: 116 of 116 tensors fit" in printed
    assert "m.safetensors: 'airplane', 'automobile', 'bird' and 7 more" in printed
    assert load_network_classifier("m.safetensors").row["zeros"] == "both"
    for out in ("back.pth", "back.safetensors"):
        words = ("weights", "export", "m.safetensors", "--format", "akamaster", "--out", out, "--json")
        record = json.loads(run(capsys, *words))
        assert (record["name"], record["tensors"]) == ("resnet20", 116)
        assert record["mean"] == pytest.approx([0.485, 0.456, 0.406])
    theirs = torch.load("theirs.th", weights_only=True)["state_dict"]
    for back in (torch.load("back.pth", weights_only=True), safetensors.torch.load_file("back.safetensors")):
        assert {f"module.{name}" for name in back} == set(theirs)
        assert all(torch.equal(tensor, theirs[f"module.{name}"]) for name, tensor in back.items())
    assert file_digest(Path("theirs.th")) == digest


def test_an_export_is_imported_again_without_options(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("names.json").write_text(json.dumps([f"kind {k}" for k in range(10)]))
    choices = ("--classes", "names.json", "--preprocess", "imagenet-bicubic")
    run(capsys, "weights", "import", "theirs.th", "--as", NET, "--out", "m.safetensors", *choices)
    for out in ("back.PTH", "back.safetensors"):
        run(capsys, "weights", "export", "m.safetensors", "--format", "akamaster", "--out", out)
        run(capsys, "weights", "import", out, "--as", NET, "--out", "again.SAFETENSORS")
        first, again = load_network_classifier("m.safetensors"), load_network_classifier("again.SAFETENSORS")
        assert (again.classes, again.preprocess) == (first.classes, first.preprocess)
        assert digest(again) == digest(first)
        Path("again.SAFETENSORS").unlink()


def digest(classifier: NetworkClassifier) -> str:
    return tensors_digest(classifier.network.state_dict())


def test_a_key_chooses_between_two_sets_of_weights(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.load("theirs.th", weights_only=True)["state_dict"]
    torch.save({"model": state, "model_ema": {n: t * 2 for n, t in state.items()}}, "two.PTH")
    words = ("weights", "verify", "two.PTH", "--as", NET)
    assert "several sets of weights, 'model', 'model_ema'; choose one with --key model" in run(capsys, *words, code=2)
    assert "'model_ema' is used, 'model' ignored" in run(capsys, *words, "--key", "model_ema")
    run(capsys, "weights", "import", *words[2:], "--key", "model_ema", "--out", "m.safetensors")
    first, theirs = (
        next(t for t in tensors.values() if t.dim() == 4)
        for tensors in (load_network_classifier("m.safetensors").network.state_dict(), state)
    )
    assert torch.equal(first, 2 * theirs)


def test_tensors_that_do_not_fit_are_listed_and_not_loaded(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.load("theirs.th", weights_only=True)["state_dict"]
    state["extra.weight"] = state.pop("module.linear.bias")
    torch.save(state, "odd.pth")
    record = json.loads(run(capsys, "weights", "verify", "odd.pth", "--as", NET, "--json", code=2))
    assert not record["loads"] and record["fit"] == 0  # the prefix is missing from one name
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    torch.save(state, "odd.pth")
    record = json.loads(run(capsys, "weights", "verify", "odd.pth", "--as", NET, "--json", code=2))
    assert (record["missing"], record["extra"]) == (["linear.bias (our head.2.bias)"], ["extra.weight"])
    assert "1 extra: 'extra.weight'" in run(capsys, "weights", "verify", "odd.pth", "--as", NET, code=2)
    printed = run(capsys, "weights", "import", "odd.pth", "--as", NET, "--out", "m.safetensors", code=2)
    assert printed.startswith("imclass: odd.pth was not loaded.") and not Path("m.safetensors").exists()


def test_classes_come_from_a_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"kind {k}" for k in range(10)]
    Path("list.json").write_text(json.dumps(names))
    Path("lines.txt").write_text("\n".join(names) + "\n")
    Path("spaces.txt").write_bytes("\ufeff".encode() + " \r\n".join(names).encode() + b"\r\n \r\n\n")
    words = ("weights", "import", "theirs.th", "--as", NET, "--out", "m.safetensors", "--classes")
    for file in ("list.json", "lines.txt", "spaces.txt"):
        assert json.loads(run(capsys, *words, file, "--json"))["classes"] == names
        kept = Path("m.safetensors").read_bytes()
        assert "m.safetensors already exists" in run(capsys, *words, file, code=2)
        assert Path("m.safetensors").read_bytes() == kept
        Path("m.safetensors").unlink()
    for content, message in (
        ('{"a": 1}', "must contain a JSON list of class names, or one name per line"),
        ("[1, 2]", "must contain a JSON list of class names"),
        ("a\na\n", "class 'a' occurs twice"),
        ("a\n\nb\n", "name 2 is blank"),
        ('["a", " "]', "name 2 is blank"),
        ("a\nb\n", "the file has 10 classes, but --classes lists 2"),
    ):
        Path("bad").write_text(content)
        assert message in run(capsys, *words, "bad", code=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("import", "no file was specified; run imclass weights import FILE"),
        ("export", "no model was specified; run imclass weights export MODEL"),
        ("import theirs.th", "imclass weights import requires --as NETWORK"),
        ("import theirs.th --as resnet-cifar-20", "imclass weights import requires --out MODEL"),
        (
            "import theirs.th --as resnet-cifar-21 --out m.safetensors",
            "no network is named 'resnet-cifar-21'; did you mean",
        ),
        ("import theirs.th --as resnet-cifar-20 --out no/m", "--out no/m: the folder no does not exist"),
        ("import theirs.th --as resnet-cifar-20 --out m.safetensors --from timn", "no counterpart in that library"),
        ("verify none.th --as resnet-cifar-20", "none.th is not a file"),
        ("export theirs.th --format akamaster --out a.bin", "--out a.bin: the file extension determines the format"),
        ("improt theirs.th", "no published weight file is named 'improt'; did you mean 'import'"),
        ("import theirs.th --form timm", "unknown option --form; did you mean"),
    ],
)
def test_a_mistake_yields_one_message(
    words: str, message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run(capsys, "weights", *words.split(), code=2)
    assert message in printed and "Traceback" not in printed


def test_published_weights_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(run(capsys, "weights", "--json"))
    assert {"googlenet:bvlc", "resnet-50-v1.5:torchvision", "vgg-d:torchvision"} <= {row["name"] for row in rows}
    detail = json.loads(run(capsys, "weights", "googlenet:bvlc", "--json"))
    assert (detail["top1"], detail["file"]) == (68.7, "weights/googlenet/bvlc_googlenet_fp16.npz")
    assert len(detail["sha256"]) == 64


@pytest.fixture
def in_store(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the file into the store, as if it were the published one."""
    folder = place / "store" / "weights" / NET
    folder.mkdir(parents=True)
    (folder / "akamaster.th").write_bytes(Path("theirs.th").read_bytes())
    key = f"{NET}:akamaster"
    file = replace(published.PUBLISHED_WEIGHTS[key], sha256=file_digest(Path("theirs.th"))[:8])
    monkeypatch.setattr(published, "PUBLISHED_WEIGHTS", {**published.PUBLISHED_WEIGHTS, key: file})
    return place / "store"


def test_a_photo_is_classified_with_published_weights(in_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save("photo.png")
    words = ("photo.png", "--store", str(in_store), "--offline", "--format", "csv")
    printed = run(capsys, "predict", f"{NET}:akamaster", *words)
    run(capsys, "weights", "import", "theirs.th", "--as", NET, "--out", "m.safetensors")
    assert printed == run(capsys, "predict", "m.safetensors", *words)
    assert printed.count("\n") == 6 and '1,"ship",' in printed


def test_info_describes_published_weights(in_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--store", str(in_store), "--offline", "--json")
    record = json.loads(run(capsys, "info", f"{NET}:akamaster", *words))
    assert (record["body"]["network"], record["licence"], record["parameters"]) == (NET, "BSD-2-Clause", 269_722)
    assert record["sha256"] == file_digest(Path("theirs.th")) and record["classes"][0] == "airplane"


def test_published_weights_can_be_exported(in_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--format", "akamaster", "--out", "back.pth", "--store", str(in_store), "--offline")
    assert "116 tensors of akamaster's resnet20" in run(capsys, "weights", "export", f"{NET}:akamaster", *words)


def test_missing_weights_are_explained(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (32, 32)).save("photo.png")
    words = ("predict", "photo.png", "--store", "empty", "--offline")
    printed = run(capsys, words[0], "resnet-18:torchvision", *words[1:], code=2)
    assert "By hand: save https://download.pytorch.org/models/resnet18-f37072fd.pth as" in printed
    assert "did you mean 'googlenet:bvlc'" in run(capsys, words[0], "googlenet:bvcl", *words[1:], code=2)


def test_a_network_alone_has_no_weights(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save("photo.png")
    assert main(["predict", "googlenet", "photo.png"]) == 2
    printed = capsys.readouterr().err
    assert "googlenet is a network without weights" in printed and "googlenet:bvlc" in printed
    Path("googlenet").mkdir()
    assert main(["predict", "googlenet", "photo.png"]) == 2
    assert "without weights" not in capsys.readouterr().err  # the folder of that name takes precedence


def test_a_file_of_that_name_takes_precedence(place: Path) -> None:
    assert is_published("googlenet:bvlc")
    assert not is_published("googlenet") and not is_published("runs:1/model.safetensors")
    Path("googlenet:bvlc").write_bytes(b"")
    assert not is_published("googlenet:bvlc")


def test_help_does_not_import_torch(capsys: pytest.CaptureFixture[str]) -> None:
    import subprocess
    import sys

    code = "import sys; from imclass.app.cli.main import main; main(['weights', '--help']); "
    code += "assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "--as NETWORK" in done.stdout and "--from LIBRARY" in done.stdout


@pytest.fixture
def with_norms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write photos, and a model whose batch norms have been trained."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets" / "test", per_class=4, side=40)
    tree(tmp_path / "pets" / "train", per_class=2, side=40)
    classifier = create(Model("vgg-bn-drop", narrow(networks()["vgg-bn-drop"])), ("cat", "dog"))
    imitate_training(classifier.network)
    contents = np.arange(3, dtype=np.uint64)
    classifier = replace(classifier, trained=Provenance(chosen="last step"), trained_on=contents, licence="CC0")
    classifier.save(tmp_path / "m.safetensors")
    return tmp_path


def test_a_folded_model_has_the_same_scores(with_norms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run(capsys, "weights", "fold", "m.safetensors", "--out", "f.safetensors")
    assert printed == "f.safetensors: 14 of 14 batch norms folded\n"
    original, folded = load_network_classifier("m.safetensors"), load_network_classifier("f.safetensors")
    assert folded.forms == ("folded",) and not original.forms and batch_norms(folded.network) == ()
    assert (folded.trained, folded.licence) == (original.trained, "CC0")
    assert folded.trained_on is not None and folded.trained_on.tolist() == [0, 1, 2]
    scores = []
    for model in ("m.safetensors", "f.safetensors"):
        for protocol in ("center", "dense"):
            words = ("--data", "pets", "--protocol", protocol, "--workers", "0", "--save-scores", f"{protocol}.npz")
            assert main(["evaluate", model, *words]) == 0
            scores.append(read_scores(Path(f"{protocol}.npz")).evaluation.scores)
            Path(f"{protocol}.npz").unlink()
    assert_near(scores[2], scores[0])
    assert_near(scores[3], scores[1])
    assert json.loads(run(capsys, "info", "f.safetensors", "--json"))["body"]["folded"] is True


def test_a_folded_model_may_be_a_member(with_norms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "weights", "fold", "m.safetensors", "--out", "f.safetensors")
    run(capsys, "evaluate", "m.safetensors", "f.safetensors", "--data", "pets", "--save", "both.safetensors")
    members = load_any("both.safetensors").networks()
    assert [len(batch_norms(member.network)) for member in members.values()] == [14, 0]


def test_the_tensors_of_a_folded_network_are_not_those_of_its_row(with_norms: Path) -> None:
    """Check that a file whose body does not record the folding cannot be read."""
    tensors, header = load_network_classifier("m.safetensors").transform("folded").pack()
    save_model(with_norms / "x.safetensors", tensors, replace(header, body=header.body | {"folded": False}))
    with pytest.raises(UserError, match="the file was written for another network"):
        load_network_classifier("x.safetensors")


def test_a_folded_model_is_neither_folded_again_nor_trained(
    with_norms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "weights", "fold", "m.safetensors", "--out", "f.safetensors")
    assert "has no batch norm, so nothing can be folded" in run(
        capsys, "weights", "fold", "f.safetensors", "--out", "g.safetensors", code=2
    )
    assert "imclass weights fold requires --out FILE" in run(capsys, "weights", "fold", "m.safetensors", code=2)
    words = ("train", "folder", "--data", "pets", "--init", "f.safetensors", "--dry-run")
    assert "--init f.safetensors was converted for inference (folded), so it cannot be trained" in run(
        capsys, *words, code=2
    )
    assert not Path("g.safetensors").exists()


def test_a_converted_model_is_saved_and_loaded(with_norms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Convert to convolutions and to dense max-pooling; fold the batch norms of the result."""
    printed = run(capsys, "weights", "convolve", "m.safetensors", "--out", "c.safetensors")
    sizes = "fully connected layers as convolutions: 1 x 1, 1 x 1, 1 x 1"
    assert printed == f"c.safetensors: {sizes}; class maps with a position every 32 pixels\n"
    printed = run(capsys, "weights", "convolve", "c.safetensors", "--fine", "--out", "f.safetensors")
    assert printed == "f.safetensors: class maps with a position every 16 pixels\n"
    run(capsys, "weights", "fold", "f.safetensors", "--out", "g.safetensors")
    original = load_network_classifier("m.safetensors")
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for name, forms, fine in (("c", 1, False), ("f", 2, True), ("g", 3, True)):
        found = load_network_classifier(f"{name}.safetensors")
        assert len(found.forms) == forms and found.trained == original.trained and found.licence == "CC0"
        wanted = original.transform("fine") if fine else original
        assert_near(found.dense(images), wanted.dense(images))
        assert_near(found.scores(images[:, :, :32, :32]), original.scores(images[:, :, :32, :32]))
    tensors, header = load_network_classifier("c.safetensors").pack()
    save_model(with_norms / "x.safetensors", tensors, replace(header, body=header.body | {"convolutional": False}))
    with pytest.raises(UserError, match="the file was written for another network"):
        load_network_classifier("x.safetensors")


def test_a_model_that_cannot_be_converted_is_explained(with_norms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "weights", "convolve", "m.safetensors", "--fine", "--out", "f.safetensors")
    for words, message in (
        (
            "weights convolve f.safetensors --out g.safetensors",
            "is already fully convolutional; use the model unchanged",
        ),
        ("weights convolve f.safetensors --fine --out g.safetensors", "have already been made finer"),
        ("weights convolve m.safetensors", "imclass weights convolve requires --out FILE"),
        ("weights convolve", "no model was specified"),
        ("train folder --data pets --init f.safetensors --dry-run", "converted for inference (convolutional and fine)"),
    ):
        assert message in run(capsys, *words.split(), code=2)
    assert not Path("g.safetensors").exists()
