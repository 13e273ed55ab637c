"""The verb `explain` draws one picture for each photo, and changes nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imclass
from imclass.app.cli.main import main
from imclass.app.draw.canvas import is_our_picture
from tests.support.small import fingerprint, save_untrained, tree


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_untrained(tmp_path / "m.safetensors")
    return tree(tmp_path / "pets", per_class=1, side=50)


def explain(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """Run the verb, check its exit code, and return what it printed."""
    assert main(["explain", "m.safetensors", *words]) == code
    shown = capsys.readouterr()
    return shown.err if code == 2 else shown.out


def test_each_photo_has_a_picture(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "bad.png").write_bytes(b"GIF89a")
    before = fingerprint(place)
    words = ("pets", "--out", "maps", "--class", "DOG", "--scales", "28,40")
    records = json.loads(explain(capsys, *words, "--json", code=1))
    assert records[0]["path"].endswith("bad.png") and records[0]["refused"]["code"]
    cat, dog = records[1:]
    assert (cat["picture"], dog["picture"]) == ("maps/000.png", "maps/000-2.png")  # two photos of one name
    assert cat["class"] == dog["class"] == "dog" and [each["scale"] for each in dog["maps"]] == [28, 40]
    assert dog["maps"][1]["positions"] == [4, 4] and 0 < dog["maps"][1]["highest"] < 1
    assert sorted(path.name for path in Path("maps").iterdir()) == ["000-2.png", "000.png"]
    assert all(is_our_picture(path) for path in Path("maps").iterdir()) and fingerprint(place) == before
    assert explain(capsys, *words, code=1).startswith("maps/000.png: dog ")  # our pictures are replaced


def test_the_default_class_is_the_prediction(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explained = list(imclass.explain("m.safetensors", "pets"))
    for found, predicted in zip(explained, imclass.predict("m.safetensors", "pets"), strict=True):
        assert (found.class_name, pytest.approx(found.probability)) == predicted.classes[0]
        assert repr(found).startswith(f"Explained({found.name!r}: {found.class_name} ")
    explained[0].save("a.png")
    assert is_our_picture(Path("a.png"))
    (small,) = imclass.explain("m.safetensors", b"not an image", class_="cat")
    assert small.refused is not None and "refused" in repr(small)
    with pytest.raises(imclass.UserError, match="nothing to draw"):
        small.save("b.png")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("pets", "imclass explain requires --out DIR"),
        ("pets --out no/maps", "the folder no does not exist"),
        ("pets --out m.safetensors", "--out m.safetensors already exists"),
        ("pets --out maps --class bird", "--class bird: the model has no class 'bird'; there are: "),
        ("pets --out maps --method mop", "no method of explanation is named 'mop'; did you mean 'map'?"),
        ("pets --out maps --workers -1", "--workers is -1; it must be 0 or more threads"),
        ("pets --out maps --scales 20", "method map: Q is 20 pixels; it must be at least 28"),
        ("pets --out maps --scales a", "--scales is 'a'; it must be whole numbers of pixels"),
        ("mnist-sample --out maps", "mnist-sample is the name of a data set"),
        ("none --out maps", "none"),
    ],
)
def test_a_mistake_yields_one_message(
    words: str, message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in explain(capsys, *words.split(), code=2)
    assert not Path("maps").exists()


def test_a_file_of_the_user_is_not_replaced(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that a photo survives when its folder is also the folder of the pictures."""
    before = fingerprint(place)
    assert "cat/000.png already exists" in explain(capsys, "pets/cat", "--out", "pets/cat", code=2)
    assert fingerprint(place) == before


def test_a_plugin_may_add_a_method(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("plugins").mkdir()
    Path("plugins/centre.py").write_text(
        "import numpy as np\n"
        "from imclass.evaluation.explanation import ClassMap\n"
        "class Centre:\n"
        "    name = 'centre'\n"
        "    def check(self, classifier, scales): pass\n"
        "    def __call__(self, classifier, image, label, scales):\n"
        "        return (ClassMap(np.ones((1, 1)), (0.0, 0.0, 50.0, 50.0), (0.0, 0.0, 50.0, 50.0), 50),)\n"
        "EXPLANATIONS = {'centre': Centre(), 'other': Centre(), 'none': None}\n"
    )
    words = ("pets/cat", "--out", "maps", "--method", "centre", "--plugins", "plugins")
    assert "at most 100.00% at 50 pixels" in explain(capsys, *words)
    with Image.open("maps/000.png") as picture:
        assert np.asarray(picture).std() > 0
    for name in ("other", "none"):
        assert f"method of explanation {name}: it must have this name" in explain(
            capsys, "pets/cat", "--out", "maps", "--method", name, "--plugins", "plugins", code=2
        )
