"""The tables of K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition", CVPR 2016.

arXiv:1512.03385: multiply-adds of Table 1, errors in % of Tables 2 to 6; one crop as the README of the authors' models
(KaimingHe/deep-residual-networks) has it. The lecture EE-559, 7.2 shows Tables 1 and 5.
"""
# Tested in tests/evaluation/papers/test_render.py

from imclass.evaluation.papers.table import Net, Row, Table, Tested, by_method, by_name

PAPER = "He et al., CVPR 2016, arXiv:1512.03385"


# Q of section 3.4. Ten crops are "the standard" ones, those of Krizhevsky et al. 2012, which had images of 256 pixels;
# so had the README's single crop.
SCALES = {"center": (256,), "tencrop": (256,), "resnet-multiscale": (224, 256, 384, 480, 640)}


def one(network: str, protocol: str, *numbers: str) -> Row:
    """Return a row of one network."""
    return Row(Tested((Net(network, test=SCALES[protocol]),), protocol), numbers)


def told(label: str, *numbers: str) -> Row:
    """A row of something that is not among the networks here."""
    return Row(Tested(), numbers, label)


def cifar(network: str, label: str, error: str) -> Row:
    """Return a row of a network for CIFAR-10, which sees the whole image."""
    return Row(Tested((Net(network, test=(32,)),)), (error,), label)


SINGLE = Table(
    "Tables 1 to 4: single models, ILSVRC 2012 validation; shortcuts are of option B unless named -a, -c",
    f"{PAPER}; 1 crop: the authors' released models",
    ("network", "evaluation"),
    by_method,
    ("10^9 mult-adds", "top-1 val", "top-5 val"),
    (
        one("resnet-18-a", "tencrop", "1.8", "27.88", ""),
        one("resnet-34-a", "tencrop", "3.6", "25.03", "7.76"),
        one("resnet-34", "tencrop", "3.6", "24.52", "7.46"),
        one("resnet-34", "resnet-multiscale", "3.6", "21.84", "5.71"),
        one("resnet-34-c", "tencrop", "3.6", "24.19", "7.40"),
        one("resnet-34-c", "resnet-multiscale", "3.6", "21.53", "5.60"),
        one("resnet-50", "center", "3.8", "24.7", "7.8"),
        one("resnet-50", "tencrop", "3.8", "22.85", "6.71"),
        one("resnet-50", "resnet-multiscale", "3.8", "20.74", "5.25"),
        one("resnet-101", "center", "7.6", "23.6", "7.1"),
        one("resnet-101", "tencrop", "7.6", "21.75", "6.05"),
        one("resnet-101", "resnet-multiscale", "7.6", "19.87", "4.60"),
        one("resnet-152", "center", "11.3", "23.0", "6.7"),
        one("resnet-152", "tencrop", "11.3", "21.43", "5.71"),
        one("resnet-152", "resnet-multiscale", "11.3", "19.38", "4.49"),
    ),
)
ENSEMBLES = Table(
    "Table 5: ensembles, ILSVRC test set",
    PAPER,
    ("method",),
    by_name,
    ("top-5 test",),
    (
        told("VGG (ILSVRC'14)", "7.32"),
        told("GoogLeNet (ILSVRC'14)", "6.66"),
        told("VGG (v5)", "6.8"),
        told("PReLU-net", "4.94"),
        told("BN-Inception", "4.82"),
        told("ResNet (ILSVRC'15)", "3.57"),
    ),
)
CIFAR = Table(
    "Table 6: CIFAR-10 test set",
    PAPER,
    ("method",),
    by_name,
    ("top-1",),
    (
        told("Maxout", "9.38"),
        cifar("nin-cifar", "NIN", "8.81"),
        told("DSN", "8.22"),
        told("FitNet, 19 layers", "8.39"),
        told("Highway, 19 layers (7.72 ± 0.16)", "7.54"),  # its paper's Table 2; `highway-19` is of Table 3
        told("Highway, 32 layers", "8.80"),
        cifar("resnet-cifar-20", "ResNet, 20 layers", "8.75"),
        cifar("resnet-cifar-32", "ResNet, 32 layers", "7.51"),
        cifar("resnet-cifar-44", "ResNet, 44 layers", "7.17"),
        cifar("resnet-cifar-56", "ResNet, 56 layers", "6.97"),
        cifar("resnet-cifar-110", "ResNet, 110 layers (6.61 ± 0.16)", "6.43"),
        cifar("resnet-cifar-1202", "ResNet, 1202 layers", "7.93"),
    ),
)
