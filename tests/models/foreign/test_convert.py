"""Import of other libraries' weights into classifiers and model files."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from imclass.core.errors import UserError
from imclass.core.model_file import tensors_digest
from imclass.models.classifier import create, load_network_classifier, networks
from imclass.models.entry import NetworkEntry
from imclass.models.foreign.convert import ImportOptions, import_weights
from imclass.models.foreign.matching import meta_tensors
from tests.support.foreign_weights import TEN, akamaster_state, lenet, weights_of

ENTRIES: dict[str, NetworkEntry] = networks().entries
Save = Callable[[Mapping[str, Tensor], Path], None]


def as_npz(state: Mapping[str, Tensor], path: Path) -> None:
    np.savez_compressed(path, allow_pickle=False, **{name: tensor.numpy() for name, tensor in state.items()})


def as_old_pickle(state: Mapping[str, Tensor], path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


KINDS: dict[str, Save] = {
    "a.safetensors": lambda state, path: safetensors.torch.save_file(dict(state), path),
    "a.npz": as_npz,
    "a.pth": lambda state, path: torch.save(state, path),
    "a.th": as_old_pickle,
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_file_restores_the_network(name: str, tmp_path: Path) -> None:
    original = lenet()
    KINDS[name](weights_of(original), tmp_path / name)
    found, match = import_weights(tmp_path / name, "lenet-5", ImportOptions(classes=TEN))
    assert (match.naming, len(match.pairs), match.is_complete) == ("imclass", 10, True)
    assert tensors_digest(found.network.state_dict()) == tensors_digest(original.network.state_dict())
    assert found.classes == TEN and found.preprocess.colour == "grey"


def test_the_numbers_of_classes_and_channels_come_from_the_file(tmp_path: Path) -> None:
    original = create("resnet-cifar-20", ["a", "b", "c"], seed=1)
    torch.save(weights_of(original), tmp_path / "a.pth")
    for given_names in (None, ("a", "b")):
        with pytest.raises(UserError, match="the file has 3 classes, but"):
            import_weights(tmp_path / "a.pth", "resnet-cifar-20", ImportOptions(classes=given_names))
    found, match = import_weights(tmp_path / "a.pth", "resnet-cifar-20", ImportOptions(classes=("x", "y", "z")))
    assert (match.classes, match.w_in, found.classes) == (3, 3, ("x", "y", "z"))
    known = ImportOptions(known_classes={3: ("k", "l", "m")})
    assert import_weights(tmp_path / "a.pth", "resnet-cifar-20", known)[0].classes == ("k", "l", "m")
    grey = meta_tensors(ENTRIES["resnet-cifar-20"], ENTRIES["resnet-cifar-20"].row, 4, 1)
    torch.save({name: torch.zeros_like(t, device="cpu") for name, t in grey.items()}, tmp_path / "grey.pth")
    found, match = import_weights(tmp_path / "grey.pth", "resnet-cifar-20", ImportOptions(classes=("a", "b", "c", "d")))
    assert (match.w_in, found.preprocess.colour, found.network.mean.shape) == (1, "grey", (1, 1, 1))


def test_the_row_that_a_library_s_weights_need_is_used(tmp_path: Path) -> None:
    entry = ENTRIES["googlenet"]
    outline = meta_tensors(entry, type(entry.row)(aux=False), 3, 3)
    names = {entry.foreign["caffe"].rename(n): t.shape for n, t in outline.items()}
    np.savez(tmp_path / "a.npz", allow_pickle=False, **{n: np.zeros(s, np.float16) for n, s in names.items()})
    found, match = import_weights(tmp_path / "a.npz", "googlenet", ImportOptions(classes=("a", "b", "c")))
    assert (match.naming, found.row["k"], found.row["aux"], entry.row.k) == ("caffe", 1.0, False, 2.0)


def test_another_variant_is_suggested_if_no_library_has_the_network(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"no other library has resnet-50; try --as resnet-50-v1.5"):
        import_weights(tmp_path / "a.pth", "resnet-50", ImportOptions())


def test_a_model_file_keeps_an_import(tmp_path: Path) -> None:
    torch.save(akamaster_state(), tmp_path / "a.th")
    found, _ = import_weights(tmp_path / "a.th", "resnet-cifar-20", ImportOptions(classes=TEN, licence="BSD-2-Clause"))
    found.save(tmp_path / "model.safetensors")
    again = load_network_classifier(tmp_path / "model.safetensors")
    assert tensors_digest(again.network.state_dict()) == tensors_digest(found.network.state_dict())
    assert again.licence == "BSD-2-Clause"
    assert again.trained is not None and again.trained.chosen.startswith(
        "imported from a.th (akamaster's names), SHA-256 "
    )
