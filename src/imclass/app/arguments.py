"""What each verb takes on the command line. Nothing here imports torch, so that `--help` answers at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

# Not given unless the user gives it: the text beside each says what happens then.
File: TypeAlias = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
Name: TypeAlias = Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")]
Entry: TypeAlias = Annotated[str | None, arg(metavar="[NAME]", help_behavior_hint="")]
Model: TypeAlias = Annotated[Path, arg(metavar="MODEL", help_behavior_hint="")]
Paths: TypeAlias = Annotated[tuple[str, ...], arg(metavar="PATH ...", help_behavior_hint="")]


DONE, SOME_REFUSED, USER_ERROR, INTERRUPTED = 0, 1, 2, 75  # exit codes


@dataclass(frozen=True)
class Common:
    """Everywhere."""

    json: bool = False
    """print the record as JSON on standard output"""
    store: File = None
    """folder of data sets and weights; else $IMCLASS_STORE, else the user's cache folder"""
    offline: bool = False
    """never try the network"""
    plugins: UseAppendAction[tuple[Path, ...]] = ()
    """a folder of your own networks, data sets, protocols and recipes; may be repeated"""


@dataclass(frozen=True)
class Train:
    """Train RECIPE; the same command goes on where it was stopped. Every field of the recipe's config is an option,
    too: `imclass train RECIPE --help` lists them."""

    out: File = None
    """the run's directory (default: runs/RECIPE)"""
    config: File = None
    """take the config from this file (a run's config.json) instead of the recipe"""
    dry_run: bool = False
    """check everything and print the config, then stop"""
    style: Literal["bar", "book"] = "bar"
    """progress as a bar with a line an epoch, or as the PaddlePaddle book prints it"""
    common: OmitArgPrefixes[Common] = Common()


@dataclass(frozen=True)
class Evaluate:
    """Score MODEL on a held-out split: top-1, top-5, per class, confusion matrix."""

    model: Positional[Model]
    """a run's directory or a model file"""
    data: Name = None
    """a data set's name or a folder with one folder per class (default: what the model was trained from)"""
    split: Name = None
    """train, validation, test or all (default: the held-out part; all of a folder that the model has not seen)"""
    protocol: Name = None
    """how an image is looked at: center, resize ... (default: as the model was trained)"""
    plot: File = None
    """draw the confusion matrix into this PNG file"""
    classes: File = None
    """JSON that maps the data's class names to the model's"""
    batch: int = 256
    workers: int = 0
    """decoding threads"""
    strict: bool = False
    """a refused image is an error"""
    common: OmitArgPrefixes[Common] = Common()


@dataclass(frozen=True)
class Predict:
    """Name what is in image files, folders or globs, in the order given."""

    model: Positional[Model]
    """a run's directory or a model file"""
    paths: Positional[Paths]
    """image files, folders or globs"""
    top: int = 5
    """how many classes an image"""
    format: Literal["table", "csv", "json"] = "table"
    protocol: Name = None
    """how an image is looked at (default: as the model was trained)"""
    workers: int = 0
    """decoding threads"""
    common: OmitArgPrefixes[Common] = Common()


@dataclass(frozen=True)
class Features:
    """What a layer of MODEL gives out for images: as numbers, as a picture of its maps, or both."""

    model: Positional[Model]
    """a run's directory or a model file"""
    paths: Positional[Paths]
    """image files, folders or globs"""
    layer: Name = None
    """the layer's name (default: the first convolution)"""
    out: File = None
    """write the outputs of all images into this .npy file"""
    grid: File = None
    """draw the first image's maps into this PNG file"""
    workers: int = 0
    """decoding threads"""
    common: OmitArgPrefixes[Common] = Common()


@dataclass(frozen=True)
class Report:
    """Tell a finished RUN on one page: curves, confusions, mistakes, filters, configuration. It is one HTML file that
    needs nothing else."""

    run: Positional[Annotated[Path, arg(metavar="RUN", help_behavior_hint="")]]
    """a run's directory"""
    out: File = None
    """the page (default: RUN/report.html)"""
    workers: int = 0
    """decoding threads"""
    common: OmitArgPrefixes[Common] = Common()


@dataclass(frozen=True)
class Info:
    """What a model file holds."""

    model: Positional[Model]
    """a run's directory or a model file"""
    common: OmitArgPrefixes[Common] = Common()


@dataclass(frozen=True)
class Models:
    """The networks there are, or one in detail."""

    name: Positional[Entry] = None
    """show this one in detail"""
    common: OmitArgPrefixes[Common] = Common()


@dataclass(frozen=True)
class Recipes:
    """The recipes there are, or one with its whole config."""

    name: Positional[Entry] = None
    """show this one in detail"""
    common: OmitArgPrefixes[Common] = Common()


@dataclass(frozen=True)
class Data:
    """The data sets there are; `data get NAME` fetches one, `data check NAME|DIR` decodes every image of one,
    `data export NAME|DIR --out DIR` writes some images as PNG files in class folders."""

    what: Positional[Entry] = None
    """a data set's name, or get, check, export"""
    name: Positional[Entry] = None
    """a data set's name, or a folder"""
    split: Name = None
    """export: which split (default: test)"""
    most: int = 100
    """export: at most so many images"""
    out: File = None
    """export: a new folder"""
    seed: int = 0
    """of the split of a folder that has none"""
    workers: int = 2
    """decoding threads"""
    common: OmitArgPrefixes[Common] = Common()


VERBS: dict[str, Annotated[type, "what the verb takes"]] = {
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "features": Features,
    "report": Report,
    "info": Info,
    "models": Models,
    "data": Data,
    "recipes": Recipes,
}
