"""A recipe that fits a linear SVM to histograms of oriented gradients of CIFAR-10."""
# Tested in tests/recipes/test_cifar10_hog.py

from imclass.core.config import Fitting


def cifar10_hog_svm(cell: int = 8, step: int = 4, orientations: int = 18) -> Fitting:
    """Fit a linear SVM to the joined HOG blocks of CIFAR-10.

    `imclass train cifar10-hog-svm`.
    """
    # Parts import PyTorch, which the list of recipes does not need.
    from imclass.pipelines.parts.flatten import Flatten
    from imclass.pipelines.parts.hog import Hog
    from imclass.pipelines.parts.linear_svm import LinearSvm

    parts = (
        Hog(cell=cell, step=step, orientations=orientations, signed=True),
        Flatten(),
        LinearSvm(scaling="common"),
    )
    return Fitting("cifar10-hog-svm", parts, "cifar10")


RECIPES = {"cifar10-hog-svm": cifar10_hog_svm}
