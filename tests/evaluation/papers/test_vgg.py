"""The VGG paper's tables equal a second transcript."""

import pytest

from imclass.evaluation.papers import vgg
from imclass.evaluation.papers.render import TABLES

# Written down a second time, in the short form of a reader's notes: network, S / Q, top-1, top-5.
TABLE_3 = """A 256/256 29.6 10.4 · A-LRN 256/256 29.7 10.5 · B 256/256 28.7 9.9 · C 256/256 28.1 9.4 · C 384/384 28.1
9.3 · C [256;512]/384 27.3 8.8 · D 256/256 27.0 8.8 · D 384/384 26.8 8.7 · D [256;512]/384 25.6 8.1 · E 256/256 27.3 9.0
· E 384/384 26.9 8.7 · E [256;512]/384 25.5 8.0"""
TABLE_4 = """B 256/224,256,288 28.2 9.6 · C 256/224,256,288 27.7 9.2 · C 384/352,384,416 27.8 9.2
· C [256;512]/256,384,512 26.3 8.2 · D 256/224,256,288 26.6 8.6 · D 384/352,384,416 26.5 8.6
· D [256;512]/256,384,512 24.8 7.5 · E 256/224,256,288 26.9 8.7 · E 384/352,384,416 26.7 8.6
· E [256;512]/256,384,512 24.8 7.5"""
TABLE_7 = """23.7 6.8 6.8; 24.4 7.1 7.0; 24.7 7.5 7.3; - 7.9 7.9; - 6.7 6.7; - - 8.1; 27.9 9.1 9.1; - - 11.7; - - 12.5;
36.0 14.7 14.8; 37.5 16.0 16.1; 34.0 13.2 13.6; 35.7 14.2 -; 38.1 16.4 16.4; 40.7 18.2 -"""


@pytest.mark.parametrize(("name", "notes"), [("3", TABLE_3), ("4", TABLE_4)])
def test_tables_three_and_four_are_the_papers(name: str, notes: str) -> None:
    (table,) = TABLES[name]
    printed = [
        " ".join([row[0], "/".join(row[1:]), *numbers])
        for row, numbers in ((table.cells(r.tested), r.numbers) for r in table.rows)
    ]
    assert printed == " ".join(notes.split()).split(" · ")


def test_tables_five_to_seven_are_the_papers() -> None:
    assert [(*vgg.METHOD.cells(r.tested), *r.numbers) for r in vgg.METHOD.rows] == [
        ("D", "dense", "24.8", "7.5"), ("D", "multi-crop", "24.6", "7.5"), ("D", "multi-crop & dense", "24.4", "7.2"),
        ("E", "dense", "24.8", "7.5"), ("E", "multi-crop", "24.6", "7.4"), ("E", "multi-crop & dense", "24.4", "7.1"),
    ]  # fmt: skip
    both = "(D/[256;512]/256,384,512), (E/[256;512]/256,384,512), "
    assert [(*vgg.FUSION.cells(r.tested), *r.numbers) for r in vgg.FUSION.rows] == [
        ("(D/256/224,256,288), (D/384/352,384,416), (D/[256;512]/256,384,512), (C/256/224,256,288), "
         "(C/384/352,384,416), (E/256/224,256,288), (E/384/352,384,416), dense eval.", "24.7", "7.5", "7.3"),
        (both + "dense eval.", "24.0", "7.1", "7.0"),
        (both + "multi-crop", "23.9", "7.2", ""),
        (both + "multi-crop & dense eval.", "23.7", "6.8", "6.8"),
    ]  # fmt: skip
    assert [" ".join(n or "-" for n in r.numbers) for r in vgg.STATE_OF_THE_ART.rows] == [
        row.strip() for row in TABLE_7.replace("\n", " ").split(";")
    ]


def test_the_papers_claims_hold_between_its_tables() -> None:
    """Check section 4: the best nets of Tables 4 to 6 are in Tables 5 to 7, and several scales are better than one."""
    single, multiple = (
        {r.tested.nets[0].network + str(r.tested.nets[0].train): r for r in t.rows}
        for t in (vgg.SINGLE_SCALE, vgg.MULTI_SCALE)
    )
    for net, row in multiple.items():
        assert float(row.numbers[0]) < float(single[net].numbers[0])
    assert multiple["vgg-e(256, 512)"].numbers == vgg.METHOD.rows[3].numbers
    assert vgg.FUSION.rows[3].numbers == vgg.STATE_OF_THE_ART.rows[0].numbers
    assert vgg.METHOD.rows[5].numbers == vgg.STATE_OF_THE_ART.rows[1].numbers[:2]
