"""The code follows docs/design.md in rooms, sizes, docstrings, types and tests. Each rule is tested by violations."""

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.syntax import nodes, parse

REPOSITORY = Path(__file__).parents[1]
SOURCE = REPOSITORY / "src" / "imclass"
FLOORS = {
    "core": 0,
    "store": 1,
    "data": 2, "models": 2,
    "engines": 3,
    "pipelines": 4,
    "evaluation": 5, "training": 5, "serving": 5,
    "recipes": 6,
    "app": 7,
}  # fmt: skip
TOP = 8  # the package itself (`imclass.train`, `imclass.load`) is above all rooms
LONGEST_FILE, LONGEST_FUNCTION, LARGEST_FOLDER = 350, 50, 15
KINDS = (
    "nets",
    "sets",
    "protocols",
    "recipes",
    "verbs",
    "parts",
    "optimisers",
    "schedules",
)  # folders of entries, which may grow without limit
FINDERS = ("core/tables.py", "app/cli/main.py", "__init__.py")  # these import modules by a computed name
CONTAINERS = ("list", "dict", "set", "defaultdict", "Counter", "OrderedDict", "deque")
STREAMS = ("stdin", "stdout", "stderr")
# Files outside of app/cli that write to a standard stream, and what they write.
SPEAKERS = {
    "app/load.py": "the progress of a download, in the middle of opening a model",
    "app/runs/watchers/expendable.py": "failures of watchers while a run goes on, also from Python",
    "app/verbs/predict.py": "predictions, one by one",
    "app/verbs/features.py": "refused files, one by one",
}
LONGEST_VERB = 120
CLASSIFIERS = ("NetworkClassifier", "Ensemble", "Pipeline", "NetworkBacked")  # the kinds of classifier
UNPACK = "evaluation/unpack.py"  # the only file that may ask for the kind of a classifier
# The modules of distributions that have another name.
MODULES = {"opencv-python-headless": "cv2", "pillow": "PIL", "scikit-image": "skimage", "scikit-learn": "sklearn"}
TYPED = "from imclass.app.cli.arguments import EvaluateArguments\n"
REQUEST = "from imclass.app.cli.options import TrainRequest\n"
MUTATORS = ("append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "remove", "discard", "clear")

Rule = Callable[[str, str], Iterator[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def room(module: str) -> str:
    """Return the room of a module: "data" for "imclass.data.sets.mnist", "" for the package itself."""
    return [*module.split("."), ""][1]


def named_modules(found: Iterable[ast.AST], module: str) -> Iterator[str]:
    """Yield the name of each module that an import or a string names, such as "imclass.core.files"."""
    for node in found:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (
                ".".join([*module.split(".")[: -node.level], *filter(None, [node.module])])
                if node.level
                else node.module
            )
            yield from (f"{base}.{a.name}" if base == "imclass" else str(base) for a in node.names)
        elif isinstance(node, ast.Constant) and re.fullmatch(r"imclass(\.\w+)+", str(node.value)):
            yield str(node.value)


def floors(path: str, text: str) -> Iterator[str]:
    """Yield each room above a module's floor, or on it, that the module names in an import or a string."""
    module = ".".join(["imclass", *Path(path).with_suffix("").parts])
    ours = FLOORS.get(room(module), TOP)
    for name in named_modules(nodes(text), module):
        if name.split(".")[0] != "imclass" or room(name) == room(module):
            continue
        if FLOORS.get(room(name), TOP) >= ours:
            yield f"imports {name}, which is not below it"


def known_imports(path: str, text: str) -> Iterator[str]:
    """Yield each import by a computed name, which `floors` could not check."""
    for node in nodes(text):
        if isinstance(node, ast.Call) and last_name(node.func) in ("import_module", "__import__", "find_spec"):
            is_constant = bool(node.args) and isinstance(node.args[0], ast.Constant)
            if path not in FINDERS and not is_constant:
                yield f"line {node.lineno}: imports a module by a computed name"
        if path not in FINDERS and isinstance(node, ast.JoinedStr) and ast.unparse(node)[2:].startswith("imclass."):
            yield f"line {node.lineno}: computes the name of a module"


def last_name(node: ast.expr) -> str:
    """Return the last part of a name: "append" for `names.append`, "print" for `print`, "" for anything else."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def short_file(path: str, text: str) -> Iterator[str]:
    """Yield a file that is too long to read in one sitting."""
    if (lines := len(text.splitlines())) > LONGEST_FILE:
        yield f"has {lines} lines, and {LONGEST_FILE} are allowed"


def functions(text: str) -> Iterator[Function]:
    """Return all functions and methods, including nested ones."""
    return (n for n in nodes(text) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def short_functions(path: str, text: str) -> Iterator[str]:
    """Yield each function that does not fit on a screen."""
    for f in functions(text):
        if (lines := (f.end_lineno or f.lineno) - f.lineno + 1) > LONGEST_FUNCTION:
            yield f"{f.name} has {lines} lines, and {LONGEST_FUNCTION} are allowed"


def clear_file_name(path: str, text: str) -> Iterator[str]:
    """Yield a file whose name does not describe its content."""
    if Path(path).stem in ("utils", "util", "helpers", "misc", "common"):
        yield "has a name that does not describe its content"


def no_star(path: str, text: str) -> Iterator[str]:
    """Yield each import of *, which hides where names come from."""
    for node in nodes(text):
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            yield f"line {node.lineno}: imports * from {node.module}"


def no_state(path: str, text: str) -> Iterator[str]:
    """Yield each change of module-level state: `global`, and containers that a function writes to."""
    tree = parse(text)
    containers = {name for node in tree.body for name in container_names(node)}
    for f in functions(text):
        parameters = {a.arg for a in ast.walk(f.args) if isinstance(a, ast.arg)}
        for node in ast.walk(f):
            if isinstance(node, ast.Global):
                yield f"line {node.lineno}: global {', '.join(node.names)}"
            for name in sorted((changed_names(node) & containers) - parameters):
                yield f"line {f.lineno}: {f.name} changes the module's {name}"


def container_names(node: ast.stmt) -> set[str]:
    """Return the names that a module-level statement binds to a list, dict or set."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return set()
    made = isinstance(node.value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)
    called = isinstance(node.value, ast.Call) and last_name(node.value.func) in CONTAINERS
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {t.id for t in targets if isinstance(t, ast.Name)} if made or called else set()


def changed_names(node: ast.AST) -> set[str]:
    """Return the names whose contents a node changes: `x[0] = ...`, `del x[0]`, `x += ...`, `x.append(...)`."""
    changed: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        changed = [t.value for t in node.targets if isinstance(t, ast.Subscript)]
    elif isinstance(node, ast.AugAssign):
        changed = [node.target.value if isinstance(node.target, ast.Subscript) else node.target]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        changed = [node.func.value]
    return {c.id for c in changed if isinstance(c, ast.Name)}


def no_print(path: str, text: str) -> Iterator[str]:
    """Yield each use of a standard stream outside of app/cli and `SPEAKERS`."""
    if path.startswith("app/cli/") or path in SPEAKERS:
        return
    for node in nodes(text):
        if isinstance(node, ast.Call) and last_name(node.func) == "print":
            yield f"line {node.lineno}: prints outside of app/cli"
        if isinstance(node, ast.Attribute) and node.attr in STREAMS and last_name(node.value) == "sys":
            yield f"line {node.lineno}: uses sys.{node.attr} outside of app/cli"
        if isinstance(node, ast.ImportFrom) and node.module == "sys" and {a.name for a in node.names} & set(STREAMS):
            yield f"line {node.lineno}: imports a standard stream outside of app/cli"


@cache
def argument_classes() -> set[str]:
    """Return the classes that hold typed options: those of the verbs, of all verbs, and the request of `train`."""
    bodies = [ast.parse(file.read_text()).body for file in (SOURCE / "app" / "cli" / "arguments").glob("*.py")]
    found = {node.name for body in bodies for node in body if isinstance(node, ast.ClassDef)}
    return found | {"CommonArguments", "TrainRequest"}


def plain_arguments(path: str, text: str) -> Iterator[str]:
    """Yield each function outside of app/cli, except the `run` of a verb, that takes typed options."""
    if path.startswith("app/cli/") or not path.startswith("app/"):
        return
    imported = {
        alias.asname or alias.name
        for node in nodes(text)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("imclass.app.cli.")
        for alias in node.names
    } & argument_classes()
    for f in functions(text):
        taken = {ast.unparse(a.annotation) for a in ast.walk(f.args) if isinstance(a, ast.arg) and a.annotation}
        if taken & imported and not (path.startswith("app/verbs/") and f.name == "run"):
            yield f"line {f.lineno}: {f.name} takes {', '.join(sorted(taken & imported))}"


def short_verbs(path: str, text: str) -> Iterator[str]:
    """Yield a verb's file that is too long, because it should only lead from arguments to an answer."""
    if path.startswith("app/verbs/") and (lines := len(text.splitlines())) >= LONGEST_VERB:
        yield f"has {lines} lines, and fewer than {LONGEST_VERB} are allowed"


def no_assert(path: str, text: str) -> Iterator[str]:
    """Yield each `assert`, which `python -O` removes."""
    for node in nodes(text):
        if isinstance(node, ast.Assert):
            yield f"line {node.lineno}: asserts; raise an error instead"


def docstrings(path: str, text: str) -> Iterator[str]:
    """Yield each module, public function and public class without a docstring."""
    tree = parse(text)
    if ast.get_docstring(tree) is None:
        yield "has no docstring"
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            yield f"{node.name} has no docstring"


def annotations(path: str, text: str) -> Iterator[str]:
    """Yield each parameter and result without a type."""
    for f in functions(text):
        starred = [a for a in (f.args.vararg, f.args.kwarg) if a is not None]
        parameters = [*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs, *starred]
        for name in [a.arg for a in parameters if a.annotation is None and a.arg not in ("self", "cls")]:
            yield f"{f.name} does not annotate {name}"
        if f.returns is None:
            yield f"{f.name} does not annotate its result"


def no_kinds(path: str, text: str) -> Iterator[str]:
    """Yield each question for the kind of a classifier: by `isinstance`, by its type, or in a `case`."""
    for node in nodes(text):
        compared: list[ast.AST] = []
        if isinstance(node, ast.Call) and last_name(node.func) in ("isinstance", "issubclass"):
            compared = list(node.args[1:])
        elif isinstance(node, ast.Compare):
            compared = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchClass):
            compared = [node.cls]
        names = {last_name(n) for part in compared for n in ast.walk(part) if isinstance(n, ast.expr)}
        if path != UNPACK and names & set(CLASSIFIERS):
            yield f"line {getattr(node, 'lineno', 0)}: asks whether it has a {sorted(names & set(CLASSIFIERS))[0]}"


def has_test(path: str, text: str) -> Iterator[str]:
    """Yield a file without a test file of its name and without a line that names its test file."""
    if Path(path).name == "__init__.py":
        return
    named = re.findall(r"^# Tested in (\S+)$", text, re.MULTILINE)
    if not named and not (REPOSITORY / "tests" / Path(path).with_name(f"test_{Path(path).name}")).is_file():
        yield "has no test file of its name and no line '# Tested in tests/...'"
    for place in named:
        if not (REPOSITORY / place).is_file():
            yield f"names its test file {place}, which does not exist"


RULES: dict[str, Rule] = {
    "floors": floors,
    "known imports": known_imports,
    "short file": short_file,
    "short functions": short_functions,
    "clear file name": clear_file_name,
    "no star": no_star,
    "no state": no_state,
    "no print": no_print,
    "plain arguments": plain_arguments,
    "short verbs": short_verbs,
    "no assert": no_assert,
    "docstrings": docstrings,
    "annotations": annotations,
    "no kinds": no_kinds,
    "has test": has_test,
}


def problems(root: Path, *rules: str) -> dict[str, list[str]]:
    """Return the violations of each rule in the Python files under `root`, each with its file."""
    found: dict[str, list[str]] = {rule: [] for rule in rules}
    for file in sorted(root.rglob("*.py")):
        path, text = file.relative_to(root).as_posix(), file.read_text()
        for rule in rules:  # one after the other, so that the file is parsed once
            found[rule] += [f"{path}: {problem}" for problem in RULES[rule](path, text)]
    return found


def large_folders(root: Path) -> list[str]:
    """Return the folders under `root` with too many files, except folders of entries."""
    folders = sorted({path.parent for path in root.rglob("*.py")})
    sizes = {folder: sum(path.name != "__init__.py" for path in folder.glob("*.py")) for folder in folders}
    return [f"{f.name} has {n} files" for f, n in sizes.items() if n > LARGEST_FOLDER and f.name not in KINDS]


@pytest.fixture(scope="module")
def in_source() -> dict[str, list[str]]:
    """Return the violations of each rule in the source."""
    return problems(SOURCE, *RULES)


@pytest.mark.parametrize("rule", RULES)
def test_the_source_follows_each_rule(rule: str, in_source: dict[str, list[str]]) -> None:
    assert in_source[rule] == []


def test_no_folder_has_too_many_files() -> None:
    assert large_folders(SOURCE) == []


def test_every_room_is_on_a_floor() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert {"core", "models"} <= rooms <= set(FLOORS)


def imported_modules(text: str) -> Iterator[str]:
    """Yield the top-level module of each absolute import, including `import_module("...")`."""
    for node in nodes(text):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).split(".")[0]
        elif isinstance(node, ast.Call) and last_name(node.func) == "import_module":
            yield from (str(a.value).split(".")[0] for a in node.args[:1] if isinstance(a, ast.Constant))


def dependency_problems(declaration: str, root: Path) -> list[str]:
    """List the imports under `root` that a pyproject.toml does not declare, and declared ones that are not used."""
    project = tomllib.loads(declaration)["project"]
    extras = project.get("optional-dependencies", {})
    wanted = [*project["dependencies"], *(w for name, extra in extras.items() if name != "dev" for w in extra)]
    names = [re.split(r"[^\w.-]", w)[0] for w in wanted]
    declared = {MODULES.get(name, name.replace("-", "_")) for name in names}
    known = {"imclass", *sys.stdlib_module_names}
    used = {name for file in root.rglob("*.py") for name in imported_modules(file.read_text())} - known
    return [f"{name} is imported, not declared" for name in sorted(used - declared)] + [
        f"{name} is declared, not imported" for name in sorted(declared - used)
    ]


def test_declared_and_imported_dependencies_agree() -> None:
    declaration = (SOURCE.parents[1] / "pyproject.toml").read_text()
    assert dependency_problems(declaration, SOURCE) == []


DECLARED = """
[project]
dependencies = ["numpy>=2", "scikit-learn"]
[project.optional-dependencies]
shards = ["webdataset[all]>=1.0"]
dev = ["pytest"]
"""
USED = (
    "import os\nimport numpy.linalg\nfrom . import pytest\ndef f():\n    from sklearn import svm\n    import webdataset"
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (USED, []),
        (USED.replace("import webdataset", "import_module('webdataset.writer')"), []),
        (USED.replace("numpy.linalg", "imclass.core"), ["numpy is declared, not imported"]),
        (USED.replace("sklearn", "scipy"), ["scipy is imported, not declared", "sklearn is declared, not imported"]),
        (USED.replace("import webdataset", "pass"), ["webdataset is declared, not imported"]),
        (USED.replace("from .", "from pytest"), ["pytest is imported, not declared"]),
        (f"{USED}\nimportlib.import_module('cv2')", ["cv2 is imported, not declared"]),
    ],
)
def test_a_wrong_dependency_is_detected(text: str, found: list[str], tmp_path: Path) -> None:
    plant(tmp_path / "core" / "a.py", text)
    assert dependency_problems(DECLARED, tmp_path) == found


PLANTED = [
    ("floors", "core/a.py", "import imclass.models.network"),
    ("floors", "core/a.py", "from imclass.models import network"),
    ("floors", "core/a.py", "from imclass import models"),
    ("floors", "core/a.py", "from ..models import layers"),
    ("floors", "data/sets/a.py", "def f():\n    from ...models.layers import Network"),
    ("floors", "data/a.py", "import imclass.models"),
    ("floors", "training/a.py", "import imclass.evaluation.score"),
    ("floors", "recipes/a.py", "import imclass.app.cli.main"),
    ("floors", "core/a.py", "import imclass"),
    ("floors", "core/a.py", "import importlib\nimportlib.import_module('imclass.models.network')"),
    ("floors", "core/a.py", "find('imclass.models.nets', 'NETS', 'network')"),
    ("floors", "evaluation/a.py", "find(package='imclass.recipes', table='RECIPES')"),
    ("known imports", "core/a.py", "import importlib\nimportlib.import_module(name)"),
    ("known imports", "core/a.py", "find(f'imclass.{room}', 'NETS')"),
    ("short file", "core/a.py", "x = 1\n" * 351),
    ("short functions", "core/a.py", "def f():\n" + "    x = 1\n" * 50),
    ("short functions", "core/a.py", "class A:\n    async def f(self):\n" + "        x = 1\n" * 50),
    ("clear file name", "data/utils.py", ""),
    ("no star", "core/a.py", "from os.path import *"),
    ("no state", "core/a.py", "seen = 0\ndef f():\n    global seen\n    seen = 1"),
    ("no state", "core/a.py", "CACHE = {}\ndef f(k):\n    CACHE[k] = 1"),
    ("no state", "core/a.py", "CACHE: dict[str, int] = dict()\ndef f(k):\n    CACHE.setdefault(k, 1)"),
    ("no state", "core/a.py", "SEEN = [1]\nclass A:\n    def f(self):\n        SEEN.append(1)"),
    ("no state", "core/a.py", "SEEN = {1}\ndef f():\n    def g():\n        del SEEN[0]"),
    ("no state", "core/a.py", "SEEN = [1]\ndef f():\n    SEEN[0] += 1"),
    ("no print", "training/a.py", "def f():\n    print('loss')"),
    ("no print", "app/report/a.py", "print('page')"),
    ("no print", "app/runs/a.py", "import sys\nsys.stderr.write('x')"),
    ("no print", "evaluation/a.py", "from sys import stdout\nstdout.write('x')"),
    ("plain arguments", "app/verbs/a.py", TYPED + "def f(a: EvaluateArguments): ..."),
    ("plain arguments", "app/acts/a.py", REQUEST + "def run(a: TrainRequest): ..."),
    ("short verbs", "app/verbs/a.py", "x = 1\n" * 120),
    ("no assert", "core/a.py", "def f(x):\n    assert x > 0"),
    ("docstrings", "core/a.py", "x = 1"),
    ("docstrings", "core/a.py", "'''A module.'''\ndef f():\n    return 1"),
    ("docstrings", "core/a.py", "'''A module.'''\nclass A:\n    x = 1"),
    ("annotations", "core/a.py", "def f(a) -> int: ..."),
    ("annotations", "core/a.py", "def f(a: int): ..."),
    ("annotations", "core/a.py", "class A:\n    def f(self, *, b) -> None: ..."),
    ("annotations", "core/a.py", "def f(*args, **kwargs: int) -> None: ..."),
    ("no kinds", "serving/a.py", "def f(c):\n    return isinstance(c, NetworkClassifier)"),
    ("no kinds", "serving/a.py", "def f(c):\n    return isinstance(c, int | ensemble.Ensemble)"),
    ("no kinds", "serving/a.py", "def f(c):\n    return type(c) is Pipeline"),
    ("no kinds", "serving/a.py", "def f(c):\n    match c:\n        case Ensemble(members=m):\n            return m"),
    ("has test", "core/a.py", "x = 1"),
    ("has test", "core/a.py", "# Tested in tests/core/test_a.py"),
]  # fmt: skip

ALLOWED = [
    ("floors", "models/a.py", "import imclass.core.files\nimport imclassical\nfrom . import layers\nimport torch"),
    ("floors", "models/classifier.py", "find('imclass.models.nets', 'NETS', 'network')"),
    ("floors", "app/a.py", "from imclass.recipes import mnist\nfrom imclass.training.loop import train"),
    ("floors", "core/a.py", "'''imclass.models is above.'''\nmetadata.version('imclass')"),
    ("floors", "__init__.py", "from imclass.app.runs.train import train"),
    ("known imports", "core/tables.py", "import importlib\nimportlib.import_module(name)"),
    ("known imports", "core/a.py", "import importlib\nimportlib.import_module('cv2')\nname = f'a/{b}/imclass.txt'"),
    ("short file", "core/a.py", "x = 1\n" * 350),
    ("short functions", "core/a.py", "def f():\n" + "    x = 1\n" * 49),
    ("clear file name", "data/loader.py", ""),
    ("no star", "core/a.py", "from os import path"),
    ("no state", "core/a.py", "NETS = {}\nNETS['a'] = 1\ndef f(k, NETS):\n    NETS[k] = 1"),
    ("no state", "core/a.py", "NAMES = [1]\ndef f():\n    n = list(NAMES)\n    n.append(2)\n    x.NAMES[0] = 1"),
    ("no print", "app/cli/main.py", "import sys\nprint('loss', file=sys.stderr)"),
    ("no print", "app/runs/a.py", "import sys\nsys.exit(x.print_out)"),
    ("plain arguments", "app/verbs/a.py", TYPED + "def run(a: EvaluateArguments): ..."),
    ("plain arguments", "app/cli/a.py", TYPED + "def f(a: EvaluateArguments): ..."),
    ("plain arguments", "app/text/a.py", "from imclass.app.cli.arguments import DONE\ndef f(a: Evaluate): ..."),
    ("short verbs", "app/verbs/a.py", "x = 1\n" * 119),
    ("short verbs", "app/acts/a.py", "x = 1\n" * 120),
    ("no assert", "core/a.py", "def f(x):\n    if x <= 0:\n        raise ValueError('assert x > 0')"),
    ("docstrings", "core/a.py", "'''A module.'''\ndef f():\n    '''A function.'''\ndef _g(): ..."),
    ("annotations", "core/a.py", "class A:\n    def f(self, a: int = 1, *b: int, **c: int) -> None: ..."),
    ("no kinds", "evaluation/unpack.py", "def f(c):\n    return isinstance(c, NetworkClassifier)"),
    ("no kinds", "serving/a.py", "def f(c: Ensemble):\n    return isinstance(c.members, tuple), Ensemble(c.members)"),
    ("has test", "core/files.py", "x = 1"),
    ("has test", "core/a.py", "# Tested in tests/core/test_files.py"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED)
def test_a_violation_is_detected(rule: str, path: str, text: str, tmp_path: Path) -> None:
    plant(tmp_path / path, text)
    found = problems(tmp_path, rule)[rule]
    assert found
    assert found[0].startswith(f"{path}: ")


@pytest.mark.parametrize(("rule", "path", "text"), ALLOWED)
def test_allowed_code_passes(rule: str, path: str, text: str, tmp_path: Path) -> None:
    plant(tmp_path / path, text)
    assert problems(tmp_path, rule) == {rule: []}


@pytest.mark.parametrize("folder", ["core", "app/cli"])
def test_a_folder_with_too_many_files_is_detected(folder: str, tmp_path: Path) -> None:
    for i in range(LARGEST_FOLDER):
        plant(tmp_path / folder / f"a{i}.py", "")
    plant(tmp_path / folder / "__init__.py", "")
    assert large_folders(tmp_path) == []
    plant(tmp_path / folder / "b.py", "")
    assert large_folders(tmp_path) == [f"{Path(folder).name} has {LARGEST_FOLDER + 1} files"]


def test_a_folder_of_entries_may_grow(tmp_path: Path) -> None:
    for i in range(LARGEST_FOLDER + 1):
        plant(tmp_path / "models" / "nets" / f"a{i}.py", "")
    assert large_folders(tmp_path) == []


def test_every_exception_is_needed() -> None:
    """Check that each of the `SPEAKERS` still writes to a standard stream."""
    for path in SPEAKERS:
        text = (SOURCE / path).read_text()
        assert list(no_print("elsewhere.py", text)), path


def test_each_rule_is_tested_by_violations() -> None:
    assert {rule for rule, _, _ in PLANTED} == {rule for rule, _, _ in ALLOWED} == set(RULES)


def plant(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
