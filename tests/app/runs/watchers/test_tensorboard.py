"""TensorBoard reads the scalars and pictures of a run, without those from after a checkpoint."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional

from imclass.app.draw.sheet import mosaic_of
from imclass.app.runs.directory import Run
from imclass.app.runs.watchers.tensorboard import TensorBoard, augmented_images
from imclass.core.config import Model
from imclass.core.preprocess import Preprocess
from imclass.data.augment.flip import Flip
from imclass.data.augment.mixup import Mixup
from imclass.data.augment.pad import Pad
from imclass.training.events import Evaluated, RunPosition, StepEnd
from imclass.training.loop import step
from imclass.training.parallel import SingleProcess
from imclass.training.plan import Leg
from tests.support.events import at, events, multilabel_evaluation
from tests.support.legs import enter_leg, leg_of, noise

BEGINNING = RunPosition()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture(scope="module")
def leg() -> Leg:
    return leg_of(noise(64, 28, 1), Model("lenet-5"), 28, "grey")


def board_at(run: Run, leg: Leg, begun: RunPosition = BEGINNING) -> TensorBoard:
    """Return the writer of a process that begins at a position."""
    state = enter_leg(leg)
    state.at = begun
    return TensorBoard(run, state, (leg,), every=0.0)


def scalars(run: Run) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard reads."""
    accumulator = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    names = accumulator.Tags()["scalars"]
    return {name: [(point.step, round(point.value, 6)) for point in accumulator.Scalars(name)] for name in names}


def test_tensorboard_reads_the_scalars(run: Run, leg: Leg) -> None:
    board = board_at(run, leg)
    for event in events():
        board.see(event)
    board.see(StepEnd(at(3, 3), 0.0, 0.0, 0, 0, 0.1, 0.0, 1.0))  # all images were refused, so there is no loss
    board.close()
    assert scalars(run) == {
        "train/loss": [(1, 0.75)], "train/error": [(1, round(4 / 7, 6))], "train/rate": [(1, 0.1)],
        "pace/images per second": [(1, 7.0)], "pace/waiting for data": [(1, 0.5)],
        "test/error": [(2, 0.5)], "test/loss": [(2, 0.25)],
    }  # fmt: skip


def test_a_clock_that_was_set_back_does_not_change_the_order(
    run: Run, leg: Leg, monkeypatch: pytest.MonkeyPatch
) -> None:
    for now, loss in ((2e9, 9.0), (1e9, 8.0), (1.5e9, 7.0)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        board = board_at(run, leg)
        board.see(StepEnd(at(1, 1), loss, loss, 0, 8, 0.1, 0.0, 1.0))
        board.close()
    assert scalars(run)["train/loss"] == [(1, 7.0)]  # the last process purged the others


def test_the_loss_with_auxiliary_heads_is_a_separate_curve(run: Run, leg: Leg) -> None:
    board = board_at(run, leg)
    board.see(StepEnd(at(1, 1), 0.75, 1.0, 0, 8, 0.1, 0.0, 1.0))
    board.close()
    found = scalars(run)
    assert found["train/loss"] == [(1, 0.75)] and found["train/total"] == [(1, 1.0)]


def test_scalars_after_the_checkpoint_are_purged(run: Run, leg: Leg) -> None:
    def steps(begun: RunPosition, *losses: float) -> None:
        board = board_at(run, leg, begun)
        for i, loss in enumerate(losses):
            board.see(StepEnd(at(begun.step + i + 1, i + 1), loss, loss, 0, 8, 0.1, 0.0, 1.0))
        board.close()

    steps(RunPosition(), 9.0, 8.0)
    steps(RunPosition(), 5.0, 4.0, 3.0)  # killed before its first checkpoint
    assert scalars(run)["train/loss"] == [(1, 5.0), (2, 4.0), (3, 3.0)]
    steps(RunPosition(step=1), 2.0)  # another machine may compute other numbers
    assert scalars(run)["train/loss"] == [(1, 5.0), (2, 2.0)]


def test_multilabel_scalars_have_a_mean_average_precision(run: Run, leg: Leg) -> None:
    board = board_at(run, leg)
    board.see(Evaluated(at(2, 2), multilabel_evaluation(0.625), "validation"))
    board.close()
    assert scalars(run) == {"validation/map": [(2, 0.625)], "validation/loss": [(2, 0.25)]}


def test_norms_are_those_of_the_gradients_and_of_the_weights_after_the_step(run: Run, leg: Leg) -> None:
    board = board_at(run, leg)
    network, batch = board.state.learner.network, next(leg.loader.batches(0))
    part = batch.parts[0]
    loss = functional.cross_entropy(network(part.images), torch.as_tensor(part.targets.numpy()))
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    for _ in range(2):
        board.see(step(leg, board.state, SingleProcess(), batch, 0.0))
        if board.state.at.step == 1:
            weights = [p.detach().clone() for p in network.parameters()]
    board.close()
    found = scalars(run)
    for what, tensors in (("weights", weights), ("gradients", gradients)):
        each = {f"{what}/{name}": t for (name, _), t in zip(network.named_parameters(), tensors, strict=True)}
        each[f"norms/{what}"] = torch.cat([tensor.flatten() for tensor in tensors])
        for name, tensor in each.items():
            assert found[name] == [(1, pytest.approx(tensor.double().square().sum().sqrt().item(), rel=1e-4, abs=1e-6))]


def test_the_picture_shows_what_the_network_sees_in_the_epoch(run: Run) -> None:
    data, how = noise(14, 28), {"augment": (Pad(pixels=4), Flip())}
    leg = leg_of(data, Model("lenet-5"), 28, **how)
    seen: dict[int, np.ndarray] = {}
    for batch in leg.loader.batches(3):
        for part in batch.parts.values():
            seen |= dict(zip(part.positions.tolist(), part.images.permute(0, 2, 3, 1).numpy(), strict=True))
    images = augmented_images(leg, 3)
    assert np.array_equal(images, [seen[i] for i in range(14)])
    assert not np.array_equal(images, augmented_images(leg, 4))
    bgr = replace(leg, preprocess=Preprocess(28, "rgb", "squash", channels="bgr"))
    assert np.array_equal(augmented_images(bgr, 3), np.array(images)[..., ::-1])
    mixed = augmented_images(leg_of(data, Model("lenet-5"), 28, augment=(Mixup(),)), 3)
    assert len(mixed) == 14 and 0 < np.mean(mixed) < 255  # floats in [0, 1] are scaled

    board = board_at(run, leg)
    assert board.picture_steps == 500
    board.picture_steps = 2  # an epoch
    for epoch, done in ((0, 1), (0, 2), (1, 1)):
        board.see(StepEnd(at(2 * epoch + done, done, epoch), 1.0, 1.0, 0, 8, 0.1, 0.0, 1.0))
    board.close()
    pictures = EventAccumulator(str(run.folder / "tensorboard")).Reload().Images("train/images")
    assert [picture.step for picture in pictures] == [1, 3]
    shown = np.asarray(Pillow.open(io.BytesIO(pictures[0].encoded_image_string)))
    assert (
        np.abs(shown.astype(int) - mosaic_of([augmented_images(leg, 0)[i : i + 4] for i in (0, 4, 8, 12)])).mean() < 4
    )


def test_a_long_run_has_few_norms_and_pictures(run: Run, leg: Leg) -> None:
    stage = replace(leg.stage, epochs=1_000)
    board = TensorBoard(run, enter_leg(leg), (replace(leg, stage=stage, last_epoch=1_000),))
    board.close()
    assert (board.norm_steps, board.picture_steps) == (40, 800)  # 8,000 steps


def test_an_epoch_after_a_solved_stage_has_a_picture(run: Run, leg: Leg) -> None:
    """Count steps rather than epochs, because the epoch of a solved stage has only one step."""
    board = board_at(run, leg)
    for step_number in (2, 2 + leg.batches):
        board.see(StepEnd(at(step_number, 1, step_number), 1.0, 1.0, 0, 8, 0.1, 0.0, 1.0))
    board.close()
    pictures = EventAccumulator(str(run.folder / "tensorboard")).Reload().Images("train/images")
    assert [picture.step for picture in pictures] == [2]


def test_scalars_of_short_steps_are_not_all_written(run: Run, leg: Leg, monkeypatch: pytest.MonkeyPatch) -> None:
    board = TensorBoard(run, enter_leg(leg), (leg,))
    for step_number, now in enumerate((5.0, 5.05, 5.09, 5.11, 6.0), 1):
        monkeypatch.setattr("time.monotonic", lambda now=now: now)
        board.see(StepEnd(at(step_number, 2), 1.0, 1.0, 0, 8, 0.1, 0.0, 1.0))
    board.close()
    assert [step for step, _ in scalars(run)["train/loss"]] == [1, 4, 5]
