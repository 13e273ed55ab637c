"""The verb `weights`: published weights listed, foreign files imported and verified, models exported and folded."""

from typing import Any

from imclass.app.cli.answer import show
from imclass.app.cli.arguments import Weights
from imclass.app.cli.lists import Listing, answer, describe_all, listing
from imclass.core.tables import Found
from imclass.store.context import Context

ACTS = ("import", "verify", "export", "fold")


def files(context: Context) -> Listing:
    """Return the published files: name, accuracy in %, inputs, licence, address, SHA-256."""
    from imclass.models.foreign import published

    return describe_all(Found("published file of weights", dict(published.PUBLISHED)), row, detail)


def row(name: str, file: Any) -> dict[str, Any]:
    """Return what the list gives of a published file."""
    return {
        "top1": file.top1,
        "top5": file.top5,
        "preprocess": file.inputs,
        "classes": file.classes,
        "licence": file.licence,
        "sha256": file.sha256[:12],
        "url": file.url or file.source,
    }


def detail(name: str, file: Any) -> dict[str, Any]:
    """Return more on a published file: its place in the store, and all that is known of its SHA-256."""
    return {"file": f"weights/{file.network}/{file.file}", "sha256": file.sha256}


def columns(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a table shows of a row; the rest would make it wider than a terminal."""
    return {key: row[key] for key in ("name", "top1", "top5", "classes", "licence")}


def run(own: Weights) -> int:
    """List published weights, import or verify a file, or export or fold a model."""
    if own.what not in ACTS:
        found = listing("weights", own.common, files)
        return answer(found, own.what, "published file of weights", own.common, ACTS, columns)
    from imclass.app.acts.weights import act

    outcome = act(own)
    show(outcome.record) if own.common.json else print(outcome.text)
    return outcome.code
