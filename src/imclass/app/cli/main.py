"""The command line, thin: words become arguments, arguments go to a verb, and what goes wrong becomes one message.

Exit codes: 0 done; 1 done, but some inputs were refused; 2 a mistake of the user's; 75 interrupted, saved where there
was something to save, and the same command goes on.
"""

import contextlib
import errno
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from imclass.app.cli.arguments import DONE, INTERRUPTED, USER_ERROR, VERBS
from imclass.app.cli.words import no_option, option_hints, parse
from imclass.core.errors import UserError
from imclass.core.text import nearest, printable

# Turns that a thread waits awake for the next parallel loop; set before torch is imported. OpenMP's 300,000 keep the
# cores from other programs, and beside those training becomes many times slower.
SPINS = "10000"
DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EFBIG: "a file would be larger than this system allows",
    errno.EIO: "the disk does not answer as it should",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # file names need not be valid text
    try:
        code = dispatch(words)
        sys.stdout.flush()  # here, where a full disk or a reader that has left can still be met
        return code
    except SystemExit as stop:  # tyro's, after help or after a message of its own
        return stop.code if isinstance(stop.code, int) else USER_ERROR
    except UserError as error:
        return say(str(error), USER_ERROR)
    except KeyboardInterrupt as error:  # `Interrupted` is one, and says more
        return say(f"{str(error) or 'interrupted'}. To go on: imclass {shlex.join(words)}", INTERRUPTED)
    except BrokenPipeError:
        return hushed(DONE)
    except OSError as error:
        if error.errno not in DISK and error.filename is None:
            raise
        reason = DISK.get(error.errno or 0, error.strerror)
        where = f" at {error.filename}" if error.filename else ""
        message = f"{reason}{where}; make room or mend the path or its permissions, then give the same command again"
        return hushed(say(message, USER_ERROR))


def hushed(code: int) -> int:
    """`code`, with what cannot be written to standard output let go: Python would complain of it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):  # a stream without a file, as notebooks have
            output = sys.stdout.fileno()
            os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return code


def say(message: str, code: int) -> int:
    """One message on standard error."""
    lines = [printable(line) for line in message.splitlines()]
    print("imclass: " + "\n".join(lines), file=sys.stderr)
    return code


def dispatch(words: Sequence[str]) -> int:
    """Find the verb, read its arguments, do it."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return DONE
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"imclass {version('imclass')}")
        return DONE
    verb, rest = words[0], list(words[1:])
    if verb not in VERBS:
        raise UserError(f"there is no verb {verb!r}{nearest(verb, VERBS)}")
    if any(word in ("-h", "--help") for word in rest):
        from imclass.app.cli.help import explain, explain_train

        explain_train(rest) if verb == "train" else explain(VERBS[verb], f"imclass {verb}")
        return DONE
    if verb == "train":
        from imclass.app.cli.options import read_train  # not above, because it takes longer than the help of all verbs

        return run("train", read_train(rest))
    arguments, others = parse(VERBS[verb], rest, f"imclass {verb}")
    for key in others:
        raise no_option(key, option_hints(VERBS[verb]))
    return run(verb, arguments)


def run(verb: str, arguments: Any) -> int:
    """Do it; what a verb needs is imported only now. Verbs import this room, so it finds them by name."""
    return int(import_module(f"imclass.app.verbs.{verb}").run(arguments))


def usage() -> str:
    """The verbs, a line each."""
    lines = []
    for verb, kind in VERBS.items():
        first = " ".join((kind.__doc__ or "").split()).split(". ")[0].split("; ")[0]
        lines.append(f"  {verb:<10}{first.rstrip('.')}")
    return (
        "imclass: image classification from bag of words to residual networks\n\n"
        "usage: imclass VERB ...\n\n" + "\n".join(lines) + "\n\nimclass VERB --help says more; imclass --version"
    )


if __name__ == "__main__":
    sys.exit(main())
