"""Rules of language for names, docstrings, comments and messages.

`python -m tests.support.language PATH...` lists what they find.
"""

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.syntax import nodes, parse

Function = ast.FunctionDef | ast.AsyncFunctionDef
NAMES = ("own", "said", "told", "usual", "looks", "ways")  # banned as a part of a name: `own_row`
# What may follow "is no": a comparison.
COMPARED = r"(longer|more|less|fewer|better|worse|larger|smaller|slower|faster)\b"
# Banned in text, with what to write.
WORDS = {
    r"mend(s|ed|ing)?": "fix",
    r"whatever": "any",
    r"alike": "equal, or the same way",
    r"beside": "next to",
    r"hence": "so",
    r"thereby|thereof|therein|wherein|whereby": "a plain clause",
    r"so many": "a number, or at most n",
    rf"(?<!there )(is|are|was|were) no (?!{COMPARED})\w+": "is not a",
    r"(?<!there )(is|are|was|were) (?-i:none)": "there is none, or has none",
    r"what of": "a plain clause",
    r"told|said": "print, describe, or state",
    r"the usual": "the default",
    r"looked (at|into)": "scored, shown, or checked",
    r"given (out|back)": "returned",
    r"shines? in|let go|at a loss": "a literal word",
    r"as (it|they) (is|are|was|were) (taken|given|found)": "unchanged",
    r"for (its|their) part": "nothing",
    r"in (its|their) stead": "instead",
}  # fmt: skip
BANNED = re.compile("|".join(rf"(?P<w{i}>\b(?:{pattern})\b)" for i, pattern in enumerate(WORDS)), re.IGNORECASE)
# Words with which the docstring of a function does not begin: it begins with a verb.
OPENINGS = (
    "a", "all", "an", "any", "as", "at", "by", "each", "either", "every", "everything", "false", "for", "from", "how",
    "if", "in", "it", "its", "no", "none", "nothing", "of", "on", "one", "or", "some", "such", "that", "the", "their",
    "these", "this", "those", "to", "true", "two", "what", "when", "where", "whether", "which", "who", "whose", "why",
    "with", "without",
)  # fmt: skip
IRREGULAR = (
    "begun", "bound", "brought", "built", "chosen", "done", "drawn", "driven", "fallen", "found", "given", "gone",
    "held", "hidden", "kept", "known", "left", "lost", "made", "meant", "met", "seen", "sent", "shown", "spent",
    "taken", "thrown", "told", "torn", "understood", "written",
)  # fmt: skip
VERBS = ("embed", "feed", "need", "proceed", "reseed", "seed", "shed", "speed")  # end in "ed", and are not participles
# One contract of several files: tables that plugins fill, rows of networks, verbs, and public functions.
CONTRACTS = (
    "AUGMENTS", "AVERAGES", "DATASETS", "EXPLANATIONS", "NETS", "OBJECTIVES", "OPTIMISERS", "PARTS", "PROTOCOLS",
    "RECIPES", "SCHEDULES", "SOLVERS", "Row", "run",
)  # fmt: skip
PUBLIC = "app/api.py"  # its functions may share the name of the function that does the work


def name_faults(path: str, text: str) -> Iterator[str]:
    """Yield each name that a file binds or reads and that holds a banned word."""
    for node in nodes(text):
        for name in bound_names(node):
            for word in set(name.lower().split("_")) & set(NAMES):
                yield f"line {getattr(node, 'lineno', 0)}: {name}: no name holds {word!r}"


def bound_names(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node binds."""
    if isinstance(node, Function | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.attr
    elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name


def participle_faults(path: str, text: str) -> Iterator[str]:
    """Yield each function that is named by a participle; properties describe, and may be."""
    for node in nodes(text):
        if isinstance(node, Function) and not is_property(node) and is_participle(node.name.strip("_")):
            yield f"line {node.lineno}: {node.name} is a participle; name a function by a verb, or by what it returns"


def is_property(node: Function) -> bool:
    """Return whether a function is read as an attribute."""
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def is_participle(name: str) -> bool:
    """Return whether a function's name is a participle, alone or before what it was done with: `scored_by`."""
    first, *rest = name.split("_")
    ends = first.endswith("ed") and first not in VERBS
    return (ends or first in IRREGULAR) and (not rest or rest[0] in ("as", "at", "by", "from", "in", "of", "on", "to"))


def opening_faults(path: str, text: str) -> Iterator[str]:
    """Yield each function whose docstring does not begin with a verb; in a network's file it may list layers."""
    if "models/nets/" in path:
        return
    for node in nodes(text):
        if isinstance(node, Function) and (docstring := ast.get_docstring(node)) and not is_property(node):
            first = next(iter(re.findall(r"\w+", docstring)), "")
            if first.lower() in OPENINGS:
                yield f"line {node.lineno}: the docstring of {node.name} begins with {first!r}; begin with a verb"


def word_faults(path: str, text: str) -> Iterator[str]:
    """Yield each banned word in the prose of a file: all of a page, strings and comments of a program."""
    for line, prose in python_prose(text) if path.endswith(".py") else page_prose(text):
        for found in BANNED.finditer(prose):
            advice = list(WORDS.values())[int(str(found.lastgroup)[1:])]
            yield f"line {line}: {found[0]!r}; write: {advice}"


def python_prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each comment, docstring and string that has a space in it."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
            yield token.start[0], token.string


def page_prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line outside of code."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            yield number, re.sub(r"`[^`]*`", "", line)


def doubled_names(sources: Mapping[str, str]) -> Iterator[str]:
    """Yield each module-level name that some file imports and that two files define; `sources` are files by path."""
    where: dict[str, list[str]] = defaultdict(list)
    imported: set[tuple[str, str]] = set()
    for path, text in sources.items():
        tree = parse(text)
        for name in module_names(tree):
            where[name].append(path)
        for node in nodes(text):
            if isinstance(node, ast.ImportFrom):
                imported.update((str(node.module), alias.name) for alias in node.names)
    for name, paths in sorted(where.items()):
        others = [path for path in paths if not path.endswith(PUBLIC)]
        if len(others) > 1 and name not in CONTRACTS and any((module(path), name) in imported for path in others):
            yield f"{name} is defined in {', '.join(others)}"


def module_names(tree: ast.Module) -> set[str]:
    """Return the functions, classes and constants that a module defines."""
    names = {node.name for node in tree.body if isinstance(node, Function | ast.ClassDef)}
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    found = {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return {name for name in names | found if not name.startswith("__")}


def module(path: str) -> str:
    """Return the dotted name of a file below src/."""
    return ".".join(Path(path.removeprefix("src/")).with_suffix("").parts)


RULES = {
    "names": name_faults,
    "participles": participle_faults,
    "openings": opening_faults,
    "words": word_faults,
}


def faults(path: str, text: str) -> list[str]:
    """Return what all rules find in a file; only words count outside of programs."""
    rules = RULES if path.endswith(".py") else {"words": word_faults}
    return [f"{path}: {fault}" for rule in rules.values() for fault in rule(path, text)]


if __name__ == "__main__":
    roots = [Path(word) for word in sys.argv[1:]]
    files = [f for root in roots for f in ([root] if root.is_file() else sorted(root.rglob("*.py")))]
    print(*(fault for file in files for fault in faults(str(file), file.read_text())), sep="\n")
