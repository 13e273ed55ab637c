"""What a recipe returns: one frozen value with every choice in it; to and from JSON; how tables of such are found."""

import dataclasses
import importlib
import importlib.util
import math
import pkgutil
import sys
import types
import typing
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from imclass.core.errors import UserError, nearest
from imclass.core.preprocess import Preprocess


@dataclass(frozen=True)
class Model:
    """Which network, its size, and what it subtracts and divides by (of images in [0, 1], a value a channel)."""

    network: str
    row: dict[str, Any] = field(default_factory=dict)  # what differs from the network's row in its table
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    mean_image: bool = False  # subtract the mean of the training images, pixel by pixel, instead of `mean`
    initialiser: str = ""  # how weights begin: glorot, he, vgg or alexnet; empty for the network's own way


@dataclass(frozen=True)
class Optimiser:
    """SGD with momentum, or Adam. `weight_decay` is added to the gradient, as the papers do; biases are decayed too."""

    name: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a pure function of position and history; `train/schedules.py` says who uses which field."""

    name: Literal["constant", "step", "discrete-exponential", "plateau", "cosine", "triangular"] = "constant"
    rate: float = 0.1  # the highest rate
    final: float = 0.0  # cosine and triangular end here, as a share of `rate`
    warmup: int = 0  # steps that climb linearly from 0 to the schedule
    factor: float = 0.1  # step, discrete-exponential, plateau: multiply by this
    steps: tuple[int, ...] = ()  # step: after these many steps
    every: int = 0  # discrete-exponential: samples between two falls
    patience: int = 5  # plateau: evaluations without a better validation accuracy
    peak: float = 0.25  # triangular: share of the stage at which the rate is highest


@dataclass(frozen=True)
class Augment:
    """What a training image may undergo. Each random choice follows (seed, epoch, sample), nothing else."""

    flip: bool = False  # left-right, with probability 1/2
    pad: int = 0  # pad by so many pixels of the rounded mean, then crop back at random (He et al. 2015, section 4.2)
    area: tuple[float, float] = (1.0, 1.0)  # a crop of this share of the image's area (GoogLeNet: 0.08 to 1) ...
    aspect: tuple[float, float] = (1.0, 1.0)  # ... and this ratio of width to height (GoogLeNet: 3/4 to 4/3)


@dataclass(frozen=True)
class Stage:
    """One stretch of training: epochs under one optimiser and schedule. A chain of stages passes its weights on."""

    epochs: int = 1
    batch: int = 128
    micro_batches: int = 1  # logical parts of a step, whatever the number of processes
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    augment: Augment = Augment()


@dataclass(frozen=True)
class Config:
    """One complete training run. Everything that decides its result is here or in what was resolved at its start."""

    recipe: str
    model: Model
    stages: tuple[Stage, ...]
    preprocess: Preprocess
    data: str
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16", "auto"] = "fp32"  # auto: what is fastest here and computes the same
    workers: int = 0  # decoding threads; 0 decodes in the main thread. It never changes a result
    memory: int = 2048  # MiB: a data set that needs less than this at the network's size is kept decoded
    save_every: int = 60  # seconds between two checkpoints; each epoch's end saves as well
    keep: int = 2  # checkpoints kept
    nonfinite: Literal["stop", "skip"] = "stop"
    strict: bool = False  # a refused image is an error

    def __post_init__(self) -> None:
        check(self)


def check(config: Config) -> None:
    """Numbers that cannot be trained with are a `UserError` that names the field and what it may be."""
    need(len(config.stages) >= 1, "stages", len(config.stages), "at least one stage")
    for i, stage in enumerate(config.stages):
        check_stage(stage, f"stages.{i}." if len(config.stages) > 1 else "")
    need(config.workers >= 0, "workers", config.workers, "0 or more threads")
    need(config.memory >= 0, "memory", config.memory, "0 or more MiB")
    need(config.keep >= 2, "keep", config.keep, "at least 2: one is the fallback of the other")
    need(config.save_every >= 0, "save_every", config.save_every, "0 or more seconds")
    need(0 <= config.seed < 2**63, "seed", config.seed, "from 0 up to 2**63")
    mean, std = config.model.mean, config.model.std
    need(len(mean) in (1, config.preprocess.w_in), "model.mean", mean, "1 value, or one a channel")
    need(len(mean) == len(std), "model.std", std, "as many values as model.mean")
    need(all(0 < s < math.inf for s in std), "model.std", std, "positive numbers")


def check_stage(stage: Stage, at: str) -> None:
    """The same for one stage; `at` is what its keys begin with."""
    need(stage.epochs >= 1, f"{at}epochs", stage.epochs, "at least 1")
    need(stage.batch >= 1, f"{at}batch", stage.batch, "at least 1")
    need(1 <= stage.micro_batches <= stage.batch, f"{at}micro_batches", stage.micro_batches, "from 1 to the batch")
    optimiser, schedule, augment = stage.optimiser, stage.schedule, stage.augment
    need(0 <= optimiser.momentum < 1, f"{at}optimiser.momentum", optimiser.momentum, "from 0 up to 1")
    need(all(0 <= b < 1 for b in optimiser.betas), f"{at}optimiser.betas", optimiser.betas, "two, from 0 up to 1")
    need(0 < optimiser.eps < math.inf, f"{at}optimiser.eps", optimiser.eps, "a positive number")
    decay = optimiser.weight_decay
    need(0 <= decay < math.inf, f"{at}optimiser.weight_decay", decay, "0 or more")
    need(0 < schedule.rate <= 1e6, f"{at}schedule.rate", schedule.rate, "a positive number, at most a million")
    need(0 <= schedule.final <= 1, f"{at}schedule.final", schedule.final, "a share of the rate, from 0 to 1")
    need(schedule.warmup >= 0, f"{at}schedule.warmup", schedule.warmup, "0 or more steps")
    need(0 < schedule.factor < 1, f"{at}schedule.factor", schedule.factor, "between 0 and 1")
    falls = schedule.name == "discrete-exponential"
    need(not falls or schedule.every > 0, f"{at}schedule.every", schedule.every, "at least 1 sample")
    need(schedule.patience >= 1, f"{at}schedule.patience", schedule.patience, "at least 1 evaluation")
    need(0 < schedule.peak < 1, f"{at}schedule.peak", schedule.peak, "between 0 and 1")
    need(augment.pad >= 0, f"{at}augment.pad", augment.pad, "0 or more pixels")
    (low, high), shares = augment.area, "two shares of the area, 0 < low <= high <= 1"
    need(0 < low <= high <= 1, f"{at}augment.area", augment.area, shares)
    low, high = augment.aspect
    need(0 < low <= high < math.inf, f"{at}augment.aspect", augment.aspect, "two ratios, 0 < low <= high")


def need(condition: bool, key: str, value: object, wanted: str) -> None:
    """A `UserError` naming `key`, its value and what is wanted, unless `condition` holds."""
    if not condition:
        raise UserError(f"--{key.replace('_', '-')} is {value}; it must be {wanted}")


def to_json(value: Any) -> Any:
    """Plain JSON of nested frozen dataclasses: objects, arrays, numbers, strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    return value


def from_json(kind: Any, value: Any, where: str = "") -> Any:
    """The inverse of `to_json` for the type `kind`; a wrong name or type is a `UserError` with its dotted key."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return from_object(kind, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [arguments[0]] * len(value) if len(arguments) == 2 and arguments[1] is ... else list(arguments)
        if len(kinds) == len(value):
            return tuple(from_json(k, v, f"{where}.{i}") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    elif origin is Literal and value in arguments:
        return value
    elif origin in (types.UnionType, typing.Union):
        fitting = [k for k in arguments if fits(k, value)]
        if fitting:
            return from_json(fitting[0], value, where)
    elif origin is dict and isinstance(value, dict):
        return {k: from_json(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    elif kind is Any:
        return tuple(from_json(Any, v, where) for v in value) if isinstance(value, list | tuple) else value
    elif fits(kind, value):
        return float(value) if kind is float else value
    raise UserError(f"{where or 'the value'} is {value!r}; it must be {described(kind)}")


def from_object(kind: type, value: Any, where: str) -> Any:
    """A frozen dataclass from a JSON object."""
    if not isinstance(value, Mapping):
        wanted = f"an object with the fields of {kind.__name__}"
        raise UserError(f"{where or kind.__name__} is {value!r}; it must be {wanted}")
    hints = typing.get_type_hints(kind)
    for name in value:
        if name not in hints:
            key = f"{where}.{name}" if where else name
            raise UserError(f"{kind.__name__} has no field {key!r}{nearest(name, hints)}")
    required = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in value
    ]
    if required:
        raise UserError(f"{where or kind.__name__} lacks the field {required[0]!r}")
    return kind(**{k: from_json(hints[k], v, f"{where}.{k}" if where else k) for k, v in value.items()})


def fits(kind: Any, value: Any) -> bool:
    """Whether a JSON value can be of this plain type; true is no number, a whole number is a float, NaN is neither."""
    if kind in (None, type(None)):
        return value is None
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    origin = typing.get_origin(kind)
    if origin is Literal:
        return value in typing.get_args(kind)
    if origin is not None:
        return isinstance(value, list | tuple if origin is tuple else origin)
    return isinstance(value, dict if dataclasses.is_dataclass(kind) else kind)


def described(kind: Any) -> str:
    """A type in words for a message."""
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(a) for a in typing.get_args(kind))
    return {int: "a whole number", float: "a finite number", str: "text", bool: "true or false"}.get(kind, str(kind))


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key to leaf value of nested JSON; arrays of plain values are leaves."""
    if isinstance(value, Mapping):
        items = [(str(k), v) for k, v in value.items()]
    elif isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
        items = [(str(i), v) for i, v in enumerate(value)]
    else:
        return {prefix: value}
    return {k: v for name, inner in items for k, v in flatten(inner, f"{prefix}.{name}" if prefix else name).items()}


def difference(before: Config, after: Config) -> list[str]:
    """A line for each field that differs: "schedule.rate: 0.1 before, 0.2 now"."""
    old, new = flatten(to_json(before)), flatten(to_json(after))
    keys = [k for k in dict.fromkeys([*old, *new]) if old.get(k) != new.get(k)]
    return [f"{k}: {old.get(k, 'absent')} before, {new.get(k, 'absent')} now" for k in keys]


@dataclass(frozen=True)
class Found:
    """The entries of one kind of table, gathered over a folder of modules, and what could not be imported."""

    what: str
    entries: dict[str, Any]
    failures: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        """The entry; an unknown name is a `UserError` with the nearest known one and any file that failed to import."""
        if name in self.entries:
            return self.entries[name]
        failed = "".join(f"\n  not imported: {f}" for f in self.failures)
        raise UserError(f"no {self.what} is named {name!r}{nearest(name, self.entries)}{failed}")


def find(package: str, table: str, what: str, plugins: Sequence[Path] = ()) -> Found:
    """The union of the dictionaries called `table` in every module of `package` and every .py file of plugin folders.

    A module that fails to import is listed in `failures` and the others still work; a name given twice is a
    `UserError`.
    """
    folder = importlib.import_module(package)
    names = [f"{package}.{m.name}" for m in pkgutil.iter_modules(folder.__path__)]
    entries: dict[str, Any] = {}
    owners: dict[str, str] = {}
    failures: list[str] = []
    sources: list[str | Path] = [*sorted(names), *plugin_files(plugins)]
    for source in sources:
        try:
            module = import_file(source) if isinstance(source, Path) else importlib.import_module(source)
            found = dict(getattr(module, table, {}))
        except (Exception, SystemExit) as error:  # whatever a stranger's file raises, the others must work
            failures.append(f"{source}: {type(error).__name__}: {error}")
            continue
        for name, entry in found.items():
            if name in owners:
                raise UserError(f"{what} {name!r} is defined twice, in {owners[name]} and in {source}; rename one")
            owners[name], entries[name] = str(source), entry
    return Found(what, entries, tuple(failures))


def plugin_files(folders: Sequence[Path]) -> list[Path]:
    """The Python files of the plugin folders; a folder that is not there is a `UserError`."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--plugins {folder} is not a folder")
    return [path for folder in folders for path in sorted(folder.glob("*.py"))]


def import_file(path: Path) -> types.ModuleType:
    """The module in a file of the user's plugin folder."""
    name = f"imclass_plugins.{path.stem}_{zlib.crc32(str(path.resolve()).encode()):08x}"  # two folders may both have it
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there to resolve annotations
    spec.loader.exec_module(module)
    return module
