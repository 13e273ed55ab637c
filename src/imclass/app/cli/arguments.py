"""The arguments of each verb on the command line. Nothing here imports torch, so that `--help` answers at once.

`--help` prints a class's docstring and the first sentence below each field, docs/commands.md everything. After a change
`make reference` writes that page again.
"""
# Tested in tests/app/cli/test_main.py

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from imclass.app.cli.syntax import Arg

FileOption: TypeAlias = Annotated[Path | None, Arg("FILE")]
EntryArgument: TypeAlias = Annotated[str | None, Arg("[NAME]", positional=True)]

# Arguments that several verbs have, with their text.
MODEL_TEXT = "Run, model file, or published weights as NETWORK:WEIGHTS."
ModelArgument: TypeAlias = Annotated[Path, Arg("MODEL", text=MODEL_TEXT, positional=True)]
PATHS_TEXT = "Image files, folders, or patterns such as 'photos/*.jpg'."
PathsArgument: TypeAlias = Annotated[tuple[str, ...], Arg("PATH ...", text=PATHS_TEXT, positional=True)]
DATA_TEXT = "Data set, folder or CSV file. A folder has a subfolder for each class; a CSV file lists images and labels."
DataOption: TypeAlias = Annotated[str | None, Arg("NAME|PATH", "the model's", DATA_TEXT)]
SPLIT_TEXT = """train, validation, test or all. Data that the model has not seen in training is scored whole, unless it
has a test split."""
SplitOption: TypeAlias = Annotated[str | None, Arg("NAME", "the held-out part", SPLIT_TEXT)]
PROTOCOL_TEXT = "Protocol, such as tencrop. It decides how an image is presented; `imclass protocols` lists them all."
ProtocolOption: TypeAlias = Annotated[str | None, Arg("NAME", "as trained", PROTOCOL_TEXT)]
TRAINED_TEXT = """Images seen in training. Images that a model was trained on are recognised by their content, in any
folder. They are left out and counted, or included. --split train and a published test split always include them."""
TrainedOption: TypeAlias = Annotated[Literal["leave-out", "include"], Arg(text=TRAINED_TEXT)]
CLASSES_TEXT = """JSON map from the data's classes to the model's. It is an object, such as {"puppy": "dog"}."""
ClassesOption: TypeAlias = Annotated[Path | None, Arg("FILE", text=CLASSES_TEXT)]
DEVICE_TEXT = "cpu, cuda, cuda:N or mps. `auto` takes a CUDA device if there is one, else the CPU."
DeviceOption: TypeAlias = Annotated[str, Arg("DEVICE", text=DEVICE_TEXT)]
BatchOption: TypeAlias = Annotated[int, Arg("N", text="Images to score at a time.")]
WORKERS_TEXT = "Threads that decode images. With 0 the main thread decodes them."
WorkersOption: TypeAlias = Annotated[int, Arg("N", text=WORKERS_TEXT)]
MEGAPIXELS_TEXT = "Largest image in million pixels. Files of larger images are refused."
MegapixelsOption: TypeAlias = Annotated[float, Arg("N", text=MEGAPIXELS_TEXT)]

DONE, SOME_REFUSED, USER_ERROR, FAULT, INTERRUPTED = 0, 1, 2, 70, 75  # exit codes


@dataclass(frozen=True)
class CommonArguments:
    """Options of every verb."""

    json: bool = False
    """Print the result as JSON on standard output."""
    store: Annotated[Path | None, Arg("DIR", "$IMCLASS_STORE, else the user's cache")] = None
    """Folder of data sets and weights. The cache is ~/.cache/imclass, or ~/Library/Caches/imclass on macOS."""
    offline: bool = False
    """Do not use the network. A data set or weights that the store lacks are then an error."""
    plugins: Annotated[tuple[Path, ...], Arg("DIR")] = ()
    """Folder of plugins: networks, data sets, protocols, recipes. Plugins may also define kinds of optimiser, schedule,
    objective and augmentation, and parts of pipelines. The option may be repeated."""


@dataclass(frozen=True)
class TrainArguments:
    """Train a network by a recipe. The same command continues a run that was stopped.

    Every field of the recipe's configuration is an option as well:

        --epochs 5                a field of every stage
        --stages.1.epochs 5       the same field of one stage, counted from 0
        --schedule.kind cosine    another kind of schedule, with its own defaults
        --schedule.rate 0.1       a field of that kind
        --augment flip pad        the list of augmentations, in order
        --augment.pad.pixels 4    a field of one of them
        --model.network vgg-d     another network
        --model.dropout 0.3       a field of the network's row
        --rates.head.* 0.1        a factor on the learning rate of layers, by name
        --init MODEL              the weights to begin from

    `imclass train RECIPE --help` lists every field with its value in that recipe."""

    recipe: Annotated[str | None, Arg("RECIPE", positional=True)] = None
    """Name of the recipe; `imclass recipes` lists them. It may be left out with --config."""
    out: Annotated[Path | None, Arg("DIR", "runs/RECIPE")] = None
    """Folder of the run."""
    config: Annotated[Path | None, Arg("PATH")] = None
    """Run or config.json to take the configuration from. A recipe that is given too must be the one named there."""
    dry_run: bool = False
    """Check everything, print the configuration, and stop. Nothing is written."""
    style: Literal["bar", "book"] = "bar"
    """Progress as a bar, or as the PaddlePaddle book prints it. The bar comes with one line for each epoch."""
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class EvaluateArguments:
    """Score models on held-out images. Prints top-1 and top-5 accuracy, each class and the confusion matrix, or average
    precision where an image may have several labels. Several models are scored one by one, then fused as a last row."""

    models: Annotated[tuple[Path, ...], Arg("MODEL ...", positional=True)]
    """Runs, model files, NETWORK:WEIGHTS, or files of saved scores. NETWORK:WEIGHTS names published weights, which
    `imclass weights` lists. A folder may also be one leg or one checkpoint of a run."""
    data: DataOption = None
    split: SplitOption = None
    protocol: Annotated[str | None, Arg("A[,B...]", "as trained")] = None
    """Protocol, such as tencrop. It decides how an image is presented; `imclass protocols` lists them all. Several are
    scored in one pass over the images, and each is a row of the result."""
    scales: Annotated[str | None, Arg("Q[,Q...]", "the protocol's")] = None
    """Shorter sides in pixels. An image is resized to each; `imclass protocols` shows which protocols take scales."""
    weights: Literal["mean", "fit", "none"] = "mean"
    """How to fuse models. `mean` averages probabilities, `fit` fits weights on validation, `none` does neither."""
    temperature: bool = False
    """Calibrate with a temperature fitted on validation. It divides the log-probabilities, so it changes how sure the
    model is and not how it ranks the classes."""
    save: FileOption = None
    """Save the last row as a model file (.safetensors). It holds the protocol, the fusion weights and the temperature,
    too. A file that exists is not replaced."""
    save_scores: FileOption = None
    """Save the scores of every image (.npz). The file may stand in place of a MODEL. There is one file for each row."""
    plot: FileOption = None
    """Draw the confusion matrix (.png)."""
    mistakes: FileOption = None
    """List the misclassified images (.csv or .html). They are those of the last row; the HTML page shows them."""
    reliability: FileOption = None
    """Draw accuracy against confidence (.png)."""
    table: Literal["3", "4", "5", "6", "7", "resnet"] | None = None
    """Print a paper's table with these results added. 3 to 7 are the VGG paper's, resnet is of residual networks."""
    table_format: Annotated[Literal["text", "markdown", "csv"], Arg("FORMAT")] = "text"
    """text, markdown or csv."""
    changed: int = 0
    """Name N images whose rank changes. At most N whose class ranks differently in the last row than in the first."""
    trained: TrainedOption = "leave-out"
    thresholds: Literal["model", "fit"] = "model"
    """Multi-label thresholds. An image has each class whose probability reaches its threshold. `model` takes the
    model's thresholds, `fit` those that are best on the validation split."""
    classes: ClassesOption = None
    device: DeviceOption = "auto"
    batch: BatchOption = 256
    workers: WorkersOption = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic; bf16 is often faster. It is less exact."""
    strict: bool = False
    """Stop at an image that cannot be used. Without it, such images are left out and listed, and the exit code is 1."""
    max_megapixels: MegapixelsOption = 50.0
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class CompareArguments:
    """Test whether model B is better than model A. On the images that both have scored, McNemar's exact test decides
    whether their difference could be chance, and the bootstrap gives its interval of 95%."""

    a: Annotated[Path, Arg("MODEL_A", positional=True)]
    """Run, model file, NETWORK:WEIGHTS, or saved scores. `imclass evaluate --save-scores` writes such a file."""
    b: Annotated[Path, Arg("MODEL_B", positional=True)]
    """The second model, in any of these forms."""
    data: DataOption = None
    split: SplitOption = None
    protocol: ProtocolOption = None
    list: int = 10
    """Name N of the images that differ in prediction or rank. The largest changes of rank come first."""
    trained: TrainedOption = "leave-out"
    classes: ClassesOption = None
    device: DeviceOption = "auto"
    batch: BatchOption = 256
    workers: WorkersOption = 0
    max_megapixels: MegapixelsOption = 50.0
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class PredictArguments:
    """Name what is in images, with probabilities. The images are taken in the order given."""

    model: ModelArgument
    paths: PathsArgument
    top: Annotated[int | None, Arg("N", "5")] = None
    """Classes for each image. Where it may have several labels, the default is all that reach their threshold."""
    format: Literal["table", "csv", "json"] = "table"
    """Output format. The columns of CSV are path, rank, class and probability."""
    protocol: ProtocolOption = None
    device: DeviceOption = "auto"
    workers: WorkersOption = 0
    max_megapixels: MegapixelsOption = 50.0
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class FeaturesArguments:
    """Save the outputs of a layer, or draw its maps. Give --out, --grid or both."""

    model: ModelArgument
    paths: PathsArgument
    layer: Annotated[str | None, Arg("NAME", "the first convolution")] = None
    """Name of the layer."""
    out: FileOption = None
    """Save the outputs for all images as an array (.npy). It is float32, and its first axis is the images."""
    grid: FileOption = None
    """Draw the maps of the first image (.png)."""
    device: DeviceOption = "auto"
    workers: WorkersOption = 0
    max_megapixels: MegapixelsOption = 50.0
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class ReportArguments:
    """Write a page on a run or a model. It is one HTML file that needs nothing else. The page of a finished run shows
    curves, confusions, mistakes, filters and configuration, and is made from the run's folder alone. Any other model is
    evaluated first, and so is a run with --data, --split, --protocol, --classes or --trained include."""

    model: Annotated[Path, Arg("RUN|MODEL", positional=True)]
    """Run, model file, or published weights as NETWORK:WEIGHTS."""
    data: DataOption = None
    split: SplitOption = None
    out: Annotated[Path | None, Arg("PATH", "RUN/report.html or reports/MODEL")] = None
    """Page or folder to write. For an evaluation it is a new folder, with the page, the scores and the pictures."""
    protocol: ProtocolOption = None
    trained: TrainedOption = "leave-out"
    classes: ClassesOption = None
    device: DeviceOption = "auto"
    batch: BatchOption = 256
    workers: WorkersOption = 0
    max_megapixels: MegapixelsOption = 50.0
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class InfoArguments:
    """Show what a model file contains, or rename its classes."""

    model: ModelArgument
    rename: Annotated[tuple[str, ...], Arg("OLD=NEW")] = ()
    """Rename a class in a copy of the model. The option may be repeated. It needs --out."""
    out: FileOption = None
    """Model file to write with the new names (.safetensors)."""
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class ModelsArguments:
    """List the networks, or describe one with its layers."""

    name: EntryArgument = None
    """Network to describe."""
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class RecipesArguments:
    """List the recipes, or print one with its configuration."""

    name: EntryArgument = None
    """Recipe to print."""
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class ProtocolsArguments:
    """List the test protocols, or describe one."""

    name: EntryArgument = None
    """Protocol to describe."""
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class DataArguments:
    """List, fetch, check or export data sets.

        data [NAME]                       list the data sets, or describe one
        data get NAME                     download it into the store
        data check NAME|PATH              decode each image and list the unusable
        data export NAME|PATH --out DIR   write images as PNG files in class folders

    NAME is a data set of the list, PATH a folder or a CSV file."""

    what: Annotated[str | None, Arg("[ACTION]", positional=True)] = None
    """get, check, export, or the data set to describe."""
    name: Annotated[str | None, Arg("[NAME|PATH]", positional=True)] = None
    """Data set, folder, or CSV file of images and labels."""
    out: Annotated[Path | None, Arg("DIR")] = None
    """export: folder to write to, new or empty."""
    split: Annotated[str | None, Arg("NAME", "test")] = None
    """export: split to take images from."""
    most: int = 100
    """export: largest number of images. The first image of each class is taken, then the second of each, and so on."""
    split_seed: int = 0
    """check, export: seed of the cut of a folder. It cuts a folder without train/ into train and test."""
    workers: int = 2
    """check: threads that decode images. With 0 the main thread decodes them."""
    max_megapixels: MegapixelsOption = 50.0
    """check, export: largest image in million pixels. Files of larger images are refused."""
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class WeightsArguments:
    """List published weights, and exchange weights with other libraries.

        weights [NETWORK:WEIGHTS]  list the published files, or describe one
        weights import FILE        make a model file: --as NETWORK --out FILE
        weights verify FILE        report how weights fit: --as NETWORK
        weights export MODEL       write a state dict: --format LIBRARY --out FILE
        weights fold MODEL         merge batch norms into their layers: --out FILE

    FILE holds weights of another library, MODEL is one of this tool."""

    what: Annotated[str | None, Arg("[ACTION]", positional=True)] = None
    """import, verify, export, fold, or the published file to describe."""
    file: Annotated[str | None, Arg("[FILE|MODEL]", positional=True)] = None
    """File of weights, or for export and fold a MODEL. A file may be .safetensors, .npz, .pth, .pt or .th."""
    as_: Annotated[str | None, Arg("NETWORK")] = None
    """import, verify: network that the weights are of."""
    out: FileOption = None
    """File to write. It is a model file (.safetensors), or for export a state dict (.safetensors, .pth or .pt)."""
    format: Annotated[str | None, Arg("LIBRARY")] = None
    """export: library to write for, as torchvision or timm."""
    from_: Annotated[str | None, Arg("LIBRARY", "best fit")] = None
    """import, verify: library that named the tensors. Such are torchvision, timm and caffe."""
    classes: Annotated[Path | None, Arg("FILE", "ImageNet's")] = None
    """import: class names in order of the scores. The file is a JSON list, or has one name a line. By default the
    names of 1,000 classes are ImageNet's, of 10 classes at 32 x 32 pixels CIFAR-10's."""
    preprocess: Annotated[str | None, Arg("NAME|FILE", "the library's")] = None
    """import: inputs, such as imagenet or caffe. A JSON file may give mean, std and fields of the preprocess."""
    key: Annotated[str | None, Arg("NAME")] = None
    """import, verify: entry that holds the weights. A checkpoint may have several: state_dict, state_dict_ema."""
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class DoctorArguments:
    """Report on this machine and installation. Lists the processor, memory, libraries, devices and the store, and
    anything that is missing, with the fix."""

    common: CommonArguments = CommonArguments()


VERBS: dict[str, Annotated[type, "the arguments of the verb"]] = {
    "train": TrainArguments,
    "evaluate": EvaluateArguments,
    "compare": CompareArguments,
    "predict": PredictArguments,
    "features": FeaturesArguments,
    "report": ReportArguments,
    "info": InfoArguments,
    "models": ModelsArguments,
    "data": DataArguments,
    "recipes": RecipesArguments,
    "protocols": ProtocolsArguments,
    "weights": WeightsArguments,
    "doctor": DoctorArguments,
}
