"""Documents that ship with the project, as HTML: the Markdown below ``docs/`` and CHANGELOG.md.

Raw HTML in a document is shown as text, and images are left out. Links are kept only to addresses of
this server, other documents in the help, and http(s) URLs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from core.settings import PROJECT

DOCS = PROJECT / "docs"


@dataclass(frozen=True)
class Section:
    """A heading and its text, up to the next one.

    Attributes:
        slug: Its anchor; '' for the start of the document.
        title: The heading.
        text: Its text without markup, for the search.
    """

    slug: str
    title: str
    text: str


@dataclass(frozen=True)
class Document:
    """A rendered document.

    Attributes:
        title: Its first heading, which is not part of ``html``.
        html: The rest.
        sections: The start, then one for each second-level heading.
    """

    title: str
    html: Markup
    sections: tuple[Section, ...]


def document(path: Path) -> Document:
    """Read and render a document; cached until the file changes.

    Args:
        path: A Markdown file of the project.
    """
    return _rendered(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _rendered(path: Path, _changed: int) -> Document:
    from markdown_it import MarkdownIt  # imported here, because most pages need no Markdown

    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = reader.parse(path.read_text(encoding="utf-8"))
    title, body = path.stem, tokens
    if tokens and (tokens[0].type, tokens[0].tag) == ("heading_open", "h1"):
        title, body = _plain(tokens[1]), tokens[3:]
    sections = tuple(_sections(title, body))
    _prepare(body, path)
    # Every text and attribute is escaped by the renderer, and raw HTML is off.
    html = Markup(reader.renderer.render(body, reader.options, {}))  # noqa: S704
    return Document(title, html, sections)


def _sections(title: str, tokens: list[Any]) -> Iterator[Section]:
    """Split at headings of the second level, and give each of these its anchor."""
    slug, heading, named, words = "", title, -1, list[str]()
    for place, token in enumerate(tokens):
        if token.type == "heading_open" and token.tag == "h2":
            yield Section(slug, heading, " ".join(words))
            heading, named, words = _plain(tokens[place + 1]), place + 1, []
            slug = re.sub(r"\W+", "-", heading.lower()).strip("-")
            slug = f"part-{slug}" if slug[:1].isdigit() else slug  # an id begins with a letter
            token.attrSet("id", slug)
        elif token.type in {"inline", "fence"} and place != named:
            words.append(_plain(token))
    yield Section(slug, heading, " ".join(words))


def _plain(token: Any) -> str:
    if not token.children:
        return str(token.content)
    return "".join(" " if child.type == "softbreak" else child.content for child in token.children)


def _prepare(tokens: list[Any], path: Path) -> None:
    """Point links to the help, and let wide tables and code scroll inside their own box."""
    from markdown_it.token import Token

    for place in range(len(tokens) - 1, -1, -1):
        token = tokens[place]
        if token.type == "inline":
            token.children = _with_links(token.children or [], lambda target: _address(target, path))
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "table_open":
            opening = Token("scroll_open", "div", 1, block=True)
            opening.attrs = {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": "Table"}
            tokens.insert(place, opening)
        elif token.type == "table_close":
            tokens.insert(place + 1, Token("scroll_close", "div", -1, block=True))


def _with_links(children: list[Any], address: Callable[[str], str]) -> list[Any]:
    """The same text; links without a target here become plain text."""
    kept, open_links = [], list[bool]()
    for child in children:
        if child.type == "link_open":
            target = address(str(child.attrGet("href") or ""))
            open_links.append(bool(target))
            child.attrSet("href", target)
        opens, closes = child.type == "link_open", child.type == "link_close"
        if not ((opens and not open_links[-1]) or (closes and not open_links.pop())):
            kept.append(child)
    return kept


def _address(target: str, path: Path) -> str:
    """A link's target on this server; '' if it is not in the help."""
    if re.match(r"https?://|/(?!/)|#", target):
        return target
    name, _, anchor = target.partition("#")
    found = (path.parent / name).resolve()
    if not name or found.suffix != ".md" or not found.is_relative_to(DOCS) or not found.is_file():
        return ""
    slug = slug_of(found)
    return f"{slug}{f'#{anchor}' if anchor else ''}" if slug else ""


def slug_of(path: Path) -> str:
    """The address of a document in the help; '' if it is not there (decisions)."""
    inside = path.relative_to(DOCS)
    if inside.parts[0] == "help":
        return f"/help/{inside.stem}"
    return "" if inside.parts[0] == "decisions" else f"/help/reference/{'-'.join(inside.with_suffix('').parts)}"
