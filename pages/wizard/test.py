"""Step 7: the original and the trained model side by side."""

from __future__ import annotations

from dataclasses import dataclass

from pages.models.chats import chat_view
from pages.models.playground import ChatView
from pages.wizard.frame import Frame, frame
from services.container import Services


@dataclass(frozen=True)
class ChatStep:
    """Step 7."""

    frame: Frame
    chat: ChatView


def chat_step(services: Services) -> ChatStep:
    """Step 7. To open it is all that the step asks for, so the draft remembers for which run it was opened."""
    draft = services.wizard.draft()
    draft = services.wizard.remember("test", of=draft, session_id=draft.session_id)
    session_id = draft.session_id or ""
    chat = chat_view(services, session_id=session_id, form={}, keep=f"test:{session_id}")
    return ChatStep(frame(services, "test", services.snapshots.of(draft)), chat)
