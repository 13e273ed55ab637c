"""The two ways things go wrong: a mistake the user can fix, and an image that cannot be used."""

from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user's: one message that names the file, key or shape and the fix. Exit code 2, no traceback."""


class UnknownKey(UserError):
    """A key of a config that no field has; `known` are keys that there are."""

    def __init__(self, message: str, key: str, known: Iterable[str]) -> None:
        super().__init__(message)
        self.key, self.known = key, tuple(known)


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop (Ctrl-C, SIGTERM) and has saved; the same command resumes it. Exit code 75."""


class BadImage(Exception):
    """An image that is refused. `code` is a short stable word such as "truncated"; `detail` says what was found.

    Loaders catch it, name the file and leave it out; the file itself is never touched.
    """

    def __init__(self, code: str, path: str, detail: str) -> None:
        super().__init__(code, path, detail)
        self.code, self.path, self.detail = code, path, detail

    def __str__(self) -> str:
        return f"{self.path}: {self.detail} ({self.code})"


def require(condition: bool, key: str, value: object, wanted: str) -> None:
    """Raise a `UserError` that names the option `key`, its value and what is wanted, unless `condition` holds."""
    if not condition:
        raise UserError(f"--{key.replace('_', '-')} is {value}; it must be {wanted}")
