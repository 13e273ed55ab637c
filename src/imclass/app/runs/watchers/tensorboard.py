"""A TensorBoard log of a run: scalars, the norms of weights and gradients, and augmented images."""

import io
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor, nn

from imclass.app.draw.sheet import mosaic_of
from imclass.app.runs.directory import Run
from imclass.app.runs.pace import sample_loader
from imclass.core.contracts import Evaluation, Image
from imclass.training.events import Evaluated, Event, StepEnd
from imclass.training.plan import Leg
from imclass.training.state import State

NORM_POINTS, NORM_STEPS = 200, 20  # norms are written about 200 times in a run, but at most once in 20 steps
MAX_PICTURES, COLUMNS, ROWS = 10, 4, 4  # the number of pictures in a run, and the images in each
PICTURE_STEPS = 500  # the least number of steps between two pictures
SECONDS = 0.1  # the least time between two steps whose scalars are written; writing them takes 0.1 ms
TOP1 = "top1"


class TensorBoard:
    """A consumer that writes a log for TensorBoard. Records that an earlier process wrote after `state.at` are purged.

    TensorBoard's own event writer is not used, because its thread ends with a traceback if the disk is full.
    """

    def __init__(self, run: Run, state: State, legs: Sequence[Leg], every: float = SECONDS) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.state, self.legs, self.every, self.written = state, legs, every, -math.inf
        self.norm_steps = max(NORM_STEPS, sum(leg.steps for leg in legs) // NORM_POINTS)
        self.picture_steps = max(PICTURE_STEPS, -(-sum(leg.steps for leg in legs) // MAX_PICTURES))
        folder = run.folder / "tensorboard"
        folder.mkdir(exist_ok=True)
        self.records = RecordWriter((folder / next_name(folder)).open("wb"))
        start = SessionLog(status=SessionLog.START)
        for event in (Event(file_version="brain.Event:2"), Event(step=state.at.step + 1, session_log=start)):
            self.write(event)

    def write(self, event: Any) -> None:
        """Write a TensorBoard event with the current time."""
        event.wall_time = time.time()
        self.records.write(event.SerializeToString())
        self.records.flush()

    def see(self, event: Event) -> None:
        """Write the scalars of an event."""
        match event:
            case StepEnd() if event.images:
                self.see_step(event, self.legs[event.at.stage])
            case Evaluated():
                self.add(event.at.step, evaluation_scalars(event.split, event.result))

    def see_step(self, event: StepEnd, leg: Leg) -> None:
        """Write the scalars of a step unless those of another were just written. At some steps, add norms or a picture.

        TensorBoard itself shows at most 1,000 points of a curve unless it is started with other options.
        """
        now = time.monotonic()
        if now - self.written >= self.every:
            self.add(event.at.step, step_scalars(event, leg.counted))
            self.written = now
        if event.at.step % self.norm_steps == 1:
            self.add(event.at.step, norm_scalars(self.state.learner.network))
        # A picture is written in the first epoch that begins after each multiple of `picture_steps`.
        if event.at.batch == 1 and (event.at.step - 1) % self.picture_steps < leg.batches:
            self.add_picture(event.at.step, augmented_images(leg, event.at.epoch))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the values of scalars at one step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self.write(Event(step=step, summary=Summary(value=values)))

    def add_picture(self, step: int, images: Sequence[Image]) -> None:
        """Write a picture of some training images at one step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        mosaic = mosaic_of([images[at : at + COLUMNS] for at in range(0, len(images), COLUMNS)])
        height, width, channels = mosaic.shape
        file = io.BytesIO()  # a PNG would have several times as many bytes, and TensorBoard's checksum of them is slow
        Pillow.fromarray(mosaic).save(file, "JPEG", quality=90, subsampling=0)
        picture = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=file.getvalue())
        self.write(Event(step=step, summary=Summary(value=[Summary.Value(tag="train/images", image=picture)])))

    def close(self) -> None:
        """Close the file."""
        self.records.close()


def step_scalars(event: StepEnd, counted: str) -> dict[str, float]:
    """Return the loss, the error, the rate and the pace of a step, and the loss with auxiliary heads if there are any.

    `counted` is the name of the measure for the fraction of correct images.
    """
    return {
        "train/loss": event.main,
        **({"train/total": event.total} if event.total != event.main else {}),
        **errors("train", {counted: event.correct / event.images}),
        "train/rate": event.rate,
        "pace/images per second": event.images / max(1e-9, event.seconds),
        "pace/waiting for data": event.waited / max(1e-9, event.seconds),
    }


def evaluation_scalars(split: str, result: Evaluation) -> dict[str, float]:
    """Return the loss and the error of a split, and its main measure if this is not the accuracy."""
    names = [name for name in (TOP1, result.main) if name in result.measures]
    return {f"{split}/loss": result.measures["loss"]} | errors(split, {name: result.measures[name] for name in names})


def errors(split: str, measures: Mapping[str, float]) -> dict[str, float]:
    """Return measures as scalars of a split, with the error in place of the accuracy."""
    return {
        f"{split}/error" if name == TOP1 else f"{split}/{name}": 1 - value if name == TOP1 else value
        for name, value in measures.items()
    }


def norm_scalars(network: nn.Module) -> dict[str, float]:
    """Return the Euclidean norms of all trained weights and of their gradients: of each tensor, and of all together."""
    trained = [(name, p.detach(), p.grad) for name, p in network.named_parameters() if p.grad is not None]
    if not trained:
        return {}
    names, weights, gradients = zip(*trained, strict=True)
    return dict([*norms_of("weights", names, weights), *norms_of("gradients", names, gradients)])


def norms_of(what: str, names: Sequence[str], tensors: Sequence[Tensor]) -> Iterator[tuple[str, float]]:
    """Yield the norm of all tensors together, then the norm of each."""
    norms = torch.stack([torch.linalg.vector_norm(tensor.float()) for tensor in tensors])
    yield f"norms/{what}", float(torch.linalg.vector_norm(norms))
    yield from zip((f"{what}/{name}" for name in names), norms.tolist(), strict=True)


def augmented_images(leg: Leg, epoch: int) -> list[Image]:
    """Return the views of evenly spaced training images in an epoch, in RGB or grey. Unreadable images are left out.

    They are the same images in the same order in every epoch. If images are mixed, they are mixed with one another.
    """
    (batch,) = sample_loader(leg.loader, COLUMNS * ROWS).batches(epoch)
    parts = batch.parts.values()
    order = np.argsort(np.concatenate([part.positions for part in parts]))
    views = np.concatenate([part.images.numpy() for part in parts]).transpose(0, 2, 3, 1)[order]
    if views.dtype != np.uint8:  # mixed images are floats
        views = np.rint(255 * views).astype(np.uint8)
    return list(views[..., ::-1] if leg.preprocess.channels == "bgr" else views)


def next_name(folder: Path) -> str:
    """Return the name of a new file, which sorts after all existing files even if the clock was set back.

    TensorBoard reads files in the order of their names, and a file can purge only the records of earlier files.
    """
    earlier = [re.findall(r"tfevents\.(\d{10}\.\d{6})\.", path.name) for path in folder.iterdir()]
    latest = max((float(stamp) for stamps in earlier for stamp in stamps), default=0.0)
    return f"events.out.tfevents.{max(time.time(), latest + 1):.6f}.{os.getpid()}"
