"""What the rooms promise each other.

Axis legend of every annotation: N images, C channels, H W height and width in pixels, K classes, V views,
D descriptors.
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

Image: TypeAlias = UInt8[np.ndarray, "_ _ _"]  # H W C, each its own: a list of images is ragged
Watch: TypeAlias = Callable[[], None]  # called before each image or batch is scored; what it raises ends the scoring


@dataclass(frozen=True)
class Origin:
    """Where a data set came from, in a form that a model file keeps."""

    name: str
    path: str
    rule: str  # how its splits came about: "published", "folders", or "hash ..." with the seed
    licence: str = ""
    notes: tuple[str, ...] = ()  # what was ignored while listing, a sentence each


@runtime_checkable
class ImageSource(Protocol):
    """Images by position, each with a name: enough to predict. `[i]` raises `BadImage`. A `Dataset` is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> Image: ...

    def name(self, i: int) -> str: ...


@runtime_checkable
class Dataset(Protocol):
    """One split of a data set: images and their targets, by position.

    `ids` are hashes of the names in Unicode's composed form: randomness follows them, so that adding files or cutting
    a share off changes nothing for other images. `array` holds all images where they are one size and fit in memory.
    `[i]` raises `BadImage`.
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
        """Return the first 64 bits of the SHA-256 of each image's file, or of its pixels where it lies in an array."""
        ...

    def digest(self) -> str:
        """Return the SHA-256 over the sorted names, classes and contents of this split."""
        ...


@runtime_checkable
class Engine(Protocol):
    """What computes the scores of one network's views: the network itself, or a program made of it."""

    def scores(self, views: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Return log-scores of views at the native size, float32 on the CPU."""
        ...

    def dense(self, views: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K h w"]:
        """Return log-scores at every position of larger views, float32 on the CPU."""
        ...

    def of(self, network: Any) -> "Engine":
        """Return the same engine of another network."""
        ...


@runtime_checkable
class NetworkBacked(Protocol):
    """A network that a classifier consists of: what dense protocols, layers' outputs and exports need of it."""

    @property
    def name(self) -> str:
        """Return the network's name in its table."""
        ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def link(self) -> Link: ...

    @property
    def preprocess(self) -> Preprocess: ...

    @property
    def network(self) -> Any:  # a Network: the class stands above
        ...

    @property
    def engine(self) -> Engine: ...

    def with_network(self, network: Any) -> "NetworkBacked":
        """Return the same of another network, whose engine computes as this one's does."""
        ...

    def scores(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Return the engine's log-scores of views at the native size."""
        ...

    def dense(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N K h w"]:
        """Return the engine's log-scores at every position of larger images."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """Anything that turns images into scores over named classes; `link` turns scores into probabilities.

    Nobody asks which kind it is: what a kind has and others lack is empty in the others.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def link(self) -> Link:
        """Return "softmax", whose scores are log-scores, or "sigmoid", whose scores are logits."""
        ...

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Return the probability from which an image has each class, under "sigmoid"; none: 0.5 each."""
        ...

    @property
    def trained(self) -> Provenance | None:
        """Return how it came about, if that is known."""
        ...

    @property
    def trained_on(self) -> UInt64[np.ndarray, "_"] | None:
        """Return the contents of the images that it or any part of it was trained on, sorted; None: not known."""
        ...

    def classify(self, images: Sequence[Image]) -> Float[Tensor, "N K"]:
        """Return scores of images of any sizes, shown to the classifier as it was trained; float32 on the CPU."""
        ...

    def pack(self) -> tuple[dict[str, Tensor], ModelHeader]:
        """Return the tensors and the header of its model file."""
        ...

    def rename(self, names: Mapping[str, str]) -> "Classifier":
        """Return the same with other names for some of its classes."""
        ...

    def networks(self) -> Mapping[str, NetworkBacked]:
        """Return the networks that it consists of, by names such as "2.0"; a network has itself, under ""."""
        ...

    def protocols(self) -> "Mapping[str, ViewProtocol]":
        """Return the protocols through which it shows images to its networks, by the networks' names."""
        ...

    def lineage(self) -> tuple[Provenance | None, ...]:
        """Return how each model that it consists of came about; None for one that does not say."""
        ...


@runtime_checkable
class ViewProtocol(Protocol):
    """How views of an image become one vector of scores; a frozen value. Metrics know nothing of crops."""

    @property
    def name(self) -> str:
        """As in its table, on the command line and in model files."""
        ...

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return the sides Q in pixels of an image's shorter side; none where the preprocess alone decides."""
        ...

    def check(self, classifier: NetworkBacked) -> None:
        """Raise `UserError` for what the classifier cannot do, before any image is opened."""
        ...

    def __call__(self, classifier: NetworkBacked, images: Sequence[Image]) -> Float[Tensor, "N K"]: ...


@dataclass(frozen=True)
class Refused:
    """An image that was left out: its file and why."""

    path: str
    code: str
    detail: str


@dataclass(frozen=True)
class Evaluation:
    """What is known after scoring a split; `accounted` is "9,997 of 10,000 evaluated, 3 refused"."""

    classes: tuple[str, ...]
    targets: Targets
    scores: Float[np.ndarray, "N K"]
    ids: Int64[np.ndarray, "N"]
    total: int
    refused: tuple[Refused, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)  # loss in nats an image; all else in [0, 1]
    main: str = "top1"  # the measure that models are chosen by; higher is better
    thresholds: tuple[float, ...] = ()  # of the classes' probabilities, for several labels; none: 0.5 each
    left_out: int = 0  # images of the split that a model was trained on, and that were not scored
    trained_on: int = 0  # images that a model was trained on, and that were scored all the same

    def __repr__(self) -> str:
        """Return counts and measures on a line, without the scores."""
        measures = ", ".join(f"{name} {value:.4f}" for name, value in self.measures.items())
        return f"Evaluation({self.tally}: {measures}; {len(self.classes):,} classes: {list_names(self.classes, 3)})"

    @property
    def tally(self) -> str:
        """Return how many images were scored, refused and left out; the model was trained on those left out."""
        parts = [f"{len(self.targets):,} of {self.total:,} evaluated"]
        if self.trained_on:
            parts.append(f"the model was trained on {self.trained_on:,} of them")
        if self.refused:
            parts.append(f"{len(self.refused):,} refused")
        if self.left_out:
            parts.append(f"{self.left_out:,} left out: the model was trained on them")
        return ", ".join(parts)
