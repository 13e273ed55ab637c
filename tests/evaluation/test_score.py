"""Scoring a split: every image is counted or named, and batch and workers change nothing but rounding."""

import math
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imclass.core.contracts import Evaluation, Refused
from imclass.core.errors import Interrupted, UserError
from imclass.core.preprocess import Preprocess
from imclass.core.runtime import Processes
from imclass.evaluation import score as run
from imclass.evaluation.ensemble import EnsembleMember
from imclass.evaluation.protocols.center import Center
from imclass.evaluation.score import evaluate, evaluate_each, view_protocols
from imclass.store.context import open_context
from tests.support.pictures import CLASSES, SIZE, Linear, Pictures, pictures
from tests.support.tolerance import assert_near, near


def by_hand(classifier: Linear, data: Pictures) -> tuple[float, float, float]:
    """Compute loss, top-1 and top-5, an image at a time."""
    losses, firsts, fives = [], [], []
    for image, label in zip(data.images, data.labels.tolist(), strict=True):
        view = torch.from_numpy(classifier.preprocess(image).transpose(2, 0, 1).copy())[None]
        scores = classifier.scores(view)[0].double()
        losses.append(-float(scores.log_softmax(0)[label]))
        best = scores.argsort(descending=True).tolist()
        firsts.append(best[0] == label)
        fives.append(label in best[:5])
    return math.fsum(losses) / len(losses), sum(firsts) / len(firsts), sum(fives) / len(fives)


def test_an_evaluation_is_a_plain_loop() -> None:
    data, classifier = pictures(), Linear()
    found = evaluate(classifier, data)
    loss, top1, top5 = by_hand(classifier, data)
    assert (found.measures["top1"], found.measures["top5"]) == (top1, top5) and 0 < top1 < top5 < 1
    assert found.measures["loss"] == pytest.approx(loss, rel=1e-5)
    assert found.scores.shape == (50, 7) and found.total == 50 and found.refused == ()
    assert (found.targets.numpy() == data.labels).all() and (found.ids == data.ids).all() and found.classes == CLASSES


@pytest.mark.parametrize("in_memory", [False, True])
def test_batch_and_workers_change_nothing_but_rounding(in_memory: bool) -> None:
    data, classifier = pictures(size=(SIZE, SIZE), in_memory=in_memory), Linear(preprocess=Preprocess(SIZE, scale=SIZE))
    first = evaluate(classifier, data, batch=50)
    for batch, workers in ((1, 0), (7, 3), (1000, 2)):
        other = evaluate(classifier, data, batch=batch, workers=workers)
        assert (other.measures["top1"], other.measures["top5"]) == (first.measures["top1"], first.measures["top5"])
        assert other.measures["loss"] == pytest.approx(first.measures["loss"], rel=1e-5)
        assert_near(other.scores, first.scores)
        assert (other.targets.numpy() == first.targets.numpy()).all()


def test_an_evaluation_describes_itself_on_one_line() -> None:
    found = evaluate(Linear(preprocess=Preprocess(SIZE)), pictures())
    text = repr(found)
    assert "\n" not in text and len(text) < 200
    assert text.startswith(
        f"Evaluation(50 of 50 evaluated: loss {found.measures['loss']:.4f}, top1 {found.measures['top1']:.4f}, top5 "
    )
    assert f"7 classes: {CLASSES[0]!r}" in text
    few = Evaluation(("a", "b"), found.targets, found.scores[:, :2], found.ids, 51)
    assert "50 of 51 evaluated" in repr(few)


def test_large_images_are_scored_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    data, classifier = pictures(), Linear()
    first, done = evaluate(classifier, data), []
    monkeypatch.setattr(run, "MAX_CHUNK_BYTES", 5000)
    second = evaluate(classifier, data, report=lambda n, total: done.append(n))
    assert len(done) > 5 and done[-1] == 50
    assert_near(second.scores, first.scores)


def test_chunks_are_limited_by_bytes_and_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures()
    largest = max(image.nbytes for image in data.images)
    monkeypatch.setattr(run, "MAX_CHUNK_BYTES", 4000)
    found = list(run.image_chunks(data, range(50), batch=8, workers=0))
    held = [sum(item.nbytes for _, item in chunk if isinstance(item, np.ndarray)) for chunk in found]
    assert max(map(len, found)) <= 8 and max(held) < 4000 + largest
    assert [i for chunk in found for i, _ in chunk] == list(range(50))
    monkeypatch.setattr(run, "MAX_CHUNK_BYTES", 10**9)  # by number alone more would be held
    assert (
        sum(item.nbytes for _, item in next(run.image_chunks(data, range(50), 8, 0)) if isinstance(item, np.ndarray))
        > 4000
    )


REVERSED = CLASSES[::-1]


def test_an_image_is_opened_once_for_all_members() -> None:
    data = pictures(20, bad=frozenset({3}))
    members = [EnsembleMember(Linear()), EnsembleMember(Linear(), Center(12)), EnsembleMember(Linear(classes=REVERSED))]
    found = evaluate_each(members, data, batch=6, workers=2)
    assert sorted(data.opened) == list(range(20))
    alone = [evaluate(m.classifier, data, m.protocol) for m in members]
    assert sorted(data.opened) == sorted(4 * list(range(20)))  # each alone opens them again
    for one, other in zip(found, alone, strict=True):
        assert_near(one.scores, other.scores)
        assert (one.targets.numpy() == other.targets.numpy()).all() and one.tally == "19 of 20 evaluated, 1 refused"
        assert (one.measures["top1"], one.measures["top5"]) == (other.measures["top1"], other.measures["top5"])
    assert found[2].classes == REVERSED


@dataclass(frozen=True)
class Simulated(Processes):
    """One of several processes, which run one after the other, the first last; `gathered` holds their objects."""

    gathered: list[Any] = field(default_factory=list)

    def gather_objects(self, mine: Any) -> list[Any]:
        self.gathered.insert(0, mine)
        return [] if self.rank else self.gathered


def in_processes(count: int, data: Pictures, members: list[EnsembleMember], **options: Any) -> list[Evaluation]:
    gathered: list[Any] = []
    for rank in reversed(range(1, count)):
        assert evaluate_each(members, data, processes=Simulated(rank, count, gathered), **options) == []
    return evaluate_each(members, data, processes=Simulated(0, count, gathered), **options)


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 13])
def test_the_number_of_processes_changes_nothing(count: int, in_memory: bool) -> None:
    size = (SIZE, SIZE) if in_memory else None
    data = pictures(11, size, in_memory=in_memory, bad=frozenset() if in_memory else frozenset({0, 5, 10}))
    members = [
        EnsembleMember(Linear(preprocess=Preprocess(SIZE, scale=SIZE))),
        EnsembleMember(Linear(classes=REVERSED)),
    ][: 2 - in_memory]
    for one, other in zip(
        evaluate_each(members, data), in_processes(count, data, members, batch=3, workers=1), strict=True
    ):
        assert_near(other.scores, one.scores)
        assert (one.targets.numpy() == other.targets.numpy()).all() and (one.ids == other.ids).all()
        assert (one.refused, one.total) == (other.refused, other.total)
        assert all(one.measures[name] == other.measures[name] for name in ("top1", "top5"))


@pytest.mark.parametrize(("n", "count"), [(0, 1), (10, 1), (10, 3), (2, 5), (50_000, 8)])
def test_shares_cover_every_image_once(n: int, count: int) -> None:
    shares = [Processes(rank, count).share(n) for rank in range(count)]
    assert [i for share in shares for i in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_an_error_in_any_process_is_raised_by_the_first() -> None:
    data = pictures(8, bad=frozenset({6}))
    with pytest.raises(UserError, match=r"refused: some/folder/6.png"):
        in_processes(2, data, [EnsembleMember(Linear())], strict=True)


def test_an_impossible_protocol_is_refused_before_any_image_is_opened() -> None:
    data = pictures(8)
    with pytest.raises(UserError, match="Q is 5 pixels"):
        evaluate_each([EnsembleMember(Linear()), EnsembleMember(Linear(), Center(5))], data)
    assert data.opened == []


RULES = {
    "native": (Preprocess(SIZE, scale=SIZE), True),
    "squash": (Preprocess(SIZE, resize="squash"), True),
    "none": (Preprocess(SIZE, resize="none"), True),
    "larger Q": (Preprocess(SIZE, scale=10), False),
    "bgr": (Preprocess(SIZE, scale=SIZE, channels="bgr"), False),
    "grey": (Preprocess(SIZE, scale=SIZE, colour="grey"), False),
    "smaller": (Preprocess(4, scale=4), False),
}


@pytest.mark.parametrize(("preprocess", "fast"), RULES.values(), ids=RULES)
def test_in_memory_images_are_passed_through_only_where_that_is_the_same(preprocess: Preprocess, fast: bool) -> None:
    classifier = Linear(preprocess=preprocess)
    slow, quick = pictures(size=(SIZE, SIZE)), pictures(size=(SIZE, SIZE), in_memory=True)
    assert_near(evaluate(classifier, quick).scores, evaluate(classifier, slow).scores)
    assert (quick.opened == []) is fast and len(slow.opened) == 50


def test_a_protocol_sees_the_images_even_in_memory() -> None:
    data = pictures(size=(SIZE, SIZE), in_memory=True)
    classifier = Linear(preprocess=Preprocess(SIZE, scale=SIZE))
    larger = evaluate(classifier, data, Center(12))
    assert not near(larger.scores, evaluate(classifier, data).scores, 1e-3)
    assert (larger.scores == Center(12)(classifier, data.images).numpy()).all()


def test_classes_are_joined_by_name() -> None:
    data, order = pictures(), [3, 0, 6, 1, 2, 5, 4]
    plain = evaluate(Linear(), data)
    permuted = evaluate(Linear(classes=tuple(CLASSES[i] for i in order)), data)
    assert (permuted.measures["top1"], permuted.measures["top5"]) == (plain.measures["top1"], plain.measures["top5"])
    assert permuted.measures["loss"] == pytest.approx(plain.measures["loss"], rel=1e-9)
    assert permuted.classes[permuted.targets.numpy()[0]] == CLASSES[data.labels[0]]
    assert (permuted.targets.numpy() != data.labels).any()  # by index it would have been wrong


def test_missing_and_extra_classes_are_listed() -> None:
    data = replace(pictures(), classes=(*CLASSES[:-1], "lynx"))
    with pytest.raises(UserError, match=r"Not in the model: 'lynx'.*Not in some/folder: 'ibis'"):
        evaluate(Linear(), data)
    mapped = evaluate(Linear(), data, mapping={"lynx": "ibis"})
    assert mapped.measures["top1"] == evaluate(Linear(), pictures()).measures["top1"]


def test_top_five_of_three_classes_is_certain() -> None:
    data = replace(pictures(), classes=CLASSES[:3], labels=np.arange(50) % 3)
    found = evaluate(Linear(classes=CLASSES[:3]), data)
    assert found.measures["top5"] == 1.0 and found.measures["top1"] < 1


def test_constant_scores_give_chance() -> None:
    data = pictures()
    found = evaluate(Linear(constant=2.5), data)
    assert (found.scores == 2.5).all()
    assert found.measures["loss"] == pytest.approx(math.log(7), rel=1e-12)
    assert found.measures["top1"] == np.mean(data.labels == 0) and found.measures["top5"] == np.mean(data.labels < 5)


@pytest.mark.parametrize("batch", [1, 4, 256])
def test_refused_images_are_named_and_left_out(batch: int) -> None:
    data = pictures(20, bad=frozenset({0, 7, 8}))
    found = evaluate(Linear(), data, batch=batch, workers=2)
    assert found.tally == "17 of 20 evaluated, 3 refused"
    assert found.refused[1] == Refused("some/folder/7.png", "truncated", "the file ends too early")
    good = [i for i in range(20) if i not in data.bad]
    assert (found.ids == data.ids[good]).all() and (found.targets.numpy() == data.labels[good]).all()
    everything = evaluate(Linear(), replace(data, bad=frozenset()))
    assert_near(found.scores, everything.scores[good])


def test_strict_names_the_first_refused_image() -> None:
    with pytest.raises(UserError, match=r"refused: some/folder/3.png: the file ends too early \(truncated\)"):
        evaluate(Linear(), pictures(8, bad=frozenset({3, 5})), strict=True)
    assert evaluate(Linear(), pictures(8), strict=True).total == 8


def test_a_split_without_scored_images_is_refused() -> None:
    with pytest.raises(UserError, match=r"all 3 images were refused, the first being some/folder/0.png"):
        evaluate(Linear(), pictures(3, bad=frozenset(range(3))))
    with pytest.raises(UserError, match="split 'test' of some/folder: it has no images"):
        evaluate(Linear(), pictures(0))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_name_the_image(value: float) -> None:
    with pytest.raises(UserError, match=r"some/folder/1.png are not finite"):
        evaluate(Linear(constant=value), pictures(4, bad=frozenset({0})))


def test_the_first_image_without_finite_scores_is_named() -> None:
    class Late(Linear):
        def scores(self, images: torch.Tensor) -> torch.Tensor:
            scores = super().scores(images)
            scores[2, 1] = math.nan
            return scores

    with pytest.raises(UserError, match=r"some/folder/2.png"):
        evaluate(Late(), pictures(5))


def test_progress_counts_every_image_once() -> None:
    seen: list[tuple[int, int]] = []
    evaluate(Linear(), pictures(10, bad=frozenset({2})), batch=4, report=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 10), (8, 10), (10, 10)]


@pytest.mark.parametrize(("protocol", "expected"), [(None, [70]), ("flip", [28, 56, 70])])
def test_progress_is_reported_more_often_with_many_views(protocol: str | None, expected: list[int]) -> None:
    seen: list[int] = []
    chosen = run.view_protocols()[protocol] if protocol else None
    evaluate(Linear(), pictures(70), chosen, report=lambda done, _: seen.append(done))
    assert seen == expected


@pytest.mark.parametrize(("kind", "workers"), [("pictures", 0), ("pictures", 2), ("array", 0)])
def test_a_watch_ends_the_scoring_and_changes_nothing_else(kind: str, workers: int) -> None:
    """Count its calls: one before each image, or before each batch of an array."""
    classifier = Linear(preprocess=Preprocess(SIZE, scale=SIZE))
    data = pictures(20, bad=frozenset({2})) if kind == "pictures" else pictures(20, size=(SIZE, SIZE), in_memory=True)
    asked: list[int] = []
    watched = evaluate(classifier, data, batch=8, workers=workers, watch=lambda: asked.append(1))
    assert len(asked) == (20 if kind == "pictures" else 3)
    alone = evaluate(classifier, data, batch=8, workers=workers)
    assert (watched.scores == alone.scores).all() and watched.refused == alone.refused

    left, reported = iter(range(10 if kind == "pictures" else 2)), list[int]()

    def stop() -> None:
        if next(left, None) is None:
            raise Interrupted

    with pytest.raises(Interrupted):
        evaluate(classifier, data, batch=8, workers=workers, watch=stop, report=lambda done, _: reported.append(done))
    assert reported == ([8] if kind == "pictures" else [8, 16])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("imclass")]


def test_a_batch_of_zero_is_refused() -> None:
    with pytest.raises(UserError, match="--batch is 0"):
        evaluate(Linear(), pictures(2), batch=0)


def test_protocols_are_found_and_plugins_added(tmp_path: Path) -> None:
    text = "from imclass.evaluation.protocols.center import Center\n"
    text += "PROTOCOLS = {'mine': Center(name='mine'), 'other': Center(), 'length': len}"
    (tmp_path / "mine.py").write_text(text)
    found = view_protocols(open_context(plugins=[tmp_path]))
    assert found.failures == (
        "protocol other: its name is 'center'; it must be 'other'",
        "protocol length: it must have name, scales_for(preprocess) and check(classifier), and be callable",
    )
    assert {"center", "resize", "mine"} <= found.entries.keys() and found["center"] == Center()
    with pytest.raises(UserError, match="did you mean 'center'"):
        found["centre"]


def test_the_result_is_an_evaluation() -> None:
    assert isinstance(evaluate(Linear(), pictures(5)), Evaluation)
