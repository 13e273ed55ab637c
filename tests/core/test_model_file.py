"""A model file that was changed anywhere is refused, and its digest covers every bit."""

import errno
import hashlib
import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from imclass.core.codec import from_json, to_json
from imclass.core.config import Cut
from imclass.core.errors import UserError
from imclass.core.model_file import (
    MAGIC_KEY,
    MODEL_FORMAT,
    Ancestor,
    DataFacts,
    Metrics,
    ModelHeader,
    Provenance,
    RecipeNames,
    read_model,
    read_record,
    save_model,
    seal_digest,
    tensors_digest,
)
from imclass.core.preprocess import Preprocess


@dataclass(frozen=True)
class Body:
    """Body of an invented kind."""

    widths: tuple[int, ...]
    preprocess: Preprocess = Preprocess(28)


HEADER = ModelHeader(
    kind="made-up",
    classes=("cat", "dog"),
    link="sigmoid",
    body=from_json(dict[str, Any], to_json(Body((6, 16)))),
    trained=Provenance(
        data=DataFacts(name="pets", path="/pets", cut=Cut(seed=3, validation=0.1), plugins={"network tiny": "ab"}),
        recipe={"recipe": "mine", "data": "pets", "stages": ({"epochs": 3},)},
        metrics={"test": Metrics({"top1": 0.5, "loss": 1.0}, 9, 10)},
        chosen="last step",
        init=Ancestor(model="old", digest="cd", network="lenet-5", trained=Provenance(chosen="last step")),
    ),
    versions={"torch": "2"},
    licence="CC0",
)


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"a.weight": torch.randn(5, 7, generator=generator), "a.bias": torch.arange(5), "mean": torch.tensor(0.5)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(tmp_path / "model.safetensors", tensors(), HEADER)
    return tmp_path / "model.safetensors"


def refusal_of(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_model(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


# ---- the same bits


def digest_by_hand(arrays: dict[str, tuple[str, np.ndarray]]) -> str:
    """Return the SHA-256 over sorted (name, dtype, shape, bytes) of NumPy arrays with torch's names of their types."""
    total = hashlib.sha256()
    for name, (dtype, array) in sorted(arrays.items()):
        total.update(json.dumps([name, dtype, list(array.shape)]).encode() + array.tobytes())
    return total.hexdigest()


def test_tensors_digest_equals_the_reference() -> None:
    weight = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    arrays = {
        "w": ("torch.float32", weight),
        "n": ("torch.int64", np.array(7)),
        "empty": ("torch.float32", np.zeros((0, 2), np.float32)),
        "half": ("torch.bfloat16", np.array([0x3F80, 0x4000], np.uint16)),
        "mask": ("torch.bool", np.array([True, False])),
    }
    given = {name: torch.from_numpy(array) for name, (_, array) in arrays.items() if name != "half"}
    given["half"] = torch.tensor([1, 2], dtype=torch.bfloat16)
    assert tensors_digest(given) == digest_by_hand(arrays)
    assert tensors_digest(dict(reversed(given.items()))) == digest_by_hand(arrays)
    assert tensors_digest({"w": given["w"].t()}) == digest_by_hand({"w": ("torch.float32", weight.T.copy())})


@pytest.mark.parametrize(
    "other",
    [
        {"v": torch.zeros(2, 3)},
        {"w": torch.zeros(3, 2)},
        {"w": torch.zeros(2, 3, dtype=torch.int32)},
        {"w": torch.tensor([[0, 0, 0], [0, 0, 1e-45]])},
        {"w": -torch.zeros(2, 3)},
        {"w": torch.zeros(2, 3), "x": torch.zeros(0)},
        {},
    ],
    ids=["name", "shape", "dtype", "a bit", "sign of zero", "one more", "none"],
)
def test_tensors_digest_sees_every_difference(other: dict[str, Tensor]) -> None:
    assert tensors_digest(other) != tensors_digest({"w": torch.zeros(2, 3)})


# ---- the model file


def test_a_model_survives_a_round_trip(model: Path) -> None:
    read, header = read_model(model)
    assert header == HEADER
    assert tensors_digest(read) == tensors_digest(tensors())


def test_saving_twice_gives_the_same_bytes(model: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "again", dict(reversed(tensors().items())), HEADER)
    assert (tmp_path / "again").read_bytes() == model.read_bytes()


def test_other_programs_can_read_the_tensors(model: Path) -> None:
    assert tensors_digest(safetensors.torch.load_file(model)) == tensors_digest(tensors())


def test_a_flipped_bit_is_detected_anywhere(model: Path) -> None:
    whole = model.read_bytes()
    positions = np.random.default_rng(0).permutation(len(whole) * 8)[:400].tolist()
    header_bits = 8 * (8 + struct.unpack("<Q", whole[:8])[0])
    assert sum(p < header_bits for p in positions) > 50 and sum(p >= header_bits for p in positions) > 20
    for position in [*range(64), *positions, len(whole) * 8 - 1]:
        touched = bytearray(whole)
        touched[position // 8] ^= 1 << position % 8
        model.write_bytes(touched)
        refusal_of(model)


def test_without_the_digest_a_flipped_bit_would_pass(model: Path) -> None:
    touched = bytearray(model.read_bytes())
    touched[-1] ^= 1
    assert tensors_digest(safetensors.torch.load(bytes(touched))) != tensors_digest(tensors())


def test_a_truncated_file_is_refused_at_every_length(model: Path) -> None:
    whole = model.read_bytes()
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        model.write_bytes(whole[:length])
        refusal_of(model)
    model.write_bytes(whole + b"x")
    refusal_of(model)


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**40, 100_000_001, 99_999_999])
def test_a_huge_header_is_refused_before_it_is_read(model: Path, monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    model.write_bytes(struct.pack("<Q", length) + model.read_bytes()[8:])
    monkeypatch.setattr(json, "loads", lambda text: pytest.fail("read the header"))
    assert "is not a model file, or is incomplete" in refusal_of(model)


def test_a_huge_header_in_a_huge_file_is_refused(model: Path) -> None:
    with model.open("wb") as file:
        file.write(struct.pack("<Q", 200_000_000))
        file.truncate(300_000_000)
    assert "is not a model file, or is incomplete" in refusal_of(model)


def change_header(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite a model file with a changed header and a digest that matches it."""
    record, _ = read_record(path)
    plain = safetensors.torch.load_file(path)
    change(record)
    text = json.dumps({"header": record, "sha256": seal_digest(record, plain)})
    path.write_bytes(safetensors.torch.save(plain, metadata={MAGIC_KEY: text}))


@pytest.mark.parametrize("number", [MODEL_FORMAT + 1, 0, None, "1"])
def test_another_format_number_is_named(model: Path, number: object) -> None:
    change_header(model, lambda record: record.update(format=number))
    message = refusal_of(model)
    assert f"has model format {number}, but this version of imclass reads format {MODEL_FORMAT}" in message


def test_a_wrong_field_is_named_even_if_the_digest_matches(model: Path) -> None:
    change_header(model, lambda record: record["trained"]["data"].update(pathh="x"))
    assert "no field 'trained.data.pathh'; did you mean 'path'" in refusal_of(model)


def test_a_wrong_field_of_the_body_is_named(model: Path) -> None:
    assert read_model(model)[1].body_of(Body, model) == Body((6, 16))
    change_header(model, lambda record: record["body"]["preprocess"].update(sice=3))
    with pytest.raises(UserError, match=r"model.safetensors: .*'body.preprocess.sice'; did you mean 'size'"):
        read_model(model)[1].body_of(Body, model)


def test_a_file_of_format_1_is_refused_with_the_commands_that_create_a_new_one(model: Path) -> None:
    change_header(model, lambda record: record.update(format=1, network="lenet-5"))
    assert refusal_of(model) == (
        f"{model} has model format 1, but this version of imclass reads format 2; create it again with imclass "
        "train, imclass weights import or imclass evaluate --save"
    )


def test_provenance_has_the_names_in_its_recipe() -> None:
    assert HEADER.trained is not None
    assert HEADER.trained.names == RecipeNames("mine", "pets") and Provenance().names == RecipeNames()


def test_metrics_survive_a_round_trip_through_numbers() -> None:
    numbers = {"top1": 0.5, "loss": 1.25, "evaluated": 9, "total": 10}
    assert Metrics.from_numbers(numbers) == Metrics({"top1": 0.5, "loss": 1.25}, 9, 10)
    assert Metrics.from_numbers(numbers).numbers == numbers


@pytest.mark.parametrize("change", [{"format": MODEL_FORMAT + 1}, {"engine": "later"}], ids=["format", "field"])
def test_a_file_of_a_later_version_is_refused_with_that_version(model: Path, change: dict[str, Any]) -> None:
    change_header(model, lambda record: record.update(change))
    assert "install the version of imclass that wrote it" in refusal_of(model)
    change_header(model, lambda record: record.update(versions={"imclass": "9.1"}))
    assert "install imclass 9.1, which wrote it" in refusal_of(model)


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}, {MAGIC_KEY: "{"}, {MAGIC_KEY: "[]"}, {MAGIC_KEY: '{"header": {}}'}]
)
def test_another_programs_file_is_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(safetensors.torch.save(tensors(), metadata=metadata))
    assert "it has no readable header" in refusal_of(path)


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    text = b"[" * 200_000
    (tmp_path / "deep").write_bytes(struct.pack("<Q", len(text)) + text)
    refusal_of(tmp_path / "deep")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path} is not a run" in refusal_of(tmp_path / "model.safetensors")
    assert "does not exist" in refusal_of(tmp_path)


def test_a_failed_save_keeps_the_old_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = model.read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(model, {"w": torch.ones(3)}, HEADER)
    assert model.read_bytes() == before
    assert [p.name for p in model.parent.iterdir()] == [model.name]
