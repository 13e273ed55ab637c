"""The arguments of each verb on the command line. Nothing here imports torch, so that `--help` answers at once.

`--help` prints a class's docstring and the first sentence below each field. docs/commands.md contains the full texts;
run `make reference` to regenerate that page after a change. Classes may be in separate files of this folder.
"""
# Tested in tests/app/cli/test_main.py

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from imclass.app.cli.arguments.benchmark import BenchmarkArguments
from imclass.app.cli.arguments.explain import ExplainArguments
from imclass.app.cli.arguments.runs import RunsArguments
from imclass.app.cli.arguments.weights import WeightsArguments
from imclass.app.cli.syntax import (
    Arg,
    BatchOption,
    ClassesOption,
    CommonArguments,
    DataOption,
    DenseOption,
    DeviceOption,
    EachOption,
    EntryArgument,
    FeaturesOption,
    FileOption,
    LogPeriodOption,
    MapOption,
    MegapixelsOption,
    MethodOption,
    ModelArgument,
    NormaliseOption,
    OptionalPaths,
    PathsArgument,
    PrecisionOption,
    ProtocolOption,
    ProtocolsOption,
    RecipeOption,
    ScalesOption,
    SplitOption,
    StyleOption,
    ThresholdsOption,
    TrainedOption,
    WorkersOption,
)

DONE, SOME_REFUSED, USER_ERROR, FAULT, INTERRUPTED = 0, 1, 2, 70, 75  # exit codes


@dataclass(frozen=True)
class TrainArguments:
    """Train a network with a recipe. Run the same command again to resume a stopped run.

    Every field of the recipe's configuration is also an option:

        --epochs 5                a field of every stage
        --stages.1.epochs 5       the same field of one stage, counted from 0
        --schedule.kind cosine    another kind of schedule, with its defaults
        --schedule.rate 0.1       a field of that kind
        --augment flip pad        the list of augmentations, in order
        --augment.pad.pixels 4    a field of one augmentation
        --model.network vgg-d     another network
        --model.dropout 0.3       a field of the network's row
        --rates.head.* 0.1        a learning-rate multiplier for layers, by name
        --init MODEL              the weights to start from

    `imclass train RECIPE --help` lists every field with its value in that recipe."""

    recipe: Annotated[str | None, Arg("RECIPE", positional=True)] = None
    """Name of the recipe; `imclass recipes` lists all recipes. The name may be omitted with --config."""
    out: Annotated[Path | None, Arg("DIR", "runs/RECIPE")] = None
    """Folder of the run."""
    config: Annotated[Path | None, Arg("PATH")] = None
    """Run or config.json to read the configuration from. RECIPE may be given too, but must match the configuration."""
    crossval: Annotated[int | None, Arg("K")] = None
    """Cross-validate with K folds. Each fold is a run in DIR/folds, and the result is the ensemble of the K models."""
    repeats: Annotated[int | None, Arg("K")] = None
    """Train on K random splits. Each is a run in DIR/splits, and the result is the mean and the standard deviation of
    their accuracies. --split.kind count draws the splits: --split.train images of each class for training, and at most
    --split.test of the others for testing."""
    dry_run: bool = False
    """Check everything, estimate time, memory and disk space, and stop. The configuration is printed as well. The
    estimate is extrapolated from steps with a few images. Nothing is written, and no weights are downloaded."""
    find_rate: bool = False
    """Test which learning rates the first stage can learn with, and stop. The rate rises from step to step until the
    loss does. The picture of the losses is DIR-rate.png. Nothing else is written, and a run in DIR is not used."""
    style: StyleOption = "bar"
    log_period: LogPeriodOption = None
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class EvaluateArguments:
    """Score models on held-out images. Prints accuracy, per-class results and the confusion matrix, or average
    precision for multi-label data. Several models are scored one by one, and fused in the last row."""

    models: Annotated[tuple[Path, ...], Arg("MODEL ...", positional=True)]
    """Runs, model files, NETWORK:WEIGHTS, or saved scores. NETWORK:WEIGHTS stands for published weights, which
    `imclass weights` lists. A folder may also be a single leg or checkpoint of a run."""
    data: DataOption = None
    split: SplitOption = None
    protocol: ProtocolsOption = None
    scales: ScalesOption = None
    weights: Literal["mean", "fit", "none"] = "mean"
    """How to fuse models. `mean` averages probabilities, `fit` fits weights on validation data, `none` skips fusion."""
    temperature: bool = False
    """Calibrate with a fitted temperature. The log-probabilities are divided by the temperature, which is fitted on the
    validation split. Calibration changes the model's confidence but not the ranking of the classes."""
    save: FileOption = None
    """Save the last row as a model file (.safetensors). The file also contains the protocol, the fusion weights and
    the temperature. An existing file is not replaced."""
    save_scores: FileOption = None
    """Save the scores of every image (.npz). Such a file can be used as a MODEL. Each row has its own file."""
    plot: FileOption = None
    """Draw the confusion matrix (.png)."""
    mistakes: FileOption = None
    """List the mistakes of the last row (.csv or .html). The HTML page shows the images themselves."""
    reliability: FileOption = None
    """Draw accuracy against confidence (.png)."""
    table: Literal["3", "4", "5", "6", "7", "resnet"] | None = None
    """Print a paper's table with these results added. Tables 3 to 7 are from the VGG paper; resnet
    is a table of residual networks."""
    table_format: Annotated[Literal["text", "markdown", "csv"], Arg("FORMAT")] = "text"
    """text, markdown or csv."""
    changed: int = 0
    """List N images whose true class changes rank. The ranks in the first and the last row are compared."""
    trained: TrainedOption = "leave-out"
    thresholds: ThresholdsOption = "model"
    classes: ClassesOption = None
    device: DeviceOption = "auto"
    batch: BatchOption = 256
    workers: WorkersOption = 0
    precision: PrecisionOption = "fp32"
    strict: bool = False
    """Stop at an unusable image. By default, unusable images are left out and listed, and the exit code is 1."""
    max_megapixels: MegapixelsOption = 50.0
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class CompareArguments:
    """Test whether model B is better than model A. McNemar's exact test on the images scored by both models
    determines whether the difference could be due to chance. The bootstrap yields a 95% confidence interval for the
    difference."""

    a: Annotated[Path, Arg("MODEL_A", positional=True)]
    """Run, model file, NETWORK:WEIGHTS, or saved scores. `imclass evaluate --save-scores` saves scores."""
    b: Annotated[Path, Arg("MODEL_B", positional=True)]
    """Second model, in the same forms."""
    data: DataOption = None
    split: SplitOption = None
    protocol: ProtocolOption = None
    list: int = 10
    """List up to N images that differ in prediction or rank. The largest changes in rank come first."""
    trained: TrainedOption = "leave-out"
    classes: ClassesOption = None
    device: DeviceOption = "auto"
    batch: BatchOption = 256
    workers: WorkersOption = 0
    max_megapixels: MegapixelsOption = 50.0
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class PredictArguments:
    """Classify images and print probabilities. The images are classified in the given order."""

    model: ModelArgument
    paths: PathsArgument
    top: Annotated[int | None, Arg("N", "5")] = None
    """Number of classes per image. For a multi-label model, the default is all that reach their thresholds."""
    format: Literal["table", "csv", "json"] = "table"
    """Output format. The CSV columns are path, rank, class and probability."""
    protocol: ProtocolOption = None
    device: DeviceOption = "auto"
    workers: WorkersOption = 0
    max_megapixels: MegapixelsOption = 50.0
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class FeaturesArguments:
    """Save or draw the features of images. The images are either paths, or labelled images chosen with --data. Pass at
    least one of --out, --map and --grid."""

    model: ModelArgument
    paths: OptionalPaths = ()
    data: DataOption = None
    split: SplitOption = None
    layer: Annotated[str | None, Arg("NAME", "penultimate")] = None
    """Name of the layer. `penultimate` is the input of the last layer or, in a pipeline, of the last part. `imclass
    models NETWORK` lists the other layers. With --grid, the default is the first convolution."""
    out: FeaturesOption = None
    map: MapOption = None
    method: MethodOption = "pca"
    grid: FileOption = None
    """Draw the feature maps of the first image (.png)."""
    scales: DenseOption = None
    mirror: bool = False
    """Average the penultimate features of each image and its mirror image."""
    normalise: NormaliseOption = False
    device: DeviceOption = "auto"
    workers: WorkersOption = 0
    precision: PrecisionOption = "fp32"
    max_megapixels: MegapixelsOption = 50.0
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class ReportArguments:
    """Write a report on a run or a model. The report is a self-contained HTML page. For a finished run, the page shows
    curves, confusions, mistakes, filters and configuration, and is made from the run's folder alone. Any other model is
    evaluated first, and so is a run with --data, --split, --protocol, --classes or --trained include."""

    model: Annotated[Path, Arg("RUN|MODEL", positional=True)]
    """Run, model file, or published weights as NETWORK:WEIGHTS."""
    data: DataOption = None
    split: SplitOption = None
    out: Annotated[Path | None, Arg("PATH", "RUN/report.html or reports/MODEL")] = None
    """Page or folder to write. For an evaluation, specify a new folder for page, scores and pictures."""
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
    """Rename a class in a copy of the model. The option requires --out and may be repeated."""
    out: FileOption = None
    """Model file to write, with the new class names (.safetensors)."""
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
    """List, fetch, check, show or export data sets.

        data [NAME]                       list the data sets, or describe one
        data get NAME                     download it into the store
        data check NAME|PATH              decode each image and list the unusable ones
        data show NAME|PATH               draw images, or a recipe's training views
        data export NAME|PATH --out DIR   write images as PNG files in class folders

    NAME is a data set from the list; PATH is a folder, a CSV file or a list (.txt)."""

    what: Annotated[str | None, Arg("[ACTION]", positional=True)] = None
    """get, check, show, export, or the data set to describe."""
    name: Annotated[str | None, Arg("[NAME|PATH]", positional=True)] = None
    """Data set, folder, CSV file or list (.txt) of images and labels."""
    out: Annotated[Path | None, Arg("DIR|FILE")] = None
    """export: folder to write to, new or empty; show: PNG file to write. By default, it is named after the data."""
    split: Annotated[str | None, Arg("NAME", "test, or train for show")] = None
    """export, show: split to take images from."""
    recipe: RecipeOption = None
    each: EachOption = 8
    most: int = 100
    """export: maximum number of images. The first image of each class is taken, then the second of each, and so on."""
    split_seed: int = 0
    """check, show, export: random seed for splitting a folder. A folder without train/ is split into train and test."""
    workers: int = 2
    """check: number of threads that decode images. With 0, the main thread decodes them."""
    max_megapixels: MegapixelsOption = 50.0
    common: CommonArguments = CommonArguments()


@dataclass(frozen=True)
class DoctorArguments:
    """Report on this machine and installation. Lists the processor, memory, libraries, devices and store, and
    each problem with its fix."""

    common: CommonArguments = CommonArguments()


VERBS: dict[str, Annotated[type, "the arguments of the verb"]] = {
    "train": TrainArguments,
    "benchmark": BenchmarkArguments,
    "evaluate": EvaluateArguments,
    "compare": CompareArguments,
    "predict": PredictArguments,
    "features": FeaturesArguments,
    "explain": ExplainArguments,
    "report": ReportArguments,
    "runs": RunsArguments,
    "info": InfoArguments,
    "models": ModelsArguments,
    "data": DataArguments,
    "recipes": RecipesArguments,
    "protocols": ProtocolsArguments,
    "weights": WeightsArguments,
    "doctor": DoctorArguments,
}
