"""An epoch in which a solver fits the last layer to the features of the training images.

Each batch of features is saved in the store as soon as it is computed. A run that was stopped or killed resumes with
these features, and other runs with the same images and weights use them as well. All batches have the same size,
because the last digits of an image's features may depend on the size of its batch. They do not depend on the other
images in the batch, so the bits of a run do not depend on which features the store already has.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import islice
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, UInt8

from imclass.core.codec import to_json
from imclass.core.contracts import Dataset, NetworkBacked, Refused, Watch
from imclass.core.errors import BadImage, UserError
from imclass.core.model_file import SolvedStage, tensors_digest
from imclass.core.runtime import Arithmetic, Runtime
from imclass.core.targets import Targets, labels_of
from imclass.core.text import printable_text
from imclass.data.loader import ViewResult
from imclass.data.threads import attempt, map_in_order
from imclass.models.arithmetic.eager import EagerEngine
from imclass.models.classifier import NetworkClassifier
from imclass.models.layers.heads import linear_layer, without_last_layer
from imclass.models.network import Network
from imclass.models.views.batches import to_batch, views_per_batch
from imclass.pipelines.part import LinearScorer
from imclass.pipelines.parts.network_features import LAYER
from imclass.store.rows import open_rows
from imclass.training.events import Event, FeatureBatch, Solved
from imclass.training.keeper import Keeper
from imclass.training.objective import Gradients
from imclass.training.parallel import Group
from imclass.training.plan import Leg, SplitFeatures
from imclass.training.state import State

LinearModel: TypeAlias = tuple[Float64[np.ndarray, "K D"], Float64[np.ndarray, "K"]]
GPU_BATCH = 256  # views that a GPU processes at a time
SCORING_ARITHMETIC = Arithmetic("fp32", "nhwc")  # for held-out images, independent of the run's
CPU_BATCH = 64  # the most views that a CPU processes at a time; the last batch is padded, which must not cost much


def solve(leg: Leg, state: State, group: Group, keeper: Keeper) -> Iterator[Event]:
    """Fit the last layer in the only step of the epoch, and yield the events.

    If a stop is requested before that step, set `keeper.stopped` and save the state.
    """
    if state.at.batch:  # the run was stopped during the evaluation after the step
        return
    if leg.stage.solver is None:
        raise TypeError(f"stage {leg.name} has no solver")
    scorer: LinearScorer = leg.stage.solver.build()
    data = leg.loader.dataset
    table = FeatureTable(leg, state, data, state.runtime)
    for event in table.compute():
        yield event
        (keeper.stopped,) = group.agree(keeper.asked_to_stop())
        if keeper.stopped:
            break
    if not keeper.stopped:
        kept = table.usable_positions()
        numbers = numbers_of_seen(data)
        targets, classes = data.targets[kept], int(numbers.max()) + 1
        factors = image_weights(leg, targets)
        scorer.fit(table.features(kept), targets.renumber(numbers, classes), classes, factors)
        (keeper.stopped,) = group.agree(keeper.asked_to_stop())
    if keeper.stopped:
        yield keeper.save(leg, state)
        return
    model = linear_model_of(state.learner.classifier, scorer, numbers_of_seen(data))
    write_last_layer(state.learner.classifier, model)
    count_images(leg, state, table, model)
    kind, facts = leg.stage.solver.kind, scorer.facts()
    choices = {name: value for name, value in facts.items() if not isinstance(value, Mapping)}  # without the losses
    state.solved = {**state.solved, leg.folder: SolvedStage(solver=kind, images=len(kept), facts=choices)}
    yield Solved(state.at, kind, len(kept), facts)


def embed_split(leg: Leg, state: State, dataset: Dataset, watch: Watch) -> SplitFeatures:
    """Return the float32 features of a split that a solved leg scores. Compute and store the missing ones.

    `watch` is called before each batch.
    """
    table = FeatureTable(leg, state, dataset, replace(state.runtime, arithmetic=SCORING_ARITHMETIC))
    watch()
    for _ in table.compute():
        watch()
    kept = table.usable_positions()
    features = table.features(kept) if len(kept) else np.zeros((0, 0), np.float32)
    return SplitFeatures(kept, features, tuple(table.refused.values()))


class FeatureTable:
    """The features of some images for a leg's current weights. `compute` adds the missing ones."""

    def __init__(self, leg: Leg, state: State, dataset: Dataset, used: Runtime) -> None:
        self.leg, self.state, self.dataset, self.used = leg, state, dataset, used
        self.size = batch_size(leg, used)
        self.contents = dataset.contents().tolist()
        self.rows = open_rows(leg.context.store, features_key(leg, state.learner.network, used))
        self.known = self.rows.read(self.contents)
        self.refused: dict[int, Refused] = {}

    @cached_property
    def embedded(self) -> NetworkBacked:
        """Return the classifier without its last layer, so that its scores are the features."""
        classifier = self.state.learner.classifier
        engine = EagerEngine(classifier.network, self.used.arithmetic)
        return without_last_layer(replace(classifier, engine=engine))

    def compute(self) -> Iterator[FeatureBatch]:
        """Compute the missing features batch by batch, and yield an event after each batch."""
        total = len(self.contents)
        missing = [i for i, content in enumerate(self.contents) if content not in self.known]
        view = partial(attempt, self.dataset, self.leg.preprocess)
        began = time.monotonic()
        with contextlib.closing(map_in_order(view, missing, self.leg.loader.workers, ahead=2 * self.size)) as views:
            for at in range(0, len(missing), self.size):
                batch = missing[at : at + self.size]
                refused = self.add(batch, list(islice(views, len(batch))))
                done = total - len(missing) + at + len(batch)
                yield FeatureBatch(self.state.at, done, total, len(batch), time.monotonic() - began, refused)
                began = time.monotonic()

    def add(self, batch: Sequence[int], views: Sequence[ViewResult]) -> tuple[Refused, ...]:
        """Compute and store the features of the images at the positions in `batch`. Return the refused images."""
        bad = {i: view for i, view in zip(batch, views, strict=True) if isinstance(view, BadImage)}
        good = {i: view for i, view in zip(batch, views, strict=True) if not isinstance(view, BadImage)}
        self.refused |= {i: Refused(view.path, view.code, view.detail) for i, view in bad.items()}
        if good:
            features = self.features_of(np.stack([*good.values()]))
            self.check(good, features)
            new = {self.contents[i]: row for i, row in zip(good, features, strict=True)}
            self.rows.write(new)
            self.known |= new
        return tuple(self.refused[i] for i in bad)

    def features_of(self, views: UInt8[np.ndarray, "n H W C"]) -> Float32[np.ndarray, "n D"]:
        """Return the features of at most `size` views, which are repeated to fill a batch of `size`."""
        padded = np.resize(views, (self.size, *views.shape[1:]))
        return self.embedded.engine.scores(to_batch(padded)).numpy()[: len(views)]

    def check(self, positions: Iterable[int], features: Float32[np.ndarray, "n D"]) -> None:
        """Raise `UserError` if any features are not finite. The message names the first image with such features."""
        for i, row in zip(positions, features, strict=True):
            if not np.isfinite(row).all():
                name = printable_text(self.dataset.name(i))
                coarse = self.used.arithmetic.precision == "bf16"
                fix = "use --precision fp32" if coarse else "use another model with --init"
                raise UserError(f"the features of {name} are not finite, so the last layer cannot be fitted; {fix}")

    def usable_positions(self) -> Int64[np.ndarray, "N"]:
        """Return the positions of the images that have features."""
        return np.array([i for i, content in enumerate(self.contents) if content in self.known], np.int64)

    def features(self, positions: Int64[np.ndarray, "N"]) -> Float32[np.ndarray, "N D"]:
        """Return the features of the images at these positions. Raise `UserError` if there are no positions."""
        if not len(positions):
            path = self.dataset.origin.path
            raise UserError(
                f"every training image of {path} was refused, so the last layer cannot be fitted; see the reasons above"
            )
        return np.stack([self.known[self.contents[i]] for i in positions.tolist()])


def batch_size(leg: Leg, used: Runtime) -> int:
    """Return the number of views in each batch."""
    return GPU_BATCH if used.device != "cpu" else min(CPU_BATCH, views_per_batch(leg.preprocess))


def features_key(leg: Leg, network: Network, used: Runtime) -> dict[str, object]:
    """Return everything that determines the exact features, except the images.

    The last layer is left out because it does not affect the features.
    """
    tensors = {name: t for name, t in network.state_dict().items() if name not in network.class_tensors()}
    return {
        "network": leg.model.network,
        "row": to_json(leg.model.row),
        "weights": tensors_digest({name: t for name, t in tensors.items() if not name.startswith("sides.")}),
        "preprocess": to_json(leg.preprocess),
        "layer": LAYER,
        "max_pixels": leg.context.max_pixels,  # larger images are refused
        "batch": batch_size(leg, used),
        "runtime": to_json(used),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def stored_arithmetic(leg: Leg, used: Runtime, candidates: Sequence[Arithmetic]) -> Arithmetic | None:
    """Return the candidate in which the store has the features of the most training images.

    The result is None if, in every candidate, the store has those of fewer than half of the images.
    """
    key, contents = features_key(leg, leg.make().network, used), leg.loader.dataset.contents().tolist()
    stored = {
        candidate: open_rows(leg.context.store, key | {"runtime": to_json(replace(used, arithmetic=candidate))})
        for candidate in candidates
    }
    counts = {candidate: rows.count(contents) for candidate, rows in stored.items()}
    best = max(counts, key=counts.__getitem__)
    return best if 2 * counts[best] >= len(contents) else None


def numbers_of_seen(data: Dataset) -> Int64[np.ndarray, "K"]:
    """Return the number of each class among the classes with training images, or -1 for a class without any."""
    seen = data.targets.counts(len(data.classes)) > 0
    return np.where(seen, seen.cumsum() - 1, -1)


def linear_model_of(
    classifier: NetworkClassifier, scorer: LinearScorer, numbers: Int64[np.ndarray, "K"]
) -> LinearModel:
    """Return the weights and biases for all classes. Those of classes that were not fitted do not change."""
    layer = linear_layer(classifier.network.head, classifier.name)
    weights = layer.weight.detach().cpu().double().flatten(1).numpy()
    biases = layer.get_parameter("bias").detach().cpu().double().numpy()
    weights[numbers >= 0], biases[numbers >= 0] = scorer.linear_model()
    return weights, biases


def write_last_layer(classifier: NetworkClassifier, model: LinearModel) -> None:
    """Set the weights and biases of the head's last layer."""
    layer = linear_layer(classifier.network.head, classifier.name)
    weights, biases = map(torch.from_numpy, model)
    with torch.no_grad():
        layer.weight.copy_(weights.view_as(layer.weight))
        layer.get_parameter("bias").copy_(biases)


def count_images(leg: Leg, state: State, table: FeatureTable, model: LinearModel) -> None:
    """Advance the state by one step. Record the fitted model's loss and how many images it classifies correctly."""
    kept, (weights, biases) = table.usable_positions(), model
    scores = torch.from_numpy(table.features(kept) @ weights.T + biases)
    targets = leg.loader.dataset.targets[kept]
    losses, factors = leg.stage.objective.loss(scores, targets.on_device("cpu")), image_weights(leg, targets)
    loss = (losses if factors is None else losses * torch.from_numpy(factors)).mean().item()
    state.count(Gradients([], [], loss, loss, targets.count_correct(scores)), len(kept), len(table.refused))


def image_weights(leg: Leg, targets: Targets) -> Float64[np.ndarray, "N"] | None:
    """Return the factor for the loss of each image, or None if all are 1."""
    return None if leg.class_weights is None else leg.class_weights[labels_of(targets, "--balance")]
