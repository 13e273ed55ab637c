"""The source gate: dangerous calls, forbidden places, and language. Each rule has a planted twin."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.language import doubled_names, faults
from tests.support.syntax import nodes

REPOSITORY = Path(__file__).parents[1]
FORBIDDEN = {
    **dict.fromkeys(("eval", "exec", "builtins.eval", "builtins.exec"), "runs text as code"),
    **dict.fromkeys(
        ("pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "dill.loads", "cloudpickle.load",
         "cloudpickle.loads", "joblib.load", "marshal.load", "marshal.loads", "shelve.open", "pandas.read_pickle"),
        "a pickle can run any code; subclass pickle.Unpickler with an allow-list",
    ),
    **dict.fromkeys(("yaml.load", "yaml.unsafe_load", "yaml.full_load"), "a tag can name a class; use JSON"),
    **dict.fromkeys(("torch.jit.load", "torch.export.load"), "runs the code in the file"),
    **dict.fromkeys(("os.system", "os.popen", "subprocess.getoutput"), "goes through a shell"),
    **dict.fromkeys(("tempfile.mktemp",), "another process may take the name; use mkstemp"),
    **dict.fromkeys(("shutil.unpack_archive",), "trusts the names in the archive"),
    **dict.fromkeys(("ssl._create_unverified_context",), "trusts any server"),
    **dict.fromkeys(("pydoc.locate",), "lets a string choose the class"),
}  # fmt: skip
KEYWORDS = {"shell": "goes through a shell", "allow_pickle": "a pickle can run any code"}  # forbidden unless False
NAMED_IN_CODE = ("torch", "torch.nn", "torch.optim", "torch.nn.functional", "torchvision.models")
# Each pattern is written so that it does not match this file.
PLACES = re.compile(
    r"index[-_]url|/simple[/]|/whl[/]|\bpy[p]i\.\w|python[h]osted|(?<![\w.])/wor[k]/|/roo[t]/", re.IGNORECASE
)
TEXT = (".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ".cfg", "", ".gitignore", ".sh")


def full_names(found: Iterable[ast.AST]) -> dict[str, str]:
    """Return the full name of each imported name: numpy for "np", pickle.load for "load"."""
    names: dict[str, str] = {}
    for node in found:
        if isinstance(node, ast.Import):
            names.update(
                {a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0] for a in node.names}
            )
        elif isinstance(node, ast.ImportFrom):
            names.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
    return names


def full_name(node: ast.expr, names: dict[str, str]) -> str:
    """Return the full name of a function, such as "torch.load", under any import; "" if it is not a plain name."""
    if isinstance(node, ast.Attribute):
        base = full_name(node.value, names)
        return f"{base}.{node.attr}" if base else f".{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def hits(text: str) -> Iterator[str]:
    """Yield line and problem of each dangerous call in a source file."""
    names = full_names(nodes(text))
    for node in nodes(text):
        if isinstance(node, ast.Call):
            yield from (f"line {node.lineno}: {why}" for why in complaints(node, full_name(node.func, names), names))


def complaints(call: ast.Call, name: str, names: dict[str, str]) -> Iterator[str]:
    """Yield the problems of one call of the function `name`."""
    given = {k.arg: k.value for k in call.keywords}
    if name in FORBIDDEN:
        yield f"{name} {FORBIDDEN[name]}"
    if name == "torch.load" and not is_constant(given.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if name.endswith(".extractall"):
        yield "extractall trusts the names in the archive"
    if "verify" in given and is_constant(given["verify"], False):
        yield "verify=False trusts any server"
    for key, why in KEYWORDS.items():
        if key in given and not is_constant(given[key], False):
            yield f"{key}: {why}"
    computed = len(call.args) > 1 and not isinstance(call.args[1], ast.Constant)
    if name == "getattr" and full_name(call.args[0], names) in NAMED_IN_CODE and computed:
        yield "lets a string choose the class"


def is_constant(node: ast.expr | None, value: object) -> bool:
    """Return whether an argument is written as exactly this constant."""
    return isinstance(node, ast.Constant) and node.value is value


def texts() -> dict[str, str]:
    """Return all text files of the repository by path; ignored files are in other folders."""
    folders = ("src", "tests", "docs", "benchmarks", "examples", ".ci")
    files = [f for folder in folders for f in (REPOSITORY / folder).rglob("*")]
    files += [f for f in REPOSITORY.iterdir() if not f.name.startswith(".coverage")]
    kept = [f for f in files if f.is_file() and f.suffix in TEXT and "__pycache__" not in f.parts and f.name != ".git"]
    return {f.relative_to(REPOSITORY).as_posix(): f.read_text(errors="replace") for f in sorted(kept)}


def test_no_file_has_a_dangerous_call() -> None:
    sources = {path: text for path, text in texts().items() if path.endswith(".py")}
    assert "src/imclass/core/files.py" in sources
    assert [f"{path}: {hit}" for path, text in sources.items() for hit in hits(text)] == []


def test_no_file_names_a_registry_or_a_machine() -> None:
    found = texts()
    assert {"pyproject.toml", "constraints.txt", "Makefile", ".ci/run", "docs/design.md"} <= set(found)
    lines = [(path, line) for path, text in found.items() for line in text.splitlines()]
    assert [f"{path}: {line.strip()[:100]}" for path, line in lines if PLACES.search(line)] == []


@pytest.mark.parametrize(
    "line",
    [
        "import torch; torch.load(path)",
        "import torch; torch.load(path, weights_only=False)",
        "import torch; torch.load(path, weights_only=safe)",
        "from torch import load as read; read(path)",
        "import torch as t; t.jit.load(path)",
        "import torch; torch.export.load(path)",
        "import pickle; pickle.load(file)",
        "import pickle; pickle.loads(text)",
        "from pickle import loads; loads(text)",
        "import pickle as p; p.Unpickler(file).load()",
        "import joblib; joblib.load(path)",
        "import yaml; yaml.load(text, Loader=loader)",
        "eval(text)",
        "exec(text)",
        "import subprocess; subprocess.run(command, shell=True)",
        "import subprocess; subprocess.run(command, shell=asked)",
        "import os; os.system(command)",
        "import tarfile; tarfile.open(path).extractall(folder)",
        "archive.extractall(folder)",
        "import shutil; shutil.unpack_archive(path)",
        "import tempfile; tempfile.mktemp()",
        "from tempfile import mktemp; mktemp()",
        "import requests; requests.get(url, verify=False)",
        "import ssl; ssl._create_unverified_context()",
        "import numpy as np; np.load(path, allow_pickle=True)",
        "import pydoc; pydoc.locate(name)",
        "from torch import nn; getattr(nn, name)()",
    ],
)
def test_a_dangerous_call_is_detected(line: str) -> None:
    assert list(hits(f"def f():\n    {line}"))


@pytest.mark.parametrize(
    "line",
    [
        "import torch; torch.load(path, weights_only=True)",
        "import json; json.load(file)",
        "spec.loader.exec_module(module)",
        "network.eval()",
        "import pickle\nclass Restricted(pickle.Unpickler): ...\nRestricted(file).load()",
        "import subprocess; subprocess.run([command], shell=False)",
        "tmp_path_factory.mktemp('home')",
        "import numpy as np; np.load(path, allow_pickle=False)",
        "import safetensors.torch; safetensors.torch.load(content)",
        "import requests; requests.get(url, verify=True)",
        "getattr(row, 'size', 28)",
    ],
)
def test_a_safe_call_is_accepted(line: str) -> None:
    assert list(hits(line)) == []


@pytest.mark.parametrize(
    "line",
    [
        "pip install --extra-index" + "-url X",
        "PIP_INDEX" + "_URL=X",
        "see https://py" + "pi.org",
        "https://files.python" + "hosted.org/x",
        "https://host/sim" + "ple/torch",
        "https://host/wh" + "l/cpu",
        "data in /wor" + "k/data",
        "/roo" + "t/.cache",
    ],
)
def test_a_forbidden_place_is_detected(line: str) -> None:
    assert PLACES.search(line)


@pytest.mark.parametrize("line", ["this network/work/life", "https://host/weights/resnet.pt", "a simple/fast rule"])
def test_a_plain_line_is_accepted(line: str) -> None:
    assert not PLACES.search(line)


def language_files() -> dict[str, str]:
    """Return the files whose language is checked: all but those that hold the banned words to check for them."""
    rules = ("tests/support/language.py", "tests/test_source_gate.py")
    return {path: text for path, text in texts().items() if path.endswith((".py", ".md")) and path not in rules}


def test_no_file_has_a_fault_of_language() -> None:
    found = language_files()
    assert {"src/imclass/core/files.py", "README.md", "docs/design.md", "tests/conftest.py"} <= set(found)
    assert [fault for path, text in found.items() for fault in faults(path, text)] == []


def test_no_imported_name_is_defined_twice() -> None:
    sources = {
        path: text for path, text in language_files().items() if path.startswith("src/") and path.endswith(".py")
    }
    assert list(doubled_names(sources)) == []


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        ("src/a.py", "def own_rows(x): ...", "no name holds 'own'"),
        ("src/a.py", "def f(usual): ...", "no name holds 'usual'"),
        ("src/a.py", "def f(x):\n    told = x", "no name holds 'told'"),
        ("src/a.py", "class A:\n    looks: int", "no name holds 'looks'"),
        ("src/a.py", "def f(x):\n    match x:\n        case [said]: ...", "no name holds 'said'"),
        ("src/a.py", "def f(x):\n    x.ways = 1", "no name holds 'ways'"),
        ("src/a.py", "def decoded(x): ...", "participle"),
        ("src/a.py", "def shown(x): ...", "participle"),
        ("src/a.py", "def taken_from(x): ...", "participle"),
        ("src/a.py", "class A:\n    def locked(self): ...", "participle"),
        ("src/a.py", 'def f(x):\n    """Whether x is odd."""', "begins with 'Whether'"),
        ("src/a.py", 'def f(x):\n    """The sum of x."""', "begins with 'The'"),
        ("src/a.py", 'def f(x):\n    """ "a" of "a b"; what a name begins with."""', "begins with 'a'"),
        ("src/a.py", "x = 1  # whatever it is", "'whatever'"),
        ("src/a.py", 'raise ValueError(f"{path} is no model file")', "'is no model'"),
        ("src/a.py", '"""Files beside the run."""', "'beside'"),
        ("docs/a.md", "A run that is none.", "'is none'"),
        ("docs/a.md", "Mend the file.", "'Mend'"),
    ],
)
def test_a_planted_fault_of_language_is_found(path: str, text: str, fault: str) -> None:
    assert [found for found in faults(path, text) if fault in found]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/a.py", "def owner(x): ..."),
        ("src/a.py", "def embed(x): ..."),
        ("src/a.py", "def scored_images(x): ..."),
        ("src/a.py", "class A:\n    @property\n    def trained(self): ..."),
        ("src/a.py", 'def f(x):\n    """Return whether x is odd."""'),
        ("src/imclass/models/nets/a.py", 'def f(x):\n    """A convolution, then a pool."""'),
        ("src/a.py", "x = 1  # it is no longer needed"),
        ("src/a.py", "x = 1  # there is no file"),
        ("docs/a.md", "```\nimclass said whatever\n```\nRun `beside`."),
    ],
)
def test_good_language_is_not_a_fault(path: str, text: str) -> None:
    assert faults(path, text) == []


IMPORT = "from imclass.a import f\n"


@pytest.mark.parametrize(
    ("sources", "faulty"),
    [
        ({"src/imclass/a.py": "def f(): ...", "src/imclass/b.py": "def f(): ...", "src/imclass/c.py": IMPORT}, True),
        ({"src/imclass/a.py": "f = 1", "src/imclass/b.py": "f: int = 1", "src/imclass/c.py": IMPORT}, True),
        ({"src/imclass/a.py": "def f(): ...", "src/imclass/b.py": "def f(): ..."}, False),  # nobody imports either
        ({"src/imclass/a.py": "def f(): ...", "src/imclass/b.py": IMPORT}, False),
        ({"src/imclass/a.py": "def f(): ...", "src/imclass/app/api.py": IMPORT + "def f(): ..."}, False),
    ],
)
def test_a_name_defined_twice_is_found(sources: dict[str, str], faulty: bool) -> None:
    assert bool(list(doubled_names(sources))) == faulty
