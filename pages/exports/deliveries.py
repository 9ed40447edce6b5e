"""The part of an export's page for sending it somewhere."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import TunesmithError
from core.export import ExportFormat
from core.job import JobState
from services.container import Services
from services.exports.delivery_view import DeliveryView, OllamaView, gguf_files, suggested_name


@dataclass(frozen=True)
class DeliveryPanel:
    """The part's variables.

    Attributes:
        shown: Whether the export can be sent, or was.
        deliveries: Newest first.
        ollama: State of the server.
        files: GGUF files for Ollama, largest first.
        adapter: Whether they are adapters, which need their base model in Ollama.
        has_token: Whether there is a Hugging Face token.
        to_hub: Whether this kind of export can be sent to Hugging Face.
        name: Suggested for the model or repository.
    """

    shown: bool
    deliveries: tuple[DeliveryView, ...]
    ollama: OllamaView
    files: tuple[str, ...]
    adapter: bool
    has_token: bool
    to_hub: bool
    name: str


def delivery_panel(services: Services, export_id: str) -> DeliveryPanel:
    """What can be sent where, and what was."""
    nowhere = OllamaView("", "", "")
    try:
        export = services.exports.get(export_id)
    except TunesmithError:
        return DeliveryPanel(False, (), nowhere, (), False, False, False, "")
    finished = export.job.state is JobState.COMPLETED and bool(export.files)
    files = tuple(gguf_files(export.files))
    return DeliveryPanel(
        shown=finished,
        deliveries=tuple(services.deliveries.of_export(export_id)) if finished else (),
        ollama=services.deliveries.ollama() if finished and files else nowhere,
        files=files,
        adapter=export.format == ExportFormat.ADAPTER_GGUF,
        has_token=services.deliveries.has_token(),
        to_hub=export.format != ExportFormat.BUNDLE,
        name=suggested_name(export.job.name),
    )
