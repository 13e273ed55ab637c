"""A context holds the user's store, or a given one, and the plugins in the given folders."""

from pathlib import Path

import pytest

from imclass.core.errors import UserError
from imclass.store.context import find_in, open_context
from imclass.store.store import Store, open_store


def test_a_context_has_the_users_store_or_the_given_one(tmp_path: Path) -> None:
    assert open_context().store == open_store()
    assert open_context(Store(tmp_path)).store == Store(tmp_path)


def test_entries_of_plugins_are_found_next_to_ours(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("RECIPES = {'mine': 1}")
    context = open_context(plugins=[str(tmp_path)])
    assert find_in(context, "imclass.recipes", "RECIPES", "recipe")["mine"] == 1
    assert "mine" not in find_in(None, "imclass.recipes", "RECIPES", "recipe").entries


def test_a_missing_plugin_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is not a folder"):
        open_context(plugins=[tmp_path / "nowhere"])
