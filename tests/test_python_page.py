"""docs/python.md describes every public name: signatures as in the code, each keyword, each attribute."""

import dataclasses
import inspect
import re
import typing
from pathlib import Path
from typing import Any

import pytest

import imclass
from imclass.app.evaluation.comparison import Contrast
from imclass.app.evaluation.result import Result
from imclass.app.explain.explain import Explained
from imclass.app.features.result import Features
from imclass.app.overview.result import Overview
from imclass.app.overview.summary import RunSummary
from imclass.core.contracts import Evaluation, Refused
from imclass.evaluation.explanation import ClassMap
from imclass.evaluation.measures.comparison import Change, Comparison
from imclass.evaluation.results import ResultRow
from imclass.serving.predict import Prediction
from imclass.training.events import Event, RunPosition

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text()
FUNCTIONS = [name for name, home in imclass.HOMES.items() if home == "imclass.app.api"]
VALUES = [
    Prediction,
    Explained,
    ClassMap,
    Features,
    Result,
    ResultRow,
    Evaluation,
    Refused,
    Contrast,
    Comparison,
    Change,
    Overview,
    RunSummary,
    RunPosition,
    *typing.get_args(Event),
]


def signature(name: str) -> str:
    """Return a public function's signature as the code has it, with the package's name before it."""
    head = inspect.getsource(getattr(imclass, name)).split('"""')[0].strip()
    return f"imclass.{head.removeprefix('def ').removesuffix(':')}\n"


def missing(page: str, name: str) -> list[str]:
    """Return what the page lacks of a public function."""
    section = "".join(re.findall(rf"^#+ {name}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))
    parameters = inspect.signature(getattr(imclass, name)).parameters
    lacking = [key for key in parameters if not re.search(rf"^\| .*`{key}`.* \|", page, re.MULTILINE)]
    return lacking + ([] if signature(name) in section else [signature(name)])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_its_signature_and_each_keyword(name: str) -> None:
    assert missing(PAGE, name) == []


def test_a_keyword_or_a_signature_that_is_not_there_is_found() -> None:
    assert missing(PAGE.replace("`max_megapixels`", "").replace("`data`", ""), "evaluate") == ["data", "max_megapixels"]
    assert missing(PAGE.replace("seed: int = 0", "seed: int = 1"), "create") == [signature("create")]


@pytest.mark.parametrize("name", imclass.__all__)
def test_every_public_name_is_on_the_page(name: str) -> None:
    assert re.search(rf"`(?:imclass\.)?{name}\b", PAGE)


def attributes(kind: Any) -> set[str]:
    """Return the public fields, properties and methods of a class."""
    named = {field.name for field in dataclasses.fields(kind)}
    return {name for name in named | set(vars(kind)) if not name.startswith("_")}


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_every_attribute_of_what_is_returned_is_on_the_page(kind: Any) -> None:
    assert {name for name in attributes(kind) if not re.search(rf"`{name}\b", PAGE)} == set()
