"""The first step: what to train with, the base model, and its adapter."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace

import core.methods
from core.errors import TunesmithError
from core.methods import Method
from core.model import local_folder
from core.model_hub.remote import RemoteModel
from pages.wizard.adapter import AdapterPart, adapter_part
from pages.wizard.frame import Frame, frame
from pages.wizard.start import StartChoice, start_choice
from services.container import Services
from services.forms.fields import FormField, form_field
from services.machine.hub_reach import HUB
from services.machine.preferences import hub_token
from services.models.downloads import DownloadView
from services.models.local_models import LocalModel
from services.models.memory import snapshot
from services.models.models import BaseModelView
from services.models.references import HUB_ID
from services.models.support import trainable
from services.wizard.draft import ModelDraft
from services.wizard.fit import in_order
from services.wizard.forms import ADVANCED, CUSTOM
from services.words import size

SETUPS = (
    ("recommended", "Recommended", "Suits most tasks."),
    ("custom", "Custom", "Set its size, strength, dropout, and layers."),
    ("advanced", "Advanced", "Also set scaling, DoRA, 4-bit quantization, and precision."),
)
NAME_TITLE = "Name or folder"
NAME_HINT = "A name on Hugging Face, such as Qwen/Qwen3-0.6B, or the full path of a folder on this machine."


@dataclass(frozen=True)
class Tag:
    """A short fact; ``level`` is '', ``good``, ``watch`` or ``bad``."""

    text: str
    level: str = ""


@dataclass(frozen=True)
class ModelChoice:
    """One model to choose, with the facts for a decision."""

    name: str
    title: str
    note: str
    tags: tuple[Tag, ...]


@dataclass(frozen=True)
class Family:
    """The sizes of one family that are not on this machine; ``open`` if one of them is chosen."""

    id: str
    title: str
    values: str
    models: tuple[ModelChoice, ...]
    open: bool


@dataclass(frozen=True)
class Offer:
    """The download of the chosen model, which is not on this machine.

    Attributes:
        name: The model to download.
        facts: Size, license and free space, if known.
        asking: Whether the request to Hugging Face is pending.
        page: URL of its page if the license must be accepted first, else empty.
        token: Whether a Hugging Face token is set, which gated models need.
        problem: Why it cannot be downloaded or trained, else empty.
    """

    name: str
    facts: str
    asking: bool = False
    page: str = ""
    token: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Given:
    """What a person may have, and the methods that learn from it."""

    title: str
    methods: tuple[Method, ...]


@dataclass(frozen=True)
class ModelStep:
    """The first step."""

    frame: Frame
    methods: tuple[Given, ...]
    """Methods to choose from, by what they need; empty if there is only one."""
    method: str
    checks: str
    device: str
    here: tuple[ModelChoice, ...]
    families: tuple[Family, ...]
    unreachable: str
    """Why Hugging Face cannot be reached, else empty."""
    chosen: str
    other: bool
    name: FormField
    remark: tuple[str, str] | None
    """Level and message about a chosen model that was not typed."""
    revision: FormField | None
    offer: Offer | None
    downloads: tuple[DownloadView, ...]
    asked: bool
    """Whether the page must poll because something is pending."""
    start: StartChoice | None
    """What is trained and from where; None for a method without this choice."""
    setup: str
    setups: tuple[tuple[str, str, str], ...]
    custom: tuple[FormField, ...]
    layers: AdapterPart
    advanced: tuple[FormField, ...]


def model_step(services: Services) -> ModelStep:
    """The first step."""
    snapshot = services.snapshots.take()
    review, model, uses = snapshot.review, snapshot.draft.model, snapshot.draft.chosen_method.uses
    local = services.models.local()
    present = {one.info.name for one in local}
    rest = [item for item in services.models.families() if item.info.name not in present]
    other = bool(model.name) and model.name not in present | {item.info.name for item in rest}
    fields = {
        key: form_field("model", key, model.values, review.remarks)
        for key in ("revision", *CUSTOM, *ADVANCED)
        if uses(f"model.{key}")
    }
    start = start_choice(services, snapshot) if uses("model.continue_from") else None
    name = form_field("model", "name", model.values, review.remarks)
    downloads = tuple(services.downloads.all())
    offer = _offer(services, model, downloads)
    return ModelStep(
        frame=frame(services, "model", snapshot),
        methods=_by_data() if len(core.methods.METHODS) > 1 else (),
        method=snapshot.draft.chosen_method.key,
        # Only displayed check boxes: one that is listed here and not sent counts as off.
        checks=" ".join(
            [
                *(field.path for field in fields.values() if field.kind == "check"),
                *(["model.merge_first"] if start and start.mergeable else []),
            ]
        ),
        device=_device(services),
        here=tuple(_here(services, one) for one in local),
        families=_families(rest, model.name),
        unreachable=services.model_hub.unreachable,
        chosen="" if other else model.name,
        other=other,
        name=_name_field(other, name),
        remark=(name.level, name.message) if name.message and not other else None,
        revision=fields.get("revision"),
        offer=offer,
        downloads=downloads,
        asked=bool(offer and offer.asking) or any(one.state == "working" for one in downloads),
        start=start,
        setup=snapshot.draft.page("model").get("setup", "recommended"),
        setups=SETUPS,
        custom=tuple(fields[key] for key in CUSTOM if key in fields),
        layers=adapter_part(services, model, uses, review.remarks),
        advanced=tuple(fields[key] for key in ADVANCED if key in fields),
    )


def _by_data() -> tuple[Given, ...]:
    """Every method below its answer to 'What do you have?'."""
    groups: dict[str, list[Method]] = {}
    for one in in_order():
        groups.setdefault(one.given or one.title, []).append(one)
    return tuple(Given(title, tuple(methods)) for title, methods in groups.items())


def _name_field(typed: bool, field: FormField) -> FormField:
    """The field unchanged if its model was typed; else without a value, and the message goes to the choices."""
    field = replace(field, title=NAME_TITLE, description=NAME_HINT)
    return field if typed else replace(field, value="", level="", message="")


def _device(services: Services) -> str:
    device = services.system.device()
    gpu = device.kind == "cuda"
    words = f"This machine: {device.name}, {size(device.memory)} of {'GPU ' if gpu else ''}memory"
    return f"{words}." if gpu else f"{words}, no NVIDIA GPU. 4-bit quantization needs an NVIDIA GPU."


# --- models to choose ---


def _here(services: Services, model: LocalModel) -> ModelChoice:
    words = {"builtin": "Built in", "download": "Downloaded", "folder": "Folder"}[model.kind]
    on_disk = f"{words}, {size(model.size)}" if model.size else words
    note = model.info.name if model.kind == "folder" else model.info.note
    view = services.models.view(model.info, here=True)
    return ModelChoice(model.info.name, model.info.title, note, (Tag(on_disk, "good"), *_tags(view)))


def _families(items: list[BaseModelView], chosen: str) -> tuple[Family, ...]:
    found = []
    for title in dict.fromkeys(item.info.family for item in items):
        models = [item for item in items if item.info.family == title]
        found.append(
            Family(
                id=f"family-{title.casefold().replace(' ', '-').replace('.', '-')}",
                title=title,
                values=", ".join(_short(item.info.title, title) for item in models),
                models=tuple(_to_download(item) for item in models),
                open=any(item.info.name == chosen for item in models),
            )
        )
    return tuple(found)


def _short(title: str, family: str) -> str:
    """Without the family's name, if the rest is a size: 'Qwen3 4B' and 'Granite 3.3 2B'."""
    return title.removeprefix(f"{family} ") if family[-1].isdigit() else title


def _to_download(item: BaseModelView) -> ModelChoice:
    # Nearly every model on Hugging Face has two bytes per weight.
    download = Tag(f"{size(item.info.parameters * 2e9)} download")
    return ModelChoice(item.info.name, item.info.title, item.info.note, (download, *_tags(item)))


def _tags(item: BaseModelView) -> tuple[Tag, ...]:
    info, found = item.info, []
    if info.parameters:
        found += [Tag(f"{_count(info.parameters)} parameters"), Tag(_memory(item)), _fit(item)]
    if info.gated and not item.here:
        found.append(Tag("Requires accepting a license", "watch"))
    if info.licence:
        found.append(Tag(info.licence))
    if item.gguf is False:
        found.append(Tag("No GGUF export", "watch"))
    return tuple(found)


def _memory(item: BaseModelView) -> str:
    if item.memory_4bit is not None:
        return f"{size(item.memory)} of memory in 16-bit, {size(item.memory_4bit)} in 4-bit"
    return f"{size(item.memory)} of memory ({size(item.memory_16bit)} in 16-bit)"


def _fit(item: BaseModelView) -> Tag:
    if not item.fits:
        half = item.memory_16bit <= item.available
        return Tag("Fits in 16-bit only", "watch") if half else Tag("Not enough memory", "bad")
    return Tag("Fits in 4-bit", "watch") if item.needs_4bit else Tag("Fits", "good")


def _count(billions: float) -> str:
    """'135M', '1.7B'."""
    return f"{billions * 1000:.0f}M" if billions < 0.9995 else f"{billions:.3g}B"


# --- the chosen model's download ---


def _offer(services: Services, model: ModelDraft, downloads: tuple[DownloadView, ...]) -> Offer | None:
    """None if the model is local, being downloaded, or not on Hugging Face."""
    name, revision, home = model.name, model.text("revision"), services.settings.home
    try:
        # A name without its owner is still being typed.
        if "/" not in name or not HUB_ID.fullmatch(name) or local_folder(name, home) or snapshot(name, home):
            return None
    except TunesmithError:
        return None
    if any(one.name == name for one in downloads) or services.model_hub.unreachable:
        return None
    known = services.model_hub.known(name, revision or None)
    if known is None:
        return Offer(name, "", asking=True)
    if isinstance(known, TunesmithError):
        return Offer(name, "", problem=known.message)
    return _described(services, known)


def _described(services: Services, known: RemoteModel) -> Offer:
    free = shutil.disk_usage(services.settings.home.cache).free
    parts = [f"Download size: {size(known.size or 0)}", f"License: {known.licence}", f"{size(free)} free on disk"]
    problem = ""
    if trainable(known.model_type) is False:
        problem = f"This version of Tunesmith cannot train models of the type {known.model_type}. Choose another model."
    elif (known.size or 0) > free:
        problem = "There is not enough disk space for this model. Free up space, or choose a smaller model."
    page = f"{services.settings.hf_endpoint or HUB}/{known.name}" if known.gated else ""
    token = bool(hub_token(services.settings))
    return Offer(known.name, " · ".join(parts), page=page, token=token, problem=problem)
