"""The kinds that a stage chooses from: tables by name, common fields of schedules, and kinds of plugins."""

import itertools
import json
import shlex
import signal
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch.nn import functional

import imclass
from imclass.app.cli.main import main
from imclass.app.verbs import train as verb
from imclass.core.config import Augment, Objective, Optimiser, Position, Schedule
from imclass.core.errors import UserError
from imclass.store.context import open_context
from imclass.training.events import Event, Saved, StepEnd
from imclass.training.kinds import kind_tables, object_entries, with_objects
from imclass.training.schedules.constant import Constant
from imclass.training.schedules.cosine import Cosine
from imclass.training.schedules.step import StepDecay
from tests.support.positions import at
from tests.support.small import digest, tree

PLUGIN = """
    from dataclasses import dataclass
    from typing import Annotated, Any, ClassVar

    import torch

    from imclass.core.bounds import Above
    from imclass.core.config import Augment, Objective, Optimiser, Position, Schedule

    class Signed(torch.optim.Optimizer):
        def __init__(self, groups, decay):
            super().__init__(groups, {"lr": 0.0, "decay": decay})

        @torch.no_grad()
        def step(self):
            for group in self.param_groups:
                for parameter in group["params"]:
                    mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
                    mean.mul_(group["decay"]).add_(parameter.grad)
                    parameter.sub_(group["lr"] * mean.sign())

    @dataclass(frozen=True)
    class Sign(Optimiser):
        kind: ClassVar[str] = "sign"
        decay: float = 0.9

        def build(self, groups: list[dict[str, Any]]) -> Any:
            return Signed(groups, self.decay)

    @dataclass(frozen=True)
    class Halving(Schedule):
        kind: ClassVar[str] = "halving"
        every: Annotated[int, Above(0)] = 2

        def share_at(self, position: Position) -> float:
            return 0.5 ** (position.step // self.every)

    @dataclass(frozen=True)
    class Smoothed(Objective):
        kind: ClassVar[str] = "smoothed"
        share: float = 0.1

        def loss(self, scores: Any, targets: Any) -> Any:
            return torch.nn.functional.cross_entropy(
                scores, targets.labels, reduction="none", label_smoothing=self.share
            )

    @dataclass(frozen=True)
    class Darken(Augment):
        kind: ClassVar[str] = "darken"
        most: int = 40

        def colour(self, view: Any, draws: Any, id: int) -> Any:
            import numpy as np

            by = int(draws.uniform(np.array([id]), "by")[0] * self.most)
            return np.maximum(view.astype(int) - by, 0).astype(np.uint8)

    AUGMENTS = {"darken": Darken}
    OBJECTIVES = {"smoothed": Smoothed}
    OPTIMISERS = {"sign": Sign}
    SCHEDULES = {"halving": Halving}
"""
OPTIONS = "--optimiser.kind sign --schedule.kind halving --objective.kind smoothed --augment pad darken"
COMMAND = f"train mnist-lenet --data pets --epochs 2 --batch 8 --plugins plugins {OPTIONS}"


@pytest.mark.parametrize("base", [Augment, Objective, Optimiser, Schedule])
def test_a_kind_is_in_its_table_under_its_name(base: type) -> None:
    table = kind_tables()[base]
    assert table.failures == () and table.entries
    for name, entry in table.entries.items():
        assert issubclass(entry, base) and entry.kind == name


@pytest.mark.parametrize("kind", [Constant, Cosine])
def test_warm_up_climbs_linearly_to_the_schedule(kind: type[Schedule]) -> None:
    schedule = kind(rate=1.0, warmup=10)
    assert [schedule.rate_at(at(s)) for s in range(10)] == pytest.approx([(s + 1) / 10 for s in range(10)])
    assert schedule.rate_at(at(10)) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", [Constant, Cosine])
@pytest.mark.parametrize(("share", "steps"), [(1.0, 10), (0.1, 10), (0.05, 5), (0.0, 0)])
def test_warm_up_takes_at_most_its_share_of_the_steps(kind: type[Schedule], share: float, steps: int) -> None:
    schedule = kind(rate=1.0, warmup=10, warmup_share=share)
    assert schedule.warmup_of(100) == steps
    rates = [schedule.rate_at(at(s)) for s in range(100)]
    assert rates[:steps] == pytest.approx([(s + 1) / steps for s in range(steps)])
    assert rates[steps] == pytest.approx(1.0) and max(rates) == pytest.approx(1.0)


def test_a_rate_depends_only_on_the_position() -> None:
    schedule = StepDecay(rate=1.0, steps=(3,))
    assert [schedule.rate_at(at(s)) for s in (2, 3, 2, 3)] == pytest.approx([1.0, 0.1, 1.0, 0.1])


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with a small tree and a folder of plugins."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(textwrap.dedent(PLUGIN))
    return tmp_path / "plugins"


class Stopper:
    """A consumer that presses Ctrl-C after the third of four steps."""

    def see(self, event: Event) -> None:
        if isinstance(event, StepEnd) and event.at.step == 3:
            signal.raise_signal(signal.SIGINT)

    def close(self) -> None:
        pass


def compare_with_resumed_run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Train the runs "whole" and "part", interrupt and resume "part", and compare their bits."""
    assert main([*words, "--out", "whole"]) == 0
    with monkeypatch.context() as patched:
        patched.setattr(verb, "progress_consumer", lambda *_: Stopper())
        assert main([*words, "--out", "part"]) == 75
    assert main([*words, "--out", "part"]) == 0
    assert digest(Path("part")) == digest(Path("whole"))


@pytest.mark.slow
def test_a_plugin_s_kinds_train_and_resume_with_the_same_bits(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(f"{COMMAND} --schedule.rate 0.004 --schedule.every 1")
    compare_with_resumed_run(words, monkeypatch)
    steps = [json.loads(line) for line in Path("part/log.jsonl").read_text().splitlines() if '"step_end"' in line]
    assert [s["rate"] for s in steps] == list(itertools.accumulate([0.004, 2, 2, 2], lambda rate, by: rate / by))
    for n, other in enumerate(("--optimiser.decay 0.1", "--objective.share 0.3", "--augment.darken.most 9")):
        assert main([*words, "--out", str(n), *other.split()]) == 0
        assert digest(Path(str(n))) != digest(Path("whole"))
    stages = json.loads(Path("whole/config.json").read_text())["training"]["stages"]
    assert stages[0]["objective"] == {"kind": "smoothed", "share": 0.1}
    assert stages[0]["augment"][1] == {"kind": "darken", "most": 40}
    assert stages[0]["optimiser"] == {"kind": "sign", "decay": 0.9}
    assert stages[0]["schedule"] == {"kind": "halving", "rate": 0.004, "warmup": 0, "warmup_share": 1.0, "every": 1}


COLOUR = """
    from dataclasses import dataclass
    from typing import Annotated, ClassVar
    import numpy as np
    from imclass.core.bounds import AtLeast
    from imclass.core.config import Augment

    @dataclass(frozen=True)
    class Brightness(Augment):
        kind: ClassVar[str] = "brightness"
        most: Annotated[float, AtLeast(0)] = 0.4

        def colour(self, view, draws, id):
            factor = 1 + self.most * (2 * draws.uniform(np.array([id]), "factor")[0] - 1)
            return np.clip(view * factor, 0, 255).astype(np.uint8)

    AUGMENTS = {"brightness": Brightness}
"""
GEOMETRY = """
    from dataclasses import dataclass
    from typing import ClassVar
    import numpy as np
    from imclass.core.config import Augment

    @dataclass(frozen=True)
    class Slide(Augment):
        kind: ClassVar[str] = "slide"
        most: int = 5

        def windows(self, before, sizes, draws, ids):
            left = (draws.uniform(ids, "left") * (self.most + 1)).astype(np.int64)
            return before.move(np.zeros_like(left), left)

    AUGMENTS = {"slide": Slide}
"""


# docs/training.md, which is run as a test, has an augmentation of colours, too.
@pytest.mark.parametrize(
    ("kind", "source", "memory"),
    [pytest.param("brightness", COLOUR, 0, marks=pytest.mark.slow), ("slide", GEOMETRY, 2048)],
)
def test_a_plugin_s_augmentation_trains_and_resumes_with_the_same_bits(
    plugins: Path, monkeypatch: pytest.MonkeyPatch, kind: str, source: str, memory: int
) -> None:
    (plugins / "mine.py").write_text(textwrap.dedent(source))
    start = "train mnist-lenet --data pets --epochs 2 --batch 8 --plugins plugins"
    words = shlex.split(f"{start} --memory {memory} --augment.{kind}.most 2")
    compare_with_resumed_run(words, monkeypatch)
    assert main([*words, "--out", "other", f"--augment.{kind}.most", "0"]) == 0
    assert digest(Path("other")) != digest(Path("whole"))
    (stage,) = json.loads(Path("whole/config.json").read_text())["training"]["stages"]
    assert stage["augment"] == [{"kind": "pad", "pixels": 2}, {"kind": kind, "most": 2}]
    with (plugins / "mine.py").open("a") as file:
        file.write("# another augmentation\n")
    assert main([*words, "--out", "whole"]) == 2  # the run keeps the digest of the file
    assert main([*words, "--out", "whole", "--plugins-changed"]) == 0


def test_a_plugin_s_kind_is_unknown_without_the_plugin(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "sign" in kind_tables(open_context(plugins=[plugins]))[Optimiser].entries
    assert main(shlex.split(f"{COMMAND} --out run".replace("--plugins plugins", ""))) == 2
    assert "no augmentation is named 'darken'" in capsys.readouterr().err
    assert main(shlex.split(f"{COMMAND} --out run --schedule.every 0")) == 2
    assert "--schedule.every is 0; it must be above 0" in capsys.readouterr().err


def test_a_changed_kind_of_a_plugin_is_shown_and_refused(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(f"{COMMAND} --out run")
    assert main(words) == 0
    with (plugins / "mine.py").open("a") as file:
        file.write("# another optimiser\n")
    capsys.readouterr()
    assert main(words) == 2
    message = capsys.readouterr().err
    for entry in ("optimiser sign", "schedule halving", "objective smoothed", "augmentation darken"):
        assert f"{entry}: plugin file" in message
    assert main([*words, "--plugins-changed"]) == 0


@dataclass(frozen=True)
class Plain(Objective):
    """The cross-entropy, under another name."""

    kind: ClassVar[str] = "plain"
    factor: float = 1.0

    def loss(self, scores: Any, targets: Any) -> Any:
        return self.factor * functional.cross_entropy(scores, targets.labels, reduction="none")


@dataclass(frozen=True, kw_only=True)
class Fixed(Schedule):
    """A constant rate, under another name."""

    kind: ClassVar[str] = "fixed"

    def share_at(self, position: Position) -> float:
        return 1.0


OBJECTS: dict[str, Any] = {"objective": Plain(), "schedule": Fixed(rate=0.1)}


def test_an_object_that_no_file_defines_trains_but_cannot_be_resumed(plugins: Path) -> None:
    how: dict[str, Any] = {"data": "pets", "epochs": 1, "batch": 8}
    with pytest.warns(UserWarning, match="no file in `plugins` defines 'objective plain', 'schedule fixed'"):
        list(imclass.train("mnist-lenet", "run", override=OBJECTS, **how))
    list(imclass.train("mnist-lenet", "plain", override={"schedule": Constant(rate=0.1)}, **how))
    assert digest(Path("run")) == digest(Path("plain"))
    with pytest.warns(UserWarning), pytest.raises(UserError, match="run has results, but cannot be resumed, because"):
        imclass.train("mnist-lenet", "run", override=OBJECTS, **how)
    with pytest.raises(UserError, match=r"run.config.json: no schedule is named 'fixed'.* with --plugins"):
        imclass.report("run")


@pytest.mark.filterwarnings("ignore:this run cannot be resumed")
def test_a_fold_with_an_object_that_no_file_defines_cannot_be_resumed(plugins: Path) -> None:
    how: dict[str, Any] = {"data": "pets", "epochs": 1, "batch": 4, "crossval": 2, "override": OBJECTS}
    assert any(isinstance(event, Saved) for event in imclass.train("mnist-lenet", "run", **how))
    with pytest.raises(UserError, match="'schedule fixed', 'objective plain' are not in a plugin file"):
        imclass.train("mnist-lenet", "run", **how)


@dataclass(frozen=True)
class Nameless(Objective):
    def loss(self, scores: Any, targets: Any) -> Any: ...


@dataclass(frozen=True)
class Taken(Nameless):
    kind: ClassVar[str] = "cross-entropy"


class Fieldless(Nameless):
    kind: ClassVar[str] = "fieldless"

    def __init__(self) -> None:
        object.__setattr__(self, "factor", 2)


@dataclass(frozen=True)
class Numbered(Nameless):
    kind: ClassVar[Any] = 5


@dataclass(frozen=True)
class Computed(Nameless):
    kind: ClassVar[str] = "computed"
    factor: float = field(default=1.0, init=False)


@dataclass(frozen=True)
class Weighted(Nameless):
    kind: ClassVar[str] = "weighted"
    weights: Any = field(default_factory=lambda: np.ones(3))


@dataclass(frozen=True)
class Other(Nameless):
    kind: ClassVar[str] = "plain"


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ([Nameless()], "the objective Nameless has no kind; give its class a name"),
        ([Taken()], "Taken has the kind 'cross-entropy', which is that of another objective; choose another name"),
        ([Fieldless()], "the objective Fieldless has the attribute 'factor', which is not a field"),
        ([Numbered()], "the objective Numbered has no kind"),
        ([Computed()], "the objective Computed cannot be kept in a run's configuration"),
        ([Weighted()], "the objective Weighted cannot be kept in a run's configuration"),
        ([Plain(), Other()], "two classes have the objective kind 'plain'; rename one"),
    ],
)
def test_an_object_that_a_config_could_not_contain_is_refused(objectives: list[Objective], message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_objects(open_context(), {"objective": tuple(objectives)})


def test_the_objects_of_a_config_are_found() -> None:
    config = imclass.configure("mnist-lenet", override=OBJECTS)
    assert config.stages[0].objective == Plain() and config.stages[0].schedule == Fixed(rate=0.1)
    assert object_entries(with_objects(open_context(), config)) == ["objective plain", "schedule fixed"]
    assert imclass.configure(config, override={"objective.factor": 2.0}).stages[0].objective == Plain(2.0)
    assert object_entries(with_objects(open_context(), imclass.configure("mnist-lenet"))) == []


def test_a_config_with_a_plugin_s_object_takes_the_newer_file(plugins: Path) -> None:
    config = imclass.configure("mnist-lenet", plugins=plugins, override={"objective.kind": "smoothed"})
    with (plugins / "mine.py").open("a") as file:
        file.write("# another objective\n")
    again = imclass.configure(config, plugins=plugins)
    assert type(again.stages[0].objective) is not type(config.stages[0].objective)
    assert again.stages[0].objective.kind == "smoothed"
