"""A chain of fitted parts as one classifier, saved without pickle: arrays as tensors, arguments as JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain as chained
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt64
from torch import Tensor

from imclass.core.classes import rename_classes
from imclass.core.codec import to_json
from imclass.core.config import AnyPart
from imclass.core.contracts import Classifier, Image, NetworkBacked, RowFunction, ViewProtocol
from imclass.core.errors import UserError
from imclass.core.model_file import TRAINED_ON, ModelHeader, Provenance, contents_in, merge_contents, without_prefix
from imclass.core.tables import EntryTable
from imclass.core.targets import Link, Targets
from imclass.pipelines.chain import Chain, check_order
from imclass.pipelines.part import Feature, PipelinePart, Scorer

PIPELINE = "pipeline"  # the kind in a model file
MemberUnpacker: TypeAlias = Callable[[Mapping[str, Tensor], ModelHeader, Path], Classifier]  # for members of a part


@dataclass(frozen=True, kw_only=True)
class PartBody:
    """A part in a model file: its kind and arguments, and the headers of its classifiers."""

    part: PipelinePart
    members: dict[str, ModelHeader] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PipelineBody:
    """The body of a pipeline's model file. The tensors of the part at position 2 have names that begin with "2."."""

    parts: tuple[PartBody, ...]


@dataclass(frozen=True)
class Pipeline:
    """A `Classifier` made of parts: feature extractors, and finally a scorer of their output."""

    parts: tuple[PipelinePart, ...]
    classes: tuple[str, ...]
    thresholds: tuple[float, ...] = ()  # for "sigmoid": the lowest probability at which each class is predicted
    trained: Provenance | None = None
    contents: UInt64[np.ndarray, "N"] | None = field(default=None, repr=False, compare=False)  # of training images
    versions: dict[str, str] = field(default_factory=dict)  # of the libraries used to fit the pipeline
    licence: str = ""

    def __post_init__(self) -> None:
        *features, last = self.parts or (None,)
        if not isinstance(last, Scorer) or not all(isinstance(part, Feature) for part in features):
            given = ", ".join(part.kind for part in self.parts) or "none"
            raise UserError(
                "a pipeline consists of parts that transform, followed by one that scores; "
                f"the parts given are: {given}"
            )
        check_order(self.parts if features else ())

    @property
    def scorer(self) -> Scorer:
        """Return the last part."""
        last = self.parts[-1]
        if not isinstance(last, Scorer):
            raise TypeError(f"{last.kind} does not score")
        return last

    @property
    def chain(self) -> Chain:
        """Return the parts before the last."""
        return Chain(tuple(part for part in self.parts if isinstance(part, Feature)))

    @property
    def link(self) -> Link:
        return self.scorer.link

    def fit(self, images: Sequence[Image], targets: Targets) -> "Pipeline":
        """Fit each part to the output of its predecessor, and return the pipeline."""
        rows = self.chain.fit(images, targets, len(self.classes))
        self.scorer.fit(rows, targets, len(self.classes))
        return self

    def embed(self, images: Sequence[Image]) -> Any:
        """Return the input of the last part: a row for each image of any size."""
        return self.chain.rows(images)

    def embedder(self) -> RowFunction:
        """Return `embed`. Raise `UserError` if the last part takes images, because it is the only one."""
        if len(self.parts) == 1:
            raise UserError(f"the only part of the pipeline is {self.scorer.kind}, so it has no features")
        return self.embed

    def classify(self, images: Sequence[Image]) -> Float[Tensor, "N K"]:
        """Return the last part's scores for images of any size, as float32 on the CPU."""
        if not len(images):
            return torch.zeros(0, len(self.classes))
        scores = np.asarray(self.scorer.scores(self.embed(images)), np.float32)
        if scores.shape != (len(images), len(self.classes)):
            wanted = f"{len(images)} x {len(self.classes)}"
            raise UserError(f"the part {self.scorer.kind} returns scores of shape {scores.shape}; it must be {wanted}")
        return torch.from_numpy(scores)

    def rename(self, names: Mapping[str, str]) -> "Pipeline":
        """Return a copy in which some classes have other names. The members of its parts keep their class names."""
        return replace(self, classes=rename_classes(self.classes, names))

    def members(self) -> dict[str, Classifier]:
        """Return the classifiers in the parts. For example, "0.eyes" is the "eyes" member of the first part."""
        return {f"{i}.{name}": held for i, part in enumerate(self.parts) for name, held in part.members().items()}

    @property
    def trained_on(self) -> UInt64[np.ndarray, "_"] | None:
        """Return the sorted content hashes of the images that the pipeline and its members were trained on."""
        return merge_contents([self.contents, *(member.trained_on for member in self.members().values())])

    def networks(self) -> dict[str, NetworkBacked]:
        """Return the members' networks. The network of the "0.eyes" member is also called "0.eyes"."""
        return {
            f"{at}.{name}".removesuffix("."): network
            for at, member in self.members().items()
            for name, network in member.networks().items()
        }

    def protocols(self) -> dict[str, ViewProtocol]:
        """Return an empty mapping, because parts pass images directly to their members."""
        return {}

    def lineage(self) -> tuple[Provenance | None, ...]:
        """Return the provenance of the pipeline, then that of each model in its members."""
        return (self.trained, *chained.from_iterable(member.lineage() for member in self.members().values()))

    def pack(self) -> tuple[dict[str, Tensor], ModelHeader]:
        """Return the tensors and the header of the pipeline's model file."""
        tensors: dict[str, Tensor] = {}
        bodies = []
        for i, part in enumerate(self.parts):
            tensors |= {f"{i}.{name}": torch.from_numpy(array.copy()) for name, array in part.arrays().items()}
            headers = {}
            for member_name, member in part.members().items():
                member_tensors, headers[member_name] = member.pack()
                tensors |= {f"{i}.{member_name}.{n}": tensor.clone() for n, tensor in member_tensors.items()}
            bodies.append(PartBody(part=part, members=headers))
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
    """Return the pipeline in a model file; `unpack` rebuilds the members of its parts."""
    body = header.body_of(PipelineBody, path, {PipelinePart: table, AnyPart: table})  # `AnyPart`: those in a union
    for i, entry in enumerate(body.parts):
        where = f"{path}, part {i + 1}"
        part_tensors = without_prefix(tensors, f"{i}.")
        members = {
            name: unpack(without_prefix(part_tensors, f"{name}."), member_header, Path(where))
            for name, member_header in entry.members.items()
        }
        entry.part.set_members(members)
        prefixes = tuple(f"{name}." for name in members)
        arrays = {name: tensor.numpy() for name, tensor in part_tensors.items() if not name.startswith(prefixes)}
        entry.part.restore(arrays, where)
    return Pipeline(
        tuple(entry.part for entry in body.parts),
        header.classes,
        header.thresholds,
        header.trained,
        contents_in(tensors, path),
        header.versions,
        header.licence,
    )
