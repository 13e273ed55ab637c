"""Model files: ensembles and networks are read back, and files that could not be are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imclass.core.contracts import Evaluation
from imclass.core.errors import UserError
from imclass.core.model_file import Metrics, Provenance, read_model, save_model
from imclass.core.preprocess import Preprocess
from imclass.core.targets import OneOf
from imclass.evaluation.ensemble import Ensemble, EnsembleMember
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.evaluation.protocols.center import Center, Resize
from imclass.evaluation.protocols.dense import DENSE
from imclass.evaluation.unpack import read_classifier, save_classifier
from imclass.models.classifier import NetworkClassifier, create
from tests.support.tolerance import assert_near

RULE = Preprocess(size=28, colour="grey", resize="squash")


def random_scores(seed: int, n: int = 200, k: int = 4, good: float = 1.0) -> Evaluation:
    """Return scores of `n` images with the same labels for any seed; the more `good`, the more often right."""
    labels = np.random.default_rng(0).integers(0, k, n)
    scores = np.random.default_rng(seed).normal(size=(n, k)).astype(np.float32)
    scores[np.arange(n), labels] += good
    return evaluation_of(tuple("abcdefgh"[:k]), OneOf(labels), scores, np.arange(n) + 7, n)


def networks() -> list[NetworkClassifier]:
    """Return two small networks whose classes are in different orders."""
    return [create("lenet-5", classes, RULE, seed) for seed, classes in enumerate((tuple("abc"), tuple("cab")))]


def images(n: int = 4) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.integers(0, 256, (*random.integers(28, 50, 2), 3), np.uint8) for _ in range(n)]


def test_an_ensemble_is_read_back(tmp_path: Path) -> None:
    one, other = networks()
    inner = Ensemble(
        (EnsembleMember(one, replace(DENSE, scales=(30, 34)), 0.2), EnsembleMember(other, Resize(), 0.8)), 1.7
    )
    whole = Ensemble((EnsembleMember(inner, None, 0.4), EnsembleMember(one, Center(40), 0.6)), 0.5)
    trained = Provenance(metrics={"test": Metrics({"top1": 0.5}, 9, 10)})
    save_classifier(tmp_path / "fused.safetensors", replace(whole, trained=trained, licence="none"))
    found = read_classifier(tmp_path / "fused.safetensors")
    assert isinstance(found, Ensemble)
    assert_near(found.classify(images()), whole.classify(images()))
    assert found.members[1].protocol == Center(40) and found.temperature == 0.5
    assert (found.trained, found.licence) == (trained, "none")
    assert list(found.networks()) == ["0.0", "0.1", "1"]
    assert {name: protocol.name for name, protocol in found.protocols().items()} == {
        "0.0": "dense",
        "0.1": "resize",
        "1": "center",
    }
    save_classifier(tmp_path / "again.safetensors", found)  # what was loaded can be saved
    again = read_classifier(tmp_path / "again.safetensors")
    assert_near(again.classify(images()), whole.classify(images()))


def test_each_member_keeps_the_images_that_it_was_trained_on(tmp_path: Path) -> None:
    known = [np.arange(2 * i, 2 * i + 3, dtype=np.uint64) for i in range(2)]
    one, other = (replace(network, trained_on=seen) for network, seen in zip(networks(), known, strict=True))
    nothing = networks()[1]
    inner = Ensemble((EnsembleMember(one), EnsembleMember(nothing)))
    save_classifier(tmp_path / "fused.safetensors", Ensemble((EnsembleMember(inner), EnsembleMember(other))))
    found = read_classifier(tmp_path / "fused.safetensors")
    each = [part.trained_on for part in found.networks().values() if isinstance(part, NetworkClassifier)]
    assert [None if seen is None else seen.tolist() for seen in each] == [[0, 1, 2], None, [2, 3, 4]]
    assert found.trained_on is not None and found.trained_on.tolist() == [0, 1, 2, 3, 4]
    assert Ensemble((EnsembleMember(nothing),)).trained_on is None


def test_a_network_is_read_back(tmp_path: Path) -> None:
    network = networks()[0]
    network.save(tmp_path / "model.safetensors")
    assert isinstance(read_classifier(tmp_path), NetworkClassifier)
    assert_near(read_classifier(tmp_path).classify(images()), network.classify(images()))


def test_a_protocol_is_stored_by_name_and_fields(tmp_path: Path) -> None:
    path = tmp_path / "fused.safetensors"
    save_classifier(path, Ensemble((EnsembleMember(networks()[0], replace(DENSE, scales=(30, 34))),)))
    tensors, whole = read_model(path)
    (member,) = whole.body["members"]
    assert member["protocol"] == "dense" and member["fields"] == {"scales": [30, 34], "paper": [], "native": 224}
    for changes, message in (
        ({"protocol": "dence"}, r"member 1: no protocol is named 'dence'; did you mean 'dense'"),
        ({"fields": {"scale": 3}}, r"member 1: protocol dense has no field 'scale'; did you mean 'scales'"),
    ):
        save_model(path, tensors, replace(whole, body=whole.body | {"members": [member | changes]}))
        with pytest.raises(UserError, match=message):
            read_classifier(path)


def test_a_protocol_outside_the_table_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x.safetensors, member 1: no protocol is named 'mine'"):
        save_classifier(tmp_path / "x.safetensors", Ensemble((EnsembleMember(networks()[0], Center(name="mine")),)))
    assert not any(tmp_path.iterdir())


def test_a_missing_tensor_is_named_with_its_member(tmp_path: Path) -> None:
    path = tmp_path / "fused.safetensors"
    save_classifier(path, Ensemble(tuple(map(EnsembleMember, networks()))))
    tensors, header = read_model(path)
    del tensors["1.mean"]
    save_model(path, tensors, header)
    with pytest.raises(UserError, match=r"fused.safetensors, member 2: tensor 'mean' is absent in the file"):
        read_classifier(path)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    tensors, header = networks()[0].pack()
    save_model(tmp_path / "x.safetensors", tensors, replace(header, kind="oracle"))
    with pytest.raises(UserError, match=r"x.safetensors contains a model of kind 'oracle', but this version"):
        read_classifier(tmp_path / "x.safetensors")


def test_a_network_outside_the_table_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no network is named 'mine'"):
        save_classifier(tmp_path / "x.safetensors", replace(networks()[0], name="mine"))
    assert not any(tmp_path.iterdir())
