"""A chain of fitted parts as one classifier, saved without pickle: arrays as tensors, arguments as JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt64
from torch import Tensor

from imclass.core.classes import rename_classes
from imclass.core.codec import to_json
from imclass.core.contracts import Classifier, Image, NetworkBacked, ViewProtocol
from imclass.core.errors import UserError
from imclass.core.model_file import TRAINED_ON, ModelHeader, Provenance, contents_in, merge_contents, without_prefix
from imclass.core.tables import EntryTable
from imclass.core.targets import Link, Targets
from imclass.pipelines.part import Feature, PipelinePart, Scorer

PIPELINE = "pipeline"  # the kind in a model file
MemberUnpacker: TypeAlias = Callable[[Mapping[str, Tensor], ModelHeader, Path], Classifier]  # of a part's member


@dataclass(frozen=True, kw_only=True)
class PartBody:
    """A part in a model file: its kind and arguments, and the headers of the classifiers that it holds."""

    part: PipelinePart
    members: dict[str, ModelHeader] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PipelineBody:
    """What a pipeline is built from again, in a model file. Part 2's tensors begin with "2."."""

    parts: tuple[PartBody, ...]


@dataclass(frozen=True)
class Pipeline:
    """A `Classifier`: the last of its parts scores what the others make of an image."""

    parts: tuple[PipelinePart, ...]
    classes: tuple[str, ...]
    thresholds: tuple[float, ...] = ()  # from which an image has each class, under "sigmoid"; none: 0.5 each
    trained: Provenance | None = None
    contents: UInt64[np.ndarray, "N"] | None = field(default=None, repr=False, compare=False)  # of training images
    versions: dict[str, str] = field(default_factory=dict)  # of the libraries that it was made with
    licence: str = ""

    def __post_init__(self) -> None:
        *features, last = self.parts or (None,)
        if not isinstance(last, Scorer) or not all(isinstance(part, Feature) for part in features):
            given = ", ".join(part.kind for part in self.parts) or "none"
            raise UserError(f"a pipeline is parts that transform, then one that scores; these parts are {given}")

    @property
    def scorer(self) -> Scorer:
        """Return the last part."""
        last = self.parts[-1]
        if not isinstance(last, Scorer):
            raise TypeError(f"{last.kind} does not score")
        return last

    @property
    def link(self) -> Link:
        return self.scorer.link

    def fit(self, images: Sequence[Image], targets: Targets) -> "Pipeline":
        """Fit each part to what those before it make of the images; return the pipeline."""
        x = images
        for part in self.parts:
            part.fit(x, targets, len(self.classes))
            x = part.transform(x) if isinstance(part, Feature) else x
        return self

    def classify(self, images: Sequence[Image]) -> Float[Tensor, "N K"]:
        """Return the last part's scores of images of any sizes, float32 on the CPU."""
        if not len(images):
            return torch.zeros(0, len(self.classes))
        x = images
        for part in self.parts:
            x = part.transform(x) if isinstance(part, Feature) else x
        scores = np.asarray(self.scorer.scores(x), np.float32)
        if scores.shape != (len(images), len(self.classes)):
            wanted = f"{len(images)} x {len(self.classes)}"
            raise UserError(f"the part {self.scorer.kind} gives scores of shape {scores.shape}; they must be {wanted}")
        return torch.from_numpy(scores)

    def rename(self, names: Mapping[str, str]) -> "Pipeline":
        """Return the pipeline with other names for some of its classes; members of its parts keep theirs."""
        return replace(self, classes=rename_classes(self.classes, names))

    def members(self) -> dict[str, Classifier]:
        """Return the classifiers that parts hold: "0.eyes" is that of part 0 of this name."""
        return {f"{i}.{name}": held for i, part in enumerate(self.parts) for name, held in part.members().items()}

    @property
    def trained_on(self) -> UInt64[np.ndarray, "_"] | None:
        """Return the contents of the images that the pipeline and its members were trained on, sorted."""
        return merge_contents([self.contents, *(member.trained_on for member in self.members().values())])

    def networks(self) -> dict[str, NetworkBacked]:
        """Return the networks of the members, "0.eyes" that of the member of this name."""
        return {
            f"{at}.{name}".removesuffix("."): network
            for at, member in self.members().items()
            for name, network in member.networks().items()
        }

    def protocols(self) -> dict[str, ViewProtocol]:
        """Return no protocol: parts show images to their members."""
        return {}

    def lineage(self) -> tuple[Provenance | None, ...]:
        """Return how the pipeline came about, then its members."""
        return (self.trained, *chain.from_iterable(member.lineage() for member in self.members().values()))

    def pack(self) -> tuple[dict[str, Tensor], ModelHeader]:
        """Return the tensors and the header of a model file."""
        tensors: dict[str, Tensor] = {}
        bodies = []
        for i, part in enumerate(self.parts):
            tensors |= {f"{i}.{name}": torch.from_numpy(array.copy()) for name, array in part.arrays().items()}
            packed = {name: member.pack() for name, member in part.members().items()}
            tensors |= {f"{i}.{at}.{n}": t.clone() for at, (theirs, _) in packed.items() for n, t in theirs.items()}
            bodies.append(PartBody(part=part, members={name: header for name, (_, header) in packed.items()}))
        if self.contents is not None:
            tensors[TRAINED_ON] = torch.from_numpy(np.sort(self.contents))
        return tensors, ModelHeader(
            kind=PIPELINE,
            classes=self.classes,
            link=self.link,
            thresholds=self.thresholds,
            body=to_json(PipelineBody(parts=tuple(bodies))),
            trained=self.trained,
            versions=self.versions,
            licence=self.licence,
        )


def unpack_parts(
    tensors: Mapping[str, Tensor], header: ModelHeader, path: Path, table: EntryTable, unpack: MemberUnpacker
) -> Pipeline:
    """Return the pipeline that these tensors and this header were made of; `unpack` makes the members of its parts."""
    body = header.body_of(PipelineBody, path, {PipelinePart: table})
    for i, each in enumerate(body.parts):
        where, theirs = f"{path}, part {i + 1}", without_prefix(tensors, f"{i}.")
        held = {at: unpack(without_prefix(theirs, f"{at}."), inner, Path(where)) for at, inner in each.members.items()}
        each.part.hold(held)
        arrays = {n: t.numpy() for n, t in theirs.items() if not any(n.startswith(f"{at}.") for at in held)}
        each.part.restore(arrays, where)
    return Pipeline(
        tuple(each.part for each in body.parts),
        header.classes,
        header.thresholds,
        header.trained,
        contents_in(tensors, path),
        header.versions,
        header.licence,
    )
