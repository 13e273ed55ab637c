"""A union joins the rows of chains, and is saved with everything that they learned."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imclass.core.bounds import check_bounds
from imclass.core.codec import from_json, to_json
from imclass.core.config import AnyPart, Fitting
from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.evaluation.unpack import read_classifier, save_classifier
from imclass.pipelines.part import PipelinePart, pipeline_parts
from imclass.pipelines.parts.fisher import Fisher
from imclass.pipelines.parts.pyramid import Pyramid
from imclass.pipelines.parts.union import Channel, Union
from imclass.pipelines.pipeline import Pipeline
from imclass.store.context import Context, open_context
from imclass.training.kinds import kind_tables, object_entries, with_objects
from tests.support import parts as plugin
from tests.support.parts import Blocks, Colours, NearestMean, NetworkScores
from tests.support.small import CLASSES, picture, save_untrained

LABELS = np.arange(8) % 2
IMAGES = [picture(i, bool(label), 10 + i) for i, label in enumerate(LABELS)]


@pytest.fixture
def plugins(tmp_path: Path) -> Context:
    """Return the context with the plugin."""
    (tmp_path / "plugins").mkdir()
    shutil.copy(str(plugin.__file__), tmp_path / "plugins" / "parts.py")
    return open_context(plugins=tmp_path / "plugins")


def fitted_fisher() -> Fisher:
    random = np.random.default_rng(0)
    part = Fisher(3)
    part.weights_ = np.array([0.5, 0.3, 0.2], np.float32)
    part.means_ = (255 * random.random((3, 3))).astype(np.float32)
    part.variances_ = np.full((3, 3), 2000, np.float32)
    return part


def fitted_union() -> Union:
    colours = Colours(3)
    colours.fit(IMAGES, OneOf(LABELS), 2)
    return Union((Channel((Blocks(2), Pyramid(), fitted_fisher())), Channel((colours,), 0.5)))


def test_rows_are_weighted_and_joined() -> None:
    union = fitted_union()
    (blocks, pyramid, fisher), (colours,) = union.channels_of()
    expected = [fisher.transform(pyramid.transform(blocks.transform(IMAGES))), 0.5 * colours.transform(IMAGES)]
    rows = union.transform(IMAGES)
    assert rows.dtype == np.float32 and rows.shape == (8, 4 * 18 + 3)
    assert np.array_equal(rows, np.concatenate(expected, 1).astype(np.float32))
    assert np.array_equal(union.transform(IMAGES[3:4])[0], rows[3])
    assert union.arrays().keys() == {"0.2.weights_", "0.2.means_", "0.2.variances_", "1.0.spread_"}
    assert union.facts() == {} and union.members() == {}


def test_each_chain_is_fitted() -> None:
    union = Union((Channel((Colours(2),)), Channel((Colours(5),))))
    with pytest.raises(UserError, match="the part colours has no spread_, because it has not been fitted"):
        union.arrays()
    assert union.fit(IMAGES, OneOf(LABELS), 2) is union
    assert np.array_equal(union.arrays()["1.0.spread_"], Colours(5).fit(IMAGES, OneOf(LABELS), 2).spread_)


def test_a_union_is_read_back_from_its_file_alone(tmp_path: Path, plugins: Context) -> None:
    eyes = save_untrained(tmp_path / "n.safetensors")
    seeing = NetworkScores()
    seeing.set_members({"eyes": eyes})
    union = fitted_union()
    union = replace(union, channels=(*union.channels, Channel((seeing,), 2.0)))
    rows = union.transform(IMAGES)
    pipeline = Pipeline((union, NearestMean().fit(rows, OneOf(LABELS), 2)), CLASSES)
    save_classifier(tmp_path / "p.safetensors", pipeline, plugins)
    found = read_classifier(tmp_path / "p.safetensors", plugins)
    assert isinstance(found, Pipeline) and torch.equal(found.classify(IMAGES), pipeline.classify(IMAGES))
    assert np.array_equal(found.embed(IMAGES), rows)
    again = found.parts[0]
    assert isinstance(again, Union) and [c.weight for c in again.channels] == [1, 0.5, 2]
    assert list(found.networks()) == ["0.2.0.eyes"]
    for name, array in union.arrays().items():
        assert np.array_equal(again.arrays()[name], array) and again.arrays()[name].dtype == array.dtype


def test_a_config_with_a_union_survives_json(plugins: Context) -> None:
    union = Union((Channel((Blocks(2), Pyramid(("1x1", "2x2")), Fisher(3)), 2.0), Channel((Colours(3),))))
    config = Fitting("mine", (union, NearestMean()), "pets")
    tables = kind_tables(plugins)
    found = from_json(Fitting, to_json(config), kinds=tables)
    assert to_json(found) == to_json(config)
    assert to_json(config)["parts"][0]["channels"][0]["parts"][1] == {"kind": "pyramid", "grids": ["1x1", "2x2"]}
    again = from_json(
        PipelinePart, to_json(union), kinds={base: pipeline_parts(plugins) for base in (AnyPart, PipelinePart)}
    )
    assert to_json(again) == to_json(union)
    added = object_entries(with_objects(open_context(), config))
    assert sorted(added) == ["part blocks", "part colours", "part nearest-mean"]  # also those in a channel
    with pytest.raises(UserError, match=r"channels.0.parts.fisher.words is 0; it must be at least 1"):
        check_bounds(Union((Channel((Blocks(2), Fisher(0))), Channel((Colours(3),)))))


@pytest.mark.parametrize(
    ("channels", "message"),
    (
        ((), "the part union has no channels; give it at least one, each with parts"),
        ((Channel(()),), "channel 1 of the union must consist of parts that turn images into rows, .* are: none"),
        ((Channel((Blocks(),)),), "channel 1 .* its parts are: blocks; end it with an encoder such as fisher"),
        ((Channel((Colours(), NearestMean())),), "its parts are: colours, nearest-mean; .* put the scorer after the"),
        ((Channel((Colours(),)), Channel((Fisher(),))), "channel 2 of the union: the part fisher comes first"),
    ),
)
def test_invalid_channels_are_refused(channels: tuple[Channel, ...], message: str) -> None:
    for use in (lambda union: union.transform(IMAGES), check_bounds):
        with pytest.raises(UserError, match=message):
            use(Union(channels))


def test_unexpected_arrays_and_members_are_named() -> None:
    union = fitted_union()
    arrays = union.arrays()
    with pytest.raises(UserError, match=r"m.file: 2.0.spread_ belongs to no part .* with 0.0., 0.1., 0.2., 1.0."):
        union.restore({"2.0.spread_": arrays["1.0.spread_"], **arrays}, "m.file")
    with pytest.raises(UserError, match=r"m.file, channel 2, part 1: the part colours learns spread_, but"):
        union.restore({name: array for name, array in arrays.items() if not name.startswith("1.")}, "m.file")
    with pytest.raises(UserError, match="the members: eyes belongs to no part of the union"):
        union.set_members({"eyes": Pipeline((NearestMean(),), CLASSES)})
