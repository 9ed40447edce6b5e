"""The Hugging Face token from Settings; its account is looked up before it is saved."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from core.errors import InvalidInput
from core.settings import Settings
from services.machine.hub_reach import HUB, offline
from services.machine.preferences import PreferenceStore

TIMEOUT = 6.0
MOST = 1 << 20
"""Bytes that are read of a response."""
REFUSED = (
    "Hugging Face doesn't accept this token, so it was not saved. Copy it again from your access tokens on "
    "Hugging Face, or create a new one."
)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Sends a token only to the intended address."""

    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        return None


def save_token(store: PreferenceStore, settings: Settings, token: str) -> str:
    """Save a token after looking up its account on Hugging Face; if that cannot be reached, it is saved unchecked.

    Returns:
        What happened, as a sentence.

    Raises:
        InvalidInput: It is not a token, or is not accepted; the previous one is kept.
    """
    token = token.strip()
    if not token:
        raise InvalidInput("Paste a token. It begins with hf_.", field="hf_token")
    # Anything that is not a token is rejected before it is sent anywhere.
    store.check({"hf_token": token})
    user = whose(token, settings.hf_endpoint or HUB)
    store.change({"hf_token": token, "hf_user": user or ""})
    if user:
        return f"Token saved. You're signed in to Hugging Face as {user}."
    return "Token saved. Hugging Face couldn't be reached, so it hasn't been checked yet."


def remove_token(store: PreferenceStore) -> str:
    """Remove the token; one in the environment stays. Returns what happened, as a sentence."""
    store.change({"hf_token": "", "hf_user": ""})
    return "Token removed."


def whose(token: str, endpoint: str) -> str | None:
    """The account's name; None if Hugging Face cannot be reached.

    Raises:
        InvalidInput: The token is not accepted.
    """
    if offline():
        return None
    request = urllib.request.Request(  # noqa: S310 - the operator's own endpoint
        f"{endpoint.rstrip('/')}/api/whoami-v2", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as answer:
            name = json.loads(answer.read(MOST)).get("name")
    except urllib.error.HTTPError as error:
        if error.code in {401, 403}:
            raise InvalidInput(REFUSED, field="hf_token") from None
        return None
    except (OSError, ValueError, AttributeError, http.client.HTTPException):
        return None
    return name if isinstance(name, str) and name.isprintable() else None
