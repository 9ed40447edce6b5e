"""The base models that New run suggests, and the memory that training them needs."""

from __future__ import annotations

from dataclasses import dataclass

from core.model import DEMO_MODEL, BaseModelInfo, Device

BASE_MODELS: tuple[BaseModelInfo, ...] = (
    BaseModelInfo(DEMO_MODEL, "SmolLM", "SmolLM2 135M Instruct", 0.135, "Apache-2.0", False, "Comes with Tunesmith. Works offline and trains on any computer. Good for learning how it works.", "LlamaForCausalLM"),
    BaseModelInfo("HuggingFaceTB/SmolLM2-360M-Instruct", "SmolLM", "SmolLM2 360M", 0.362, "Apache-2.0", False, "Small and fast; learns short, well-defined tasks.", "LlamaForCausalLM"),
    BaseModelInfo("HuggingFaceTB/SmolLM2-1.7B-Instruct", "SmolLM", "SmolLM2 1.7B", 1.71, "Apache-2.0", False, "A capable small model for English text.", "LlamaForCausalLM"),
    BaseModelInfo("HuggingFaceTB/SmolLM3-3B", "SmolLM", "SmolLM3 3B", 3.08, "Apache-2.0", False, "Multilingual, with an optional thinking mode.", "SmolLM3ForCausalLM"),
    BaseModelInfo("Qwen/Qwen3.5-0.8B", "Qwen3.5", "Qwen3.5 0.8B", 0.87, "Apache-2.0", False, "The newest small Qwen. Only its text part is trained.", "Qwen3_5ForCausalLM"),
    BaseModelInfo("Qwen/Qwen3.5-2B", "Qwen3.5", "Qwen3.5 2B", 2.0, "Apache-2.0", False, "A good first model on one GPU. Only its text part is trained.", "Qwen3_5ForCausalLM"),
    BaseModelInfo("Qwen/Qwen3.5-4B", "Qwen3.5", "Qwen3.5 4B", 4.5, "Apache-2.0", False, "Strong reasoning for its size. Only its text part is trained.", "Qwen3_5ForCausalLM"),
    BaseModelInfo("Qwen/Qwen3-0.6B", "Qwen3", "Qwen3 0.6B", 0.6, "Apache-2.0", False, "Small and fast; learns short, well-defined tasks.", "Qwen3ForCausalLM"),
    BaseModelInfo("Qwen/Qwen3-1.7B", "Qwen3", "Qwen3 1.7B", 1.7, "Apache-2.0", False, "A good first model for math and reasoning on one GPU.", "Qwen3ForCausalLM"),
    BaseModelInfo("Qwen/Qwen3-4B", "Qwen3", "Qwen3 4B", 4.0, "Apache-2.0", False, "Reasons well for its size.", "Qwen3ForCausalLM"),
    BaseModelInfo("Qwen/Qwen3-4B-Instruct-2507", "Qwen3", "Qwen3 4B Instruct 2507", 4.02, "Apache-2.0", False, "An update of Qwen3 4B that answers directly, without thinking first.", "Qwen3ForCausalLM"),
    BaseModelInfo("Qwen/Qwen3-8B", "Qwen3", "Qwen3 8B", 8.2, "Apache-2.0", False, "Strong at math, code, and many languages.", "Qwen3ForCausalLM"),
    BaseModelInfo("Qwen/Qwen3-14B", "Qwen3", "Qwen3 14B", 14.8, "Apache-2.0", False, "For GPUs with lots of memory.", "Qwen3ForCausalLM"),
    BaseModelInfo("Qwen/Qwen2.5-0.5B-Instruct", "Qwen2.5", "Qwen2.5 0.5B", 0.494, "Apache-2.0", False, "Small, answers directly, and is widely used in tutorials.", "Qwen2ForCausalLM"),
    BaseModelInfo("Qwen/Qwen2.5-1.5B-Instruct", "Qwen2.5", "Qwen2.5 1.5B", 1.54, "Apache-2.0", False, "Widely used and well supported by other tools.", "Qwen2ForCausalLM"),
    BaseModelInfo("Qwen/Qwen2.5-7B-Instruct", "Qwen2.5", "Qwen2.5 7B", 7.62, "Apache-2.0", False, "A dependable all-rounder.", "Qwen2ForCausalLM"),
    BaseModelInfo("google/gemma-3-270m-it", "Gemma 3", "Gemma 3 270M", 0.268, "Gemma Terms of Use", True, "Very small; made to be fine-tuned for one task.", "Gemma3ForCausalLM"),
    BaseModelInfo("google/gemma-3-1b-it", "Gemma 3", "Gemma 3 1B", 1.0, "Gemma Terms of Use", True, "Small, made for phones and laptops.", "Gemma3ForCausalLM"),
    BaseModelInfo("meta-llama/Llama-3.2-1B-Instruct", "Llama", "Llama 3.2 1B", 1.24, "Llama 3.2 Community License", True, "Small, made for phones and laptops.", "LlamaForCausalLM"),
    BaseModelInfo("meta-llama/Llama-3.2-3B-Instruct", "Llama", "Llama 3.2 3B", 3.21, "Llama 3.2 Community License", True, "A balance of size and ability.", "LlamaForCausalLM"),
    BaseModelInfo("meta-llama/Llama-3.1-8B-Instruct", "Llama", "Llama 3.1 8B", 8.03, "Llama 3.1 Community License", True, "Widely used and well supported by other tools.", "LlamaForCausalLM"),
    BaseModelInfo("mistralai/Mistral-7B-Instruct-v0.3", "Mistral", "Mistral 7B v0.3", 7.25, "Apache-2.0", False, "A dependable all-rounder.", "MistralForCausalLM"),
    BaseModelInfo("mistralai/Ministral-8B-Instruct-2410", "Mistral", "Ministral 8B", 8.02, "Mistral Research License", True, "Newer than Mistral 7B. The license allows research only.", "MistralForCausalLM"),
    BaseModelInfo("microsoft/Phi-4-mini-instruct", "Phi", "Phi-4 mini 3.8B", 3.84, "MIT", False, "Strong reasoning for its size.", "Phi3ForCausalLM"),
    BaseModelInfo("microsoft/phi-4", "Phi", "Phi-4 14B", 14.7, "MIT", False, "Strong at math and science. For GPUs with lots of memory.", "Phi3ForCausalLM"),
    BaseModelInfo("ibm-granite/granite-3.3-2b-instruct", "Granite", "Granite 3.3 2B", 2.53, "Apache-2.0", False, "Made for business text: summaries, extraction, and tool calls.", "GraniteForCausalLM"),
    BaseModelInfo("ibm-granite/granite-3.3-8b-instruct", "Granite", "Granite 3.3 8B", 8.17, "Apache-2.0", False, "The larger Granite, with the same strengths.", "GraniteForCausalLM"),
    BaseModelInfo("allenai/OLMo-2-0425-1B-Instruct", "OLMo", "OLMo 2 1B", 1.48, "Apache-2.0", False, "Fully open: its training data and code are public.", "Olmo2ForCausalLM"),
    BaseModelInfo("allenai/Olmo-3-7B-Instruct", "OLMo", "Olmo 3 7B", 7.3, "Apache-2.0", False, "Fully open, and newer than OLMo 2.", "Olmo3ForCausalLM"),
)  # fmt: skip
"""Only architectures that were tested, at least with a small copy: tests/training/models/test_families.py."""

GIB = 1024**3
EIGHT_BIT = ("paged_adamw_8bit", "adamw_8bit")
"""Optimizers that keep their two values in a byte each, on a GPU."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Memory for training in bytes, by part.

    Attributes:
        weights: The base model's weights: 4 bytes each on a CPU (float32), 2 on a GPU (bfloat16) or in 16-bit,
            0.6 in 4-bit (half a byte, scales, and the layers that stay in 16-bit).
        trained: LoRA weights with gradient and Adam's two moments, all float32: 16 bytes each. If every weight is
            trained: their gradients and the optimizer's values, and a copy of the model if it is needed in every step.
        work: Activations and the key-value cache of a group of answers.
        total: Their sum plus a tenth for the libraries.
    """

    weights: int
    trained: int
    work: int

    @property
    def total(self) -> int:
        return int(1.1 * (self.weights + self.trained + self.work))


@dataclass(frozen=True)
class EveryWeight:
    """How every weight is trained.

    Attributes:
        optim: ``training.optim``.
        reference: Whether a copy of the model as it was is kept in memory.
    """

    optim: str = "adamw_torch"
    reference: bool = False

    def bytes_each(self, size: int, device: Device) -> float:
        """Bytes of gradient, optimizer and copy for each weight of ``size`` bytes."""
        return size + self.moments(size, device) + (4 if self.reference else 0)

    def moments(self, size: int, device: Device) -> float:
        """Bytes that the optimizer keeps for each weight of ``size`` bytes: AdamW two values."""
        known = {"sgd": 0.0, "adafactor": 0.1, **(dict.fromkeys(EIGHT_BIT, 2.0) if device.kind == "cuda" else {})}
        return known.get(self.optim, 2.0 * size)


def estimate(
    parameters: float,
    device: Device,
    *,
    lora_rank: int = 16,
    four_bit: bool = False,
    half: bool = False,
    tokens: int = 1024,
    batch: int = 1,
    group: int = 8,
    whole: EveryWeight | None = None,
) -> MemoryEstimate:
    """Estimate the memory for training a model.

    The model's shape is estimated from its size, as for typical transformers: width ``w = 48 × (parameters / 1e6) **
    0.5`` (about 560 for 135 M, 2,000 for 1.7 B, 4,300 for 8 B) and ``parameters / (13 w²)`` layers. It is a rough
    guide, accurate to about a third; the first steps of a run show the actual use.

    Args:
        parameters: In billions.
        device: Determines the number format.
        lora_rank: Rank of the adapter on all linear layers.
        four_bit: Loaded in 4-bit (GPU only).
        half: Loaded in 16-bit even on a CPU, whose default is 32-bit.
        tokens: Longest question and answer together.
        batch: Sequences in one forward pass.
        group: Answers generated together.
        whole: How every weight is trained; None for an adapter. Its weights are in float32 unless ``half`` says
            otherwise, on a GPU too. Measured with a model of 135M and 512 tokens: 3.3 GB with AdamW, 2.4 GB with
            Adafactor, 2.2 GB in bfloat16; this gives 3.5, 2.4 and 2.3.
    """
    count = parameters * 1e9
    width = 48 * (count / 1e6) ** 0.5
    layers = max(4.0, count / (13 * width**2))
    size = 2 if half or (device.kind == "cuda" and not whole) else 4
    weight_bytes = 0.6 if four_bit and device.kind == "cuda" else size
    # Seven linear layers per layer of the model, with dimensions that add up to about 19 widths.
    trained = whole.bytes_each(size, device) * count if whole else lora_rank * 19 * width * layers * 16
    activations = batch * tokens * width * layers * 34 / 2 * size
    logits = batch * tokens * 100_000 * 4 * 2
    cache = group * tokens * layers * 2 * width / 4 * size
    return MemoryEstimate(int(count * weight_bytes), int(trained), int(max(activations + logits, cache)))
