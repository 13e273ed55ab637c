"""The entry point of the command line: parse the words, run a verb, and print any failure as one message.

The exit codes are 0 (done), 1 (done, but some inputs were refused), 2 (a user error), 70 (a bug in imclass) and 75
(interrupted; the same command resumes a training run).
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

# How many times an idle OpenMP thread polls for work before it sleeps. It must be set before torch is imported. With
# the default of 300,000, idle threads keep cores busy, which makes training alongside other programs many times slower.
SPIN_COUNT = "10000"
DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EFBIG: "a file would be larger than this system allows",
    errno.EIO: "the disk reports an input/output error",
}
TRAINING_VERBS = ("train", "benchmark")  # these use one process
MEMORY_ERRORS = (
    "OutOfMemoryError",  # torch on a GPU
    "can't allocate memory",  # torch on a CPU
    "can't start new thread",
    "failed to map segment",  # the shared-library loader
    "Cannot allocate memory",
)
TRACEBACK_HINT = "Set the environment variable IMCLASS_TRACEBACK=1 to print the traceback"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    share_heap()
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    atexit.register(gc.freeze)  # otherwise Python spends half a second at exit searching all of torch for cycles
    with safe_streams(), interrupt_at_signals():
        try:
            code = dispatch(words)
            sys.stdout.flush()  # here, so that errors from a full disk or a closed pipe are caught below
        except KeyboardInterrupt as error:  # `Interrupted` is a subclass with a message
            code = print_error(f"{str(error) or 'interrupted'}. To resume: imclass {shlex.join(words)}", INTERRUPTED)
        except BrokenPipeError:
            code = DONE
        except Exception as error:
            code = explain_failure(error)
        flush(sys.stdout)
        return code


def explain_failure(error: Exception) -> int:
    """Print an error and its fix as one message, and return the exit code."""
    if isinstance(error, UserError):
        return print_error(str(error), USER_ERROR)
    if isinstance(error, OSError) and (error.errno in DISK_ERRORS or error.filename is not None):
        reason = DISK_ERRORS.get(error.errno or 0, error.strerror)
        where = f" at {error.filename}" if error.filename else ""
        return print_error(
            f"{reason}{where}; free some space, or fix the path or its permissions, then run the same command again",
            USER_ERROR,
        )
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or any(words in what for words in MEMORY_ERRORS):
        return print_error("there is not enough memory; use smaller batches or smaller images", USER_ERROR)
    if os.environ.get("IMCLASS_TRACEBACK"):
        traceback.print_exception(error)
    trace = list(traceback.walk_tb(error.__traceback__))
    for frame, line in reversed(trace):
        if frame.f_globals.get("__name__", "").startswith(f"{PLUGIN_PREFIX}."):
            file = frame.f_code.co_filename
            why = f"{what.splitlines()[0]} ({file}:{line}). This is a bug in the plugin {file}; fix the plugin"
            return print_error(f"{why}. {TRACEBACK_HINT}", USER_ERROR)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return print_error(
        f"{what.splitlines()[0]} ({last.filename}:{last.lineno}). This is a bug in imclass. "
        f"Report it {issues_url_text()} and include the command. {TRACEBACK_HINT}",
        FAULT,
    )


def issues_url_text() -> str:
    """Return a phrase that says where to report a bug: at the Issues URL in the package's metadata, if there is one."""
    try:
        urls = dict(url.split(", ", 1) for url in metadata.metadata("imclass").get_all("Project-URL", []))
    except metadata.PackageNotFoundError:
        urls = {}
    return f"at {urls['Issues']}" if "Issues" in urls else "to whoever installed imclass"


def print_error(message: str, code: int) -> int:
    """Print a message on standard error, and return the exit code."""
    lines = [printable_text(line) for line in message.splitlines()]
    print("imclass: " + "\n".join(lines), file=sys.stderr)
    return code


def dispatch(words: Sequence[str]) -> int:
    """Find the verb, parse its arguments, and run it."""
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
        raise UserError(f"the verb must come before {verb}, as in imclass VERB ...; imclass --help lists the verbs")
    if verb not in VERBS:
        hint = f": {VERBS_ELSEWHERE[verb]}" if verb in VERBS_ELSEWHERE else suggestion(verb, VERBS)
        raise UserError(f"unknown verb {verb!r}{hint}")
    if any(word in ("-h", "--help") for word in rest):
        from imclass.app.cli.help import explain  # imported here, because most commands print no help

        explain(verb, rest)
        return DONE
    if verb in TRAINING_VERBS:
        if wait_for_first():
            return USER_ERROR
        check_single_process()
    if verb == "train":
        from imclass.app.cli.options import read_train  # imported here, so that help is printed at once

        return run_verb("train", read_train(rest))
    arguments, others = parse(VERBS[verb], rest, f"imclass {verb}", OPTIONS_ELSEWHERE)
    for key in others:
        raise option_error(key, option_hints(VERBS[verb]))
    return run_verb(verb, arguments)


def run_verb(verb: str, arguments: Any) -> int:
    """Run a verb and print its answer.

    The verb is imported here, because an import at the top of this file would be circular and would load PyTorch.
    """
    answer: Answer = import_module(f"imclass.app.verbs.{verb}").run(arguments)
    return print_answer(answer, arguments.common.json)


if __name__ == "__main__":
    sys.exit(main())
