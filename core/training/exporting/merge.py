"""The model to export: which base and adapter, or which whole model, whether they fit, and a correct merge.

The merge is computed on the CPU in float32, which is exact and needs no GPU memory. A base model that training loaded
in 4 bits is read here in its original 16 bits.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from core.config import RunConfig, parse
from core.errors import InvalidInput, Unavailable
from core.export import ExportSpec
from core.job_dir import JobDir, read_json
from core.methods import method
from core.model import Device, typed_path
from core.settings import Home
from core.training.job.weights import sha256
from core.training.models.load import load_base, load_tokenizer, source_of
from core.training.models.reference import Start
from core.training.models.reference import start_of as start_model
from core.weights import (
    ADAPTER_SETTINGS,
    ADAPTER_WEIGHTS,
    Weights,
    published_step,
    start_of,
    tokenizer_folder,
    trained_by,
    weight_files,
)

CPU = Device("cpu", "cpu", 0, 0, False)
FOUR_BIT_ENDINGS = ("-unsloth-bnb-4bit", "-bnb-4bit")
"""Hugging Face names of 4-bit copies; without the suffix it is the 16-bit model."""
TOLERANCE = 1e-3
"""Largest difference between merged and base plus adapter, relative to the largest logit. Float32 gives 1e-5."""

log = logging.getLogger("tunesmith")


@dataclass(frozen=True)
class Origin:
    """The source of an export's weights.

    Attributes:
        adapter: The folder with the trained adapter; None if every weight was trained.
        base: The base model's name, as entered by the user.
        source: What transformers loads below the adapter, or the trained model itself: a folder or a Hugging Face id,
            never a 4-bit copy.
        revision: Revision of a source on Hugging Face.
        session: The run; None for an adapter that was not trained here.
        config: The run's configuration, or None.
        step: The checkpoint's step; None if unknown.
        begun: The model that the training began with, if every weight was trained.
        own_base: Whether the adapter's base is a model that only its run has.
    """

    adapter: Path | None
    base: str
    source: str
    revision: str | None
    session: JobDir | None
    config: RunConfig | None
    step: int | None
    begun: Weights | None = None
    own_base: bool = False

    @property
    def weights(self) -> Path:
        """The folder with what was trained."""
        return self.adapter or Path(self.source)

    @property
    def digest(self) -> str:
        """SHA-256 of what was trained; of several files, that of their hashes."""
        found = [sha256(file) for file in weight_files(self.weights)]
        return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()

    @property
    def head(self) -> str:
        """What the model gives back: ``language`` or ``score``; see :attr:`core.methods.Method.head`."""
        return method(self.config.method).head if self.config else "language"

    def facts(self) -> dict[str, Any]:
        """JSON for ``result.json`` that identifies the weights."""
        info = (read_json(self.session.prepared / "info.json") if self.session else None) or {}
        return {
            "session_id": self.session.path.name if self.session else "",
            "session_name": self.config.name if self.config else "",
            "checkpoint": self.step,
            "adapter_sha256" if self.adapter else "model_sha256": self.digest,
            "base": self.base,
            "base_revision": self.revision,
            "dataset_hash": info.get("sha256"),
            **({"head": self.head} if self.head != "language" else {}),
        }


def origin_of(spec: ExportSpec, home: Home) -> Origin:
    """Locate the sources of an export.

    Raises:
        NotFound: The run, checkpoint, folder or base does not exist.
        InvalidInput: The folder holds no adapter that can be read safely.
        Conflict: The run has no adapter yet.
    """
    return _of_session(spec, home) if spec.session_id else _of_folder(spec, home)


def _of_session(spec: ExportSpec, home: Home) -> Origin:
    session = JobDir.open(home.outputs, spec.session_id)
    config = parse(session.whole_config()["config"])
    section = config.model.model_dump()
    trained = trained_by(session, section, spec.checkpoint)
    step = spec.checkpoint if spec.checkpoint is not None else published_step(session)
    base = spec.base or config.model.name
    if trained.whole:
        return Origin(None, base, trained.base, None, session, config, step, begun=start_of(session, section))
    if trained.base != config.model.name:  # in the run's folder, which is never a 4-bit copy
        return Origin(trained.adapter, base, trained.base, None, session, config, step, own_base=True)
    revision = spec.revision or config.model.revision
    return Origin(trained.adapter, base, sixteen_bit(base, revision, home), revision, session, config, step)


def _of_folder(spec: ExportSpec, home: Home) -> Origin:
    adapter = typed_path(spec.adapter, "adapter")
    settings = read_json(adapter / ADAPTER_SETTINGS)
    if settings is None or not (adapter / ADAPTER_WEIGHTS).is_file():
        raise InvalidInput(
            f"{adapter} is not a usable adapter folder: it must contain {ADAPTER_SETTINGS} and {ADAPTER_WEIGHTS}. "
            "Weights in other formats (.bin) can run code when they are loaded and are not supported.",
            field="adapter",
        )
    base = spec.base or str(settings.get("base_model_name_or_path") or "")
    if not base:
        raise InvalidInput(f"{adapter / ADAPTER_SETTINGS} does not name the base model. Enter it.", field="base")
    revision = spec.revision or settings.get("revision")
    return Origin(adapter, base, sixteen_bit(base, revision, home), revision, None, None, None)


def sixteen_bit(base: str, revision: str | None, home: Home) -> str:
    """The source of a base model's original 16-bit weights.

    Merging into weights that were rounded to 4 bit would keep their error permanently.

    Raises:
        InvalidInput: The base is stored quantized, and the location of its 16-bit weights is unknown.
        NotFound: Its folder does not exist.
    """
    for ending in FOUR_BIT_ENDINGS:
        if base.lower().endswith(ending):
            return source_of(base[: -len(ending)], home)
    source = source_of(base, home)
    reduced = getattr(_model_config(source, revision), "quantization_config", None)
    if reduced:
        raise InvalidInput(
            f"The weights of {base} are quantized, and a merge would keep their rounding. Enter the 16-bit version "
            "of this model as the base model.",
            field="base",
        )
    return source


def _model_config(source: str, revision: str | None) -> Any:
    return AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)


def count_parameters(origin: Origin) -> int:
    """Number of parameters of the base, from its configuration, without loading weights."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(_model_config(origin.source, origin.revision))
    return int(model.num_parameters())


def vocabulary(origin: Origin) -> int:
    """Size of the base model's vocabulary."""
    return int(_model_config(origin.source, origin.revision).get_text_config().vocab_size)


def stored_dtype(origin: Origin) -> torch.dtype:
    """The 16-bit format of the base; bfloat16 if it is in 32 bit."""
    stored = _model_config(origin.source, origin.revision).dtype
    return torch.float16 if stored == torch.float16 else torch.bfloat16


def load_trained(origin: Origin) -> tuple[Any, PreTrainedTokenizerBase]:
    """The trained model in float32, a ``PeftModel`` unless every weight was trained, and its tokenizer.

    Raises:
        InvalidInput: The adapter does not belong to this base.
    """
    tokenizer = load_tokenizer(tokenizer_source(origin), origin.revision)
    base = load_base(origin.source, origin.revision, dtype="float32", device=CPU)
    if origin.adapter is None:
        return base.eval(), tokenizer
    weights = origin.adapter / ADAPTER_WEIGHTS
    rows = _embedding_rows(weights)
    if rows and rows != base.get_input_embeddings().weight.shape[0]:
        base.resize_token_embeddings(rows)
    try:
        model: Any = PeftModel.from_pretrained(base, str(origin.adapter))
    except (RuntimeError, ValueError, KeyError) as error:
        raise InvalidInput(
            f"The adapter does not fit {origin.base}: {str(error).strip().splitlines()[0][:300]} Enter the model it "
            "was trained on.",
            field="base",
        ) from error
    check_taken(model, weights, origin.base)
    return model.eval(), tokenizer


def untrained(origin: Origin, model: Any, home: Home) -> Start:
    """Opens the model without what was trained: its base, or for a whole model the one that the training began with."""

    def load() -> Any:
        begun = origin.begun
        assert begun is not None  # noqa: S101 (only asked of a whole model)
        base = load_base(source_of(begun.base, home), begun.revision, dtype="float32", device=CPU)
        return PeftModel.from_pretrained(base, str(begun.adapter)) if begun.adapter else base

    return start_model(model, load)


def tokenizer_source(origin: Origin) -> str:
    """Where the tokenizer is: beside what was trained, beside the run's latest weights, else with the base."""
    return str(tokenizer_folder(origin.weights) or origin.source)


def _embedding_rows(weights: Path) -> int:
    """Rows of an embedding table that was trained with the adapter (added tokens); 0 without one."""
    with safe_open(weights, "pt") as file:
        name = next((key for key in file.keys() if key.endswith("embed_tokens.weight")), None)  # noqa: SIM118 (no dict)
        return int(file.get_slice(name).get_shape()[0]) if name else 0


def check_taken(model: Any, weights: Path, base: str) -> None:
    """Check that the model has every tensor of the file with the same values, and that not all are zero.

    PEFT only warns about unmatched tensors: the model would answer like its base.

    Raises:
        InvalidInput: It does not.
    """
    held = get_peft_model_state_dict(model)
    changes = False
    with safe_open(weights, "pt") as file:
        for name in file.keys():  # noqa: SIM118 (no dict)
            wanted = file.get_tensor(name)
            if name not in held or not torch.equal(held[name].float(), wanted.float()):
                raise InvalidInput(
                    f"The adapter does not fit {base}, which has no layer for {name}. Enter the model it was "
                    "trained on.",
                    field="base",
                )
            # DoRA's magnitudes start as the lengths of the base's own rows, so they are never zero.
            inert = "lora_A" in name or "lora_magnitude_vector" in name
            changes = changes or (not inert and bool(wanted.any()))
    if not changes:
        log.warning("the adapter's weights are all zero, so it changes nothing")


def merge(model: Any, probes: Sequence[list[int]]) -> Any:
    """Merge the adapter into the base model, and check that the result has the same logits.

    Args:
        model: From :func:`load_trained`; unusable afterwards.
        probes: Token ids of a few prompts.

    Raises:
        Unavailable: This kind of adapter cannot be merged, or the result differs.
    """
    if not hasattr(model.base_model, "merge_and_unload"):
        raise Unavailable("This kind of adapter cannot be merged, because it does not consist of weight changes.")
    wanted = [_logits(model, probe) for probe in probes]
    merged = model.merge_and_unload(safe_merge=True)
    for probe, before in zip(probes, wanted, strict=True):
        off = float((_logits(merged, probe) - before).abs().max() / before.abs().max().clamp(min=1e-6))
        if not off <= TOLERANCE:
            raise Unavailable(
                f"The merged model does not match base model and adapter: its logits differ by {off:.2%} of the "
                "largest. Nothing was saved. The log has the versions to report."
            )
        log.info("merged logits differ from base plus adapter by %.1e of the largest", off)
    return merged


def _logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=8).logits
    return found.float()


def write(model: Any, tokenizer: PreTrainedTokenizerBase, target: Path, dtype: torch.dtype) -> None:
    """Model and tokenizer as a Hugging Face folder, in shards of at most 5 GB."""
    model.to(dtype).save_pretrained(target, max_shard_size="5GB")
    tokenizer.save_pretrained(target)


def name_base(settings: Path, base: str) -> None:
    """Write the base's name into an adapter's settings, where the trainer wrote a local path."""
    data = json.loads(settings.read_text("utf-8"))
    settings.write_text(json.dumps({**data, "base_model_name_or_path": base}, indent=2), "utf-8")
