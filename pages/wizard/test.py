"""The base model and the trained one side by side, for the run that was started from the draft."""

from __future__ import annotations

from dataclasses import dataclass

from pages.models.chats import chat_view
from pages.models.playground import ChatView
from pages.wizard.frame import Frame, frame
from services.container import Services


@dataclass(frozen=True)
class ChatStep:
    """What the page shows."""

    frame: Frame
    chat: ChatView


def chat_step(services: Services) -> ChatStep | None:
    """For the draft's run; None if it trained a reward model, which writes no answers."""
    snapshot = services.snapshots.take()
    session_id = snapshot.draft.session_id or ""
    if any(one.session_id == session_id for one in services.models.scoring()):
        return None
    chat = chat_view(services, session_id=session_id, form={}, keep=f"test:{session_id}")
    return ChatStep(frame(services, "test", snapshot), chat)
