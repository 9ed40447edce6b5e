"""Home page, theme, command palette, and the frame around every page."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, jsonify, render_template, request
from werkzeug.wrappers import Response

from core.log_tail import NATIVE
from pages.glossary import GLOSSARY
from pages.home import DEMO, home_page
from pages.palette import palette as palette_entries
from pages.shell import THEMES, Shell, page_shell
from routes._guard import logged_in
from routes._pages import back, page, say, to
from services.container import Services
from services.current import services
from services.forms.labels import in_words, plain_name
from services.words import FILTERS

bp = Blueprint("home", __name__)


@bp.record_once
def _filters(state: Any) -> None:
    found: Services = state.app.extensions["tunesmith"]
    called = {"plain_name": lambda name: plain_name(name, found.settings.home), "in_words": in_words}
    state.app.jinja_env.filters.update({**FILTERS, **called})
    state.app.jinja_env.globals.update(glossary=GLOSSARY, native_lines=NATIVE)


@bp.app_context_processor
def frame() -> dict[str, Shell]:
    """Build the frame. Before login, or if the frame itself caused an error, it has only the product name."""
    if request.endpoint in {"auth.login", "auth.enter"} or g.get("without_frame") or not logged_in():
        return {"shell": Shell(services().preferences.get().theme.replace("system", ""))}
    viewed = (request.view_args or {}).get("session_id")
    return {"shell": page_shell(services(), request.path, viewed, polling="X-Tunesmith-Live" in request.headers)}


@bp.get("/")
def index() -> str:
    """Show the home page."""
    return page("home/index.html", home_page(services()))


@bp.get("/shell")
def shell() -> str:
    """Render the frame alone. Pages without live content fetch it to keep their top bar up to date."""
    return render_template("base.html")


@bp.get("/palette")
def palette() -> Response:
    """Return the entries of the command palette, fetched when it is first opened."""
    return jsonify(palette_entries(services()))


@bp.post("/theme")
def theme() -> Response:
    """Change the theme."""
    chosen = request.form.get("theme", "")
    services().preferences.change({"theme": chosen if chosen in THEMES and chosen else "system"})
    return back("/")


@bp.post("/demo")
def demo() -> Response:
    """Start the demo run."""
    run = services().runs.start(services().configs.load(DEMO))
    say("The demo has started. The first results appear in about a minute.", "good")
    return to("runs.show", session_id=run.session_id)
