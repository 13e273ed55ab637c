"""A report's page: a section for each thing there is to tell, in one HTML file that needs and runs nothing else."""

import math
from collections.abc import Sequence
from importlib import resources

import numpy as np
from jaxtyping import Int64

from imclass.app.draw.confusion import NUMBERED, matrix
from imclass.app.draw.curves import SPLITS, panels
from imclass.app.report.background import configuration, data, environment, time
from imclass.app.report.facts import Material, Mistake, Score
from imclass.app.report.figures import confusion, figure
from imclass.app.report.markup import Html, element, facts, name, picture, table, together
from imclass.app.text.evaluation import PAIRS, top5
from imclass.app.text.evaluation import matrix as counted
from imclass.app.text.labels import rows_of
from imclass.core.contracts import Evaluation
from imclass.core.runtime import versions
from imclass.core.targets import OneOf
from imclass.core.text import columns, percent
from imclass.data.subset import VALIDATION
from imclass.evaluation.measures.intervals import wilson
from imclass.evaluation.measures.single_label import most_confused, per_class

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
GENERATOR = element("meta", name="generator", content="imclass")


def page(material: Material) -> Html:
    """The whole file."""
    title = f"{material.training.model.network} on {material.data}"
    told = [(id_, heading, said) for id_, heading, said in sections(material) if said]
    links = [element("a", heading, href=f"#{id_}") for id_, heading, _ in told]
    style = Html(resources.files("imclass.app.report").joinpath("report.css").read_text("utf-8"))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        GENERATOR,
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", style),
    )
    body = [headline(material), element("nav", together(links, " "))]
    body += [element("section", element("h2", heading), said, id=id_) for id_, heading, said in told]
    end = f"Written by imclass {versions()['imclass']}. This page holds all it shows."
    whole = element("html", head, element("body", element("main", *body, element("footer", end))), lang="en")
    return Html(f"<!DOCTYPE html>\n{whole}\n")


def sections(m: Material) -> list[tuple[str, str, Html]]:
    """Id, heading and content of each section; one without content is left out."""
    return [
        ("curves", "Learning", learning(m)),
        ("confusion", "Confusion", confused(m)),
        ("classes", "Classes", classes(m)),
        ("mistakes", "Mistakes", mistakes(m)),
        ("inside", "First layer", first_layer(m)),
        ("data", "Data", data(m)),
        ("time", "Time", time(m.epochs)),
        ("configuration", "Configuration", configuration(m)),
        ("environment", "Environment", environment(m)),
    ]


def headline(m: Material) -> Html:
    """What was trained on what, and what it came to."""
    title = element("h1", name(m.training.model.network), " on ", name(m.data, 60))
    begin = element("p", "Run ", name(m.run), ", recipe ", name(m.training.recipe), class_="run")
    if m.score is None:
        said = "The data has no held-out part, so nothing is known of images that the network has not seen."
        return element("header", begin, title, element("p", said), doubts(m))
    honest = element("p", honesty(m, m.score.split), class_="honest")
    return element("header", begin, title, result(m, m.score), doubts(m), honest)


def result(m: Material, score: Score) -> Html:
    """The accuracy with its interval, and what stands behind it."""
    if score.measure == "top1":
        low, high = wilson(round(score.main * score.evaluated), score.evaluated)
        interval = f"Wilson's 95 % interval {100 * low:.2f} to {100 * high:.2f} %"
        below = f"right of {score.evaluated:,} {score.split} images; {interval}"
    else:
        below = f"mean average precision on {score.evaluated:,} {score.split} images"
    large = element("p", element("strong", percent(score.main)), " ", element("span", below), class_="result")
    whole = f"{score.evaluated:,} of {score.total:,} evaluated"
    refused = score.total - score.evaluated
    five = ""
    if score.measure == "top1":
        five = top5(m.result) if m.result else f"top-5 {percent(score.top5)}" if len(m.classes) > 5 else ""
    more = (
        ("Counted", whole + (f", {refused:,} refused" if refused else "")),
        *([("Top 5", five.removeprefix("top-5 "))] if five else []),
        ("Cross-entropy", f"{score.loss:.4f} nats an image"),
        ("Weights", m.trained.chosen or "not said"),
    )
    return together([large, facts(more)])


def doubts(m: Material) -> Html:
    """A warning where the data is gone or has changed, or the same weights scored otherwise when training ended."""
    then, now = m.recorded, m.score
    if m.problem:
        said = "The data could not be evaluated when this report was written. "
        said += "The numbers here are those that the model file recorded. " if m.score else ""
        said += f"Confusions, mistakes and feature maps are missing. The reason: {m.problem}."
        return element("p", said, class_="note")
    said = ""
    if m.changed:
        said += "The data has changed since training, so what is held out now may hold images that were learned from. "
    if then and now and (then.evaluated, then.total, then.main) != (now.evaluated, now.total, now.main):
        said += (
            "These are not the numbers of when training ended, for the held-out images or this machine's arithmetic "
        )
        said += (
            f"are not the same: then, these weights were right on {percent(then.main)} of {then.evaluated:,} images."
            if then.measure == "top1"
            else f"are not the same: then, the mean average precision was {percent(then.main)}."
        )
    return element("p", said, class_="note") if said else Html()


def honesty(m: Material, split: str) -> str:
    """What the held-out part is, and what it chose."""
    rule = m.known.rule
    what = {
        "published": f"the {split} part that the data set was published with",
        "folders": f"the data's own {split} folder",
    }
    hashed = f"a part of each class that a hash of the file names took out of training ({rule})"
    part = what.get(rule, hashed if rule.startswith("hash") else rule or "not described")
    share = m.known.cut.validation
    if share and split == "test" and rule == "folders":
        part = "the data's own held-out folder"
    if share and split == VALIDATION:
        part = f"{100 * share:g} % of each class, which a hash of the names took out of the training part"
    if split == "test":
        chose = (
            "It chose nothing: neither the weights nor the rate nor when to stop followed from it. "
            "What people change between runs after looking at such pages, no page can tell."
        )
    else:
        chose = (
            "The weights were chosen on these images, so the figure flatters them a little; there is no test part that "
            "would not."
        )
    return f"The held-out images are {part}. The network was not trained on them. {chose}"


def learning(m: Material) -> Html:
    """Loss and error over epochs."""
    if not m.history:
        return element("p", "The log holds no finished epoch.", class_="note")
    held_out = " and ".join(split for split in SPLITS if split != "train" and f"{split}_loss" in m.history[0])
    said = "The training line shows means over parts of an epoch, the number below it the mean over the last one: both "
    said += "while the weights were still changing and, where the recipe says so, of altered images"
    said += f"; {held_out} after each epoch." if held_out else "."
    if m.history[-1].get("train_auxiliary"):
        said += " The loss of auxiliary heads, which are only there in training, is left out of the line."
    pair = element("div", *map(figure, panels(m.history, m.within_epochs)), class_="pair")
    return together([pair, element("p", said, class_="small")])


def confused(m: Material) -> Html:
    """Return the matrix and the pairs confused most."""
    if m.result is None or not isinstance(m.result.targets, OneOf):
        return Html()
    counts = counted(m.result)
    shown = matrix(counts, m.result.classes)
    order = f", {shown.note}" if shown.note else ""
    how = f"{shown.title}. Rows are true classes, columns what they were taken for{order}. Blue is right, orange wrong."
    return together([confusion(shown), element("p", how, class_="small"), pairs(counts, m.result.classes)])


def pairs(counts: Int64[np.ndarray, "K K"], classes: Sequence[str]) -> Html:
    """Return the pairs confused most, as a table."""
    found, head = most_confused(counts, PAIRS), ("True → taken for", "Images", "of", "Share")
    if not found:
        return element("p", "No image was taken for another class.")
    rows = [
        (together([name(classes[true]), " → ", name(classes[predicted])]), f"{n:,}", f"{of:,}", percent(n / of))
        for true, predicted, n, of in found
    ]
    return together([element("h3", "Most confused"), table(head, rows, "numbers long")])


def classes(m: Material) -> Html:
    """Each class's counts and ratios; the worst first where there are many."""
    if m.result is None:
        return Html()
    if not isinstance(m.result.targets, OneOf):
        return labelled(m, m.result)
    trained = m.counts.get("train")
    rows = list(enumerate(per_class(counted(m.result))))
    many = len(rows) > NUMBERED
    if many:
        rows.sort(key=lambda row: math.inf if math.isnan(row[1].f1) else row[1].f1)
    lines = [
        (
            name(m.result.classes[i]),
            f"{trained[i]:,}" if trained is not None else "-",
            f"{row.support:,}",
            *(percent(share).removesuffix(" %") for share in (row.precision, row.recall, row.f1)),
        )
        for i, row in rows
    ]
    head = ("Class", "Trained", "Scored", "Precision", "Recall", "F1")
    long = any(columns(label) > 10 for label in m.result.classes)
    said = "The worst by F1 first. " * many + "How many images it was trained on and how many were scored; precision: "
    said += "of the images taken for the class, the % that are; recall: of its images, the % found; F1: the harmonic "
    said += "mean of both."
    return together([table(head, lines, "numbers" + " long" * long), element("p", said, class_="small")])


def mistakes(m: Material) -> Html:
    """Return the mistakes, where each image has one label."""
    if m.result is None or not isinstance(m.result.targets, OneOf):
        return Html()
    return gallery(m.mistakes, m.training.preprocess.size)


def labelled(m: Material, result: Evaluation) -> Html:
    """Return each class's average precision and F1, for images that may have several; the worst first."""
    trained = m.counts.get("train")
    rows = sorted(enumerate(rows_of(result)), key=lambda row: math.inf if math.isnan(row[1].ap) else row[1].ap)
    lines = [
        (
            name(result.classes[i]),
            f"{trained[i]:,}" if trained is not None else "-",
            f"{row.positives:,}",
            percent(row.ap).removesuffix(" %"),
            f"{row.threshold:.3f}",
            *(percent(share).removesuffix(" %") for share in (row.precision, row.recall, row.f1)),
        )
        for i, row in rows
    ]
    head = ("Class", "Trained", "Scored", "AP", "From", "Precision", "Recall", "F1")
    said = "The worst by average precision (AP) first. How many images with it were trained on and scored; from which "
    said += "probability an image is taken to have it; precision: of the images taken to have it, the % that do; "
    said += "recall: of the images that have it, the % found; F1: the harmonic mean of both."
    return together([table(head, lines, "numbers long"), element("p", said, class_="small")])


def gallery(mistakes: Sequence[Mistake], size: int) -> Html:
    """The mistakes the model was surest of, as it saw them."""
    if not mistakes:
        return element("p", "There are none: every image was named rightly.")
    shown = [
        element(
            "figure",
            picture(m.pixels, f"taken for {m.predicted}"),
            element("figcaption", element("p", element("b", name(m.predicted, 28)), " ",
                            element("span", f"{100 * m.probability:.1f} %")),
                    element("p", "is ", name(m.true, 28)), element("p", name(m.name, 56), class_="file")),
        )
        for m in mistakes
    ]  # fmt: skip
    said = f"The {len(shown)} that the network was surest of, as it saw them at {size} x {size} pixels: "
    said += "what it took each for and with what probability, what it is, and its file."
    return together([element("p", said, class_="small"), element("div", *shown, class_="gallery")])


def first_layer(m: Material) -> Html:
    """Filters of the first convolution, and what they make of one image."""
    inside = m.inside
    if inside is None:
        return Html()
    parts = (
        (inside.filters, "filters of the first convolution", together(["Filters of ", name(inside.layer)])),
        (inside.image, "an example", together(["An image: ", name(inside.name, 56)])),
        (inside.maps, "its feature maps", "Its maps, before anything follows"),
    )
    figures = [
        element("figure", picture(pixels, says), element("figcaption", caption))
        for pixels, says, caption in parts
        if pixels is not None
    ]
    if not figures:
        return Html()
    said = "The filters, and the maps, share one scale each: the lowest value is black, the highest white."
    return together([element("div", *figures, class_="inside"), element("p", said, class_="small")])
