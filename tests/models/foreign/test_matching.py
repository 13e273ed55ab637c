"""Fitting a file's tensors to a network by name, shape and type, under the names of each library."""

from pathlib import Path

import pytest
import torch

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.models.classifier import create, networks
from imclass.models.entry import NetworkEntry
from imclass.models.foreign.convert import ImportOptions, import_weights, match_file
from imclass.models.foreign.matching import best_match, foreign_tensors, has_same_form
from tests.support import filled
from tests.support.foreign_weights import TEN, akamaster_state, lenet, weights_of

ENTRIES: dict[str, NetworkEntry] = networks().entries


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_become_float32_and_are_noted(kind: torch.dtype, tmp_path: Path) -> None:
    state = weights_of(lenet())
    torch.save({name: tensor.to(kind) for name, tensor in state.items()}, tmp_path / "a.pth")
    found, match = import_weights(tmp_path / "a.pth", "lenet-5", ImportOptions(classes=TEN))
    assert match.notes[0] == f"10 tensors are {str(kind)[6:]} in the file and become float32"
    for name, tensor in weights_of(found).items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, state[name].to(kind).float())


def test_a_fully_connected_layer_may_be_a_convolution_in_the_file(tmp_path: Path) -> None:
    original, state = lenet(), weights_of(lenet())
    state["head.1.weight"] = state["head.1.weight"].view(120, 16, 4, 4)
    state["head.4.weight"] = state["head.4.weight"].view(84, 120, 1, 1)
    torch.save(state, tmp_path / "a.pth")
    found, _ = import_weights(tmp_path / "a.pth", "lenet-5", ImportOptions(classes=TEN))
    images = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    assert torch.equal(found.scores(images), original.scores(images))


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ((6, 20), (6, 5, 2, 2), True),
        ((6, 5, 1, 1), (6, 5), True),
        ((6, 5, 1, 7), (6, 5, 7, 1), False),  # the same number of values, but another kernel
        ((20, 6), (6, 5, 2, 2), False),
        ((6,), (6, 1), False),
    ],
)
def test_shapes_must_be_those_of_the_same_computation(ours: tuple[int], theirs: tuple[int], same: bool) -> None:
    assert has_same_form(torch.zeros(ours), torch.zeros(theirs)) is same


def test_missing_extra_and_wrong_tensors_are_listed_and_nothing_is_loaded(tmp_path: Path) -> None:
    state = weights_of(lenet())
    state["head.9.weight"] = state.pop("head.7.bias")
    state["features.0.weight"] = torch.zeros(6, 1, 3, 3)
    state["head.4.bias"] = torch.zeros(84, dtype=torch.int64)
    state["features.3.bias"] = torch.full((16,), float("nan"))
    torch.save(state, tmp_path / "a.pth")
    match, *_ = match_file(tmp_path / "a.pth", "lenet-5")
    assert (match.missing, match.extra, match.is_complete, len(match.pairs)) == (
        ("head.7.bias",),
        ("head.9.weight",),
        False,
        6,
    )
    assert match.wrong == (
        "features.0.weight: 6 x 1 x 3 x 3 in the file, 6 x 1 x 5 x 5 in the network",
        "features.3.bias: some of its values are not finite",
        "head.4.bias: of type torch.int64 in the file, torch.float32 in the network",
    )
    with pytest.raises(UserError, match=r"was not loaded. lenet-5 under imclass's names: 6 of 10 tensors fit"):
        import_weights(tmp_path / "a.pth", "lenet-5", ImportOptions(classes=TEN))


def test_a_model_file_of_a_run_is_refused_with_a_note_that_it_needs_no_import(tmp_path: Path) -> None:
    torch.save(weights_of(lenet()) | {"trained_on": torch.zeros(3, dtype=torch.uint8)}, tmp_path / "a.pth")
    match, *_ = match_file(tmp_path / "a.pth", "lenet-5")
    assert match.extra == ("trained_on",) and not match.is_complete
    assert match.notes[-1] == "the file is an imclass model: every command reads it without an import"


def test_the_library_is_found_by_its_names_unless_it_is_given(tmp_path: Path) -> None:
    torch.save(akamaster_state(), tmp_path / "a.th")
    match, held, _ = match_file(tmp_path / "a.th", "resnet-cifar-20")
    assert (match.naming, match.is_complete) == ("akamaster", True)
    assert "19 batch counters are missing from the file and start at 0" in match.notes
    assert not best_match("resnet-cifar-20", ENTRIES["resnet-cifar-20"], held.tensors, "imclass").is_complete
    with pytest.raises(UserError, match=r"--from akamastre: .* did you mean 'akamaster'"):
        best_match("resnet-cifar-20", ENTRIES["resnet-cifar-20"], held.tensors, "akamastre")


def test_auxiliary_heads_that_a_file_lacks_are_left_out_and_noted(tmp_path: Path) -> None:
    entry = ENTRIES["googlenet-bn"]
    state = filled.recorded_networks()["torchvision.googlenet"]["state"]
    bare = {n: torch.zeros(s) if s else torch.tensor(0) for n, s in state.items() if not n.startswith("aux")}
    match = best_match("googlenet-bn", entry, bare)
    assert match.is_complete and match.row.aux is False and entry.row.aux is True
    assert "the file has no auxiliary heads: aux = false" in match.notes
    half = bare | {"aux1.fc2.bias": torch.zeros(1000)}
    assert not best_match("googlenet-bn", entry, half).is_complete


def test_timm_s_vgg_gets_its_hidden_layers_as_convolutions() -> None:
    row = {"widths": (4, 4, 4, 4, 8), "hidden": (6, 5)}
    network = create(Model("vgg-a", row), TEN).network
    found = foreign_tensors(network, "timm", ENTRIES["vgg-a"].foreign["timm"])
    shapes = {
        name: tuple(tensor.shape) for name, tensor in found.items() if tensor.dim() > 1 and "features" not in name
    }
    expected = {"pre_logits.fc1.weight": (6, 8, 7, 7), "pre_logits.fc2.weight": (5, 6, 1, 1), "head.fc.weight": (10, 5)}
    assert shapes == expected
    plain = foreign_tensors(network, "torchvision", ENTRIES["vgg-a"].foreign["torchvision"])
    assert plain["classifier.0.weight"].shape == (6, 8 * 49)
