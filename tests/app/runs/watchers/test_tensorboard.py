"""TensorBoard reads the scalars of a run, without those from after a checkpoint."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from imclass.app.runs.directory import Run
from imclass.app.runs.watchers.tensorboard import TensorBoard
from imclass.training.events import EpochEnd, Evaluated, RunPosition, StepEnd
from tests.support.events import at, events, multilabel_evaluation


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def scalars(run: Run) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard reads."""
    accumulator = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    names = accumulator.Tags()["scalars"]
    return {name: [(point.step, round(point.value, 6)) for point in accumulator.Scalars(name)] for name in names}


def test_tensorboard_reads_the_scalars(run: Run) -> None:
    board = TensorBoard(run, RunPosition())
    for event in events():
        board.see(event)
    board.close()
    assert scalars(run) == {
        "train/loss": [(1, 0.75)], "train/rate": [(1, 0.1)], "train/top1": [(2, 0.5)],
        "test/top1": [(2, 0.5)], "test/loss": [(2, 0.25)],
    }  # fmt: skip


def test_a_clock_that_was_set_back_does_not_change_the_order(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for now, loss in ((2e9, 9.0), (1e9, 8.0), (1.5e9, 7.0)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        board = TensorBoard(run, RunPosition())
        board.see(StepEnd(at(1, 1), loss, loss, 0, 8, 0.1, 0.0, 1.0))
        board.close()
    assert scalars(run)["train/loss"] == [(1, 7.0)]  # the last process purged the others


def test_the_loss_with_auxiliary_heads_is_a_separate_curve(run: Run) -> None:
    board = TensorBoard(run, RunPosition())
    board.see(StepEnd(at(1, 1), 0.75, 1.0, 0, 8, 0.1, 0.0, 1.0))
    board.close()
    assert scalars(run) == {"train/loss": [(1, 0.75)], "train/total": [(1, 1.0)], "train/rate": [(1, 0.1)]}


def test_scalars_after_the_checkpoint_are_purged(run: Run) -> None:
    def steps(begun: RunPosition, *losses: float) -> None:
        board = TensorBoard(run, begun)
        for i, loss in enumerate(losses):
            board.see(StepEnd(at(begun.step + i + 1, i + 1), loss, loss, 0, 8, 0.1, 0.0, 1.0))
        board.close()

    steps(RunPosition(), 9.0, 8.0)
    steps(RunPosition(), 5.0, 4.0, 3.0)  # killed before its first checkpoint
    assert scalars(run)["train/loss"] == [(1, 5.0), (2, 4.0), (3, 3.0)]
    steps(RunPosition(step=1), 2.0)  # another machine may compute other numbers
    assert scalars(run)["train/loss"] == [(1, 5.0), (2, 2.0)]


def test_multilabel_scalars_have_a_mean_average_precision(run: Run) -> None:
    board = TensorBoard(run, RunPosition())
    board.see(Evaluated(at(2, 2), multilabel_evaluation(0.625), "validation"))
    board.see(EpochEnd(at(2, 2), 0.75, {"exact": 0.5}, 16, 0, 0.75))
    board.close()
    assert scalars(run) == {
        "validation/map": [(2, 0.625)], "validation/loss": [(2, 0.25)], "train/exact": [(2, 0.5)],
    }  # fmt: skip
