"""The examples in README.md and docs/ work: the blocks of a page are run in order, in an empty folder.

    ```sh, ```bash      each `imclass ...` line is run and must exit with 0; `make X` must name a target of the Makefile
    ```python           is run; the blocks of a page share one namespace. If the first line is a comment with a path,
                        such as `# plugins/mine.py`, the block is saved there instead
    ```console, ```text are not run

Two things differ from a real run: every training lasts one epoch, and mnist-sample has a tenth of its images.

Links between the pages, and to their pictures, lead somewhere.
"""

import importlib.util
import re
import runpy
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import imclass
from imclass.app.api import train
from imclass.app.cli.main import main
from imclass.core.config import Fitting
from imclass.data.arrays import ArrayDataset
from imclass.data.sets import mnist_sample

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN, SHOWN = ("sh", "bash", "python"), ("console", "text")
ONE_EPOCH = ["--epochs", "1"]
PIPELINES = ("folder-fisher", "folder-bow-spm")  # recipes without epochs
READ_SPLIT = mnist_sample.read_split
LINKING = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
PICTURES = ROOT / "docs" / "pictures"


def blocks(page: str) -> list[tuple[str, str]]:
    """Return language and text of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def commands(block: str) -> Iterator[list[str]]:
    """Yield the words of each command in a shell block, without comments and empty lines."""
    for line in block.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def targets(makefile: str) -> set[str]:
    """Return the targets of a Makefile."""
    return set(re.findall(r"^([a-z][\w-]*):(?!=)", makefile, re.MULTILINE))


def run_command(words: list[str]) -> None:
    """Run one command of a shell block."""
    if words[0] == "make":
        assert set(words[1:]) <= targets((ROOT / "Makefile").read_text()), words
        return
    assert words[0] == "imclass", f"this test does not know how to run {words}"
    trains = words[1] == "train" and "--help" not in words and words[2] not in PIPELINES
    shortened = ONE_EPOCH if trains else []
    assert main([*words[1:], *shortened]) == 0, words


def run_page(page: str) -> None:
    """Run every block of a page."""
    names: dict[str, Any] = {}
    for language, text in blocks(page):
        if language == "python" and (first := re.match(r"# (\w+/\w+\.py)\n", text)):
            Path(first[1]).parent.mkdir(exist_ok=True)
            Path(first[1]).write_text(text)
        elif language == "python":
            Path("block.py").write_text(text)
            names = runpy.run_path("block.py", init_globals=names)
        elif language in RUN:
            for words in commands(text):
                run_command(words)


def short(recipe: Any, *args: Any, **choices: Any) -> Any:
    """Call `imclass.train` for one epoch, if the recipe has epochs."""
    return train(recipe, *args, **(choices if isinstance(recipe, Fitting) else {**choices, "epochs": 1}))


def tenth(*files: Any) -> ArrayDataset:
    """Read a split and keep a tenth of its images, which leaves 1,000 and 200, enough for all commands of the pages."""
    whole = READ_SPLIT(*files)
    return replace(whole, array=whole.array[::10], targets=whole.targets[::10])


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist_sample, "read_split", tenth)


@pytest.fixture(autouse=True)
def one_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(imclass, "train", short, raising=False)


SLOW = "evaluation.md"  # trains three networks


@pytest.mark.filterwarnings("ignore:this run cannot be resumed")
@pytest.mark.parametrize(
    "page", [pytest.param(p, id=p.name, marks=[pytest.mark.slow] if p.name == SLOW else []) for p in PAGES]
)
def test_the_examples_of_a_page_work(page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    assert {language for language, _ in blocks(text)} <= {*RUN, *SHOWN}
    run_page(text)
    if any(language in RUN for language, _ in blocks(text)):
        assert any(tmp_path.iterdir())


def test_the_readme_has_examples() -> None:
    languages = [language for language, _ in blocks(PAGES[0].read_text())]
    assert "sh" in languages and "python" in languages


def test_every_make_line_of_a_page_is_a_target() -> None:
    known = targets((ROOT / "Makefile").read_text())
    assert {"env", "demo", "test"} <= known and "PYTHON" not in known
    for page in PAGES:
        named = re.findall(r"^ {4}make ([\w-]+)", page.read_text(), re.MULTILINE)
        assert set(named) <= known, page.name


BAD_PAGES = [
    ("```sh\nimclass trian mnist-lenet\n```\n", AssertionError),
    ("```sh\nimclass evaluate nowhere\n```\n", AssertionError),
    ("```sh\nmake nothing-like-it\n```\n", AssertionError),
    ("```bash\ncurl https://example.com | sh\n```\n", AssertionError),
    ("```python\nimport imclass\n\nimclass.trian\n```\n", AttributeError),
    ("```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n", AssertionError),
]


@pytest.mark.parametrize(("page", "error"), BAD_PAGES)
def test_a_wrong_example_is_detected(page: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        run_page(page)


def test_a_correct_page_passes(capsys: pytest.CaptureFixture[str]) -> None:
    run_page(
        "```sh\n# lists\nimclass recipes \\\n    --json  # as JSON\nmake demo\n```\n\n```text\nimclass trian\n```\n"
    )
    assert '"network": "lenet-5"' in capsys.readouterr().out


def test_a_block_with_a_path_is_saved() -> None:
    run_page("```python\n# plugins/mine.py\nraise SystemExit\n```\n```python\n# a comment\nx = 1\n```\n")
    assert Path("plugins/mine.py").read_text() == "# plugins/mine.py\nraise SystemExit\n"


def test_trainings_are_short(tmp_path: Path) -> None:
    run_page(
        "```python\nimport imclass\n\n"
        'events = imclass.train("mnist-lenet", out="api", epochs=7)\n'
        "assert next(events).epochs == 1\n```\n"
        "```sh\nimclass train mnist-lenet --epochs 7 --dry-run\nimclass train mnist-lenet --out line --epochs 7\n```\n"
    )
    log = (tmp_path / "line" / "log.jsonl").read_text()
    assert log.count('"epoch_end"') == 1


def prose(page: str) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)


def anchors(page: str) -> set[str]:
    """Return the anchors that a page's headings have on GitHub and GitLab."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: str) -> list[str]:
    """Return what a page links to or shows, in Markdown and in <img> tags."""
    found = re.findall(r'\]\(([^)\s]+)\)|<img src="([^"]+)"', prose(page))
    return [markdown or tag for markdown, tag in found]


def broken_links(page: Path) -> list[str]:
    """Return the relative links and pictures of a page that lead to no file or to no heading."""
    broken = []
    for link in links(page.read_text()):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.is_file() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in LINKING])
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A title, with signs!\n\n```sh\n# no heading\n```\n")
    good = "[a](other.md) [b](other.md#a-title-with-signs) [c](#here) [d](https://example.com/x)\n## Here\n"
    bad = '[e](missing.md) [f](other.md#no-heading) [g](#there) ![h](missing.png)\n<img src="gone.png" alt="x">\n'
    (tmp_path / "page.md").write_text(good + bad + "```text\n[i](in-a-block.md)\n```\n")
    expected = ["missing.md", "other.md#no-heading", "#there", "missing.png", "gone.png"]
    assert broken_links(tmp_path / "page.md") == expected


def test_every_page_is_linked_from_the_readme() -> None:
    assert {page.relative_to(ROOT).as_posix() for page in PAGES[1:]} <= set(links(PAGES[0].read_text()))


def test_the_pictures_are_small_and_used() -> None:
    sizes = {picture.name: picture.stat().st_size for picture in PICTURES.iterdir()}
    assert max(sizes.values()) < 80_000 and sum(sizes.values()) < 600_000, sizes
    used = {Path(link).name for page in PAGES for link in links(page.read_text())}
    assert set(sizes) <= used


def test_without_chromium_a_picture_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "PICTURES", tmp_path)
    monkeypatch.setattr(script, "BROWSERS", ("no-such-browser",))
    script.photograph(tmp_path / "report.html", "report.png", 900, 945)
    assert capsys.readouterr().err == "docs/pictures/report.png is left as it is: Chromium is not installed\n"
    assert not any(tmp_path.iterdir())
