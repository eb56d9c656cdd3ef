"""Every link of every page leads somewhere. Of other sites only the form is looked at."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.documents.pages import ROOT, Page, pages, read


def problem(page: Page, link: str) -> str | None:
    parts = urlsplit(link)
    if parts.scheme in {"http", "https"}:
        return None if re.fullmatch(r"[\w.-]+\.\w+(:\d+)?", parts.netloc) else f"{link}: no such site"
    if parts.scheme == "mailto":
        return None
    if parts.scheme:
        return f"{link}: {parts.scheme} is no scheme for a link"
    if not parts.path:
        return None if parts.fragment in page.anchors else f"{link}: no such heading"
    target = (page.path.parent / unquote(parts.path)).resolve()
    if not target.is_relative_to(ROOT) or not target.exists():
        return f"{link}: no such file"
    if parts.fragment and (target.suffix != ".md" or parts.fragment not in read(target).anchors):
        return f"{link}: no such heading"
    return None


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_and_anchors_resolve(page: Page) -> None:
    assert [told for link in page.links if (told := problem(page, link))] == []


def test_what_does_not_resolve_is_told() -> None:
    page = read(
        ROOT / "docs" / "imagined.md",
        "# One, `two` & three\n## Twice\n## Twice\n"
        "[a](#one-two--three) [b](#twice-1) [c](#twice-2) [d](health.md#the-guard) [e](health.md#nothing) "
        "[f](nothing.md) [g](../../outside.md) [h](https://example.com/x#y) [i](https:///x) ![j](fragmentation.svg) "
        "`[k](in-code.md)`\n```\n[l](in-a-block.md)\n```\n",
    )
    assert [told for link in page.links if (told := problem(page, link))] == [
        "#twice-2: no such heading",
        "health.md#nothing: no such heading",
        "nothing.md: no such file",
        "../../outside.md: no such file",
        "https:///x: no such site",
    ]


def test_the_index_names_every_document() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    names = sorted(Path(page.path).name for page in pages() if page.path.parent == ROOT / "docs")
    assert [name for name in names if f"({name})" not in index and name != "README.md"] == []


def test_every_picture_is_on_a_page() -> None:
    shown = "\n".join(page.path.read_text() for page in pages())
    pictures = [path.name for path in (ROOT / "docs" / "images").iterdir()]
    assert [name for name in pictures if f"images/{name}" not in shown] == []
