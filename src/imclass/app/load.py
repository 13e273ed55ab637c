"""What a user names as MODEL, found: a run's directory, a model file of a network or an ensemble, NETWORK:WEIGHTS."""
# Tested in tests/app/verbs/test_weights.py

import sys
from pathlib import Path

from imclass.core.contracts import Classifier
from imclass.core.errors import UserError
from imclass.core.runtime import Arithmetic, device_of
from imclass.data.sets.cifar import CIFAR10
from imclass.evaluation import unpack
from imclass.models.classifier import NetworkClassifier, suit
from imclass.models.foreign.convert import Wanted, imported
from imclass.models.foreign.published import PUBLISHED, obtained, published
from imclass.store.context import Context

CHANNELS_LAST = Arithmetic("fp32", "nhwc")  # evaluates most networks faster; benchmarks/protocols.py shows by how much


def load(
    model: str | Path,
    context: Context,
    arithmetic: Arithmetic = CHANNELS_LAST,
    device: str = "cpu",
) -> Classifier:
    """The classifier that `model` names, verified; anything amiss is a `UserError` that says what and where.

    It is for evaluation in this arithmetic: in bf16 its weights are rounded, and it is not to be saved.
    """
    place = device_of(device)
    check_has_weights(model)
    published = is_published(model)
    found = open_published(str(model), context) if published else unpack.load(model, context)
    for member in unpack.networks_of(found):
        suit(member.network.to(place), arithmetic)
    return found


def load_network(model: str | Path, context: Context, device: str = "cpu") -> NetworkClassifier:
    """The same where one network is needed, with its layers; another kind of classifier is a `UserError`."""
    found = load(model, context, device=device)
    if not isinstance(found, NetworkClassifier):
        raise UserError(f"{model} is not one network and has no layers; name one of its members")
    return found


def is_published(model: str | Path) -> bool:
    """Whether a MODEL is NETWORK:WEIGHTS; a file or folder of that name comes first."""
    network, colon, name = str(model).partition(":")
    return bool(colon and network and name) and not {"/", "\\"} & set(str(model)) and not Path(model).exists()


def check_has_weights(model: str | Path) -> None:
    """A network's name alone is a `UserError` that says which weights of it are published."""
    own = [key for key in PUBLISHED if key.partition(":")[0] == str(model)]
    if own and not Path(model).exists():
        raise UserError(f"{model} is a network without weights; published ones are {', '.join(own)}, or train your own")


def open_published(model: str, context: Context) -> NetworkClassifier:
    """The classifier that NETWORK:WEIGHTS names; what cannot be found or does not fit is a `UserError`.

    The file is taken in anew each time: that costs what reading and checking a converted copy would.
    """
    file = published(model)
    path = obtained(file, context.store, shown)
    wanted = Wanted(
        file.naming, CIFAR10.classes if file.classes == "cifar10" else None, inputs=file.inputs, licence=file.licence
    )
    return imported(path, file.network, wanted, context)[0]


def shown(held: int, size: int) -> None:
    """A download's progress on a terminal's standard error."""
    if sys.stderr.isatty():
        text = f"\r{held / 1e6:,.1f} of {size / 1e6:,.1f} MB"
        print(text, end="\n" if held == size else "", file=sys.stderr, flush=True)
