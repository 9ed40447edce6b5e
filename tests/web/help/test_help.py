"""Help: its contents, search and documents, and What's new."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from core.version import VERSION
from pages.documents import DOCS, document
from pages.help import GUIDES, SHORTCUTS, chapters, search
from tests.conftest import Browser


def text(browser: Browser, path: str) -> str:
    response = browser.get(path)
    assert response.status_code == 200, path
    return html.unescape(response.get_data(as_text=True))


def test_every_topic_in_the_contents_opens_under_its_own_title(browser: Browser) -> None:
    """Guides first, 'Your first 10 minutes' at the top; every document in docs/ except the decisions is listed."""
    contents = text(browser, "/help")
    topics = [topic for chapter in chapters() for topic in chapter.topics]
    assert topics[0].title == "Your first 10 minutes"
    for topic in topics:
        assert f'<a href="{topic.url}">{topic.title}</a>' in contents
        assert f"<h1>{topic.title}</h1>" in text(browser, topic.url)
    shown = [path for path in DOCS.rglob("*.md") if "decisions" not in path.parts]
    assert len(topics) == len(shown) + 4
    assert {path.stem for path in (DOCS / "help").glob("*.md")} == set(GUIDES)


def test_a_topic_that_does_not_exist_is_not_found(browser: Browser) -> None:
    """Neither a mistyped one nor a file that is not part of the help."""
    for path in ("/help/nothing", "/help/reference/nothing", "/help/reference/decisions-login", "/help/..%2Fapi"):
        assert browser.get(path).status_code == 404, path


def test_the_search_finds_words_in_titles_first(browser: Browser) -> None:
    """All words must match, in any order; matches are highlighted, and the query is shown as plain text.

    A result shows the section's heading once, as its title.
    """
    found = search("out memory")
    assert (found[0].title, found[0].url) == ("Out of memory", "/help/troubleshooting#out-of-memory")
    assert not found[0].text.striptags().startswith("Out of memory")
    assert search("DIVERGENCE kl")[0].url == "/help/glossary#word-kl"
    assert search("") == search("xyzzy") == []
    page = browser.get("/help?q=batch+size").get_data(as_text=True)
    assert "<mark>batch</mark>" in page
    hostile = browser.get("/help?q=%3Cscript%3Ealert(1)").get_data(as_text=True)
    assert "<script>alert" not in hostile
    assert "No help topic matches “&lt;script&gt;alert(1)”" in hostile


def test_a_document_is_shown_without_raw_html_and_foreign_links(tmp_path: Path) -> None:
    """HTML is escaped, images are omitted, and links go to the help, this server or a website, or are removed."""
    file = tmp_path / "page.md"
    file.write_text(
        "# Title\n\nIntro <script>alert(1)</script> ![picture](x.png) [bad](javascript:alert(1)) "
        "[up](../../etc/passwd) [web](https://example.org) [here](/new) [proto](//evil.example)"
        "\n\n## A part\n\n| a |\n|---|\n| b |\n",
        encoding="utf-8",
    )
    shown = document(file)
    assert (shown.title, [part.slug for part in shown.sections]) == ("Title", ["", "a-part"])
    assert "<script>" not in shown.html
    assert "<img" not in shown.html
    assert re.findall(r'href="([^"]*)"', shown.html) == ["https://example.org", "/new"]
    assert '<h2 id="a-part">A part</h2>' in shown.html
    assert '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>' in shown.html.replace("\n", "")
    assert " up " in shown.html


def test_documents_link_to_each_other_where_the_help_shows_them() -> None:
    """A relative link between two files becomes the address of the other topic."""
    targets = re.findall(r'href="([^"]*)"', document(DOCS / "datasets.md").html)
    assert "/help/reference/conversations" in targets
    assert not [target for target in targets if target.endswith(".md")]


def test_a_changed_document_is_read_again(tmp_path: Path) -> None:
    """A document is cached as long as its file is unchanged."""
    file = tmp_path / "page.md"
    file.write_text("# One\n", encoding="utf-8")
    assert document(file).title == "One"
    file.write_text("# Two words\n", encoding="utf-8")
    assert document(file).title == "Two words"


@pytest.mark.parametrize("path", ["/help/shortcuts", "/help/glossary", "/help/whats-new"])
def test_one_place_for_each_list(browser: Browser, path: str) -> None:
    """Shortcuts, terms and versions each have their own page."""
    page = text(browser, path)
    expected = {
        "/help/shortcuts": [words for pair in SHORTCUTS for words in pair],
        "/help/glossary": ["Temperature", "KL divergence", "LoRA rank"],
        "/help/whats-new": [f"You are using version {VERSION}.", VERSION],
    }[path]
    assert [words for words in expected if words not in page] == []


def test_every_page_names_the_version_and_leads_to_what_is_new(browser: Browser) -> None:
    """The script adds the badge: it knows which version this browser has seen."""
    assert f'href="/help/whats-new" data-version="{VERSION}"' in text(browser, "/runs")
