"""What a user names as MODEL, found: a run's directory, a model file of a network or an ensemble, NETWORK:WEIGHTS."""

from collections.abc import Sequence
from pathlib import Path

from imclass.app.published import check_has_weights, is_published, open_published
from imclass.core.contracts import Classifier
from imclass.core.errors import UserError
from imclass.core.precision import Arithmetic
from imclass.evaluation import unpack
from imclass.models.classifier import NetworkClassifier, suit
from imclass.store.store import Store, open_store

CHANNELS_LAST = Arithmetic("fp32", "nhwc")  # evaluates most networks faster; benchmarks/protocols.py shows by how much


def load(
    model: str | Path,
    plugins: Sequence[Path] = (),
    store: Store | None = None,
    arithmetic: Arithmetic = CHANNELS_LAST,
) -> Classifier:
    """The classifier that `model` names, verified; anything amiss is a `UserError` that says what and where.

    It is for evaluation in this arithmetic: in bf16 its weights are rounded, and it is not to be saved.
    """
    check_has_weights(model)
    published = is_published(model)
    found = open_published(str(model), store or open_store(), plugins) if published else unpack.load(model, plugins)
    for member in unpack.networks_of(found):
        suit(member.network, arithmetic)
    return found


def load_network(model: str | Path, plugins: Sequence[Path] = (), store: Store | None = None) -> NetworkClassifier:
    """The same where one network is needed, with its layers; another kind of classifier is a `UserError`."""
    found = load(model, plugins, store)
    if not isinstance(found, NetworkClassifier):
        raise UserError(f"{model} is not one network and has no layers; name one of its members")
    return found
