"""Recipes in the shape of the pipelines that won the ImageNet challenges of 2010 and 2011, before networks did.

They have not been run on ImageNet by us, so that no result of ours exists. The numbers of words and of components are
ours where the papers' are not given below. ILSVRC 2012 is the data set here; the papers' numbers are for the sets of
2010 and 2011, each of which has 1,000 classes as well.
"""
# Tested in tests/recipes/test_imagenet_pipelines.py

from imclass.core.config import Fitting
from imclass.recipes.imagenet import DATA

PYRAMID = ("1x1", "2x2", "3x1")


def imagenet_nec_2010(data: str = DATA, words: int = 8192, step: int = 8, sift: bool = False) -> Fitting:
    """Fit averaged SGD to local coordinate codes of HOG and LBP. Published top-5 error at ILSVRC-2010: 28.19%.

    `imclass train imagenet-nec-2010 --data DIR`. The shape is that of Lin et al., "Large-scale image classification:
    fast feature extraction and SVM training" (CVPR 2011), who report 52.9% for the first class and 71.8% for the first
    five. Images are reduced to at most 500 pixels. HOG blocks and local binary patterns of patches of 16 pixels are
    coded by the nearest visual words, and the maxima are taken in the cells of a pyramid. One-against-rest SVMs are
    fitted by averaged SGD.

    The paper joins more channels: descriptors at several scales, and super-vector codes next to local coordinate codes.
    Its codes are approximated here by locality-constrained linear coding (Wang et al., CVPR 2010). The competition's
    page names SIFT instead of HOG, as `--sift` does. With the default values, a photo's row takes 512 KiB. The store
    keeps it twice, in parts and joined: 1.2 TiB for ILSVRC 2012. Fewer words need less.
    """
    from imclass.pipelines.parts.averaged_sgd import AveragedSgd
    from imclass.pipelines.parts.dense_sift import DenseSift
    from imclass.pipelines.parts.hog import Hog
    from imclass.pipelines.parts.lbp import LocalBinaryPatterns
    from imclass.pipelines.parts.llc import LocalityCoding
    from imclass.pipelines.parts.normalise import Normalise
    from imclass.pipelines.parts.pyramid import Pyramid
    from imclass.pipelines.parts.resize import ResizeImages
    from imclass.pipelines.parts.union import Channel, Union

    first = DenseSift(step=step) if sift else Hog(cell=8, step=step)
    shape, texture = (
        Channel(parts=(extractor, Pyramid(grids=PYRAMID), LocalityCoding(words=words), Normalise()))
        for extractor in (first, LocalBinaryPatterns(patch=16, step=step))
    )
    parts = (ResizeImages(longest=500), Union(channels=(shape, texture)), AveragedSgd(passes=5))
    return Fitting("imagenet-nec-2010", parts, data)


def imagenet_xrce_2011(data: str = DATA, words: int = 256, dims: int = 64, step: int = 8) -> Fitting:
    """Fit averaged SGD to Fisher vectors of SIFT and colours. Published top-5 error at ILSVRC-2011: 25.77%.

    `imclass train imagenet-xrce-2011 --data DIR`. SIFT and local colour statistics are projected on their principal
    components and encoded as improved Fisher vectors in the cells of a pyramid, as Perronnin, Sanchez and Mensink
    describe (ECCV 2010). One-against-rest SVMs are fitted by SGD. At ILSVRC-2010, Sanchez and Perronnin report 74.3%
    for the first five classes ("High-dimensional signature compression for large-scale image classification", CVPR
    2011).

    The authors compress the vectors with product quantisers, which this recipe does not. With the default values, a
    photo's row takes 2 MiB. The store keeps it twice, in parts and joined: 5 TiB for ILSVRC 2012. Fewer words need
    less.
    """
    from imclass.pipelines.parts.averaged_sgd import AveragedSgd
    from imclass.pipelines.parts.colour_statistics import ColourStatistics
    from imclass.pipelines.parts.dense_sift import DenseSift
    from imclass.pipelines.parts.fisher import Fisher
    from imclass.pipelines.parts.normalise import Normalise
    from imclass.pipelines.parts.pca import Pca
    from imclass.pipelines.parts.pyramid import Pyramid
    from imclass.pipelines.parts.union import Channel, Union

    shape, colour = (
        Channel(parts=(extractor, Pca(dims=dims), Pyramid(grids=PYRAMID), Fisher(words=words), Normalise()))
        for extractor in (DenseSift(step=step), ColourStatistics(step=step))
    )
    return Fitting("imagenet-xrce-2011", (Union(channels=(shape, colour)), AveragedSgd()), data)


RECIPES = {"imagenet-nec-2010": imagenet_nec_2010, "imagenet-xrce-2011": imagenet_xrce_2011}
