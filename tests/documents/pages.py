"""The repository's pages, taken apart: blocks, headings, links, words in backticks."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LEFT_OUT = {"build", "node_modules"}

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})(.*)$")
_HEADING = re.compile(r"^#{1,6} +(.*?)(?: +#+)?$")
_SPAN = re.compile(r"(`+)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?(?: +\"[^\"]*\")?\)")
_HTML_LINK = re.compile(r"""<(?:a|img)\b[^>]*?\b(?:href|src)=["']([^"']+)["']""")
_NOT_RUN = re.compile(r"<!-- not run: (\S.*?) -->\s*$")
_ENDS = frozenset({"|", ">", ">>", "<", "&&", "||", ";", "&"})


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `not_run` is the reason given above it, None where none is."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None

    def __str__(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Page:
    """`prose` is the text without its fenced blocks, `words` what stands in backticks there."""

    path: Path
    blocks: tuple[Block, ...]
    prose: str

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(" ".join(found[2].split()) for found in _SPAN.finditer(self.prose))

    @property
    def links(self) -> tuple[str, ...]:
        plain = _SPAN.sub("", self.prose)
        return (*_LINK.findall(plain), *_HTML_LINK.findall(plain))

    @property
    def anchors(self) -> frozenset[str]:
        """As GitHub makes them of headings."""
        seen: Counter[str] = Counter()
        found = set()
        for line in self.prose.splitlines():
            if heading := _HEADING.match(line):
                anchor = _anchor(heading[1])
                found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
                seen[anchor] += 1
        return frozenset(found)


def _anchor(heading: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def read(path: Path, text: str | None = None) -> Page:
    """The page at `path`; `text` instead of what is there."""
    lines = (path.read_text() if text is None else text).splitlines()
    blocks: list[Block] = []
    prose: list[str] = []
    inside: list[str] = []
    fence, language, start = "", "", 0
    for number, line in enumerate(lines, 1):
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[2].startswith(fence) and not mark[3].strip():
                why = _NOT_RUN.match(lines[start - 2]) if start > 1 else None
                name = str(path.relative_to(ROOT))
                blocks.append(Block(name, start, language, "\n".join(inside), why and why[1]))
                fence = ""
            else:
                inside.append(line)
        elif mark:
            fence, language, start, inside = mark[2], mark[3].strip(), number, []
        else:
            prose.append(line)
    assert not fence, f"{path}: the block of line {start} has no end"
    return Page(path, tuple(blocks), "\n".join(prose))


@cache
def pages() -> tuple[Page, ...]:
    """All Markdown of the repository, without what is hidden or built."""
    return tuple(read(path) for path in sorted(_markdown()))


def _markdown() -> Iterator[Path]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _LEFT_OUT]
        yield from (Path(folder, name) for name in files if name.endswith(".md"))


def blocks(*languages: str) -> list[Block]:
    """Those of the languages, of all pages."""
    return [block for page in pages() for block in page.blocks if block.language in languages]


def commands(block: Block) -> list[list[str]]:
    """The words of each command of a block: without prompts and comments, up to a pipe or redirection.

    In a `console` block commands are the lines with a prompt; the rest is what they print.
    """
    text = block.text.replace("\\\n", " ")
    lines = text.splitlines()
    if block.language == "console":
        lines = [prompt[1] for line in lines if (prompt := re.match(r"^(?:\w*)[$#] (.*)", line))]
    found: list[list[str]] = []
    for line in lines:
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a picture, or prose
            continue
        end = next((number for number, word in enumerate(words) if word in _ENDS), len(words))
        if words[:end]:
            found.append(words[:end])
    return found


def of_plugin(words: list[str]) -> list[str] | None:
    """What is said to `amdgpu-plugin`, also through `kubectl exec … --`; None where it is another's command."""
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words[:1] == ["kubectl"] and "exec" in words and "--" in words:
        words = words[words.index("--") + 1 :]
    if words and (words[0] == "amdgpu-plugin" or words[0].endswith("/bin/amdgpu-plugin")):
        return words[1:]
    return None
