"""Render pages, redirect, and flash messages."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from services.forms.labels import in_words
from services.machine.bin import Entry


def page(template: str, context: Any) -> str:
    """Render a template with the fields of a frozen dataclass as its variables."""
    return render_template(template, **{field.name: getattr(context, field.name) for field in fields(context)})


def back(default: str) -> Response:
    """Redirect to the form's ``back`` address, or to ``default`` if it is not on this server."""
    target = request.form.get("back", "")
    inside = target.startswith("/") and not target.startswith(("//", "/\\")) and "\\" not in target
    return redirect(target if inside else default)


def say(text: str, level: str = "") -> None:
    """Show a message at the top of the next page; ``level`` is '', ``good``, ``watch`` or ``problem``.

    Field paths are replaced by the fields' titles.
    """
    flash(in_words(text), level)


def say_deleted(text: str, entry: Entry | None) -> None:
    """Show a message at the top of the next page, with an Undo button if there is something to restore."""
    flash(in_words(text), f"undo {entry.id}" if entry else "")


def to(endpoint: str, **values: Any) -> Response:
    return redirect(url_for(endpoint, **values))
