"""Functions that build HTML. Strings other than `Html` are escaped, so that names from users cannot become markup."""
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
CRISP_SIDE = 64  # pixels; smaller pictures are enlarged with sharp square pixels
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
MAX_IMAGE_SIDE = 1024  # pixels; larger embedded pictures are shrunk


class Html(str):
    """Markup that is safe to insert unescaped. It is created only by this module's functions, or from literals."""

    __slots__ = ()


def document(title: str, *body: str, style: str = "") -> Html:
    """Return a complete, self-contained HTML file without scripts. `style` is added to the style of all pages."""
    style = Html(read_style("report.css") + style)
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
    end = f"Written by imclass {library_versions()['imclass']}. This page is self-contained."
    root = element("html", head, element("body", element("main", *body, element("footer", end))), lang="en")
    return Html(f"<!DOCTYPE html>\n{root}\n")


def read_style(name: str) -> str:
    """Return the content of one of this folder's style sheets."""
    return resources.files("imclass.app.report").joinpath(name).read_text("utf-8")


def escape_html(text: str) -> Html:
    """Escape `text` for use in HTML, unless it is `Html` already. Unprintable characters become visible escapes."""
    if isinstance(text, Html):
        return text
    return Html(html.escape(text if text.isprintable() else printable_text(text)))


def element(tag: str, *inside: str, **attributes: str) -> Html:
    """Return an element. In attribute names, a trailing underscore is dropped, and other underscores become hyphens."""
    names = {key: key.rstrip("_").replace("_", "-") for key in attributes}
    written = "".join(f' {names[key]}="{escape_html(str(value))}"' for key, value in attributes.items())
    content = "".join(map(escape_html, inside))
    return Html(f"<{tag}{written}>" if tag in VOID_ELEMENTS else f"<{tag}{written}>{content}</{tag}>")


def join_html(parts: Iterable[str], between: str = "") -> Html:
    """Join pieces of markup, separated by `between`."""
    return Html(escape_html(between).join(map(escape_html, parts)))


def name_element(text: str, max_width: int = 40) -> Html:
    """Return a user-supplied name in an element that keeps right-to-left text from affecting the text around it.

    A long name is shortened in the middle, and the full name is shown when the pointer is over it.
    """
    short, full = shorten_name(text, max_width), printable_text(text)
    return element("bdi", short) if short == full else element("bdi", short, title=full)


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], class_: str = "") -> Html:
    """Return a table in a box that scrolls on a narrow page. The first cell of each row is its header."""
    top = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = (
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    )
    inside = element("table", element("thead", top), element("tbody", *body), class_=class_)
    return element("div", inside, class_="scroll", tabindex="0")


def definition_list(pairs: Iterable[tuple[str, str]]) -> Html:
    """Return a list of terms and their values."""
    return element("dl", *(element("div", element("dt", term), element("dd", value)) for term, value in pairs))


def image_element(pixels: UInt8[np.ndarray, "..."], alt: str, class_: str = "") -> Html:
    """Return an image element that embeds pixels of shape H W (greyscale), or H W C with C = 1, 3 or 4."""
    kind, content = encode_image(Image.fromarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels))
    classes = f"{class_} crisp".strip() if max(pixels.shape[:2]) <= CRISP_SIDE else class_
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    height, width = map(str, pixels.shape[:2])
    return element("img", src=source, alt=alt, width=width, height=height, class_=classes)


def encode_image(image: Image.Image) -> tuple[str, bytes]:
    """Encode an image as a file, and return the file's format and bytes.

    Small and transparent images are stored losslessly as PNG. All others are stored as JPEG and, if a side exceeds
    `MAX_IMAGE_SIDE`, shrunk first.
    """
    file = io.BytesIO()
    if image.mode == "RGBA" or max(image.size) <= 2 * CRISP_SIDE:
        image.save(file, "PNG", optimize=True)
        return "png", file.getvalue()
    image.thumbnail((MAX_IMAGE_SIDE, MAX_IMAGE_SIDE))
    image.save(file, "JPEG", quality=90)
    return "jpeg", file.getvalue()


GENERATOR = element("meta", name="generator", content="imclass")
