"""Exceptions for mistakes that the user can fix, for interruption, and for images that cannot be used."""

from collections.abc import Iterable


class UserError(Exception):
    """An error that the user can fix. It is printed without a traceback, and the exit code is 2.

    Its message identifies the file, key or shape that is wrong, and describes the fix.
    """


class UnknownKey(UserError):
    """A config key that matches no field; `known` lists the keys that exist."""

    def __init__(self, message: str, key: str, known: Iterable[str]) -> None:
        super().__init__(message)
        self.key, self.known = key, tuple(known)


class UnknownEntry(UserError):
    """A name that a table does not contain."""


class Interrupted(KeyboardInterrupt):
    """An interruption of training (Ctrl-C, SIGTERM), raised after a checkpoint has been saved. The exit code is 75.

    Running the same command again resumes the training.
    """


class BadImage(Exception):
    """An image that cannot be used. `code` is a short, stable word such as "truncated"; `detail` describes the fault.

    Loaders catch the error, report the file and leave the image out. The file itself is never modified.
    """

    def __init__(self, code: str, path: str, detail: str) -> None:
        super().__init__(code, path, detail)
        self.code, self.path, self.detail = code, path, detail

    def __str__(self) -> str:
        return f"{self.path}: {self.detail} ({self.code})"


def require(condition: bool, key: str, value: object, wanted: str) -> None:
    """Raise `UserError` if `condition` is false. The message states the option, its value, and what it must be."""
    if not condition:
        raise UserError(f"--{key.replace('_', '-')} is {value}; it must be {wanted}")
