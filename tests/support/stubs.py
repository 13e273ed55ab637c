"""Base classes for classifiers in tests, which then define only their classes and scores."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from imclass.core.contracts import NetworkBacked, RowFunction, ViewProtocol
from imclass.core.model_file import ModelHeader, Provenance
from imclass.core.targets import Link


class Stub:
    """A classifier without networks and without provenance."""

    link: Link = "softmax"
    thresholds: tuple[float, ...] = ()
    trained: Provenance | None = None
    trained_on = None

    def embedder(self) -> RowFunction:
        raise NotImplementedError

    def pack(self) -> tuple[dict[str, Tensor], ModelHeader]:
        raise NotImplementedError

    def rename(self, names: Mapping[str, str]) -> Any:
        raise NotImplementedError

    def networks(self) -> Mapping[str, NetworkBacked]:
        return {}

    def protocols(self) -> Mapping[str, ViewProtocol]:
        return {}

    def lineage(self) -> tuple[Provenance | None, ...]:
        return (self.trained,)


class StubNetwork(Stub):
    """A classifier that is also its network and engine; `dense` returns the same scores at a single position."""

    name = "stub"

    @property
    def network(self) -> Any:
        return self

    @property
    def engine(self) -> Any:
        return self

    def for_network(self, network: Any) -> Any:
        return self

    def with_network(self, network: Any) -> Any:
        return self

    def networks(self) -> Mapping[str, Any]:
        return {"": self}

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def dense(self, images: torch.Tensor) -> torch.Tensor:
        return self.scores(images)[..., None, None]
