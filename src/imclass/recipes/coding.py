"""Recipes that fit a linear SVM to codes of dense SIFT descriptors, pooled by their maximum in a spatial pyramid."""
# Tested in tests/recipes/test_coding.py

from imclass.core.config import Fitting

PYRAMID = ("1x1", "2x2", "4x4")  # 21 cells, as in both papers
LONGEST = 300  # pixels of the longer side of a photo, as in both papers


def folder_llc(data: str = "photos", words: int = 1024, step: int = 8) -> Fitting:
    """Fit a linear SVM to locality-constrained linear codes (LLC) of dense SIFT descriptors.

    `imclass train folder-llc --data DIR`. Each descriptor is coded by its 5 nearest words (Wang et al., CVPR 2010).
    Patches have sides of 16, 24 and 32 pixels, in place of the paper's 16, 25 and 31.

    The paper reports 73.44% on Caltech-101 with 30 training images of each class and 2,048 words (`--words 2048`).
    """
    # Parts import PyTorch, which the list of recipes does not need.
    from imclass.pipelines.parts.dense_sift import DenseSift
    from imclass.pipelines.parts.linear_svm import LinearSvm
    from imclass.pipelines.parts.llc import LocalityCoding
    from imclass.pipelines.parts.normalise import Normalise
    from imclass.pipelines.parts.pyramid import Pyramid

    parts = (
        DenseSift(step=step, scales=3, max_side=LONGEST, root=False),
        Pyramid(grids=PYRAMID),
        LocalityCoding(words=words),
        Normalise(),
        LinearSvm(scaling="common"),
    )
    return Fitting("folder-llc", parts, data, sample=200_000)


def folder_scspm(data: str = "photos", words: int = 1024, step: int = 8) -> Fitting:
    """Fit a linear SVM to sparse codes of dense SIFT descriptors.

    `imclass train folder-scspm --data DIR`. A dictionary is learned from the descriptors of patches of 16 x 16 pixels,
    and each descriptor is coded by the lasso (Yang, Yu, Gong and Huang, CVPR 2009). The authors' code places patches
    every 6 pixels (`--step 6`), which takes about twice as long.

    The paper reports 73.2 +- 0.5% on Caltech-101 with 30 training images of each class and 1,024 words.
    """
    from imclass.pipelines.parts.dense_sift import DenseSift
    from imclass.pipelines.parts.linear_svm import LinearSvm
    from imclass.pipelines.parts.normalise import Normalise
    from imclass.pipelines.parts.pyramid import Pyramid
    from imclass.pipelines.parts.sparse import SparseCoding

    parts = (
        DenseSift(step=step, scales=1, max_side=LONGEST, root=False),
        Pyramid(grids=PYRAMID),
        SparseCoding(words=words),
        Normalise(),
        LinearSvm(scaling="common"),
    )
    return Fitting("folder-scspm", parts, data, sample=200_000)


RECIPES = {"folder-llc": folder_llc, "folder-scspm": folder_scspm}
