"""Help: guides, glossary, search, and the problem report."""

from __future__ import annotations

from flask import Blueprint, Response, request

from pages.help import help_glossary, help_index, help_report, help_shortcuts, help_topic
from pages.help import whats_new as news
from routes._pages import page
from services.current import services
from services.machine.report import problem_report

bp = Blueprint("help", __name__, url_prefix="/help")
MOST_TYPED = 200
"""Maximum length of a search; the rest is ignored."""


@bp.get("")
def index() -> str:
    """Show the contents, or search results."""
    return page("help/index.html", help_index(request.args.get("q", "")[:MOST_TYPED].strip()))


@bp.get("/glossary")
def glossary() -> str:
    """Show the glossary."""
    return page("help/glossary.html", help_glossary())


@bp.get("/shortcuts")
def shortcuts() -> str:
    """Show the keyboard shortcuts. The '?' dialog shows the same list."""
    return page("help/shortcuts.html", help_shortcuts())


@bp.get("/whats-new")
def whats_new() -> str:
    """Show the changes in each version."""
    return page("help/whats_new.html", news())


@bp.get("/report")
def report() -> str:
    """Show how to report a problem."""
    return page("help/report.html", help_report(services()))


@bp.get("/report.txt")
def download() -> Response:
    """Download the problem report as a text file."""
    headers = {"Content-Disposition": "attachment; filename=tunesmith-report.txt"}
    return Response(problem_report(services()), mimetype="text/plain", headers=headers)


@bp.get("/<topic>")
def show(topic: str) -> str:
    """Show a guide."""
    return page("help/show.html", help_topic(topic))


@bp.get("/reference/<topic>")
def reference(topic: str) -> str:
    """Show a reference document."""
    return page("help/show.html", help_topic(topic, reference=True))
