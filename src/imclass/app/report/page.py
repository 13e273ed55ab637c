"""A report's page: a section for each thing there is to tell, in one HTML file that needs and runs nothing else."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int64, UInt8

from imclass.app.draw.confusion import COUNTS_LIMIT, matrix_view
from imclass.app.draw.curves import SPLIT_COLOURS, panels
from imclass.app.report.background import configuration_section, data_section, environment_section, time_section
from imclass.app.report.facts import HeadlineScore, ReportData
from imclass.app.report.figures import confusion_figure, panel_figure
from imclass.app.report.markup import (
    Html,
    definition_list,
    document,
    element,
    html_table,
    image_element,
    join_html,
    name_element,
)
from imclass.app.report.mistakes import caption
from imclass.app.text.evaluation import MAX_CONFUSED_PAIRS, top5_text
from imclass.app.text.evaluation import confusion_matrix as counted
from imclass.app.text.labels import label_measures
from imclass.core.contracts import Evaluation
from imclass.core.targets import OneOf
from imclass.core.text import percent, text_width
from imclass.data.source import ALL_IMAGES
from imclass.data.subset import VALIDATION
from imclass.evaluation.measures.intervals import wilson_interval
from imclass.evaluation.measures.mistakes import WrongImage
from imclass.evaluation.measures.single_label import class_rows, confused_pairs


def page(material: ReportData) -> Html:
    """Return the whole file."""
    title = f"{material.network} on {material.data}"
    shown = [(id_, heading, content) for id_, heading, content in sections(material) if content]
    links = [element("a", heading, href=f"#{id_}") for id_, heading, _ in shown]
    body = [headline(material), element("nav", join_html(links, " "))]
    body += [element("section", element("h2", heading), content, id=id_) for id_, heading, content in shown]
    return document(title, *body)


def sections(m: ReportData) -> list[tuple[str, str, Html]]:
    """Return id, heading and content of each section."""
    return [(id_, heading, tell(m)) for id_, heading, tell in SECTIONS]


def headline(m: ReportData) -> Html:
    """Return what was trained on what, and what it came to."""
    title = element("h1", name_element(m.network), " on ", name_element(m.data, 60))
    begin = element("p", "Model ", name_element(m.name), class_="run")
    if m.run:
        begin = element(
            "p", "Run ", name_element(m.name), ", recipe ", name_element(m.run.training.recipe), class_="run"
        )
    if m.score is None:
        said = "The data has no held-out part, so nothing is known of images that the network has not seen."
        return element("header", begin, title, element("p", said), missing_scores_note(m))
    honest = element("p", held_out_note(m, m.score.split) if m.run else f"Scored: {m.scored}.", class_="honest")
    return element("header", begin, title, result_summary(m, m.score), missing_scores_note(m), honest)


def result_summary(m: ReportData, score: HeadlineScore) -> Html:
    """Return the main measure, an accuracy with its interval, and what stands behind it."""
    images = "images" if score.split == ALL_IMAGES else f"{score.split} images"
    if score.measure == "top1":
        low, high = wilson_interval(round(score.main * score.evaluated), score.evaluated)
        interval = f"Wilson's 95 % interval {100 * low:.2f} to {100 * high:.2f} %"
        below = f"right of {score.evaluated:,} {images}; {interval}"
    else:
        below = f"mean average precision on {score.evaluated:,} {images}"
    large = element("p", element("strong", percent(score.main)), " ", element("span", below), class_="result")
    refused = score.total - score.evaluated
    counted = f"{score.evaluated:,} of {score.total:,} evaluated" + (f", {refused:,} not" if refused else "")
    counted = m.result.tally if m.result else counted
    five = ""
    if score.measure == "top1":
        five = top5_text(m.result) if m.result else f"top-5 {percent(score.top5)}" if len(m.classes) > 5 else ""
    more = (
        ("Counted", counted),
        *([("Top 5", five.removeprefix("top-5 "))] if five else []),
        ("Cross-entropy", f"{score.loss:.4f} nats an image"),
        ("Weights", m.trained.chosen or "not said"),
    )
    return join_html([large, definition_list(more)])


def missing_scores_note(m: ReportData) -> Html:
    """Return a note where there are no scores to show."""
    if not m.problem:
        return Html()
    said = f"The scores of this run cannot be shown: {m.problem}. "
    said += "The numbers here are those that the model file recorded. " if m.score else ""
    return element("p", said + "Confusions, mistakes and feature maps are missing.", class_="note")


def held_out_note(m: ReportData, split: str) -> str:
    """Return what the held-out part is, whether it was trained on, and what it chose."""
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
    return f"The held-out images are {part}. {overlap_note(m)} {chose}"


def overlap_note(m: ReportData) -> str:
    """Return how many of the scored images the network was trained on."""
    known = m.result.trained_on if m.result else 0
    if not known:
        return "The network was not trained on them."
    return f"The network was trained on {known:,} of them, which are in the training part as well."


def learning_section(m: ReportData) -> Html:
    """Return loss and error over epochs."""
    if m.run is None:
        return Html()
    rows = m.run.history
    if not rows:
        return element("p", "The log holds no finished epoch.", class_="note")
    held_out = " and ".join(split for split in SPLIT_COLOURS if split != "train" and f"{split}_loss" in rows[0])
    said = "The training line shows means over parts of an epoch, the number below it the mean over the last one: both "
    said += "while the weights were still changing and, where the recipe says so, of altered images"
    said += f"; {held_out} after each epoch." if held_out else "."
    if rows[-1].get("train_auxiliary"):
        said += " The loss of auxiliary heads, which are only there in training, is left out of the line."
    pair = element("div", *map(panel_figure, panels(rows, m.run.within_epochs)), class_="pair")
    return join_html([pair, element("p", said, class_="small")])


def confusion_section(m: ReportData) -> Html:
    """Return the matrix and the pairs confused most, where each image has one label."""
    if m.result is None or not isinstance(m.result.targets, OneOf):
        return Html()
    counts = counted(m.result)
    shown = matrix_view(counts, m.result.classes)
    order = f", {shown.note}" if shown.note else ""
    how = f"{shown.title}. Rows are true classes, columns what they were taken for{order}. Blue is right, orange wrong."
    return join_html(
        [confusion_figure(shown), element("p", how, class_="small"), confused_pairs_table(counts, m.result.classes)]
    )


def confused_pairs_table(counts: Int64[np.ndarray, "K K"], classes: Sequence[str]) -> Html:
    """Return the pairs confused most, as a table."""
    found, head = confused_pairs(counts, MAX_CONFUSED_PAIRS), ("True → taken for", "Images", "of", "Share")
    if not found:
        return element("p", "No image was taken for another class.")
    rows = [
        (
            join_html([name_element(classes[true]), " → ", name_element(classes[predicted])]),
            f"{n:,}",
            f"{of:,}",
            percent(n / of),
        )
        for true, predicted, n, of in found
    ]
    return join_html([element("h3", "Most confused"), html_table(head, rows, "numbers long")])


def classes_section(m: ReportData) -> Html:
    """Return each class's counts and ratios; the worst first where there are many."""
    if m.result is None:
        return Html()
    if not isinstance(m.result.targets, OneOf):
        return label_table(m, m.result)
    trained = m.counts.get("train")
    rows = list(enumerate(class_rows(counted(m.result))))
    many = len(rows) > COUNTS_LIMIT
    if many:
        rows.sort(key=lambda row: math.inf if math.isnan(row[1].f1) else row[1].f1)
    lines = [
        (
            name_element(m.result.classes[i]),
            *([f"{trained[i]:,}"] if trained is not None else []),
            f"{row.support:,}",
            *(percent(share).removesuffix(" %") for share in (row.precision, row.recall, row.f1)),
        )
        for i, row in rows
    ]
    head = ("Class", *(["Trained"] if trained is not None else []), "Scored", "Precision", "Recall", "F1")
    long = any(text_width(label) > 10 for label in m.result.classes)
    said = "how many images it was trained on and how many were scored; " if trained is not None else ""
    said += "precision: of the images taken for the class, the % that are; recall: of its images, the % found; F1: the "
    said += "harmonic mean of both."
    said = ("The worst by F1 first. " if many else "") + said[0].upper() + said[1:]
    return join_html(
        [html_table(head, lines, "numbers long" if long else "numbers"), element("p", said, class_="small")]
    )


def label_table(m: ReportData, result: Evaluation) -> Html:
    """Return each class's average precision and F1, for images that may have several; the worst first."""
    trained = m.counts.get("train")
    rows = sorted(enumerate(label_measures(result)), key=lambda row: math.inf if math.isnan(row[1].ap) else row[1].ap)
    lines = [
        (
            name_element(result.classes[i]),
            *([f"{trained[i]:,}"] if trained is not None else []),
            f"{row.positives:,}",
            percent(row.ap).removesuffix(" %"),
            f"{row.threshold:.3f}",
            *(percent(share).removesuffix(" %") for share in (row.precision, row.recall, row.f1)),
        )
        for i, row in rows
    ]
    known = ["Trained"] if trained is not None else []
    head = ("Class", *known, "Scored", "AP", "From", "Precision", "Recall", "F1")
    said = "The worst by average precision (AP) first. How many images with it were trained on and scored; from which "
    said += "probability an image is taken to have it; precision: of the images taken to have it, the % that do; "
    said += "recall: of the images that have it, the % found; F1: the harmonic mean of both."
    return join_html([html_table(head, lines, "numbers long"), element("p", said, class_="small")])


def mistakes_section(m: ReportData) -> Html:
    """Return the mistakes the model was surest of, as it saw them, where each image has one label."""
    if m.result is None or not isinstance(m.result.targets, OneOf):
        return Html()
    if not m.mistakes:
        return element("p", "There are none: every image was named rightly.")
    seen = f", as it saw them at {m.size} x {m.size} pixels" if m.size else ""
    said = f"The {len(m.mistakes)} that the model was surest of{seen if m.pictures else ''}: "
    said += "what it took each for and with what probability, what it is, with its probability and rank, and its file."
    figures = element("div", *(mistake_figure(one, m.pictures.get(one.image)) for one in m.mistakes), class_="gallery")
    return join_html([element("p", said, class_="small"), figures])


def mistake_figure(one: WrongImage, pixels: UInt8[np.ndarray, "_ _ _"] | None) -> Html:
    """Return one mistake, with its picture where that was kept."""
    return element(
        "figure", Html() if pixels is None else image_element(pixels, f"taken for {one.predicted}"), caption(one)
    )


def first_layer_section(m: ReportData) -> Html:
    """Filters of the first convolution, and what they make of one image."""
    inside = m.inside
    if inside is None:
        return Html()
    parts = (
        (inside.filters, "filters of the first convolution", join_html(["Filters of ", name_element(inside.layer)])),
        (inside.image, "an example", join_html(["An image: ", name_element(inside.name, 56)])),
        (inside.maps, "its feature maps", "Its maps, before anything follows"),
    )
    figures = [
        element("figure", image_element(pixels, says), element("figcaption", caption))
        for pixels, says, caption in parts
        if pixels is not None
    ]
    if not figures:
        return Html()
    said = "The filters, and the maps, share one scale each: the lowest value is black, the highest white."
    return join_html([element("div", *figures, class_="inside"), element("p", said, class_="small")])


# Each returns nothing where it does not apply.
SECTIONS: tuple[tuple[str, str, Callable[[ReportData], Html]], ...] = (
    ("curves", "Learning", learning_section),
    ("confusion", "Confusion", confusion_section),
    ("classes", "Classes", classes_section),
    ("mistakes", "Mistakes", mistakes_section),
    ("inside", "First layer", first_layer_section),
    ("data", "Data", data_section),
    ("time", "Time", time_section),
    ("configuration", "Configuration", configuration_section),
    ("environment", "Environment", environment_section),
)
