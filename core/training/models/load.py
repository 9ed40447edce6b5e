"""From a model's name to a model with a fresh adapter.

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
from peft import LoraConfig, get_peft_model
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
from core.model import Device, local_folder
from core.settings import Home
from core.training.arguments import dtype_name, lora_arguments, unsloth_lora_arguments

log = logging.getLogger("tunesmith")
transformers_logging.disable_progress_bar()


@dataclass(frozen=True)
class Loaded:
    """A model to train, with its tokenizer.

    Attributes:
        model: The base with its adapter (a ``PeftModel``).
        tokenizer: With a pad token and a chat template.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase


def use_unsloth(device: Device) -> bool:
    """Whether Unsloth loads the model. It must be imported before TRL, which it patches."""
    return device.kind == "cuda" and importlib.util.find_spec("unsloth") is not None


def load_for_training(config: RunConfig, device: Device, home: Home) -> Loaded:
    """The base model with a new adapter, initialized from the run's seed.

    Raises:
        NotFound: There is no such model.
        Unavailable: Hugging Face cannot be reached.
        InvalidInput: It cannot be used: no safetensors, no layer with the given names.
    """
    source = source_of(config.model.name, home)
    tokenizer = load_tokenizer(source, config.model.revision)
    tokenizer.chat_template = template_of(config, str(tokenizer.chat_template))
    if use_unsloth(device):
        model = _unsloth(config, device, source)
    else:
        base = load_base(source, config.model.revision, dtype=dtype_name(config, device), device=device, config=config)
        model = add_adapter(base, config)
    plain_generation(model, tokenizer)
    return Loaded(model, tokenizer)


def source_of(name: str, home: Home) -> str:
    """What transformers loads: a folder's path, or the unchanged Hugging Face id."""
    folder = local_folder(name, home)
    return str(folder) if folder else name


def template_of(config: RunConfig, own: str) -> str:
    """The configuration's chat template if it has one, else the model's. It is saved with the adapter."""
    return config.dataset.chat_template or own


def load_tokenizer(source: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer, padding on the left for generation."""
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
    set_seed(config.training.seed)
    if config.model.load_in_4bit:
        from peft import prepare_model_for_kbit_training

        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=config.training.gradient_checkpointing)
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
        return int(trained), int(every)
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
