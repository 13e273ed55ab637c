"""What each verb takes on the command line. Nothing here imports torch, so that `--help` answers at once."""
# Tested in tests/app/cli/test_main.py

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

# Not given unless the user gives it: the text beside each says what happens then.
PathOption: TypeAlias = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
CountOption: TypeAlias = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]
NameOption: TypeAlias = Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")]
EntryArgument: TypeAlias = Annotated[str | None, arg(metavar="[NAME]", help_behavior_hint="")]
ModelArgument: TypeAlias = Annotated[Path, arg(metavar="MODEL", help_behavior_hint="")]
ModelsArgument: TypeAlias = Annotated[tuple[Path, ...], arg(metavar="MODEL ...", help_behavior_hint="")]
NamesOption: TypeAlias = Annotated[str | None, arg(metavar="A[,B...]", help_behavior_hint="")]
TableOption: TypeAlias = Annotated[
    Literal["3", "4", "5", "6", "7", "resnet"] | None, arg(metavar="3|4|5|6|7|resnet", help_behavior_hint="")
]
PathsArgument: TypeAlias = Annotated[tuple[str, ...], arg(metavar="PATH ...", help_behavior_hint="")]


DONE, SOME_REFUSED, USER_ERROR, FAULT, INTERRUPTED = 0, 1, 2, 70, 75  # exit codes


@dataclass(frozen=True)
class CommonArguments:
    """Everywhere."""

    json: bool = False
    """print the record as JSON on standard output"""
    store: PathOption = None
    """folder of data sets and weights; else $IMCLASS_STORE, else the user's cache folder"""
    offline: bool = False
    """never try the network"""
    plugins: UseAppendAction[tuple[Path, ...]] = ()
    """a folder of your own networks, data sets, protocols and recipes; may be repeated"""


@dataclass(frozen=True)
class TrainArguments:
    """Train RECIPE; the same command goes on where it was stopped. Every field of the recipe's config is an option,
    too: `imclass train RECIPE --help` lists them."""

    recipe: Positional[Annotated[str | None, arg(metavar="RECIPE", help_behavior_hint="")]] = None
    """a recipe's name; `imclass recipes` lists them"""
    out: PathOption = None
    """the run's directory (default: runs/RECIPE)"""
    config: PathOption = None
    """take the config from a run's directory or its config.json instead of the recipe"""
    dry_run: bool = False
    """check everything and print the config, then stop"""
    style: Literal["bar", "book"] = "bar"
    """progress as a bar with a line an epoch, or as the PaddlePaddle book prints it"""
    common: OmitArgPrefixes[CommonArguments] = CommonArguments()


@dataclass(frozen=True)
class EvaluateArguments:
    """Score MODEL on a held-out split: top-1, top-5, per class, confusion matrix. Several MODELs are fused, too: the
    mean of their posteriors is scored beside them."""

    models: Positional[ModelsArgument]
    """runs' directories, model files, NETWORK:WEIGHTS, or files that --save-scores wrote"""
    data: NameOption = None
    """a data set's name or a folder with one folder per class (default: what the model was trained from)"""
    split: NameOption = None
    """train, validation, test or all (default: the held-out part; all of a folder that the model has not seen)"""
    trained: Literal["leave-out", "include"] = "leave-out"
    """images that a MODEL was trained on, wherever they now lie, are left out of its score and counted, or included;
    they are included in --split train, and in a test split as it was published"""
    protocol: NamesOption = None
    """how an image is looked at: center, tencrop, dense ... (default: as the model was trained); several, with commas
    between, are scored in one pass over the images"""
    scales: NamesOption = None
    """shorter sides of the image in pixels, for a protocol that takes them, such as 256,384,512"""
    weights: Literal["mean", "fit", "none"] = "mean"
    """several models: fuse them evenly, with weights fitted on the validation split, or not at all"""
    temperature: bool = False
    """calibrate: fit a temperature on the validation split"""
    thresholds: Literal["model", "fit"] = "model"
    """several labels an image: from which probability it has each, as the model has them or fitted on validation"""
    save: PathOption = None
    """write what was scored last (model and protocol, fusion, temperature) as a model file"""
    save_scores: PathOption = None
    """write every image's scores into this .npz file, to be given as MODEL; one file for each row"""
    table: TableOption = None
    """print a table of the VGG paper (3 to 7) or of residual networks, with our rows beside the published ones"""
    table_format: Literal["text", "markdown", "csv"] = "text"
    changed: int = 0
    """name so many of the images whose class ranks differently in the last row than in the first"""
    mistakes: PathOption = None
    """write every image that the last row took for another class into this .csv or .html file; a page shows them"""
    plot: PathOption = None
    """draw the confusion matrix into this PNG file"""
    reliability: PathOption = None
    """draw how often the model is right against how sure it is into this PNG file"""
    classes: PathOption = None
    """JSON that maps the data's class names to the model's"""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 is faster on many processors and less exact"""
    batch: int = 256
    device: str = "auto"
    """cpu, cuda, cuda:1 or mps; auto takes a CUDA device where there is one"""
    workers: int = 0
    """decoding threads"""
    strict: bool = False
    """a refused image is an error"""
    max_megapixels: float = 50.0
    """refuse image files of more million pixels"""
    common: OmitArgPrefixes[CommonArguments] = CommonArguments()


@dataclass(frozen=True)
class CompareArguments:
    """Is B better than A, or could it be chance? A paired test on the images that both have scored."""

    a: Positional[ModelArgument]
    """a run's directory, a model file, or a file that evaluate --save-scores wrote"""
    b: Positional[ModelArgument]
    """another"""
    data: NameOption = None
    """a data set's name or a folder with one folder per class (default: what the models were trained from)"""
    split: NameOption = None
    """train, validation, test or all (default: the held-out part; all of a folder that the models have not seen)"""
    protocol: NameOption = None
    """how an image is looked at (default: as each model was trained)"""
    trained: Literal["leave-out", "include"] = "leave-out"
    """images that a MODEL was trained on, wherever they now lie, are left out of both scores, or included"""
    list: int = 10
    """name so many of the images that the two see differently"""
    classes: PathOption = None
    """JSON that maps the data's class names to the models'"""
    batch: int = 256
    device: str = "auto"
    """cpu, cuda, cuda:1 or mps; auto takes a CUDA device where there is one"""
    workers: int = 0
    """decoding threads"""
    max_megapixels: float = 50.0
    """refuse image files of more million pixels"""
    common: OmitArgPrefixes[CommonArguments] = CommonArguments()


@dataclass(frozen=True)
class PredictArguments:
    """Name what is in image files, folders or globs, in the order given."""

    model: Positional[ModelArgument]
    """a run's directory, a model file, or published weights as NETWORK:WEIGHTS"""
    paths: Positional[PathsArgument]
    """image files, folders or globs"""
    top: CountOption = None
    """how many classes an image (default: five; of several labels, those it has)"""
    format: Literal["table", "csv", "json"] = "table"
    protocol: NameOption = None
    """how an image is looked at (default: as the model was trained)"""
    device: str = "auto"
    """cpu, cuda, cuda:1 or mps; auto takes a CUDA device where there is one"""
    workers: int = 0
    """decoding threads"""
    max_megapixels: float = 50.0
    """refuse image files of more million pixels"""
    common: OmitArgPrefixes[CommonArguments] = CommonArguments()


@dataclass(frozen=True)
class FeaturesArguments:
    """What a layer of MODEL gives out for images: as numbers, as a picture of its maps, or both."""

    model: Positional[ModelArgument]
    """a run's directory, a model file, or published weights as NETWORK:WEIGHTS"""
    paths: Positional[PathsArgument]
    """image files, folders or globs"""
    layer: NameOption = None
    """the layer's name (default: the first convolution)"""
    out: PathOption = None
    """write the outputs of all images into this .npy file"""
    grid: PathOption = None
    """draw the first image's maps into this PNG file"""
    device: str = "auto"
    """cpu, cuda, cuda:1 or mps; auto takes a CUDA device where there is one"""
    workers: int = 0
    """decoding threads"""
    max_megapixels: float = 50.0
    """refuse image files of more million pixels"""
    common: OmitArgPrefixes[CommonArguments] = CommonArguments()


@dataclass(frozen=True)
class ReportArguments:
    """Write one page on a finished RUN, from its folder alone: curves, confusions, mistakes, filters, configuration.
    Any other MODEL is evaluated on --data into a folder first. The page is one HTML file that needs nothing else."""

    model: Positional[Annotated[Path, arg(metavar="RUN|MODEL", help_behavior_hint="")]]
    """a run's directory, a model file, or published weights as NETWORK:WEIGHTS"""
    data: NameOption = None
    """evaluate on this data set or folder (default for a MODEL that is not a run: what it was trained from)"""
    split: NameOption = None
    """evaluate on train, validation, test or all (default: the held-out part; all of what the model has not seen)"""
    trained: Literal["leave-out", "include"] = "leave-out"
    """images that the MODEL was trained on, wherever they now lie, are left out and counted, or included"""
    protocol: NameOption = None
    """how an image is shown (default: as the model was trained)"""
    classes: PathOption = None
    """JSON that maps the data's class names to the model's"""
    out: PathOption = None
    """of a RUN the page (default: RUN/report.html); of an evaluation a new folder (default: reports/MODEL)"""
    max_megapixels: float = 50.0
    """refuse image files of more million pixels"""
    batch: int = 256
    device: str = "auto"
    """cpu, cuda, cuda:1 or mps; auto takes a CUDA device where there is one"""
    workers: int = 0
    """decoding threads"""
    common: OmitArgPrefixes[CommonArguments] = CommonArguments()


@dataclass(frozen=True)
class InfoArguments:
    """What a model file holds. `--rename OLD=NEW --out FILE` writes a copy in which a class has another name."""

    model: Positional[ModelArgument]
    """a run's directory, a model file, or published weights as NETWORK:WEIGHTS"""
    rename: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="OLD=NEW", help_behavior_hint="")] = ()
    """another name for a class; may be repeated"""
    out: PathOption = None
    """the model file to write, with the new names"""
    common: OmitArgPrefixes[CommonArguments] = CommonArguments()


@dataclass(frozen=True)
class ModelsArguments:
    """The networks there are, or one in detail."""

    name: Positional[EntryArgument] = None
    """show this one in detail"""
    common: OmitArgPrefixes[CommonArguments] = CommonArguments()


@dataclass(frozen=True)
class RecipesArguments:
    """The recipes there are, or one with its whole config."""

    name: Positional[EntryArgument] = None
    """show this one in detail"""
    common: OmitArgPrefixes[CommonArguments] = CommonArguments()


@dataclass(frozen=True)
class ProtocolsArguments:
    """The test protocols there are, or one in detail."""

    name: Positional[EntryArgument] = None
    """show this one in detail"""
    common: OmitArgPrefixes[CommonArguments] = CommonArguments()


@dataclass(frozen=True)
class DataArguments:
    """The data sets there are; `data get NAME` fetches one, `data check NAME|DIR` decodes every image of one,
    `data export NAME|DIR --out DIR` writes some images as PNG files in class folders."""

    what: Positional[EntryArgument] = None
    """a data set's name, or get, check, export"""
    name: Positional[EntryArgument] = None
    """a data set's name, or a folder"""
    split: NameOption = None
    """export: which split (default: test)"""
    most: int = 100
    """export: at most so many images: the first of each class, then the second of each, and so on"""
    out: PathOption = None
    """export: a new folder"""
    split_seed: int = 0
    """decides which images of a folder without train/ are held out"""
    workers: int = 2
    """decoding threads"""
    max_megapixels: float = 50.0
    """refuse image files of more million pixels"""
    common: OmitArgPrefixes[CommonArguments] = CommonArguments()


@dataclass(frozen=True)
class WeightsArguments:
    """Weights of other libraries: the published ones there are; `weights import FILE --as NETWORK --out MODEL` makes a
    model file of one, `weights verify FILE --as NETWORK` says how it fits, `weights export MODEL --format LIBRARY --out
    FILE` writes a state dict that the library loads, `weights fold MODEL --out FILE` a model with batch norms in the
    layers before them."""

    what: Positional[EntryArgument] = None
    """a published file (NETWORK:WEIGHTS), or import, verify, export, fold"""
    file: Positional[EntryArgument] = None
    """.safetensors, .npz, .pth, .pt or .th; export, fold: a MODEL"""
    as_: Annotated[str | None, arg(name="as", metavar="NETWORK", help_behavior_hint="")] = None
    """the network that the weights are of"""
    out: PathOption = None
    """the model file to write; export: a state dict, .safetensors or .pth"""
    classes: PathOption = None
    """the classes in the order of the file's scores: a JSON list, or one name a line (default: ImageNet's for 1,000)"""
    preprocess: NameOption = None
    """imagenet, inception, caffe ... or a JSON file with mean, std and fields of the preprocess (default: the usual)"""
    from_: Annotated[str | None, arg(name="from", metavar="LIBRARY", help_behavior_hint="")] = None
    """whose names the tensors have: torchvision, timm, caffe ... (default: those that fit best)"""
    key: NameOption = None
    """the entry of a checkpoint that holds the weights, where several do: state_dict, state_dict_ema ..."""
    format: Annotated[str | None, arg(metavar="LIBRARY", help_behavior_hint="")] = None
    """export: torchvision, timm ..."""
    common: OmitArgPrefixes[CommonArguments] = CommonArguments()


@dataclass(frozen=True)
class DoctorArguments:
    """This machine and installation: processor, memory, libraries, devices, the store; what is missing, and the fix."""

    common: OmitArgPrefixes[CommonArguments] = CommonArguments()


VERBS: dict[str, Annotated[type, "what the verb takes"]] = {
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
