"""Contracts between the packages of imclass.

Axes in annotations: N images, C channels, H height and W width in pixels, K classes, V views, D descriptors.
"""
# Tested in tests/evaluation/test_score.py

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float, Int64, UInt8, UInt64
from torch import Tensor

from imclass.core.model_file import ModelHeader, Provenance
from imclass.core.preprocess import Preprocess
from imclass.core.targets import Link, Targets
from imclass.core.text import list_names

Image: TypeAlias = UInt8[np.ndarray, "_ _ _"]  # H W C; the images in a list may differ in size
RowFunction: TypeAlias = Callable[[Sequence[Image]], Float[np.ndarray, "N ..."]]  # from images to their features
Watch: TypeAlias = Callable[[], None]  # called before each image or batch is scored; an exception ends the scoring


@dataclass(frozen=True)
class Origin:
    """The source of a data set, as recorded in model files."""

    name: str
    path: str
    rule: str  # how it was split: "published", "folders", "table", or, with the seed, "hash ..." or "fold ..."
    licence: str = ""
    notes: tuple[str, ...] = ()  # one sentence for each kind of file that the listing ignored
    has_splits: bool = True  # whether the data comes with splits; otherwise a rule divided it


@runtime_checkable
class ImageSource(Protocol):
    """Named images for prediction, indexed by position.

    `[i]` raises `BadImage` if image i cannot be used. Every `Dataset` is also an `ImageSource`.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> Image: ...

    def name(self, i: int) -> str: ...


@runtime_checkable
class Dataset(Protocol):
    """One split of a data set: images and their targets, indexed by position.

    `ids` are hashes of the images' names in Unicode NFC. Random choices depend on them and not on positions. If images
    are added or held out, the choices for the other images therefore stay the same. `array` contains all images if
    they have the same size and fit in memory, and is None otherwise. `[i]` raises `BadImage` if image i cannot be used.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def splits(self) -> tuple[str, ...]: ...

    @property
    def split(self) -> str: ...

    @property
    def ids(self) -> Int64[np.ndarray, "N"]: ...

    @property
    def targets(self) -> Targets: ...

    @property
    def array(self) -> UInt8[np.ndarray, "N H W C"] | None: ...

    @property
    def origin(self) -> Origin: ...

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> Image: ...

    def name(self, i: int) -> str: ...

    def contents(self) -> UInt64[np.ndarray, "N"]:
        """Return the first 64 bits of the SHA-256 of each image's file, or of its pixels if it comes from an array."""
        ...

    def digest(self) -> str:
        """Return the SHA-256 over the names, classes and content hashes of this split's images, sorted by name."""
        ...


@runtime_checkable
class Engine(Protocol):
    """An engine that computes one network's scores, using the network itself or a program built from it."""

    def scores(self, views: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Return the log-scores of views of the network's input size, as float32 on the CPU."""
        ...

    def dense(self, views: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K h w"]:
        """Return the log-scores at every position of larger views, as float32 on the CPU."""
        ...

    def for_network(self, network: Any) -> "Engine":
        """Return an engine of the same kind for another network."""
        ...


@runtime_checkable
class NetworkBacked(Protocol):
    """One network of a classifier, with everything that dense protocols, layer outputs and exports need."""

    @property
    def name(self) -> str:
        """Return the network's name in the table of networks."""
        ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def link(self) -> Link: ...

    @property
    def preprocess(self) -> Preprocess: ...

    @property
    def trained(self) -> Provenance | None: ...

    @property
    def network(self) -> Any:  # a Network; this package does not import its class
        ...

    @property
    def engine(self) -> Engine: ...

    def with_network(self, network: Any) -> "NetworkBacked":
        """Return a copy with another network and an engine of the same kind."""
        ...

    def scores(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Return the engine's log-scores of views of the network's input size."""
        ...

    def dense(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K h w"]:
        """Return the engine's log-scores at every position of larger images."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """Anything that turns images into scores for named classes; `link` turns scores into probabilities.

    Callers never check which kind of classifier they have. Properties that do not apply to it are empty.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def link(self) -> Link:
        """Return "softmax" if the scores are log-scores, or "sigmoid" if they are logits."""
        ...

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Return the lowest probability at which each class is predicted. An empty tuple means 0.5 for all classes.

        Thresholds apply only if `link` is "sigmoid".
        """
        ...

    @property
    def trained(self) -> Provenance | None:
        """Return the classifier's provenance, or None if it is unknown."""
        ...

    @property
    def trained_on(self) -> UInt64[np.ndarray, "_"] | None:
        """Return the sorted content hashes of the images on which any part was trained, or None if they are unknown."""
        ...

    def classify(self, images: Sequence[Image]) -> Float[Tensor, "N K"]:
        """Preprocess images of any size as in training, and return their scores as float32 on the CPU."""
        ...

    def embedder(self) -> RowFunction:
        """Return a function from images of any size to the input of the last layer or part, a row for each image.

        Keep the function if it is called repeatedly, because it may contain a copy of a network. Raise `UserError` if
        the classifier has no single last layer or part.
        """
        ...

    def pack(self) -> tuple[dict[str, Tensor], ModelHeader]:
        """Return the tensors and the header of the classifier's model file."""
        ...

    def rename(self, names: Mapping[str, str]) -> "Classifier":
        """Return a copy in which some classes have other names."""
        ...

    def networks(self) -> Mapping[str, NetworkBacked]:
        """Return the networks by name.

        The name of a single network is "". In an ensemble, the network of member 2 is named "2".
        """
        ...

    def protocols(self) -> "Mapping[str, ViewProtocol]":
        """Return the protocol with which each network scores images, by the name of the network."""
        ...

    def lineage(self) -> tuple[Provenance | None, ...]:
        """Return the provenance of each model in the classifier, with None for a model whose provenance is unknown."""
        ...


@runtime_checkable
class ViewProtocol(Protocol):
    """An immutable rule that turns views of an image into one vector of scores.

    Metrics are computed from these vectors and never from the scores of single views.
    """

    @property
    def name(self) -> str:
        """Return the protocol's name in the table of protocols, as used on the command line and in model files."""
        ...

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return the lengths in pixels to which the shorter side of an image is scaled (Q in the papers).

        The tuple is empty if `preprocess` decides the scale.
        """
        ...

    def check(self, classifier: NetworkBacked) -> None:
        """Raise `UserError` if the classifier does not support this protocol.

        Callers check this before they open any image.
        """
        ...

    def __call__(self, classifier: NetworkBacked, images: Sequence[Image]) -> Float[Tensor, "N K"]: ...


@dataclass(frozen=True)
class Refused:
    """An image that was left out: its file, a short code for the reason, and the reason."""

    path: str
    code: str
    detail: str


@dataclass(frozen=True)
class Evaluation:
    """The scores of a classifier on a split, with the targets and the measures."""

    classes: tuple[str, ...]
    targets: Targets
    scores: Float[np.ndarray, "N K"]
    ids: Int64[np.ndarray, "N"]
    total: int
    refused: tuple[Refused, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)  # loss in nats per image; all others in [0, 1]
    main: str = "top1"  # the measure by which models are chosen; higher is better
    thresholds: tuple[float, ...] = ()  # one per class, for images with several labels; empty: 0.5 for all
    left_out: int = 0  # images that were not scored because a model was trained on them
    trained_on: int = 0  # images that were scored although a model was trained on them
    old: tuple[str, ...] = ()  # the classes that the model had before it grew; empty: it did not grow

    def __repr__(self) -> str:
        """Return the counts and measures on one line, without the scores."""
        measures = ", ".join(f"{name} {value:.4f}" for name, value in self.measures.items())
        return f"Evaluation({self.tally}: {measures}; {len(self.classes):,} classes: {list_names(self.classes, 3)})"

    @property
    def tally(self) -> str:
        """Return how many images were scored, refused and left out, such as "9,997 of 10,000 evaluated, 3 refused".

        Images may be left out because a model was trained on them.
        """
        parts = [f"{len(self.targets):,} of {self.total:,} evaluated"]
        if self.trained_on:
            parts.append(f"the model was trained on {self.trained_on:,} of them")
        if self.refused:
            parts.append(f"{len(self.refused):,} refused")
        if self.left_out:
            them = "it" if self.left_out == 1 else "them"
            parts.append(f"{self.left_out:,} left out: the model was trained on {them}")
        return ", ".join(parts)
