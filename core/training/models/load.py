"""From a run's configuration to the model that it trains: with a fresh adapter, an earlier one, or every weight.

Plain transformers and PEFT on a CPU; where CUDA is available and Unsloth is installed, Unsloth's
loader. The CUDA branch has not been run on the machine that this was written on.

Weights are only loaded from safetensors, and no code from a model's repository is run.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerBase,
    set_seed,
)
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging as transformers_logging

from core.config import RunConfig
from core.data.prompts import PLAIN_TEMPLATE
from core.errors import InvalidInput, NotFound, TunesmithError, Unavailable
from core.job_dir import JobDir
from core.methods import method
from core.model import Device, local_folder
from core.settings import Home
from core.training.arguments import dtype_name, lora_arguments, unsloth_lora_arguments
from core.training.models.reference import FROZEN, Start
from core.training.models.reference import start_of as start_model
from core.training.models.score import score_at_the_end, with_score
from core.weights import Weights, start_of, tokenizer_folder

log = logging.getLogger("tunesmith")
transformers_logging.disable_progress_bar()


@dataclass(frozen=True)
class Loaded:
    """A model to train, with its tokenizer.

    Attributes:
        model: The base with its adapter (a ``PeftModel``), or a model whose every weight is trained.
        tokenizer: With a pad token and a chat template.
        base: What it was loaded from: a folder, or a Hugging Face id with its revision.
        start: Opens the model as it was at the start of the run; None if it is not known.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    base: tuple[str, str | None] = ("", None)
    start: Start | None = None

    @property
    def whole(self) -> bool:
        """Whether every weight is trained."""
        return not hasattr(self.model, "peft_config")


def use_unsloth(config: RunConfig, device: Device) -> bool:
    """Whether Unsloth loads the model. It must be imported before TRL, which it patches.

    It makes fresh adapters of language models. A run that trains every weight, goes on from an adapter, or trains a
    model that scores is loaded by transformers.
    """
    fresh = config.model.adapter == "lora" and not config.model.continue_from
    writes = method(config.method).head == "language"
    return fresh and writes and device.kind == "cuda" and importlib.util.find_spec("unsloth") is not None


def load_for_training(config: RunConfig, device: Device, home: Home, run: JobDir | None = None) -> Loaded:
    """The model that a run trains, as it is at the start of the run; a new adapter is initialized from the run's seed.

    Args:
        config, device, home: The run's.
        run: Its directory, with the earlier weights that it goes on from (:mod:`core.training.models.start`); None for
            a model by name.

    Raises:
        NotFound: There is no such model.
        Unavailable: Hugging Face cannot be reached.
        InvalidInput: It cannot be used: no safetensors, no layer with the given names.
    """
    begun = start_of(run, config.model.model_dump()) if run else Weights(config.model.name, config.model.revision)
    source = source_of(begun.base, home)
    beside = tokenizer_folder(begun.adapter) if begun.adapter else None
    tokenizer = load_tokenizer(str(beside or source), None if beside else begun.revision)
    tokenizer.chat_template = template_of(config, str(tokenizer.chat_template))
    if use_unsloth(config, device):
        model = _unsloth(config, device, source)
    else:
        base = load_base(source, begun.revision, dtype=dtype_name(config, device), device=device, config=config)
        model = _trainable(base, begun, config, home)
    if method(config.method).head == "score":
        score_at_the_end(model, tokenizer)
    else:
        plain_generation(model, tokenizer)
    origin = (source, begun.revision)

    def again() -> Any:
        return load_base(*origin, dtype=dtype_name(config, device), device=device)

    return Loaded(model, tokenizer, origin, start_model(model, again))


def _trainable(base: Any, begun: Weights, config: RunConfig, home: Home) -> Any:
    if begun.adapter:
        return earlier_adapter(base, begun.adapter, config)
    if config.model.adapter == "none":
        set_seed(method(config.method).model_seed(config))
        # TRL loads the reference for a KL penalty from here, and would ignore the revision.
        base.config._name_or_path = str(local_files(source_of(begun.base, home), begun.revision))
        return base
    return add_adapter(base, config)


def source_of(name: str, home: Home) -> str:
    """What transformers loads: a folder's path, or the unchanged Hugging Face id."""
    folder = local_folder(name, home)
    return str(folder) if folder else name


def local_files(source: str, revision: str | None) -> Path:
    """The folder with a loaded model's files; for one from Hugging Face in the cache.

    Raises:
        Unavailable: It is not in the cache.
    """
    if Path(source).is_dir():
        return Path(source)
    found = try_to_load_from_cache(source, "config.json", revision=revision)
    if not isinstance(found, str):
        raise Unavailable(f"The files of {source} are not in the cache, so they could not be converted.")
    return Path(found).parent


def template_of(config: RunConfig, own: str) -> str:
    """The configuration's chat template if it has one, else the model's. It is saved with the trained weights."""
    return config.dataset.chat_template or own


def load_tokenizer(source: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer, padding on the left for generation.

    Args:
        source: A folder or a Hugging Face id. A run's checkpoint has none: it is beside the run's latest weights.
        revision: Of a Hugging Face id.
    """
    beside = tokenizer_folder(Path(source)) if Path(source).is_absolute() else None
    source = str(beside or source)
    with _Explained(source):
        tokenizer = AutoTokenizer.from_pretrained(
            source, revision=revision, trust_remote_code=False, padding_side="left"
        )
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(
    source: str, revision: str | None = None, *, dtype: str, device: Device, config: RunConfig | None = None
) -> Any:
    """The base model without an adapter.

    Args:
        source: A folder or a Hugging Face id.
        revision: Revision of the Hugging Face model.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: Its device.
        config: A training run's, which decides whether the weights are loaded in 4 bit.
    """
    extra: dict[str, Any] = {}
    if config is not None and config.model.load_in_4bit:
        extra = {"quantization_config": four_bit(dtype), "device_map": {"": 0}}
    if config is not None and method(config.method).head == "score":
        with _Explained(source):
            model = with_score(source, revision, seed=method(config.method).model_seed(config), dtype=dtype, **extra)
        return model if extra else model.to(device.kind)
    with _Explained(source):
        model = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            dtype=getattr(torch, dtype),
            trust_remote_code=False,
            use_safetensors=True,
            **extra,
        )
    return model if extra else model.to(device.kind)


def four_bit(dtype: str) -> Any:
    """NF4 with double quantization, as in QLoRA."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


def add_adapter(base: Any, config: RunConfig) -> Any:
    """A fresh LoRA adapter. Seeds first: the matrices are initialized here, before TRL sets the seed."""
    set_seed(method(config.method).model_seed(config))
    if config.model.load_in_4bit:
        base = _for_four_bit(base, config)
    try:
        return get_peft_model(base, LoraConfig(**lora_arguments(config, *linear_layers(base))))
    except ValueError as error:
        raise InvalidInput(
            f"The adapter does not fit this model: {error} Choose 'all-linear', or layers that this model has.",
            field="model.target_modules",
        ) from error


def parameters_of(model: Any) -> tuple[int, int]:
    """How many of a model's parameters are trained, and all of them, as PEFT counts them.

    PEFT counts a layer in 4-bit by its weights, not by the bytes that hold them.
    """
    if hasattr(model, "get_nb_trainable_parameters"):
        trained, every = model.get_nb_trainable_parameters()
        copies = trained if FROZEN in model.peft_config else 0
        return int(trained), int(every - copies)
    counts = [(value.numel(), value.requires_grad) for value in model.parameters()]
    return sum(count for count, learned in counts if learned), sum(count for count, _ in counts)


def linear_layers(base: Any) -> tuple[tuple[str, ...], str]:
    """The paths of a model's linear layers without its output layer, and its type: what a LoRA preset depends on.

    GPT-2 has its linear layers as ``Conv1D``, which PEFT adapts as well.
    """
    output = base.get_output_embeddings()
    found = (
        path
        for path, module in base.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not output
    )
    return tuple(found), str(base.config.model_type)


def earlier_adapter(base: Any, folder: Path, config: RunConfig) -> Any:
    """An earlier run's adapter to train further, and a frozen copy of it.

    Raises:
        InvalidInput: It does not belong to this base.
    """
    set_seed(config.training.seed)
    if config.model.load_in_4bit:
        base = _for_four_bit(base, config)
    try:
        model: Any = PeftModel.from_pretrained(base, str(folder), is_trainable=True)
        model.load_adapter(str(folder), adapter_name=FROZEN, is_trainable=False)
    except (RuntimeError, ValueError, KeyError) as error:
        raise InvalidInput(
            f"The earlier run's adapter does not fit {config.model.name}: {_first_line(str(error))} Check that the "
            "model was not changed since.",
            field="model.continue_from",
        ) from error
    return model


def _for_four_bit(base: Any, config: RunConfig) -> Any:
    from peft import prepare_model_for_kbit_training

    return prepare_model_for_kbit_training(base, use_gradient_checkpointing=config.training.gradient_checkpointing)


def plain_generation(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Drop the sampling defaults that come with a model.

    transformers takes omitted settings from the model's own file (top-k 20 with Qwen), so a configuration would not
    determine how its completions were sampled.
    """
    ends = model.generation_config.eos_token_id
    model.generation_config = GenerationConfig(
        eos_token_id=ends if ends is not None else tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.config.pad_token_id = tokenizer.pad_token_id


def _unsloth(config: RunConfig, device: Device, source: str) -> Any:
    from unsloth import FastLanguageModel  # only if there is CUDA

    with _Explained(source):
        base, _ = FastLanguageModel.from_pretrained(
            model_name=source,
            revision=config.model.revision,
            max_seq_length=config.training.max_sequence_length,
            load_in_4bit=config.model.load_in_4bit,
            dtype=getattr(torch, dtype_name(config, device)),
            trust_remote_code=False,
            use_safetensors=True,
        )
    set_seed(config.training.seed)
    return FastLanguageModel.get_peft_model(base, **unsloth_lora_arguments(config, *linear_layers(base)))


def ask_once(name: str) -> None:
    """Check within seconds whether Hugging Face responds; if not, use only the cache.

    By default the client retries each file six times over half a minute, and a model has several.
    """
    import httpx
    import huggingface_hub
    from huggingface_hub import constants

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in constants.ENV_VARS_TRUE_VALUES:
        return
    constants.HF_HUB_OFFLINE = False
    try:
        huggingface_hub.HfApi().model_info(name, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except (httpx.TransportError, OSError) as error:
        # If it responded (not found, gated, …), loading reports that itself.
        constants.HF_HUB_OFFLINE = getattr(error, "response", None) is None


class _Explained:
    """Converts what transformers raises for a missing or unreachable model."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __enter__(self) -> None:
        if not Path(self._source).is_absolute():
            ask_once(self._source)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | ValueError) and not isinstance(error, TunesmithError):
            raise explain(self._source, error) from error


def explain(source: str, error: Exception) -> TunesmithError:
    """Our error for what transformers raised while loading ``source``."""
    text = str(error)
    chain = " ".join(f"{type(link).__name__} {link}" for link in _causes(error))
    if Path(source).is_absolute():
        return InvalidInput(f"The model in {source} cannot be loaded: {_first_line(text)}", field="model.name")
    # Whole numbers only: a URL may have 401 in its port.
    status = set(re.findall(r"\b40[134]\b", chain))
    missing = any(word in chain for word in ("RepositoryNotFound", "RevisionNotFound", "not a valid model identifier"))
    if "gated" in chain.lower() or (status & {"401", "403"} and not missing):
        return InvalidInput(
            f"{source} can't be downloaded without permission. Accept its license on its Hugging Face page, add a "
            "token of your account in Settings (or set HF_TOKEN), and start again.",
            field="model.name",
        )
    if missing or "404" in status:
        # Hugging Face also responds with 401 to an unknown name if no one is logged in.
        return NotFound(
            f"Hugging Face has no model {source} (or not in this revision, or it is private). Check the spelling: "
            "owner/name.",
            field="model.name",
        )
    if any(word in chain for word in _NO_NETWORK):
        return Unavailable(
            f"{source} is not on this machine, and Hugging Face cannot be reached. Check the name and your connection, "
            "or choose the built-in model or a local folder.",
            field="model.name",
        )
    return InvalidInput(f"{source} cannot be loaded: {_first_line(text)}", field="model.name")


_NO_NETWORK = ("Connect", "couldn't connect", "offline", "Offline", "Timeout", "resolve", "Proxy")


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _first_line(text: str) -> str:
    return text.strip().split("\n")[0][:300]
