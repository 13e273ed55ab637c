"""The page of a report: one self-contained HTML file without scripts, divided into sections."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int64, UInt8

from imclass.app.draw.confusion import COUNTS_LIMIT, matrix_view
from imclass.app.draw.curves import SPLIT_COLOURS, panels
from imclass.app.report.background import (
    configuration_section,
    data_section,
    environment_section,
    image_label,
    time_section,
)
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
from imclass.app.report.patches import patches_section
from imclass.app.report.series import folds_section, series_headline, splits_section
from imclass.app.text.evaluation import (
    MAX_CONFUSED_PAIRS,
    balanced_text,
    confusion_matrix,
    group_text,
    has_uneven_classes,
    top5_text,
)
from imclass.app.text.labels import label_measures
from imclass.core.contracts import Evaluation
from imclass.core.targets import OneOf
from imclass.core.text import percent, text_width
from imclass.data.source import ALL_IMAGES
from imclass.data.subset import VALIDATION
from imclass.evaluation.measures.growth import group_measures
from imclass.evaluation.measures.intervals import wilson_interval
from imclass.evaluation.measures.mistakes import WrongImage
from imclass.evaluation.measures.single_label import class_rows, confused_pairs


def page(material: ReportData) -> Html:
    """Return the page as the content of an HTML file."""
    title = f"{material.network} on {material.data}"
    shown = [(id_, heading, content) for id_, heading, make in SECTIONS if (content := make(material))]
    links = [element("a", heading, href=f"#{id_}") for id_, heading, _ in shown]
    body = [headline(material), element("nav", join_html(links, " "))]
    body += [element("section", element("h2", heading), content, id=id_) for id_, heading, content in shown]
    return document(title, *body)


def headline(m: ReportData) -> Html:
    """Return the headline: the network, the data and the main result."""
    title = element("h1", name_element(m.network, 120), " on ", name_element(m.data, 60))
    begin = element("p", "Model ", name_element(m.name), class_="run")
    if m.run:
        begin = element("p", "Run ", name_element(m.name), ", recipe ", name_element(m.run.config.recipe), class_="run")
    if m.score is None:
        text = "The data has no held-out images, so the model's accuracy on new images is unknown."
        result = series_headline(m.series) if m.series else element("p", text)
        return element("header", begin, title, result, missing_scores_note(m))
    honest = element("p", held_out_note(m, m.score.split) if m.run else f"Scored: {m.scored}.", class_="honest")
    return element("header", begin, title, result_summary(m, m.score), missing_scores_note(m), honest)


def result_summary(m: ReportData, score: HeadlineScore) -> Html:
    """Return the main measure, followed by image counts, top-5 accuracy, loss, and how the weights were chosen."""
    images = "images" if score.split == ALL_IMAGES else f"{score.split} images"
    if score.measure == "top1":
        low, high = wilson_interval(round(score.main * score.evaluated), score.evaluated)
        interval = f"95% confidence interval {100 * low:.2f}% to {100 * high:.2f}% (Wilson)"
        text = f"of {score.evaluated:,} {images} are classified correctly; {interval}"
    else:
        text = f"mean average precision on {score.evaluated:,} {images}"
    large = element("p", element("strong", percent(score.main)), " ", element("span", text), class_="result")
    facts = [("Images", count_text(m, score))]
    if top5 := top5_share(m, score):
        facts.append(("True class in top 5", top5))
    if m.result and has_uneven_classes(m.result):
        facts.append(("Balanced accuracy (mean recall of the classes)", balanced_text(m.result)))
    if m.result:
        facts += [(f"{g.name.capitalize()} classes", group_text(m.result, g)) for g in group_measures(m.result)]
        voc = {"map_voc": "As in VOC since 2010", "map11": "At eleven recalls, as in VOC 2007"}
        facts += [(text, percent(m.result.measures[name])) for name, text in voc.items() if name in m.result.measures]
    facts.append(("Loss (cross-entropy)", f"{score.loss:.4f}; 0 is perfect"))
    facts.append(("Weights", m.trained.chosen or "not recorded"))
    return join_html([large, definition_list(facts)])


def count_text(m: ReportData, score: HeadlineScore) -> str:
    """Return the numbers of evaluated and refused images as text."""
    if m.result:
        return m.result.tally
    refused = score.total - score.evaluated
    text = f"{score.evaluated:,} of {score.total:,} evaluated"
    return f"{text}, {refused:,} refused" if refused else text


def top5_share(m: ReportData, score: HeadlineScore) -> str:
    """Return the top-5 accuracy, with an interval if there are scores.

    Return "" for multi-label data, and for at most five classes.
    """
    if score.measure != "top1" or len(m.classes) <= 5:
        return ""
    return top5_text(m.result).removeprefix("top-5 ") if m.result else percent(score.top5)


def missing_scores_note(m: ReportData) -> Html:
    """Return a note that says why the scores are missing. Return empty markup if they are available."""
    if not m.problem:
        return Html()
    text = f"The scores of this run cannot be shown: {m.problem}. "
    if m.score:
        text += "The numbers here are from the model file. "
    return element("p", text + "The confusion matrix, classes, mistakes and feature maps are omitted.", class_="note")


def held_out_note(m: ReportData, split: str) -> str:
    """Return a note on the held-out images.

    The note says how they were selected, how many of them the model was trained on, and what they were used for.
    """
    if split != m.trained.chosen_on:
        use = (
            "They were not used to choose the weights or the learning rate, or to decide when to stop. This page "
            "cannot show whether anyone tuned settings between runs after seeing test results."
        )
    else:
        use = (
            "The weights were chosen on these images, so the result is slightly optimistic. The data has no test "
            "images for an unbiased result."
        )
    return f"The held-out images are {held_out_source(m, split)}. {overlap_note(m)} {use}"


def held_out_source(m: ReportData, split: str) -> str:
    """Describe how the held-out images were selected."""
    rule, share = m.known.rule, m.known.cut.validation
    if share and split == VALIDATION:
        return f"{100 * share:g}% of each class, selected by a hash of the image names and excluded from training"
    if rule == "published":
        return f"the {split} images that were published with the data set"
    if rule == "folders":
        # With `cut.validation` and no `test` folder, the `validation` folder is reported as the test split.
        return "the images in the data's held-out folder" if share else f"the images in the data's {split} folder"
    if rule.startswith("hash"):
        return f"a part of each class, selected by a hash of the file names and excluded from training ({rule})"
    if rule.startswith("fold "):
        return f"one fold of the images, excluded from training ({rule})"
    return rule or "not described"


def overlap_note(m: ReportData) -> str:
    """Return a sentence that says how many of the scored images the model was trained on."""
    known = m.result.trained_on if m.result else 0
    if not known:
        return "The model was not trained on them."
    if known == 1:
        return "One of them is also a training image, so the model was trained on it."
    return f"{known:,} of them are also training images, so the model was trained on them."


def learning_section(m: ReportData) -> Html:
    """Return the learning curves of a run."""
    if m.run is None or not m.run.stages:
        return Html()
    rows = m.run.history
    if not rows:
        return element("p", "The log contains no finished epoch.", class_="note")
    held_out = [split for split in SPLIT_COLOURS if split != "train" and f"{split}_loss" in rows[0]]
    text = "An epoch is one pass over the training images. The training line shows means over parts of an epoch, and "
    text += "the number below the chart is the mean over the last epoch. Both were measured while the weights were "
    text += "still changing and, if the recipe uses augmentation, on augmented images."
    if held_out:
        lines = "line shows the result" if len(held_out) == 1 else "lines show the results"
        text += f" The {' and '.join(held_out)} {lines} after each epoch."
    if rows[-1].get("train_auxiliary"):
        text += " The training line excludes the loss of auxiliary heads, which exist only during training."
    pair = element("div", *map(panel_figure, panels(rows, m.run.within_epochs)), class_="pair")
    return join_html([pair, element("p", text, class_="small")])


def confusion_section(m: ReportData) -> Html:
    """Return the confusion matrix and the most confused pairs of classes, or empty markup for multi-label data."""
    if m.result is None or not isinstance(m.result.targets, OneOf):
        return Html()
    counts = confusion_matrix(m.result)
    shown = matrix_view(counts, m.result.classes)
    order = f"; {shown.note}" if shown.note else ""
    text = f"{shown.title}. Rows are true classes, and columns are predicted classes{order}. "
    text += "Blue is correct, and orange is wrong."
    return join_html(
        [confusion_figure(shown), element("p", text, class_="small"), confused_pairs_table(counts, m.result.classes)]
    )


def confused_pairs_table(counts: Int64[np.ndarray, "K K"], classes: Sequence[str]) -> Html:
    """Return a table of the most confused pairs of classes."""
    found = confused_pairs(counts, MAX_CONFUSED_PAIRS)
    if not found:
        return element("p", "No image was assigned to a wrong class.")
    rows = [
        (
            join_html([name_element(classes[true]), " → ", name_element(classes[predicted])]),
            f"{n:,}",
            f"{of:,}",
            percent(n / of),
        )
        for true, predicted, n, of in found
    ]
    head = ("True class → predicted class", "Errors", "Images in class", "% of class")
    return join_html([element("h3", "Most confused"), html_table(head, rows, "numbers long")])


def classes_section(m: ReportData) -> Html:
    """Return a table of the classes and their measures, and an explanation of the measures."""
    if m.result is None:
        return Html()
    if not isinstance(m.result.targets, OneOf):
        return label_table(m, m.result)
    trained = m.counts.get("train")
    rows = list(enumerate(class_rows(confusion_matrix(m.result))))
    many = len(rows) > COUNTS_LIMIT
    if many:
        rows.sort(key=lambda row: math.inf if math.isnan(row[1].f1) else row[1].f1)
    lines = [
        (
            name_element(m.result.classes[i]),
            *([f"{trained[i]:,}"] if trained is not None else []),
            f"{row.support:,}",
            *(percent(share) for share in (row.precision, row.recall, row.f1)),
        )
        for i, row in rows
    ]
    head = ("Class", *count_heads(m), "Precision", "Recall", "F1")
    is_long = any(text_width(label) > 10 for label in m.result.classes)
    text = "The class with the lowest F1 comes first. " if many else ""
    text += "Precision: of the images predicted as a class, the percentage that belong to it. "
    text += "Recall: of the images in a class, the percentage predicted as that class. "
    text += "F1 is the harmonic mean of precision and recall."
    return join_html(
        [html_table(head, lines, "numbers long" if is_long else "numbers"), element("p", text, class_="small")]
    )


def count_heads(m: ReportData) -> tuple[str, ...]:
    """Return the headers of a class table's count columns, such as "Training images" and "Test images"."""
    split = m.score.split if m.score else ""
    scored = "Scored images" if split in ("", "train", ALL_IMAGES) else image_label(split)
    return (image_label("train"), scored) if "train" in m.counts else (scored,)


def label_table(m: ReportData, result: Evaluation) -> Html:
    """Return a table of the classes for multi-label data, and an explanation of the measures.

    The class with the lowest average precision comes first.
    """
    trained = m.counts.get("train")
    rows = sorted(enumerate(label_measures(result)), key=lambda row: math.inf if math.isnan(row[1].ap) else row[1].ap)
    lines = [
        (
            name_element(result.classes[i]),
            *([f"{trained[i]:,}"] if trained is not None else []),
            f"{row.positives:,}",
            percent(row.ap),
            percent(row.ap11),
            f"{row.threshold:.3f}",
            *(percent(share) for share in (row.precision, row.recall, row.f1)),
        )
        for i, row in rows
    ]
    head = ("Class", *count_heads(m), "AP", "AP 11", "Threshold", "Precision", "Recall", "F1")
    text = "The class with the lowest average precision (AP) comes first. AP 11 is measured at eleven recalls. Image "
    text += "counts include only images with the class. A class is predicted if its probability reaches the threshold. "
    text += "Precision: of the images for which a class was predicted, the percentage that have it. "
    text += "Recall: of the images that have a class, the percentage for which it was predicted. "
    text += "F1 is the harmonic mean of precision and recall."
    return join_html([html_table(head, lines, "numbers long"), element("p", text, class_="small")])


def mistakes_section(m: ReportData) -> Html:
    """Return the most confident mistakes, shown as the model saw them, or empty markup for multi-label data."""
    if m.result is None or not isinstance(m.result.targets, OneOf):
        return Html()
    if not m.mistakes:
        return element("p", "Every image was classified correctly.")
    text = "These are the mistakes the model was most confident about"
    if m.pictures and m.size:
        text += f", shown as the model saw them, at {m.size} x {m.size} pixels"
    text += ". Each caption shows the predicted class with its probability, the true class with its probability and "
    text += "its rank among all classes, and the name of the image."
    figures = element("div", *(mistake_figure(one, m.pictures.get(one.image)) for one in m.mistakes), class_="gallery")
    return join_html([element("p", text, class_="small"), figures])


def mistake_figure(one: WrongImage, pixels: UInt8[np.ndarray, "_ _ _"] | None) -> Html:
    """Return a figure of one mistake: its picture, if there is one, and its caption."""
    picture = Html() if pixels is None else image_element(pixels, f"predicted as {one.predicted}")
    return element("figure", picture, caption(one))


def first_layer_section(m: ReportData) -> Html:
    """Return the filters of the first convolution, and its feature maps for one image."""
    inside = m.inside
    if inside is None:
        return Html()
    parts = (
        (inside.filters, "filters of the first convolution", join_html(["Filters of ", name_element(inside.layer)])),
        (inside.image, "an example image", join_html(["Example image: ", name_element(inside.name, 56)])),
        (inside.maps, "its feature maps", "Feature maps of this image, one per filter"),
    )
    figures = [
        element("figure", image_element(pixels, alt), element("figcaption", label))
        for pixels, alt, label in parts
        if pixels is not None
    ]
    if not figures:
        return Html()
    text = "A feature map shows where in the image a filter responds. The filters share one scale and the maps "
    text += "another: the lowest value is black, and the highest is white."
    return join_html([element("div", *figures, class_="inside"), element("p", text, class_="small")])


# A function returns empty markup if its section does not apply, and the page then omits the section.
SECTIONS: tuple[tuple[str, str, Callable[[ReportData], Html]], ...] = (
    ("curves", "Learning", learning_section),
    ("folds", "Folds", folds_section),
    ("splits", "Splits", splits_section),
    ("confusion", "Confusion matrix", confusion_section),
    ("classes", "Classes", classes_section),
    ("mistakes", "Mistakes", mistakes_section),
    ("inside", "First layer", first_layer_section),
    ("patches", "What it looks at", patches_section),
    ("data", "Data", data_section),
    ("time", "Time", time_section),
    ("configuration", "Configuration", configuration_section),
    ("environment", "Environment", environment_section),
)
