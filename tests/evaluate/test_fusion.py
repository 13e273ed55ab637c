"""Fused scores against the ensemble itself, fitted weights against scikit-learn's and scipy's ways, files read back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from test_run import CLASSES, SIZE, Linear, pictures
from tolerance import assert_near

from imclass.core.contracts import Classifier, Evaluation
from imclass.core.ensemble import Ensemble, Member
from imclass.core.errors import UserError
from imclass.core.files import read_model, save_model
from imclass.core.preprocess import Preprocess
from imclass.evaluate import fusion
from imclass.evaluate.fusion import fit_weights, fuse, load, networks_of, save
from imclass.evaluate.metrics import cross_entropy
from imclass.evaluate.protocols.center import Center, Resize
from imclass.evaluate.protocols.dense import Dense
from imclass.evaluate.run import evaluate, measured
from imclass.models.classifier import NetworkClassifier, create

RULE = Preprocess(size=28, colour="grey", resize="squash")


def random_scores(seed: int, n: int = 200, k: int = 4, good: float = 1.0) -> Evaluation:
    """Scores of `n` images, the same labels whatever the seed; the more `good`, the more often right."""
    labels = np.random.default_rng(0).integers(0, k, n)
    scores = np.random.default_rng(seed).normal(size=(n, k)).astype(np.float32)
    scores[np.arange(n), labels] += good
    return measured(tuple("abcdefgh"[:k]), labels, scores, np.arange(n) + 7, n)


def test_fused_scores_are_the_ensembles(monkeypatch: pytest.MonkeyPatch) -> None:
    data, order = pictures(30), (3, 0, 6, 1, 2, 5, 4)
    one, other = Linear(), Linear(classes=tuple(CLASSES[i] for i in order), preprocess=Preprocess(SIZE, scale=SIZE))
    ensemble = Ensemble((Member(one, Center(12), 1.0), Member(other, None, 3.0)), temperature=0.7)
    parts = [evaluate(one, data, Center(12)), evaluate(other, data)]
    expected = evaluate(ensemble, data)
    for rows in (4096, 7):  # images at a time
        monkeypatch.setattr(fusion, "ROWS", rows)
        found = fuse(parts, (1.0, 3.0), 0.7)
        assert_near(found.scores, expected.scores)
        assert (found.top1, found.top5) == (expected.top1, expected.top5)
        assert found.loss == pytest.approx(expected.loss, rel=1e-5)
        assert found.classes == CLASSES and (found.ids == data.ids).all()


def test_scores_of_other_images_are_not_fused() -> None:
    one, other = random_scores(1), random_scores(2)
    with pytest.raises(UserError, match=r"scores 1 and 2 are of different images \(200 and 199, 199 in both\)"):
        fuse([one, measured(one.classes, one.labels[1:], one.scores[1:], one.ids[1:], 200)], (1.0, 1.0))
    with pytest.raises(UserError, match="do not give the same images the same classes"):
        fuse([one, replace(other, labels=other.labels[::-1].copy())], (1.0, 1.0))
    with pytest.raises(UserError, match="only member 2 has 'z'"):
        fuse([one, replace(other, classes=("a", "b", "c", "z"))], (1.0, 1.0))


def loss_of(parts: list[Evaluation], weights: np.ndarray) -> float:
    return cross_entropy(fuse(parts, tuple(weights.tolist())).scores, parts[0].labels)


def test_fitted_weights_have_the_least_loss() -> None:
    parts = [random_scores(1, good=2.0), random_scores(2, good=1.0), random_scores(3, good=0.2)]
    fitted = np.array(fit_weights(parts))
    assert fitted.sum() == pytest.approx(1.0) and (fitted >= 0).all() and fitted[0] == fitted.max()

    def loss(free: np.ndarray) -> float:  # of the simplex, by a softmax
        return loss_of(parts, np.exp(free) / np.exp(free).sum())

    oracle = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10, "maxiter": 2000})
    assert loss_of(parts, fitted) <= oracle.fun + 1e-6
    assert loss_of(parts, fitted) < loss_of(parts, np.ones(3) / 3) - 1e-3  # the twin: even weights are worse


def test_a_useless_member_gets_no_weight_and_twins_share() -> None:
    useful, noise = random_scores(1, n=2000, good=3.0), random_scores(2, n=2000, good=-3.0)
    assert fit_weights([useful, noise])[1] < 1e-3
    assert fit_weights([useful, useful]) == pytest.approx((0.5, 0.5))
    assert fit_weights([useful]) == (1.0,)


def test_certain_mistakes_do_not_break_the_fit() -> None:
    sure = random_scores(1, n=50)
    wrong = replace(sure, scores=np.where(np.arange(4) == (sure.labels[:, None] + 1) % 4, 0, -1e4).astype(np.float32))
    weights = fit_weights([wrong, wrong, sure])
    assert np.isfinite(weights).all() and weights[2] > 0.9


def networks() -> list[NetworkClassifier]:
    """Two small networks whose classes stand in different orders."""
    return [create("lenet-5", classes, RULE, seed) for seed, classes in enumerate((tuple("abc"), tuple("cab")))]


def images(n: int = 4) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.integers(0, 256, (*random.integers(28, 50, 2), 3), np.uint8) for _ in range(n)]


def test_an_ensemble_is_read_back(tmp_path: Path) -> None:
    one, other = networks()
    inner = Ensemble((Member(one, Dense((30, 34)), 0.2), Member(other, Resize(), 0.8)), 1.7)
    whole = Ensemble((Member(inner, None, 0.4), Member(one, Center(40), 0.6)), 0.5)
    save(tmp_path / "fused.safetensors", whole, metrics={"test": {"top1": 0.5}}, licence="none")
    found = load(tmp_path / "fused.safetensors")
    assert isinstance(found, Ensemble) and found.header is not None
    assert_near(found.classify(images()), whole.classify(images()))
    assert found.predict(images()) == whole.predict(images())
    assert found.members[1].protocol == Center(40) and found.temperature == 0.5
    assert (found.header.network, found.header.metrics, found.header.licence) == (
        "ensemble",
        {"test": {"top1": 0.5}},
        "none",
    )
    assert [member.protocol for member in found.header.members[0].header.members] == ["dense", "resize"]
    assert [type(n) for n in networks_of(found)] == [NetworkClassifier] * 3
    save(tmp_path / "again.safetensors", found)  # what was loaded can be saved
    again = load(tmp_path / "again.safetensors")
    assert_near(again.classify(images()), whole.classify(images()))


def test_a_network_is_loaded_as_ever(tmp_path: Path) -> None:
    network = networks()[0]
    network.save(tmp_path / "model.safetensors")
    assert isinstance(load(tmp_path), NetworkClassifier)
    assert_near(load(tmp_path).classify(images()), network.classify(images()))


def test_a_protocol_stands_in_the_file_by_name_and_fields(tmp_path: Path) -> None:
    path = tmp_path / "fused.safetensors"
    save(path, Ensemble((Member(networks()[0], Dense((30, 34))),)))
    header = read_model(path)[1].members[0]
    assert (header.protocol, header.fields) == ("dense", {"scales": (30, 34)})
    tensors, whole = read_model(path)
    for changes, message in (
        ({"protocol": "dence"}, r"member 1: no protocol is named 'dence'; did you mean 'dense'"),
        ({"fields": {"scale": 3}}, r"member 1: Dense has no field 'protocol dense.scale'; did you mean"),
    ):
        save_model(path, tensors, replace(whole, members=(replace(header, **changes),)))
        with pytest.raises(UserError, match=message):
            load(path)


def test_a_protocol_in_no_table_cannot_be_saved(tmp_path: Path) -> None:
    class Mine(Center):
        pass

    with pytest.raises(UserError, match="Mine is in no table of protocols"):
        save(tmp_path / "x.safetensors", Ensemble((Member(networks()[0], Mine()),)))
    assert not any(tmp_path.iterdir())


def test_tensors_of_another_member_are_named(tmp_path: Path) -> None:
    path = tmp_path / "fused.safetensors"
    save(path, Ensemble(tuple(map(Member, networks()))))
    tensors, header = read_model(path)
    del tensors["1.mean"]
    save_model(path, tensors, header)
    with pytest.raises(UserError, match=r"fused.safetensors, member 2: tensor 'mean' is absent in the file"):
        load(path)


def test_other_kinds_of_classifiers_cannot_be_saved(tmp_path: Path) -> None:
    stranger: Classifier = Linear()
    with pytest.raises(UserError, match="a Linear cannot be saved in an ensemble"):
        save(tmp_path / "x.safetensors", Ensemble((Member(stranger),)))
    assert networks_of(stranger) == []
