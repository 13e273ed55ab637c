"""HTML put together so that nothing a user named can become markup: every string is escaped unless it is `Html`."""
# Tested in tests/app/report/test_page.py

import base64
import html
import io
from collections.abc import Iterable, Sequence
from importlib import resources

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from imclass.core.runtime import library_versions
from imclass.core.text import printable_text, shorten_name

VOID_ELEMENTS = ("br", "img", "meta")  # elements that have no end tag
CRISP_SIDE = 64  # pixels a side up to which a picture is shown enlarged, each of its pixels a sharp square
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
MAX_IMAGE_SIDE = 1024  # pixels a side of any embedded picture


class Html(str):
    """Markup that is safe as it stands. Only `escaped` and `element` make it, and the package's own literals."""

    __slots__ = ()


def document(title: str, *body: str) -> Html:
    """Return a whole HTML file that needs and runs nothing else."""
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
    end = f"Written by imclass {library_versions()['imclass']}. This page holds all it shows."
    whole = element("html", head, element("body", element("main", *body, element("footer", end))), lang="en")
    return Html(f"<!DOCTYPE html>\n{whole}\n")


def escape_html(text: str) -> Html:
    """`text` as it can stand between tags and in quotes; control characters and the like are shown as escapes."""
    if isinstance(text, Html):
        return text
    return Html(html.escape(text if text.isprintable() else printable_text(text)))


def element(tag: str, *inside: str, **attributes: str) -> Html:
    """An element. A trailing underscore of an attribute's name is dropped, others become hyphens."""
    names = {key: key.rstrip("_").replace("_", "-") for key in attributes}
    written = "".join(f' {names[key]}="{escape_html(str(value))}"' for key, value in attributes.items())
    content = "".join(map(escape_html, inside))
    return Html(f"<{tag}{written}>" if tag in VOID_ELEMENTS else f"<{tag}{written}>{content}</{tag}>")


def join_html(parts: Iterable[str], between: str = "") -> Html:
    """Several pieces as one, with `between` between them."""
    return Html(escape_html(between).join(map(escape_html, parts)))


def name_element(text: str, most: int = 40) -> Html:
    """A name of the user's, its writing direction kept to itself; a long one loses its middle and tells on hovering."""
    short, whole = shorten_name(text, most), printable_text(text)
    return element("bdi", short) if short == whole else element("bdi", short, title=whole)


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], class_: str = "") -> Html:
    """A table in a box that scrolls by itself where the page is narrow; the first cell of a row is its heading."""
    top = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = (
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    )
    inside = element("table", element("thead", top), element("tbody", *body), class_=class_)
    return element("div", inside, class_="scroll", tabindex="0")


def definition_list(pairs: Iterable[tuple[str, str]]) -> Html:
    """A list of what is the case: terms and their values."""
    return element("dl", *(element("div", element("dt", term), element("dd", value)) for term, value in pairs))


def image_element(pixels: UInt8[np.ndarray, "..."], says: str, class_: str = "") -> Html:
    """An image element that carries its pixels (H W of greys, or H W C with C of 1, 3 or 4); `says` is its text."""
    kind, content = encode_image(Image.fromarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels))
    classes = f"{class_} crisp".strip() if max(pixels.shape[:2]) <= CRISP_SIDE else class_
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    height, width = map(str, pixels.shape[:2])
    return element("img", src=source, alt=says, width=width, height=height, class_=classes)


def encode_image(image: Image.Image) -> tuple[str, bytes]:
    """What kind of file, and the file: exact where it is small, compressed and at most so large where it is not."""
    file = io.BytesIO()
    if image.mode == "RGBA" or max(image.size) <= 2 * CRISP_SIDE:
        image.save(file, "PNG", optimize=True)
        return "png", file.getvalue()
    image.thumbnail((MAX_IMAGE_SIDE, MAX_IMAGE_SIDE))
    image.save(file, "JPEG", quality=90)
    return "jpeg", file.getvalue()


GENERATOR = element("meta", name="generator", content="imclass")
