"""A page as a tree, for tests."""

import base64
import io
from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from imclass.app.report.markup import VOID_ELEMENTS


@dataclass
class Node:
    """An element and its contents."""

    tag: str
    attributes: dict[str, str | None] = field(default_factory=dict)
    inside: list["Node | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.inside)

    def all(self, tag: str = "", **wanted: str) -> list["Node"]:
        """Return every element below with this tag and these attributes, in order."""
        below = [node for part in self.inside if isinstance(part, Node) for node in (part, *part.all())]
        return [n for n in below if tag in ("", n.tag) and all(n.attributes.get(k) == v for k, v in wanted.items())]

    def one(self, tag: str = "", **wanted: str) -> "Node":
        (found,) = self.all(tag, **wanted)
        return found


class Reader(HTMLParser):
    """A parser of a page into a tree; a misplaced end tag is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.open = [Node("")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs))
        assert len(attrs) == len(node.attributes), attrs
        self.open[-1].inside.append(node)
        if tag not in VOID_ELEMENTS:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].inside.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    unknown_decl = handle_pi = handle_comment


def read(page: str) -> Node:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert len(reader.open) == 1
    return reader.open[0]


def pixels_of(image: Node) -> np.ndarray:
    kind, _, content = str(image.attributes["src"]).partition(";base64,")
    with Image.open(io.BytesIO(base64.b64decode(content))) as opened:
        assert kind == f"data:image/{str(opened.format).lower()}"
        return np.asarray(opened)
