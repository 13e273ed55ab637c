"""Tables 3 to 7 of K. Simonyan and A. Zisserman, "Very deep convolutional networks for large-scale image recognition".

ICLR 2015, arXiv:1409.1556. Errors are in percent, on the validation images of ILSVRC 2012 unless the column header says
test. Copies of the paper differ in two places: the last two rows of Table 3 are for network E (some copies print D),
and GoogLeNet's single number in Table 7 is for both validation and test.
"""

from imclass.evaluation.papers.table import (
    Net,
    PaperRow,
    PaperTable,
    RowSubject,
    member_cells,
    method_cells,
    name_cells,
    scale_cells,
)

PAPER = "Simonyan and Zisserman, ICLR 2015, arXiv:1409.1556"
JITTER = (256, 512)  # S was drawn from this range
NEAR_256, NEAR_384, WIDE_SCALES = (224, 256, 288), (352, 384, 416), (256, 384, 512)  # Q from section 4.2
D, E = Net("vgg-d", JITTER, WIDE_SCALES), Net("vgg-e", JITTER, WIDE_SCALES)
SUBMISSION_NETS = (
    Net("vgg-d", (256,), NEAR_256), Net("vgg-d", (384,), NEAR_384), D,
    Net("vgg-c", (256,), NEAR_256), Net("vgg-c", (384,), NEAR_384),
    Net("vgg-e", (256,), NEAR_256), Net("vgg-e", (384,), NEAR_384),
)  # fmt: skip

# Test scales from other papers. GoogLeNet: section 7. OverFeat: scales 1, 2, 4 and 6 of six, as listed in its Table 2.
# Ten crops: the corners and the centre of 256-pixel images, and their horizontal flips.
GOOGLENET = Net("googlenet", test=(256, 288, 320, 352))
OVERFEAT = Net("overfeat-accurate", test=(245, 281, 389, 461))
# SPP-net: section 3.1.5, trained at 224 and 180 pixels, which do not vary the scale of the image's content.
SPP = Net("spp-overfeat-7", test=(224, 256, 300, 360, 448, 560))
ALEXNET, ZF = Net("alexnet-2012", test=(256,)), Net("zfnet-b", test=(256,))


def dense_row(network: str, train: tuple[int, ...], test: tuple[int, ...], *numbers: str) -> PaperRow:
    """Return a table row with one network's published results under dense evaluation."""
    return PaperRow(RowSubject((Net(network, train, test),), "dense"), numbers)


SINGLE_SCALE = PaperTable(
    "Table 3: ConvNet performance at a single test scale",
    PAPER,
    ("ConvNet", "train (S)", "test (Q)"),
    scale_cells,
    ("top-1 val", "top-5 val"),
    (
        dense_row("vgg-a", (256,), (256,), "29.6", "10.4"),
        dense_row("vgg-a-lrn", (256,), (256,), "29.7", "10.5"),
        dense_row("vgg-b", (256,), (256,), "28.7", "9.9"),
        dense_row("vgg-c", (256,), (256,), "28.1", "9.4"),
        dense_row("vgg-c", (384,), (384,), "28.1", "9.3"),
        dense_row("vgg-c", JITTER, (384,), "27.3", "8.8"),
        dense_row("vgg-d", (256,), (256,), "27.0", "8.8"),
        dense_row("vgg-d", (384,), (384,), "26.8", "8.7"),
        dense_row("vgg-d", JITTER, (384,), "25.6", "8.1"),
        dense_row("vgg-e", (256,), (256,), "27.3", "9.0"),
        dense_row("vgg-e", (384,), (384,), "26.9", "8.7"),
        dense_row("vgg-e", JITTER, (384,), "25.5", "8.0"),
    ),
)
MULTI_SCALE = PaperTable(
    "Table 4: ConvNet performance at multiple test scales",
    PAPER,
    ("ConvNet", "train (S)", "test (Q)"),
    scale_cells,
    ("top-1 val", "top-5 val"),
    (
        dense_row("vgg-b", (256,), NEAR_256, "28.2", "9.6"),
        dense_row("vgg-c", (256,), NEAR_256, "27.7", "9.2"),
        dense_row("vgg-c", (384,), NEAR_384, "27.8", "9.2"),
        dense_row("vgg-c", JITTER, WIDE_SCALES, "26.3", "8.2"),
        dense_row("vgg-d", (256,), NEAR_256, "26.6", "8.6"),
        dense_row("vgg-d", (384,), NEAR_384, "26.5", "8.6"),
        dense_row("vgg-d", JITTER, WIDE_SCALES, "24.8", "7.5"),
        dense_row("vgg-e", (256,), NEAR_256, "26.9", "8.7"),
        dense_row("vgg-e", (384,), NEAR_384, "26.7", "8.6"),
        dense_row("vgg-e", JITTER, WIDE_SCALES, "24.8", "7.5"),
    ),
)
METHOD = PaperTable(
    "Table 5: ConvNet evaluation techniques; S from [256;512], Q = 256, 384, 512",
    PAPER,
    ("ConvNet", "evaluation method"),
    method_cells,
    ("top-1 val", "top-5 val"),
    (
        PaperRow(RowSubject((D,), "dense"), ("24.8", "7.5")),
        PaperRow(RowSubject((D,), "vgg-multicrop"), ("24.6", "7.5")),
        PaperRow(RowSubject((D,), "dense+multicrop"), ("24.4", "7.2")),
        PaperRow(RowSubject((E,), "dense"), ("24.8", "7.5")),
        PaperRow(RowSubject((E,), "vgg-multicrop"), ("24.6", "7.4")),
        PaperRow(RowSubject((E,), "dense+multicrop"), ("24.4", "7.1")),
    ),
)
FUSION = PaperTable(
    "Table 6: multiple ConvNet fusion",
    PAPER,
    ("combined ConvNet models",),
    member_cells,
    ("top-1 val", "top-5 val", "top-5 test"),
    (
        PaperRow(RowSubject(SUBMISSION_NETS, "dense"), ("24.7", "7.5", "7.3")),
        PaperRow(RowSubject((D, E), "dense"), ("24.0", "7.1", "7.0")),
        PaperRow(RowSubject((D, E), "vgg-multicrop"), ("23.9", "7.2", "")),
        PaperRow(RowSubject((D, E), "dense+multicrop"), ("23.7", "6.8", "6.8")),
    ),
)
STATE_OF_THE_ART = PaperTable(
    "Table 7: comparison with the state of the art, without outside training data",
    PAPER,
    ("method",),
    name_cells,
    ("top-1 val", "top-5 val", "top-5 test"),
    (
        PaperRow(
            RowSubject((D, E), "dense+multicrop"), ("23.7", "6.8", "6.8"), "VGG (2 nets, multi-crop & dense eval.)"
        ),
        PaperRow(RowSubject((E,), "dense+multicrop"), ("24.4", "7.1", "7.0"), "VGG (1 net, multi-crop & dense eval.)"),
        PaperRow(
            RowSubject(SUBMISSION_NETS, "dense"), ("24.7", "7.5", "7.3"), "VGG (ILSVRC submission, 7 nets, dense eval.)"
        ),
        PaperRow(RowSubject((GOOGLENET,), "googlenet144"), ("", "7.9", "7.9"), "GoogLeNet (1 net)"),
        PaperRow(RowSubject((GOOGLENET,) * 7, "googlenet144"), ("", "6.7", "6.7"), "GoogLeNet (7 nets)"),
        PaperRow(RowSubject(), ("", "", "8.1"), "MSRA, He et al. 2014 (11 nets)"),
        PaperRow(RowSubject((SPP,), "spp"), ("27.9", "9.1", "9.1"), "MSRA, He et al. 2014 (1 net)"),
        PaperRow(RowSubject(), ("", "", "11.7"), "Clarifai (multiple nets)"),
        PaperRow(RowSubject(), ("", "", "12.5"), "Clarifai (1 net)"),
        PaperRow(RowSubject(), ("36.0", "14.7", "14.8"), "Zeiler and Fergus 2013 (6 nets)"),
        PaperRow(
            RowSubject((ZF,), "tencrop"),
            ("37.5", "16.0", "16.1"),
            "Zeiler and Fergus 2013 (1 net)",
        ),
        PaperRow(
            RowSubject((OVERFEAT,) * 7, "overfeat"),
            ("34.0", "13.2", "13.6"),
            "OverFeat (7 nets)",
        ),
        PaperRow(RowSubject((OVERFEAT,), "overfeat"), ("35.7", "14.2", ""), "OverFeat (1 net)"),
        PaperRow(
            RowSubject((ALEXNET,) * 5, "tencrop"),
            ("38.1", "16.4", "16.4"),
            "Krizhevsky et al. 2012 (5 nets)",
        ),
        PaperRow(
            RowSubject((ALEXNET,), "tencrop"),
            ("40.7", "18.2", ""),
            "Krizhevsky et al. 2012 (1 net)",
        ),
    ),
)
