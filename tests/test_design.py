"""docs/design.md is one page that names what is there: every room, each contract in its file, files that exist."""

import ast
import re

import pytest

from tests.test_structure import FLOORS, SOURCE

PAGE = SOURCE.parents[1] / "docs" / "design.md"
LONGEST = 75  # lines


def names_in(text: str) -> set[str]:
    """Return the names of a module's classes, functions and annotated values."""
    nodes = ast.parse(text).body
    named = {node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    return named | {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def problems(page: str) -> list[str]:
    """Return the faults of a map of the code."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in page.splitlines() if line[:1] == "|"]
    rooms = {row[0].strip("`") for row in rows if len(row) == 2}
    there = {path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    found = [f"room {room} is not on the page" for room in sorted(there - rooms)]
    for name, file in ((row[0].strip("`"), row[1].strip("`")) for row in rows if len(row) == 3 and "/" in row[1]):
        path = SOURCE / file
        found += [] if path.is_file() and name in names_in(path.read_text()) else [f"{name} is not in {file}"]
    places = re.findall(r"`((?:app|core|data|evaluation|models|store|tests|training)/[\w/]+\.?\w*/?)`", page)
    found += [f"there is no {p}" for p in places if not any((r / p).exists() for r in (SOURCE, SOURCE.parents[1]))]
    lines = len(page.splitlines())
    return found + ([f"has {lines} lines"] if lines > LONGEST else [])


def test_the_page_is_a_map_of_the_code() -> None:
    page = PAGE.read_text()
    assert problems(page) == []
    order = re.findall(r"\w+", page[page.index("    core <-") :].split("\n")[0])
    assert [FLOORS[room] for room in order] == sorted(FLOORS[room] for room in order)


@pytest.mark.parametrize(
    ("here", "planted", "problem"),
    [
        ("| `serving` |", "| `services` |", "room serving is not on the page"),
        ("| `Group` |", "| `Groups` |", "Groups is not in training/parallel.py"),
        ("`core/preprocess.py`", "`core/process.py`", "Preprocess is not in core/process.py"),
        ("`evaluation/unpack.py`", "`evaluation/kinds.py`", "there is no evaluation/kinds.py"),
        ("# Design", "# Design" + "\n" * LONGEST, "has "),
    ],
)
def test_a_wrong_map_is_found(here: str, planted: str, problem: str) -> None:
    page = PAGE.read_text()
    assert here in page
    assert any(found.startswith(problem) for found in problems(page.replace(here, planted)))
