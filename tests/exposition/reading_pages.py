"""A page read back as a browser would: its text, and what stands in it. Nothing here knows how it was made."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "link", "img", "br", "wbr", "hr", "input"})


@dataclass(slots=True)
class Node:
    """An element. `text` is its own and its descendants', blanks put together."""

    tag: str
    attributes: dict[str, str | None]
    children: list["Node | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        parts = [
            child if isinstance(child, str) else f"{child.text}{' ' * (child.tag in BLOCKS)}"
            for child in self.children
        ]
        return re.sub(r"\s+", " ", "".join(parts)).strip() if self.tag in BLOCKS else "".join(parts)

    def all(self, tag: str, class_: str | None = None) -> list["Node"]:
        """Descendants of that tag, in the order of the page."""
        found: list[Node] = []
        for child in self.children:
            if isinstance(child, Node):
                if child.tag == tag and (
                    class_ is None or class_ in (child.attributes.get("class") or "").split()
                ):
                    found.append(child)
                found += child.all(tag, class_)
        return found


BLOCKS = frozenset(
    {"html", "body", "header", "main", "section", "div", "p", "ul", "li", "h1", "h2", "h3", "table", "tbody"}
    | {"tr", "td", "th", "dl", "dt", "dd", "summary", "details", "footer", "nav", "caption"}
)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs))
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read_page(page: bytes) -> Node:
    """The document; every element must be closed in its order."""
    reader = _Reader()
    reader.feed(page.decode())
    reader.close()
    assert reader.open == [reader.root]
    return reader.root
