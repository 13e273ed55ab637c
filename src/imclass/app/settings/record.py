"""The record of a run's settings in its config.json."""
# Tested in tests/app/runs/test_directory.py

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from imclass.app.settings.series import Series, series_in
from imclass.core.codec import Kinds, difference, from_json, to_json
from imclass.core.config import CONFIG_FORMAT, Execution, Fitting, RunConfig, Training
from imclass.core.config.changes import init_changes, rate_order_changes
from imclass.core.errors import UnknownEntry, UserError
from imclass.core.runtime import Runtime

CONFIG_KEYS: Mapping[str, type] = MappingProxyType({"training": Training, "fitting": Fitting})  # in config.json


def config_entry(config: RunConfig) -> dict[str, Any]:
    """Return the entry of config.json with a run's config, whose key says what the run does."""
    return {key: to_json(config) for key, kind in CONFIG_KEYS.items() if isinstance(config, kind)}


def config_in(record: Mapping[str, Any], kinds: Kinds) -> RunConfig:
    """Return the config in the record of a config.json."""
    key = next((key for key in CONFIG_KEYS if key in record), "training")
    config: RunConfig = from_json(CONFIG_KEYS[key], record[key], "", kinds)
    return config


@dataclass(frozen=True)
class RunRecord:
    """The content of a run's config.json."""

    config: RunConfig
    execution: Execution
    digest: str  # of the data
    digests: Mapping[str, str]  # SHA-256 of the plugin files in use, keyed by entry, such as "network tiny"
    runtime: Runtime
    facts: str  # the digest of the facts file, or "" if there is none
    counts: Mapping[str, tuple[int, ...]]  # the number of images in each class, keyed by split
    images: Mapping[str, int]  # the number of images, keyed by split
    resolved: Mapping[str, int]  # the resolved numbers of epochs of stages with `minutes`, keyed by config key
    series: Series | None  # None for a single run

    @property
    def training(self) -> Training:
        """Return the config of a run that trains a network."""
        if not isinstance(self.config, Training):
            raise TypeError(f"the run of the recipe {self.config.recipe} fits a pipeline")
        return self.config

    @property
    def series_entry(self) -> dict[str, int]:
        """Return the entry with the number of runs of a series, or an empty dict for a single run."""
        return self.series.entry if self.series else {}

    def plugin_changes(self, digests: Mapping[str, str]) -> list[str]:
        """Return a line for each plugin file in use that was changed, added or removed."""
        keys = dict.fromkeys([*self.digests, *digests])
        states = {key: (self.digests.get(key, "")[:12], digests.get(key, "")[:12]) for key in keys}
        return [
            f"{key}: plugin file {old or 'none'} before, {new or 'none'} now (first digits of its SHA-256)"
            for key, (old, new) in states.items()
            if old != new
        ]

    def difference(self, config: RunConfig, default: Mapping[str, Any]) -> list[str]:
        """Return a line for each field of this record's config that differs from `config`.

        If a field was added to the network's row after the run began, its value is taken from `default`. The device and
        precision in `config` are compared with those that the run uses, and "auto" matches every value.
        """
        if type(self.config) is not type(config):
            return [f"recipe: {self.config.recipe} before, {config.recipe} now"]
        before: Any = self.config
        before = replace(before, init_digest=config.init_digest, device=config.device, precision=config.precision)
        used = {"device": self.runtime.device, "precision": self.runtime.arithmetic.precision}
        wanted = {key: value for key in used if (value := getattr(config, key)) != "auto"}
        lines = [*init_changes(self.config, config), *difference(used, used | wanted)]
        if isinstance(config, Training):
            model = before.model
            row = {**default, **model.row} if model.network == config.model.network else model.row
            before = replace(before, model=replace(model, row=row))
            lines = [*rate_order_changes(before, config), *lines]
        return [*difference(before, config), *lines]


def read_run_record(file: Path, kinds: Kinds) -> RunRecord:
    """Read a run's config.json. Raise `UserError` if the file is not a valid config.json."""
    unreadable = UserError(
        f"{file} is not a run's config in the format that this version of imclass reads ({CONFIG_FORMAT}); "
        "train again with another --out"
    )
    try:
        record = json.loads(file.read_bytes())
        if record["format"] != CONFIG_FORMAT:
            raise unreadable
        return RunRecord(
            config_in(record, kinds),
            from_json(Execution, record["execution"]),
            str(record["data"]["digest"]),
            from_json(dict[str, str], record["data"].get("plugins", {})),
            from_json(Runtime, record["runtime"]),
            str(record.get("facts", "")),
            from_json(dict[str, tuple[int, ...]], record.get("counts", {})),
            from_json(dict[str, int], record.get("images", {})),
            from_json(dict[str, int], record.get("resolved", {})),
            series_in(record),
        )
    except UnknownEntry as error:
        raise UserError(f"{file}: {error}; if a plugin defines it, pass the plugin's folder with --plugins") from None
    except (ValueError, KeyError, TypeError, RecursionError, UserError):
        raise unreadable from None


def read_config(file: Path, kinds: Kinds) -> tuple[RunConfig, Execution]:
    """Read the config of a run from a directory, from a config.json, or from a file that contains only a config.

    If the config is invalid, raise a `UserError` that names the file and the offending key.
    """
    try:
        record = json.loads((file / "config.json" if file.is_dir() else file).read_bytes())
        if isinstance(record, dict) and record.get("format", CONFIG_FORMAT) != CONFIG_FORMAT:
            problem = f"it has format {record['format']}, but this version of imclass reads format {CONFIG_FORMAT}"
            raise UserError(f"{problem}; train again")
        if not isinstance(record, dict) or not CONFIG_KEYS.keys() & record.keys():
            alone = Fitting if isinstance(record, dict) and "parts" in record else Training
            return from_json(alone, record, "", kinds), Execution()
        return config_in(record, kinds), from_json(Execution, record.get("execution", {}))
    except OSError as error:
        raise UserError(f"--config {file} cannot be read: {error.strerror}; pass a run's directory") from None
    except (ValueError, RecursionError) as error:
        why = "it is not text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise UserError(f"--config {file} cannot be read as JSON: {why}; pass a run or its config.json") from None
    except UserError as error:
        raise UserError(f"--config {file}: {error}") from None
