"""Published weights as a MODEL: found in the store or fetched, taken into their network, with names for classes."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imclass.core.codec import to_json
from imclass.core.errors import UserError
from imclass.core.files import file_digest
from imclass.data.sets.cifar import CIFAR10
from imclass.models.classifier import NetworkClassifier, networks
from imclass.models.entry import Entry
from imclass.models.published import PUBLISHED, obtained, published
from imclass.models.weights import Wanted, imported
from imclass.store.store import Store


def is_published(model: str | Path) -> bool:
    """Whether a MODEL is NETWORK:WEIGHTS; a file or folder of that name comes first."""
    network, colon, name = str(model).partition(":")
    return bool(colon and network and name) and not {"/", "\\"} & set(str(model)) and not Path(model).exists()


def check_has_weights(model: str | Path) -> None:
    """A network's name alone is a `UserError` that says which weights of it are published."""
    own = [key for key in PUBLISHED if key.partition(":")[0] == str(model)]
    if own and not Path(model).exists():
        raise UserError(f"{model} is a network without weights; published ones are {', '.join(own)}, or train your own")


def open_published(model: str, store: Store, plugins: Sequence[Path] = ()) -> NetworkClassifier:
    """The classifier that NETWORK:WEIGHTS names; what cannot be found or does not fit is a `UserError`.

    The file is taken in anew each time: that costs what reading and checking a converted copy would.
    """
    file = published(model)
    path = obtained(file, store, shown)
    wanted = Wanted(
        file.naming, CIFAR10.classes if file.classes == "cifar10" else None, inputs=file.inputs, licence=file.licence
    )
    return imported(path, file.network, wanted, plugins)[0]


def info(model: str, store: Store, plugins: Sequence[Path] = ()) -> dict[str, Any]:
    """What is known of published weights: the file, its SHA-256, and what a model file of them would say."""
    classifier = open_published(model, store, plugins)
    path = obtained(published(model), store)
    header = to_json(classifier.header)
    known = {key: header[key] for key in ("network", "row", "classes", "preprocess", "chosen", "licence")}
    parameters = sum(p.numel() for p in classifier.network.parameters())
    return {"file": str(path), "sha256": file_digest(path), "parameters": parameters, **known}


def shown(held: int, size: int) -> None:
    """A download's progress on a terminal's standard error."""
    if sys.stderr.isatty():
        text = f"\r{held / 1e6:,.1f} of {size / 1e6:,.1f} MB"
        print(text, end="\n" if held == size else "", file=sys.stderr, flush=True)


def usual_names(network: str, plugins: Sequence[Path] = ()) -> Mapping[int, Sequence[str]]:
    """Names that a file for this network may be meant to have, by their number: CIFAR-10's for networks of its size."""
    entry: Entry = networks(plugins)[network]
    return {10: CIFAR10.classes} if (entry.size, entry.w_in) == (32, 3) else {}
