"""The syntax of a verb: one record per argument, used by the parser, the help and the reference.

The first sentence of an argument's text is also its short description in the help.
"""
# Tested in tests/app/cli/test_help.py

import ast
import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from imclass.core.codec import hints_of

TYPES = {bool: "flag", int: "integer", float: "number", Path: "path", str: "text"}


@dataclass(frozen=True)
class Arg:
    """An annotation on the field of an argument, with texts for the help.

    `value` is the placeholder for the argument's value. `default` is the default shown in the help if the field's
    default is None. `text` describes an argument shared by several verbs; the string below a field describes any other
    argument. `pairs` is true for a positional argument whose words may be NAME=VALUE pairs, which are errors elsewhere.
    """

    value: str = ""
    default: str = ""
    text: str = ""
    positional: bool = False
    pairs: bool = False


@dataclass(frozen=True)
class Argument:
    """An argument of a verb, as described in the verb's help."""

    name: str  # "--batch", or "" for a positional argument
    value: str  # "N", or "" for a flag
    type: str
    choices: tuple[str, ...]
    default: str
    text: str

    @property
    def label(self) -> str:
        """Return the argument as a user types it: "--batch N"."""
        return f"{self.name} {self.value}".strip()

    @property
    def summary(self) -> str:
        """Return the first sentence of the text without its full stop."""
        return self.text.split(". ")[0].rstrip(".")


@dataclass(frozen=True)
class Syntax:
    """The description and the arguments of a verb, except the arguments common to all verbs."""

    about: str
    positional: tuple[Argument, ...]
    options: tuple[Argument, ...]

    @property
    def summary(self) -> str:
        """Return the first sentence of the description without its full stop."""
        return " ".join(self.about.split("\n\n")[0].split()).split(". ")[0].rstrip(".")

    def usage(self, verb: str) -> str:
        """Return the usage line of the verb, such as "imclass info MODEL [options]"."""
        return " ".join(["imclass", verb, *(argument.label for argument in self.positional), "[options]"])


def mark_of(hint: Any) -> Arg:
    """Return the `Arg` in a type hint, or an empty `Arg` if there is none."""
    return next((mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Arg)), Arg())


def syntax_of(kind: type) -> Syntax:
    """Return the syntax of an argument class."""
    about, texts = read_texts(kind)
    marks = {name: mark_of(hint) for name, hint in typing.get_type_hints(kind, include_extras=True).items()}
    positional, options = list[Argument](), list[Argument]()
    for field in dataclasses.fields(kind):
        if field.name == "common":
            continue
        mark = marks[field.name]
        text = texts.get(field.name) or " ".join(mark.text.split())
        made = argument(field, hints_of(kind)[field.name], mark, text)
        (positional if mark.positional else options).append(made)
    return Syntax(about, tuple(positional), tuple(options))


def argument(field: dataclasses.Field[Any], hint: Any, mark: Arg, text: str) -> Argument:
    """Return the `Argument` for a field."""
    plain = scalar(hint)
    choices = tuple(map(str, typing.get_args(plain))) if typing.get_origin(plain) is Literal else ()
    name = "" if mark.positional else f"--{field.name.rstrip('_').replace('_', '-')}"
    value = mark.value or "|".join(choices) or {int: "N", float: "N", bool: ""}.get(plain, "TEXT")
    number = isinstance(field.default, int | float) and not isinstance(field.default, bool)
    default = f"{field.default:g}" if number else field.default if isinstance(field.default, str) else mark.default
    return Argument(name, value, "choice" if choices else TYPES[plain], choices, default, text)


def scalar(hint: Any) -> Any:
    """Return the type of a single value: `Path` for `Path | None` and for `tuple[Path, ...]`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType, tuple):
        return next(kind for kind in typing.get_args(hint) if kind not in (type(None), ...))
    return hint


def read_texts(kind: type) -> tuple[str, Mapping[str, str]]:
    """Return a class's docstring and the text below each of its fields.

    Both are read from the source code, because classes have no docstrings under `python -OO`.
    """
    module = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    found = next(node for node in module.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    texts = {}
    for field, below in pairwise(found.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = " ".join(text.split())
    return ast.get_docstring(found) or "", texts


@dataclass(frozen=True)
class CommonArguments:
    """Options of every verb."""

    json: bool = False
    """Print the result as JSON on standard output."""
    store: Annotated[Path | None, Arg("DIR", "$IMCLASS_STORE, or the user's cache")] = None
    """Folder for data sets and weights. The cache is ~/.cache/imclass, or ~/Library/Caches/imclass on macOS."""
    offline: bool = False
    """Do not use the network. A data set or weight file that is missing from the store is then an error."""
    plugins: Annotated[tuple[Path, ...], Arg("DIR")] = ()
    """Folder of plugins: networks, data sets, protocols and recipes. Plugins may also define optimisers, schedules,
    averages, objectives, augmentations, pipeline parts and methods of explanation. The option may be repeated."""


FileOption: TypeAlias = Annotated[Path | None, Arg("FILE")]
EntryArgument: TypeAlias = Annotated[str | None, Arg("[NAME]", positional=True)]

# Arguments shared by several verbs, with their texts.
MODEL_TEXT = "Run, model file, or published weights as NETWORK:WEIGHTS."
ModelArgument: TypeAlias = Annotated[Path, Arg("MODEL", text=MODEL_TEXT, positional=True)]
PATHS_TEXT = "Image files, folders, or patterns such as 'photos/*.jpg'."
PathsArgument: TypeAlias = Annotated[tuple[str, ...], Arg("PATH ...", text=PATHS_TEXT, positional=True)]
OptionalPaths: TypeAlias = Annotated[tuple[str, ...], Arg("[PATH ...]", text=PATHS_TEXT, positional=True)]
DATA_TEXT = """Data set, folder, CSV file or list (.txt). A folder has a subfolder for each class. A CSV file lists
images and labels, and a list has a path and a class on each line."""
DataOption: TypeAlias = Annotated[str | None, Arg("NAME|PATH", "the model's", DATA_TEXT)]
SPLIT_TEXT = "train, validation, test or all. Data not used in training is scored in full, unless it has a test split."
SplitOption: TypeAlias = Annotated[str | None, Arg("NAME", "the held-out part", SPLIT_TEXT)]
PROTOCOL_TEXT = """Protocol, such as tencrop. It determines which views of an image are scored, such as crops and
flips; `imclass protocols` lists all protocols."""
ProtocolOption: TypeAlias = Annotated[str | None, Arg("NAME", "as trained", PROTOCOL_TEXT)]
TRAINED_TEXT = """Images seen in training. Images that the model was trained on are recognised by their content, in any
folder. They are left out and counted, or included. --split train and a published test split always include them."""
TrainedOption: TypeAlias = Annotated[Literal["leave-out", "include"], Arg(text=TRAINED_TEXT)]
CLASSES_TEXT = """JSON map from the data's classes to the model's. It is an object, such as {"puppy": "dog"}."""
ClassesOption: TypeAlias = Annotated[Path | None, Arg("FILE", text=CLASSES_TEXT)]
DEVICE_TEXT = "cpu, cuda, cuda:N or mps. `auto` uses a CUDA device if there is one, otherwise the CPU."
DeviceOption: TypeAlias = Annotated[str, Arg("DEVICE", text=DEVICE_TEXT)]
BatchOption: TypeAlias = Annotated[int, Arg("N", text="Images to score at a time.")]
WORKERS_TEXT = "Number of threads that decode images. With 0, the main thread decodes them."
WorkersOption: TypeAlias = Annotated[int, Arg("N", text=WORKERS_TEXT)]
MEGAPIXELS_TEXT = "Largest image in megapixels. Larger images are refused."
MegapixelsOption: TypeAlias = Annotated[float, Arg("N", text=MEGAPIXELS_TEXT)]
PRECISION_TEXT = "Arithmetic; bf16 is often faster but less precise."
PrecisionOption: TypeAlias = Annotated[Literal["fp32", "bf16"], Arg(text=PRECISION_TEXT)]

# Arguments of single verbs that have long texts. They are here to keep the classes of those verbs short.
STYLE_TEXT = """Progress as a bar, or as in PaddlePaddle's book. With the bar, a line is also printed for each epoch.
`book` is the form of the book's programs, and `book-2016` that of its edition of 2016."""
StyleOption: TypeAlias = Annotated[Literal["bar", "book", "book-2016"], Arg(text=STYLE_TEXT)]
PERIOD_TEXT = "Steps between two lines of both book styles. A dot stands for each of the other steps."
LogPeriodOption: TypeAlias = Annotated[int | None, Arg("N", "100", PERIOD_TEXT)]
PROTOCOLS_TEXT = """Protocol, such as tencrop. It determines which views of an image are scored; `imclass protocols`
lists all protocols. Several protocols are scored in one pass over the images, and each has a row in the result."""
ProtocolsOption: TypeAlias = Annotated[str | None, Arg("A[,B...]", "as trained", PROTOCOLS_TEXT)]
SCALES_TEXT = """Shorter sides in pixels. An image is resized once for each value, so that its shorter side has that
length; `imclass protocols` shows which protocols accept scales."""
ScalesOption: TypeAlias = Annotated[str | None, Arg("Q[,Q...]", "the protocol's", SCALES_TEXT)]
THRESHOLDS_TEXT = """Multi-label thresholds. A class is predicted if its probability reaches its threshold. `model` uses
the model's thresholds, and `fit` uses the thresholds that are best on the validation split."""
ThresholdsOption: TypeAlias = Annotated[Literal["model", "fit"], Arg(text=THRESHOLDS_TEXT)]
EACH_TEXT = """show: images per class or, with --recipe, epochs per image. At most 25 classes are shown or, with
--recipe, at most 10 images."""
EachOption: TypeAlias = Annotated[int, Arg("N", text=EACH_TEXT)]
RECIPE_TEXT = """show: recipe whose training views to show. Each row has an image's view in evaluation, and then its
views in the first epochs of training, with the same random choices as in a run. Without a recipe, the images are
unchanged."""
RecipeOption: TypeAlias = Annotated[str | None, Arg("RECIPE", "none", RECIPE_TEXT)]
OUT_TEXT = """Save the features (.npy, .npz or .csv). An .npy file contains only the float32 array, whose first axis
runs over the images. The other formats also contain the names and labels of the images."""
FeaturesOption: TypeAlias = Annotated[Path | None, Arg("FILE", text=OUT_TEXT)]
MAP_TEXT = """Draw each image as a point in a plane (.png). The colour of a point shows its class. At most 5,000 images
are drawn."""
MapOption: TypeAlias = Annotated[Path | None, Arg("FILE", text=MAP_TEXT)]
METHOD_TEXT = """Method of --map. `pca` shows the first two principal components; `tsne` places images with similar
features close together."""
MethodOption: TypeAlias = Annotated[Literal["pca", "tsne"], Arg(text=METHOD_TEXT)]
DENSE_TEXT = """Average over several sizes of the whole image. For each Q, the shorter side is resized to Q pixels, the
network is applied at every position, and the penultimate features are averaged over the positions. The results are
averaged over all Q."""
DenseOption: TypeAlias = Annotated[str | None, Arg("Q[,Q...]", "one view", DENSE_TEXT)]
NORMALISE_TEXT = """Divide the features of each image by their Euclidean length. The length is that of the averaged
penultimate features. Features that are all zero stay zero."""
NormaliseOption: TypeAlias = Annotated[bool, Arg(text=NORMALISE_TEXT)]
