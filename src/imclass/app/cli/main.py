"""The command line, thin: words become arguments, arguments go to a verb, and what goes wrong becomes one message.

Exit codes: 0 done; 1 done, but some inputs were refused; 2 a mistake of the user's; 70 a fault of ours; 75 interrupted,
saved where there was something to save, and the same command goes on.
"""

import atexit
import errno
import gc
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module, metadata
from typing import Any

from imclass.app.cli.answer import Answer, print_answer
from imclass.app.cli.arguments import DONE, FAULT, INTERRUPTED, USER_ERROR, VERBS
from imclass.app.cli.elsewhere import OPTIONS_ELSEWHERE, VERBS_ELSEWHERE
from imclass.app.cli.heap import share_heap
from imclass.app.cli.streams import flush, safe_streams
from imclass.app.cli.words import option_error, option_hints, parse
from imclass.app.runs.signals import interrupt_at_signals
from imclass.app.runs.single import check_single_process, wait_for_first
from imclass.core.errors import UserError
from imclass.core.tables import PLUGIN_PREFIX
from imclass.core.text import printable_text, suggestion

# Turns that a thread waits awake for the next parallel loop; set before torch is imported. OpenMP's 300,000 keep the
# cores from other programs, and beside those training becomes many times slower.
SPIN_COUNT = "10000"
DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EFBIG: "a file would be larger than this system allows",
    errno.EIO: "the disk does not answer as it should",
}
MEMORY_ERRORS = (
    "OutOfMemoryError",  # torch's on a GPU
    "can't allocate memory",  # torch's on a CPU
    "can't start new thread",
    "failed to map segment",  # a library that is loaded
    "Cannot allocate memory",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    share_heap()
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    atexit.register(gc.freeze)  # else Python searches all of torch for cycles at exit, which takes half a second
    with safe_streams(), interrupt_at_signals():
        try:
            code = dispatch(words)
            sys.stdout.flush()  # here, where a full disk or a reader that has left can still be met
        except KeyboardInterrupt as error:  # `Interrupted` is one, and says more
            code = print_error(f"{str(error) or 'interrupted'}. To go on: imclass {shlex.join(words)}", INTERRUPTED)
        except BrokenPipeError:
            code = DONE
        except Exception as error:
            code = explain_failure(error)
        flush(sys.stdout)
        return code


def explain_failure(error: Exception) -> int:
    """Print what went wrong in one message: a mistake of the user's, a plugin's fault, a disk, ..."""
    if isinstance(error, UserError):
        return print_error(str(error), USER_ERROR)
    if isinstance(error, OSError) and (error.errno in DISK_ERRORS or error.filename is not None):
        reason = DISK_ERRORS.get(error.errno or 0, error.strerror)
        where = f" at {error.filename}" if error.filename else ""
        return print_error(
            f"{reason}{where}; make room or fix the path or its permissions, then give the same command again",
            USER_ERROR,
        )
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or any(words in what for words in MEMORY_ERRORS):
        return print_error("there is not enough memory for this; take smaller batches or smaller images", USER_ERROR)
    if os.environ.get("IMCLASS_TRACEBACK"):
        traceback.print_exception(error)
    trace = list(traceback.walk_tb(error.__traceback__))
    for frame, line in reversed(trace):
        if frame.f_globals.get("__name__", "").startswith(f"{PLUGIN_PREFIX}."):
            file = frame.f_code.co_filename
            why = f"{what.splitlines()[0]} ({file}:{line}). This is a fault of the plugin {file}"
            return print_error(
                f"{why}: change it; the environment variable IMCLASS_TRACEBACK=1 shows the traceback", USER_ERROR
            )
    last = traceback.extract_tb(error.__traceback__)[-1]
    return print_error(
        f"{what.splitlines()[0]} ({last.filename}:{last.lineno}). This is a fault of imclass. "
        f"Report it {issues_address()}, with the command; the environment variable "
        "IMCLASS_TRACEBACK=1 shows the traceback",
        FAULT,
    )


def issues_address() -> str:
    """Return where faults are reported: the page of issues that the package's metadata names, if any."""
    try:
        urls = dict(url.split(", ", 1) for url in metadata.metadata("imclass").get_all("Project-URL", []))
    except metadata.PackageNotFoundError:
        urls = {}
    return f"at {urls['Issues']}" if "Issues" in urls else "to those who gave you imclass"


def print_error(message: str, code: int) -> int:
    """One message on standard error."""
    lines = [printable_text(line) for line in message.splitlines()]
    print("imclass: " + "\n".join(lines), file=sys.stderr)
    return code


def dispatch(words: Sequence[str]) -> int:
    """Find the verb, read its arguments, do it."""
    if not words or words[0] in ("-h", "--help", "help"):
        from imclass.app.cli.help import overview

        print(overview())
        return DONE
    if words[0] in ("--version", "-V"):
        from importlib.metadata import version

        print(f"imclass {version('imclass')}")
        return DONE
    verb, rest = words[0], list(words[1:])
    if verb.startswith("-"):
        raise UserError(f"the verb comes before {verb}: imclass VERB ...; imclass --help lists the verbs")
    if verb not in VERBS:
        here = f": {VERBS_ELSEWHERE[verb]}" if verb in VERBS_ELSEWHERE else suggestion(verb, VERBS)
        raise UserError(f"there is no verb {verb!r}{here}")
    if any(word in ("-h", "--help") for word in rest):
        from imclass.app.cli.help import explain  # not above, because most commands need no help

        explain(verb, rest)
        return DONE
    if verb == "train":
        if wait_for_first():
            return USER_ERROR
        check_single_process()
        from imclass.app.cli.options import read_train  # not above, because it takes longer than the help of all verbs

        return run_verb("train", read_train(rest))
    arguments, others = parse(VERBS[verb], rest, f"imclass {verb}", OPTIONS_ELSEWHERE)
    for key in others:
        raise option_error(key, option_hints(VERBS[verb]))
    return run_verb(verb, arguments)


def run_verb(verb: str, arguments: Any) -> int:
    """Do it; what a verb needs is imported only now. Verbs import this room, so it finds them by name."""
    answer: Answer = import_module(f"imclass.app.verbs.{verb}").run(arguments)
    return print_answer(answer, arguments.common.json)


if __name__ == "__main__":
    sys.exit(main())
