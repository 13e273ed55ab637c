"""Published numbers as the papers print them, with measured ones in their places."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.core.model_file import Provenance
from imclass.core.preprocess import Preprocess
from imclass.core.targets import OneOf
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.evaluation.measures.intervals import wilson_interval
from imclass.evaluation.papers import resnet, vgg
from imclass.evaluation.papers.render import TABLES, ErrorInterval, Measurement, measurement_of, net_of, render_table
from imclass.evaluation.papers.table import Net
from imclass.evaluation.papers.table import RowSubject as What  # pytest would collect a name that begins with Test
from imclass.evaluation.protocols.center import Center
from imclass.evaluation.protocols.dense import DENSE, RESNET_MULTISCALE
from imclass.evaluation.score import view_protocols
from imclass.models.classifier import networks, sketch

D_256 = What((Net("vgg-d", (256,), (256,)),), "dense", "runs/d")


def one(tested: What = D_256, data: str = "imagenet validation", top5: bool = True) -> Measurement:
    """Return a measurement."""
    return Measurement(
        tested, data, 9_990, 10_000, ErrorInterval(24.5, 23.0, 26.0), ErrorInterval(7.25, 6.5, 8.0) if top5 else None
    )


def cells(text: str, first: str) -> list[list[str]]:
    """Return the words of each line that begins with `first`."""
    return [line.split() for line in text.splitlines() if line.startswith(f"{first} ")]


def test_networks_and_tables_have_the_same_published_errors() -> None:
    """Compare two places that were written separately: the entries of networks and the tables."""
    entries = networks().entries
    compared = 0
    for row in (*vgg.SINGLE_SCALE.rows, *resnet.SINGLE_MODELS.rows, *resnet.CIFAR_RESULTS.rows):
        for net in row.tested.nets[: row.tested.protocol in ("tencrop", "") or net_is_first(row.tested)]:
            published = entries[net.network].result if net.network in entries else None
            if published is not None and published.top1 is not None and "torchvision" not in published.protocol:
                numbers = row.numbers[-2:] if len(row.numbers) > 1 else (*row.numbers, "")
                assert [float(n) if n else None for n in numbers] == [published.top1, published.top5], net
                compared += 1
    assert compared >= 6


def net_is_first(tested: What) -> bool:
    """Return whether this row is the one at S = Q = 256, which entries quote."""
    return [(net.train, net.test) for net in tested.nets] == [((256,), (256,))]


def test_every_network_and_protocol_of_the_tables_is_here() -> None:
    rows = [row.tested for tables in TABLES.values() for table in tables for row in table.rows]
    assert {tested.protocol for tested in rows} - {""} <= set(view_protocols().entries)
    assert {net.network for tested in rows for net in tested.nets} <= set(networks().entries)


@pytest.mark.parametrize("name", TABLES)
def test_unmeasured_cells_are_marked_and_lines_fit_100_columns(name: str) -> None:
    text = render_table(name, [])
    assert text.count("not run") == 2 * sum(len(table.rows) for table in TABLES[name])
    assert "Published errors in %: " in text and "Wilson" not in text
    text = render_table(
        name, [one(), one(What((Net("vgg-e"),) * 3, "dense", "x" * 60), "a folder of " + "very " * 9 + "long")]
    )
    assert max(map(len, text.splitlines())) <= 100


def test_the_same_network_and_scales_share_the_published_line() -> None:
    text = render_table("3", [one()])
    shared = [row for row in cells(text, "D") if "24.50" in row]
    assert shared == [["D", "256", "256", "27.0", "8.8", "24.50", "7.25", "imagenet"]]
    assert "validation [1]" in text and text.count("not run") == 2 * 11
    assert "[1] runs/d on imagenet validation: dense, S 256, Q 256; top-1 error 24.50% (23.00 to 26.00)" in text
    assert "9,990 of 10,000 images" in " ".join(text.split())


def test_other_scales_get_a_line_below_their_network_with_their_data() -> None:
    small = What((Net("vgg-d", (73,), (73,)),), "dense", "runs/small")
    text = render_table("3", [one(small, "cifar10 test")])
    rows = cells(text, "D")
    assert rows[-1] == ["D", "73", "73", "-", "-", "24.50", "7.25", "cifar10", "test", "[1]"]
    assert text.count("not run") == 2 * 12  # nothing published was measured
    assert text.index("D        73") < text.index("E        256")


@pytest.mark.parametrize(
    "tested",
    [
        What((Net("vgg-d", (256,), (256,)),), "center", "x"),  # another protocol
        What((Net("vgg-d-bn", (256,), (256,)),), "dense", "x"),  # another network
        What((Net("vgg-d", (256,), (256,)), Net("vgg-e", (256,), (256,))), "dense", "x"),  # a fusion
        What((), "", "x"),  # not a network
    ],
)
def test_a_row_without_a_match_comes_last(tested: What) -> None:
    lines = render_table("3", [one(tested)]).splitlines()
    last = (
        lines.index(next(line for line in lines if line.startswith("[1]"))) - 2
    )  # the name of the data takes two lines
    assert "24.50" in lines[last] and " - " in lines[last]
    assert sum("24.50" in line for line in lines[:last]) == 0


def test_a_second_measurement_of_one_row_stands_below_the_first() -> None:
    text = render_table("3", [one(data="photos"), one(data="imagenet")])
    assert [row[-2:] for row in cells(text, "D") if "24.50" in row] == [["photos", "[1]"], ["imagenet", "[2]"]]


def test_members_of_a_fusion_are_known_in_any_order() -> None:
    text = render_table("6", [one(What((vgg.E, vgg.D), "dense+multicrop", "both"), "imagenet")])
    line = next(line for line in text.splitlines() if "24.50" in line)
    assert line.split()[1:7] == ["23.7", "6.8", "6.8", "24.50", "7.25", "imagenet"]
    assert "test set are not public" in text


OVERFEAT = Net("overfeat-accurate", (256,), (245, 281, 317, 389, 425, 461))  # as our protocol shows it by default


def test_six_scales_are_not_the_four_of_the_published_row() -> None:
    four = replace(OVERFEAT, test=(245, 281, 389, 461))
    for nets, label in (((four,), "OverFeat (1 net)"), ((four,) * 7, "OverFeat (7 nets)")):
        (line,) = cells(render_table("7", [one(What(nets, "overfeat", "four"))]), label)
        assert "24.50" in line
    text = render_table("7", [one(What((OVERFEAT,), "overfeat", "six"))])
    (published,) = cells(text, "OverFeat (1 net)")
    assert published[-2:] == ["not", "run"] and "24.50" not in published
    (ours,) = cells(text, "six (overfeat)")
    assert "24.50" in ours and "Q 245,281,317,389,425,461" in " ".join(text.split())


@pytest.mark.parametrize("name", TABLES)
def test_scales_that_a_paper_fixes_are_stated(name: str) -> None:
    """Check this so that a run at other scales is never shown as a published one."""
    open_rows = {
        (net.network, row.tested.protocol)
        for table in TABLES[name]
        for row in table.rows
        for net in row.tested.nets
        if not net.test
    }
    assert open_rows == set()


@pytest.mark.parametrize(
    ("table", "network", "protocol"),
    [
        ("resnet", "resnet-50", "resnet-multiscale"),
        ("resnet", "resnet-50", "tencrop"),
        ("7", "googlenet", "googlenet144"),
        ("7", "overfeat-accurate", "overfeat"),
        ("7", "alexnet-2012", "tencrop"),
        ("7", "spp-overfeat-7", "spp"),
    ],
)
def test_our_default_scales_are_published_except_overfeats(table: str, network: str, protocol: str) -> None:
    """Compare the scales of our protocols with those of the tables, and other scales with both."""
    size = networks()[network].row.size
    classifier = sketch(Model(network), tuple("abcdef"), Preprocess(size, scale=256))
    default = net_of(classifier, view_protocols()[protocol])
    other = net_of(classifier, replace(view_protocols()[protocol], scales=(300,)))
    for net, same in ((default, protocol != "overfeat"), (other, False)):
        found = render_table(table, [one(What((net,), protocol, "ours"))])
        published = [line for line in found.splitlines() if "24.50" in line and "not run" not in line]
        numbers = [word for word in published[0].split() if word not in ("-", "24.50", "7.25")]
        assert any(word.replace(".", "").isdigit() and "." in word for word in numbers) is same


def test_what_a_paper_leaves_open_matches_any_training_scale() -> None:
    tested = What((Net("resnet-50", (384,), (256,)),), "tencrop", "hub")
    rows = [row for row in cells(render_table("resnet", [one(tested)]), "resnet-50") if "24.50" in row]
    assert rows == [["resnet-50", "10", "crops", "3.8", "22.85", "6.71", "24.50", "7.25", "imagenet"]]


def test_each_row_goes_to_the_table_that_knows_its_network() -> None:
    cifar = What((Net("resnet-cifar-56", (32,), (32,)),), "", "runs/56")
    flipped = What((Net("resnet-cifar-56", (32,), (32,)),), "flip", "runs/56")
    single, _, last = render_table("resnet", [one(cifar, "cifar10"), one(flipped, "cifar10")]).split("\n\n")
    assert "24.50" not in single
    assert ["ResNet,", "56", "layers", "6.97", "24.50", "7.25", "cifar10", "[1]"] in [
        x.split() for x in last.splitlines()
    ]
    assert "runs/56 (flip)" in last


def test_few_classes_have_no_top_five_error() -> None:
    text = render_table("3", [one(top5=False)])
    assert [row[6] for row in cells(text, "D") if "24.50" in row] == ["-"]
    assert "top-5 error 0 by definition" in " ".join(text.split())


def test_csv_has_numbers_and_names_without_formulas() -> None:
    tested = What((Net("lenet-5", (32,), (32,)),), "", "=1+1")
    rows = list(csv.DictReader(io.StringIO(render_table("3", [one(), one(tested, '@data, "x"\n')], "csv"))))
    assert len(rows) == 13
    assert {row["measured top-1"] for row in rows} == {"not run", "24.5"}
    measured_d = next(row for row in rows if row["measured as"] == "runs/d")
    assert [measured_d[f"published {n}"] for n in ("top-1 val", "top-5 val")] == ["27.0", "8.8"]
    assert [measured_d[f"measured top-5{end}"] for end in ("", " low", " high")] == ["7.25", "6.5", "8.0"]
    assert (measured_d["evaluated"], measured_d["total"], measured_d["protocol"]) == ("9990", "10000", "dense")
    assert rows[-1]["measured as"] == "'=1+1" and rows[-1]["measured on"].startswith('\'@data, "x"')


def test_markdown_keeps_names_in_their_cells() -> None:
    tested = What((Net("a|b<i>", (32,), (32,)),), "", "x")
    text = render_table("3", [one(tested, "da|ta\n<b>")], "markdown")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 13
    assert {len(row.replace("\\|", "").split("|")) for row in rows} == {2 + 8}
    assert "<i>" not in text and "<b>" not in text


def test_an_unknown_table_is_named_with_its_neighbours() -> None:
    with pytest.raises(UserError, match="--table resnets is unknown; did you mean 'resnet'"):
        render_table("resnets", [])


def test_an_evaluation_becomes_errors_with_their_intervals() -> None:
    random = np.random.default_rng(0)
    scores, labels = random.normal(size=(80, 6)).astype(np.float32), random.integers(0, 6, 80)
    found = evaluation_of(tuple("abcdef"), OneOf(labels), scores, np.arange(80), 82)
    row = measurement_of(found, D_256, "photos")
    misses = int((scores.argmax(1) != labels).sum())
    assert row.top1.error == pytest.approx(100 * misses / 80)
    assert (row.top1.low, row.top1.high) == tuple(100 * end for end in wilson_interval(misses, 80))
    assert (row.evaluated, row.total, row.data, row.tested) == (80, 82, "photos", D_256)
    assert row.top5 is not None and row.top5.error == pytest.approx(100 * (1 - found.measures["top5"]))
    assert (
        measurement_of(
            evaluation_of(tuple("abcde"), OneOf(labels % 5), scores[:, :5], np.arange(80), 80), D_256, "x"
        ).top5
        is None
    )


def test_a_network_has_its_scales() -> None:
    classifier = sketch(Model("lenet-5"), ("a", "b"), Preprocess(28, "grey", scale=32))
    assert net_of(classifier, None) == net_of(classifier, DENSE) == Net("lenet-5", (32,), (32,), 28, 28)
    assert net_of(classifier, replace(DENSE, scales=(32, 40))) == Net("lenet-5", (32,), (32, 40), 28, 28)
    assert net_of(classifier, Center(scale=30)) == Net("lenet-5", (32,), (30,), 28, 28)
    assert net_of(classifier, RESNET_MULTISCALE) == Net("lenet-5", (32,), (28, 32, 48, 60, 80), 28, 28)
    squash = sketch(Model("lenet-5"), ("a", "b"), Preprocess(28, "grey", resize="squash"))
    assert net_of(squash, None) == Net("lenet-5", (28,), (28,), 28, 28)


def test_the_scales_of_a_smaller_copy_are_compared_in_proportion() -> None:
    row, preprocess = {"size": 56, "widths": (1, 1, 1, 1, 1), "hidden": (1, 1)}, Preprocess(56, scale=96)
    classifier = sketch(Model("vgg-d", row), ("a", "b"), preprocess)
    jittered = replace(classifier, trained=Provenance(scales=(64, 128)))
    found = net_of(jittered, DENSE)
    assert found == Net("vgg-d", (64, 128), (96,), 56, 224)
    assert found.is_like(Net("vgg-d", (256, 512), (384,))) and found.is_like(Net("vgg-d"))
    assert not found.is_like(Net("vgg-d", (384,), (384,))) and not found.is_like(Net("vgg-d", (256, 512), (256,)))
    alexnet = Net("alexnet-2012", (256,), (256,), 224, 227)  # the paper's 224 are 227 in the table of networks
    assert alexnet.is_like(Net("alexnet-2012", test=(256,)))
    top1 = ErrorInterval(40.0, 30.0, 50.0)
    text = render_table("3", [Measurement(What((found,), "dense", "d-jitter"), "flowers test", 5, 5, top1, None)])
    line = next(line for line in text.splitlines() if "40.00" in line)
    assert line.split()[:5] == ["D", "[256;512]", "384", "25.6", "8.1"]
    assert "S [64;128], Q 96 at 56 pixels instead of 224" in " ".join(text.split())
