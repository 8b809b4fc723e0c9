"""The pages of the documentation as files: their links, their anchors, their blocks of code and the commands in these."""

import re
import shlex
import unicodedata
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise, takewhile
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "data/**/*.md", "docs/**/*.md", "reports/**/*.md")
    for path in ROOT.glob(pattern)
)

LEFT_OUT = "..."
"""A word of a command that stands for what it leaves out."""

_GITHUB = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_PARSED_ONLY = re.compile(r"<!-- parsed only(?P<places>[\d, ]*): (?P<why>.+?) -->", re.DOTALL)
_COMMAND = re.compile(r"(?:vt|(?:python|torchrun .*?) -m videothinker) (?P<rest>.+)")


class Links(HTMLParser):
    """What a piece of HTML links to and fetches, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and found.get("rel") != "canonical":
            self.fetched.append(found["href"])
        self.fetched += [found["src"]] if "src" in found else []
        self.fetched += [one.split()[0] for one in found.get("srcset", "").split(",") if one.strip()]


def tokens_of(text: str) -> list[Token]:
    """A page as GitHub parses it, inline tokens among the others."""
    return [each for token in _GITHUB.parse(text) for each in (token, *(token.children or []))]


def links_of(page: str) -> list[str]:
    """Where a page's links, pictures and HTML point."""
    found = []
    for token in tokens_of((ROOT / page).read_text()):
        if token.type in ("html_block", "html_inline"):
            html = Links(token.content)
            found += html.links + html.fetched
        elif token.type in ("link_open", "image"):
            found.append(str(token.attrs.get("href") or token.attrs.get("src")))
    return found


def anchors_of(page: str) -> set[str]:
    """The anchors that GitHub gives a page's headings: lower case, without punctuation, a hyphen for each space."""
    found: dict[str, int] = {}
    tokens = _GITHUB.parse((ROOT / page).read_text())
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            words = "".join(part.content for part in token.children or [] if part.type in ("text", "code_inline"))
            kept = [c for c in unicodedata.normalize("NFC", words.lower()) if c.isalnum() or c in " -_"]
            slug = "".join(kept).strip().replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
    return {f"{slug}-{n}" if n else slug for slug, last in found.items() for n in range(last + 1)}


class Command(NamedTuple):
    """A command of `vt` in a page's block of code."""

    page: str
    line: int
    """Where its block begins, from 1."""
    words: tuple[str, ...]
    """What stands behind `vt`, without comments."""
    why_not: str
    """Why it is only parsed, as the comment above its block says, or because a part was left out; empty: it is run."""

    @property
    def name(self) -> str:
        """For a test's name and for what it says when it fails."""
        return f"{self.page}:{self.line}: vt {shlex.join(self.words)}"


def commands_of(page: str) -> list[Command]:
    """All commands in a page's blocks of code. `<!-- parsed only: why -->` above a block keeps its commands from being run, or,
    with numbers such as `<!-- parsed only 1, 3: why -->`, some of them, counted from 1."""
    found = []
    why, places = "", frozenset[int]()
    for token in _GITHUB.parse((ROOT / page).read_text()):
        if token.type == "html_block" and (marker := _PARSED_ONLY.search(token.content)):
            why, places = marker["why"], frozenset(int(place) for place in re.findall(r"\d+", marker["places"]))
            continue
        if token.type in ("fence", "code_block"):
            line = (token.map or [0])[0] + 1
            for place, words in enumerate(_commands(token.content), start=1):
                reason = LEFT_OUT if LEFT_OUT in words else why if not places or place in places else ""
                found.append(Command(page, line, words, reason))
        why, places = "", frozenset()
    return found


def _commands(code: str) -> Iterator[tuple[str, ...]]:
    for line in code.replace("\\\n", " ").splitlines():
        if found := _COMMAND.fullmatch(line.strip()):
            yield words_of(found["rest"])


def words_of(command: str) -> tuple[str, ...]:
    """The words of a shell's line, without its comment and without the file that its output goes to."""
    return tuple(takewhile(lambda word: word != ">", shlex.split(command, comments=True)))


def commands_named(page: str) -> list[tuple[str, ...]]:
    """What stands behind `vt` where a sentence names a command, such as `vt curate probe` or `vt diagnose --limit 200`."""
    codes = [token.content for token in tokens_of((ROOT / page).read_text()) if token.type == "code_inline"]
    return [tuple(code.split()[1:]) for code in codes if code.startswith("vt ")]
