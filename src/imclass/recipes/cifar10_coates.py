"""The single-layer network of Coates, Ng and Lee on CIFAR-10."""
# Tested in tests/recipes/test_contract.py

from imclass.core.config import Fitting


def cifar10_coates(features: int = 1600) -> Fitting:
    """Fit linear SVMs to k-means features of whitened patches.

    TODO
    """
    # Parts import PyTorch, which the list of recipes does not need.
    from imclass.pipelines.parts.linear_svm import LinearSvm
    from imclass.pipelines.parts.patches import Patches
    from imclass.pipelines.parts.pyramid import Pyramid
    from imclass.pipelines.parts.triangle import Triangle
    from imclass.pipelines.parts.whiten import Whiten

    parts = (
        Patches(),
        Whiten(),
        Pyramid(grids=("2x2",)),
        Triangle(words=features),
        LinearSvm(grid=(2e-3,), scaling="standardised"),
    )
    return Fitting("cifar10-coates", parts, "cifar10", sample=400_000)


RECIPES = {"cifar10-coates": cifar10_coates}
