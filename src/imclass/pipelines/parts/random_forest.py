"""Random forests.

L. Breiman, "Random forests", Machine Learning 2001. Each tree is grown on as many images as there are, drawn with
replacement. At each node, a few features are drawn, and the split of one of them that reduces the Gini impurity most is
chosen. scikit-learn grows the trees. They are kept as arrays, and images descend through them with NumPy.

A leaf holds the fractions of its training images that have each class, and a forest the means of the leaves' fractions.
Scores are the logarithms of these means, as if there were one more tree, which finds all classes equally likely.

With several labels for each image, one forest predicts all classes. A split is the one that reduces the mean of the
classes' impurities most, where "not annotated" counts as a third value. Images that are not annotated for a class are
then left out of its fraction.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64

from imclass.core.bounds import AtLeast
from imclass.core.targets import AnyOf, Link, Targets
from imclass.pipelines.part import FitProgress, Scorer
from imclass.pipelines.principal_axes import check_finite_features
from imclass.pipelines.rows import RowMatrix, as_rows

BATCH = 10  # trees that are grown between two steps of a fit
PATHS = 1 << 20  # images times trees that descend together


@dataclass
class RandomForest(Scorer):
    """A forest of classification trees."""

    kind: ClassVar[str] = "random-forest"
    learned: ClassVar[tuple[str, ...]] = (
        "roots_",  # [T], the first node of each tree
        "children_",  # [M, 2], the nodes below each node; a leaf is its own child
        "features_",  # [M], the feature that a node compares
        "thresholds_",  # [M]; a larger value leads to the second child
        "starts_",  # [M + 1], where the shares of a node begin
        "columns_",  # of each share: a class, or K plus a class for the share of images that are not annotated for it
        "shares_",
        "classes_",
        "depth_",
        "sigmoid_",
        "out_of_bag_",
    )
    trees: Annotated[int, AtLeast(1)] = 500
    tried: Annotated[int, AtLeast(0)] = 0  # features drawn at each node; 0: the square root of their number
    leaf: Annotated[int, AtLeast(1)] = 1  # training images that a leaf needs
    depth: Annotated[int, AtLeast(0)] = 0  # the longest path from a root to a leaf; 0: no limit

    def __post_init__(self) -> None:
        self.link: Link = "softmax"

    def fit(self, x: Float[np.ndarray, "N D"] | RowMatrix, targets: Targets, classes: int) -> "RandomForest":
        """Grow the trees with seed 0, and return the part. All rows must fit in memory."""
        for _ in self.fit_steps(x, targets, classes):
            pass
        return self

    def fit_steps(
        self, x: Float[np.ndarray, "N D"] | RowMatrix, targets: Targets, classes: int, seed: int = 0
    ) -> Iterator[FitProgress]:
        """Grow the trees, and yield after each batch. The result depends on the seed, and not on the threads.

        Raise `UserError` if any features are not finite.
        """
        from sklearn.ensemble import RandomForestClassifier

        rows = as_rows(x)
        features = np.asarray(rows[0 : len(rows)], np.float32)
        check_finite_features(features)
        labels = targets.numpy()
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        forest = RandomForestClassifier(
            max_features=min(self.tried, features.shape[1]) or "sqrt",
            min_samples_leaf=self.leaf,
            max_depth=self.depth or None,
            random_state=seed,
            n_jobs=torch.get_num_threads(),
            warm_start=True,
        )
        for grown in [*range(BATCH, self.trees, BATCH), self.trees]:
            forest.set_params(n_estimators=grown).fit(features, labels)
            yield min(grown, self.trees), self.trees + 1
        self.keep(forest, isinstance(targets, AnyOf), classes)
        self.out_of_bag_ = np.array(self.accuracy_out_of_bag(features, targets, forest.estimators_samples_))
        yield self.trees + 1, self.trees + 1

    def keep(self, forest: Any, several: bool, classes: int) -> None:
        """Set the learned arrays from scikit-learn's forest, except the accuracy."""
        values = forest.classes_ if isinstance(forest.classes_, list) else [forest.classes_]
        columns = np.full((len(values), max(map(len, values))), -1)  # -1: a share that follows from the others
        for output, known in enumerate(values):
            for i, value in enumerate(known.astype(int).tolist()):
                columns[output, i] = {1: output, 0: -1, -1: classes + output}[value] if several else value
        trees = [grown.tree_ for grown in forest.estimators_]
        sizes = np.array([tree.node_count for tree in trees])
        self.roots_ = (np.cumsum(sizes) - sizes).astype(np.int32)
        nodes = [tree_nodes(tree, root) for tree, root in zip(trees, self.roots_.tolist(), strict=True)]
        self.children_, self.features_, self.thresholds_ = (
            np.concatenate(arrays) for arrays in zip(*nodes, strict=True)
        )
        leaves = [leaf_shares(tree, columns) for tree in trees]
        counts, found, self.shares_ = (np.concatenate(arrays) for arrays in zip(*leaves, strict=True))
        self.starts_ = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.columns_ = found.astype(np.int32)
        self.classes_, self.sigmoid_ = np.array(classes), np.array(several)
        self.depth_ = np.array(max(tree.max_depth for tree in trees))
        self.set_link()

    def accuracy_out_of_bag(
        self, features: Float32[np.ndarray, "N D"], targets: Targets, drawn: list[np.ndarray]
    ) -> float:
        """Return the fraction of labels that are predicted by the trees that were grown without the image.

        With several labels for each image, it is the fraction of all annotations. It is NaN if each tree has seen each
        image.
        """
        classes, images = int(self.classes_), len(features)
        totals, counts = np.zeros((images, 2 * classes)), np.zeros(images)
        for tree, seen in enumerate(drawn):
            unseen = np.setdiff1d(np.arange(images), seen)
            totals[unseen] += self.sums(features[unseen], slice(tree, tree + 1))
            counts[unseen] += 1
        marks, voted = targets.numpy(), counts > 0
        if isinstance(targets, AnyOf):
            right, known = ((self.logits(totals, counts) >= 0) == (marks == 1)), voted[:, None] & (marks >= 0)
        else:
            right, known = totals[:, :classes].argmax(1) == marks, voted
        return float(right[known].mean()) if known.any() else float("nan")

    def set_link(self) -> None:
        """Set the link that matches the targets to which the part was fitted."""
        self.link = "sigmoid" if self.sigmoid_ else "softmax"

    def restore(self, arrays: Mapping[str, np.ndarray], where: str) -> None:
        """Set the learned arrays from a file, and the link that follows from them."""
        super().restore(arrays, where)
        self.set_link()

    def descend(self, x: Float32[np.ndarray, "n D"], trees: slice) -> Int64[np.ndarray, "n T"]:
        """Return the leaf of each image in each of some trees."""
        images = np.arange(len(x))[:, None]
        nodes = np.tile(self.roots_[trees].astype(np.int64), (len(x), 1))
        for _ in range(int(self.depth_)):
            nodes = self.children_[nodes, (x[images, self.features_[nodes]] > self.thresholds_[nodes]).astype(np.int8)]
        return nodes.astype(np.int64)

    def sums(self, x: Float32[np.ndarray, "n D"], trees: slice) -> Float64[np.ndarray, "n twice"]:
        """Return the sums over some trees of the shares of each class, then those of images not annotated for it."""
        leaves, width = self.descend(x, trees), 2 * int(self.classes_)
        starts, counts = self.starts_[leaves], self.starts_[leaves + 1] - self.starts_[leaves]
        images = np.repeat(np.arange(len(x)), counts.sum(1))
        counts = counts.ravel()
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.repeat(starts.ravel(), counts) + within
        slots = images * width + self.columns_[places]
        return np.bincount(slots, self.shares_[places], len(x) * width).astype(np.float64).reshape(len(x), width)

    def logits(
        self, totals: Float64[np.ndarray, "n twice"], trees: Float64[np.ndarray, "n"] | int
    ) -> Float64[np.ndarray, "n K"]:
        """Return the logit of each class, given the sums of the shares in a number of trees."""
        having, unknown = np.split(totals, 2, 1)
        without = np.maximum(np.reshape(trees, (-1, 1)) - having - unknown, 0)
        return np.asarray(np.log(having + 0.5) - np.log(without + 0.5))

    def scores(self, x: Float[np.ndarray, "N D"] | RowMatrix) -> Float64[np.ndarray, "N K"]:
        """Return the logarithm of the smoothed mean fraction of each class, or its logit with several labels.

        Raise `UserError` if any features are not finite.
        """
        self.arrays()
        rows, classes, trees = as_rows(x), int(self.classes_), len(self.roots_)
        found = [np.empty((0, classes))]
        step = max(1, PATHS // trees)
        for low in range(0, len(rows), step):
            block = np.asarray(rows[low : low + step], np.float32)
            check_finite_features(block)
            totals = self.sums(block, slice(None))
            log_means = np.log((totals[:, :classes] + 1 / classes) / (trees + 1))
            found.append(self.logits(totals, trees) if self.sigmoid_ else log_means)
        return np.concatenate(found)

    def facts(self) -> dict[str, Any]:
        """Return the accuracy out of bag, the number of nodes and the longest path from a root to a leaf."""
        learned = self.arrays()
        accuracy = learned["out_of_bag_"].item()
        return {
            "out_of_bag_accuracy": None if np.isnan(accuracy) else accuracy,
            "nodes": len(learned["features_"]),
            "depth": learned["depth_"].item(),
        }


def tree_nodes(tree: Any, root: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the children, features and thresholds of the nodes of scikit-learn's tree.

    Thresholds are rounded down to float32, which decides for float32 features as scikit-learn's float64 does.
    """
    is_leaf = tree.children_left < 0
    children = np.stack([tree.children_left, tree.children_right], 1)
    children[is_leaf] = np.flatnonzero(is_leaf)[:, None]
    rounded = tree.threshold.astype(np.float32)
    rounded = np.where(rounded > tree.threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    return (children + root).astype(np.int32), np.where(is_leaf, 0, tree.feature).astype(np.int32), rounded


def leaf_shares(
    tree: Any, columns: Int64[np.ndarray, "O V"]
) -> tuple[Int64[np.ndarray, "M"], Int64[np.ndarray, "s"], Float32[np.ndarray, "s"]]:
    """Return the number of shares of each node of scikit-learn's tree, and the column and the value of each share.

    `columns` contains the column of each value of each output; shares whose column is -1 are left out.
    """
    fractions = tree.value / tree.value.sum(2, keepdims=True)
    kept = (fractions > 0) & (columns >= 0) & (tree.children_left < 0)[:, None, None]
    node, output, value = np.nonzero(kept)
    counts = np.bincount(node, minlength=len(kept))
    return counts, columns[output, value], fractions[kept].astype(np.float32)


PARTS = {"random-forest": RandomForest}
