"""The tables of K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition", CVPR 2016.

arXiv:1512.03385. The multiply-adds are from Table 1, and the errors in percent are from Tables 2 to 6. The single-crop
errors are from the README of the authors' repository (KaimingHe/deep-residual-networks). Lecture 7.2 of EE-559 shows
Tables 1 and 5.
"""
# Tested in tests/evaluation/papers/test_render.py

from imclass.evaluation.papers.table import Net, PaperRow, PaperTable, RowSubject, method_cells, name_cells

PAPER = "He et al., CVPR 2016, arXiv:1512.03385"


# Q from section 3.4. The "standard" ten crops in that section are those of Krizhevsky et al. 2012, from 256-pixel
# images. The single crop in the README is taken from images of the same size.
SCALES = {"center": (256,), "tencrop": (256,), "resnet-multiscale": (224, 256, 384, 480, 640)}


def net_row(network: str, protocol: str, *numbers: str) -> PaperRow:
    """Return a table row with one network's published results."""
    return PaperRow(RowSubject((Net(network, test=SCALES[protocol]),), protocol), numbers)


def label_only_row(label: str, *numbers: str) -> PaperRow:
    """Return a table row with the published results of a method that imclass does not implement."""
    return PaperRow(RowSubject(), numbers, label)


def cifar_row(network: str, label: str, error: str) -> PaperRow:
    """Return a table row with the published error of a CIFAR-10 network on whole 32-pixel images."""
    return PaperRow(RowSubject((Net(network, test=(32,)),)), (error,), label)


SINGLE_MODELS = PaperTable(
    "Tables 1 to 4: single models, ILSVRC 2012 validation; shortcuts are option B unless named -a or -c",
    f"{PAPER}; 1 crop: the authors' released models",
    ("network", "evaluation"),
    method_cells,
    ("10^9 mult-adds", "top-1 val", "top-5 val"),
    (
        net_row("resnet-18-a", "tencrop", "1.8", "27.88", ""),
        net_row("resnet-34-a", "tencrop", "3.6", "25.03", "7.76"),
        net_row("resnet-34", "tencrop", "3.6", "24.52", "7.46"),
        net_row("resnet-34", "resnet-multiscale", "3.6", "21.84", "5.71"),
        net_row("resnet-34-c", "tencrop", "3.6", "24.19", "7.40"),
        net_row("resnet-34-c", "resnet-multiscale", "3.6", "21.53", "5.60"),
        net_row("resnet-50", "center", "3.8", "24.7", "7.8"),
        net_row("resnet-50", "tencrop", "3.8", "22.85", "6.71"),
        net_row("resnet-50", "resnet-multiscale", "3.8", "20.74", "5.25"),
        net_row("resnet-101", "center", "7.6", "23.6", "7.1"),
        net_row("resnet-101", "tencrop", "7.6", "21.75", "6.05"),
        net_row("resnet-101", "resnet-multiscale", "7.6", "19.87", "4.60"),
        net_row("resnet-152", "center", "11.3", "23.0", "6.7"),
        net_row("resnet-152", "tencrop", "11.3", "21.43", "5.71"),
        net_row("resnet-152", "resnet-multiscale", "11.3", "19.38", "4.49"),
    ),
)
ENSEMBLES = PaperTable(
    "Table 5: ensembles, ILSVRC test set",
    PAPER,
    ("method",),
    name_cells,
    ("top-5 test",),
    (
        label_only_row("VGG (ILSVRC'14)", "7.32"),
        label_only_row("GoogLeNet (ILSVRC'14)", "6.66"),
        label_only_row("VGG (v5)", "6.8"),
        label_only_row("PReLU-net", "4.94"),
        label_only_row("BN-Inception", "4.82"),
        label_only_row("ResNet (ILSVRC'15)", "3.57"),
    ),
)
CIFAR_RESULTS = PaperTable(
    "Table 6: CIFAR-10 test set",
    PAPER,
    ("method",),
    name_cells,
    ("top-1",),
    (
        label_only_row("Maxout", "9.38"),
        cifar_row("nin-cifar", "NIN", "8.81"),
        label_only_row("DSN", "8.22"),
        label_only_row("FitNet, 19 layers", "8.39"),
        # From Table 2 of the highway networks paper. `highway-19` is the network in its Table 3.
        cifar_row("highway-19-fc", "Highway, 19 layers (7.72 ± 0.16)", "7.54"),
        cifar_row("highway-32", "Highway, 32 layers", "8.80"),
        cifar_row("resnet-cifar-20", "ResNet, 20 layers", "8.75"),
        cifar_row("resnet-cifar-32", "ResNet, 32 layers", "7.51"),
        cifar_row("resnet-cifar-44", "ResNet, 44 layers", "7.17"),
        cifar_row("resnet-cifar-56", "ResNet, 56 layers", "6.97"),
        cifar_row("resnet-cifar-110", "ResNet, 110 layers (6.61 ± 0.16)", "6.43"),
        cifar_row("resnet-cifar-1202", "ResNet, 1202 layers", "7.93"),
    ),
)
