"""Exceptions: mistakes that the user can fix, interruption, and images that cannot be used."""

from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user's, printed without a traceback; exit code 2.

    Its message names the file, key or shape that is wrong, and the fix.
    """


class UnknownKey(UserError):
    """A config key that matches no field; `known` holds the keys that exist."""

    def __init__(self, message: str, key: str, known: Iterable[str]) -> None:
        super().__init__(message)
        self.key, self.known = key, tuple(known)


class Interrupted(KeyboardInterrupt):
    """Interruption of training (Ctrl-C, SIGTERM) after it has saved; the same command resumes it. Exit code 75."""


class BadImage(Exception):
    """A refused image. `code` is a short stable word such as "truncated"; `detail` describes the fault.

    Loaders catch it, name the file and leave it out. The file itself is never modified.
    """

    def __init__(self, code: str, path: str, detail: str) -> None:
        super().__init__(code, path, detail)
        self.code, self.path, self.detail = code, path, detail

    def __str__(self) -> str:
        return f"{self.path}: {self.detail} ({self.code})"


def require(condition: bool, key: str, value: object, wanted: str) -> None:
    """Raise a `UserError` that names the option `key`, its value and the wanted one, unless `condition` holds."""
    if not condition:
        raise UserError(f"--{key.replace('_', '-')} is {value}; it must be {wanted}")
