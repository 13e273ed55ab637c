"""The estimate of a dry run: measured from a few images, within half of the free memory, and without a download."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imclass.app.cli.main import main
from imclass.app.runs import estimate as estimating
from imclass.app.runs.estimate import Line, free_disk, line_through
from imclass.app.text.estimate import need_text
from imclass.store.store import Store
from imclass.training.plan import Leg
from imclass.training.state import State
from tests.support.command import json_output, text
from tests.support.small import save_untrained, tree

LENET = ("train", "mnist-lenet", "--data", "pets", "--batch", "8", "--dry-run")
ON_CPU = ("--device", "cpu", "--precision", "fp32", "--dry-run")
PROBE = ("train", "finetune", "--data", "pets", "--init", "mine.safetensors", *ON_CPU)
GIB = 2**30


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with photos and a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMCLASS_STORE", str(tmp_path / "store"))
    tree(tmp_path / "pets")
    save_untrained(tmp_path / "mine.safetensors")
    return tmp_path


def test_a_dry_run_estimates_time_memory_and_disk(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json_output(capsys, *LENET, "--epochs", "3")
    assert set(record) == {"training", "execution", "estimate"}
    found = record["estimate"]
    (stage,) = found["stages"]
    assert (stage["epochs"], stage["steps"], stage["features"]) == (3, 6, 0)
    assert 0 < stage["seconds"] == found["seconds"] < 600
    assert 2**20 < found["memory"]["needed"] < found["memory"]["available"]
    weights = 4 * 43_746
    assert weights < found["disk"]["needed"] < 10 * weights
    assert found["fetch"] is None and found["warnings"] == [] and found["store"]["needed"] == 0
    assert not (place / "runs").exists()


def test_the_estimate_is_printed_below_the_config(capsys: pytest.CaptureFixture[str]) -> None:
    printed = text(capsys, *PROBE, "--epochs", "3", "--validation", "0.2", "--batch", "8")
    config, _, below = printed.partition("\n\nEstimate from steps of a few images (cpu, fp32")
    assert config.startswith("{") and config.endswith("}")
    lines = below.splitlines()[1:]
    assert lines[0].split() == ["stage", "epochs", "steps", "features", "time"]
    assert lines[1].split()[:4] == ["probe", "1", "1", "12"] and lines[2].split()[:4] == ["all", "3", "6", "-"]
    starts = [
        "time: about",
        "memory: about",
        "disk space for checkpoints",
        "disk space for features in the store: about",
    ]
    assert all(line.startswith(start) for line, start in zip(lines[3:], starts, strict=True))


def test_features_and_minutes_are_estimated(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*PROBE, "--validation", "0.2", "--batch", "8", "--minutes", "0.01"]
    found = json_output(capsys, *words)["estimate"]
    probe, whole = found["stages"]
    assert probe["features"] == 12
    assert found["store"]["needed"] == (12 + 4 + 4) * (4 * 84 + estimating.ROW_BYTES)  # train, validation and test
    longer = json_output(capsys, *words[:-1], "10")["estimate"]["stages"][1]
    assert 1 <= whole["epochs"] < longer["epochs"] and longer["seconds"] == pytest.approx(600, rel=0.1)


def test_what_exceeds_the_machine_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimating, "DAY", 1e-9)
    monkeypatch.setattr(estimating, "free_disk", lambda folder: 7)
    monkeypatch.setattr(estimating, "held_memory", lambda device: -8 * GIB)
    monkeypatch.setattr(estimating, "free_memory", lambda device: 8 * GIB + 9)
    printed = text(capsys, *PROBE, "--validation", "0.2", "--batch", "8")
    warnings = [line for line in printed.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 4 and "more than a day" in warnings[0]
    assert "of memory, but only 9 bytes is available; choose a smaller --batch" in warnings[1]
    assert "of disk space for its folder, but only 7 bytes is available" in warnings[2]
    assert "of disk space for features, but only" in warnings[3]


def test_a_measurement_takes_at_most_half_of_the_free_memory(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Any] = []
    real = estimating.measure_steps

    def measure_steps(leg: Leg, state: State, sizes: Sequence[int]) -> tuple[Line, Line]:
        measured.append(sizes)
        return real(leg, state, sizes)

    monkeypatch.setattr(estimating, "measure_steps", measure_steps)
    monkeypatch.setattr(estimating, "expected_bytes", lambda leg, state, size: size * GIB)
    for free, sizes in ((8 * GIB, [1, 2, 4]), (5 * GIB, [1, 2]), (2 * GIB, [1])):
        monkeypatch.setattr(estimating, "free_memory", lambda device, free=free: free)
        json_output(capsys, *LENET)
        assert measured.pop() == sizes
    monkeypatch.setattr(estimating, "free_memory", lambda device: 2 * GIB - 2)
    found = json_output(capsys, *LENET)["estimate"]
    assert not measured and found["seconds"] is None and found["memory"]["needed"] is None
    assert "even the smallest step may need more than half of the free memory" in found["warnings"][0]
    printed = text(capsys, *LENET)
    assert "time: unknown" in printed and "memory: unknown, " in printed and "about unknown" not in printed


def test_an_unknown_need_is_not_about_anything() -> None:
    assert need_text({"needed": None, "available": None}) == "unknown"
    assert need_text({"needed": GIB, "available": None}) == "about 1.0 GiB"
    assert need_text({"needed": None, "available": GIB}) == "unknown, 1.0 GiB available"


def test_nothing_is_estimated_for_a_finished_run(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*LENET[:-1], "--epochs", "1", "--no-pictures", "--out", "run"]
    assert main([*words]) == 0
    capsys.readouterr()
    assert json_output(capsys, *words, "--dry-run")["estimate"] is None
    assert text(capsys, *words, "--dry-run").rstrip().endswith("The run is finished, so nothing is left to estimate.")


def test_the_expected_size_of_a_step_counts_weights_and_maps(capsys: pytest.CaptureFixture[str]) -> None:
    sizes: list[int] = []
    with pytest.MonkeyPatch.context() as patched:
        real = estimating.expected_bytes

        def expected_bytes(leg: Leg, state: State, size: int) -> int:
            sizes.append(real(leg, state, size))
            return sizes[-1]

        patched.setattr(estimating, "expected_bytes", expected_bytes)
        json_output(capsys, *LENET)
    one, two, four = sizes
    weights = 2 * 4 * 43_746  # and as many gradients
    assert two - one == (four - two) / 2 > 2 * 4 * 6 * 28 * 28 and weights <= one - (two - one) < weights + 99


def test_an_unreadable_first_image_does_not_prevent_an_estimate(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "pets" / "cat" / "000.png").write_bytes(b"no image")
    (place / "pets" / "cat" / "001.png").write_bytes(b"no image")
    assert json_output(capsys, *LENET)["estimate"]["seconds"] > 0


def test_weights_that_are_missing_are_not_fetched(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "get", lambda *_: pytest.fail("it was fetched"))
    words = [
        "train",
        "probe",
        "--data",
        "pets",
        "--init",
        "resnet-cifar-20:akamaster",
        "--precision",
        "fp32",
        "--dry-run",
    ]
    record = json_output(capsys, *words)
    fetch = record["estimate"]["fetch"]
    assert (fetch["name"], fetch["licence"]) == ("resnet-cifar-20:akamaster", "BSD-2-Clause")
    assert fetch["size"] == pytest.approx(4 * 272_474, rel=0.02) and fetch["url"].startswith("https://")
    assert record["training"]["model"]["network"] == "resnet-cifar-20" and record["training"]["init_digest"] == ""
    assert record["training"]["preprocess"]["size"] == 32 and record["training"]["model"]["mean"] == [
        0.485,
        0.456,
        0.406,
    ]
    assert record["estimate"]["seconds"] > 0
    printed = text(capsys, *words)
    assert "download: resnet-cifar-20:akamaster (about 1.0 MiB, licence BSD-2-Clause) from https://" in printed


def test_weights_that_cannot_be_fetched_are_an_error(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "probe", "--data", "pets", "--dry-run"]
    assert main([*words, "--init", "resnet-cifar-20:akamaster", "--offline"]) == 2
    assert "--offline forbids downloading it" in capsys.readouterr().err
    assert main([*words, "--init", "googlenet:bvlc"]) == 2
    assert "cannot be downloaded directly" in capsys.readouterr().err


@pytest.mark.parametrize("values", [(3.0, 5.0, 9.0), (1.0, 1.5, 3.0)])
def test_a_line_is_the_least_squares_fit(values: tuple[float, ...]) -> None:
    found = line_through((1, 2, 4), values)
    slope, constant = np.linalg.lstsq(np.array([[1, 1], [2, 1], [4, 1]], float), np.array(values), rcond=None)[0]
    assert (found.slope, found.constant) == pytest.approx((slope, constant))
    assert found.at(128) == pytest.approx(slope * 128 + constant)


def test_a_line_neither_falls_nor_begins_below_zero() -> None:
    assert line_through((1, 2, 4), (3.0, 2.0, 1.0)) == Line(3.0, 0.0)
    assert line_through((1, 2), (1.0, 3.0)).constant == 0.0
    assert line_through((2,), (6.0,)) == Line(0.0, 3.0)


def test_free_disk_space_is_that_of_the_nearest_folder(place: Path) -> None:
    assert free_disk(place / "none" / "deep") == pytest.approx(free_disk(place), rel=0.01)
