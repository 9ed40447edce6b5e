"""The base models that the wizard offers, and what memory training each of them takes."""

from __future__ import annotations

from dataclasses import dataclass

from core.model import DEMO_MODEL, BaseModelInfo, Device

BASE_MODELS: tuple[BaseModelInfo, ...] = (
    BaseModelInfo(DEMO_MODEL, "SmolLM2", "SmolLM2 135M Instruct", 0.135, "Apache-2.0", False, "Comes with Tunesmith, needs no network, and trains on any computer. Good for learning how it works."),
    BaseModelInfo("Qwen/Qwen3-0.6B", "Qwen3", "Qwen3 0.6B", 0.6, "Apache-2.0", False, "Small and quick to answer; learns short, well-defined tasks."),
    BaseModelInfo("Qwen/Qwen3-1.7B", "Qwen3", "Qwen3 1.7B", 1.7, "Apache-2.0", False, "A good first model for maths and reasoning on one GPU."),
    BaseModelInfo("Qwen/Qwen3-4B", "Qwen3", "Qwen3 4B", 4.0, "Apache-2.0", False, "Reasons well for its size."),
    BaseModelInfo("Qwen/Qwen3-8B", "Qwen3", "Qwen3 8B", 8.2, "Apache-2.0", False, "Strong at maths, code and many languages."),
    BaseModelInfo("Qwen/Qwen3-14B", "Qwen3", "Qwen3 14B", 14.8, "Apache-2.0", False, "The largest here; for a GPU with much memory."),
    BaseModelInfo("meta-llama/Llama-3.2-1B-Instruct", "Llama", "Llama 3.2 1B", 1.24, "Llama 3.2 Community Licence", True, "Small, made for phones and laptops."),
    BaseModelInfo("meta-llama/Llama-3.2-3B-Instruct", "Llama", "Llama 3.2 3B", 3.21, "Llama 3.2 Community Licence", True, "A balance of size and ability."),
    BaseModelInfo("meta-llama/Llama-3.1-8B-Instruct", "Llama", "Llama 3.1 8B", 8.03, "Llama 3.1 Community Licence", True, "Widely used and well supported by other tools."),
    BaseModelInfo("mistralai/Mistral-7B-Instruct-v0.3", "Mistral", "Mistral 7B v0.3", 7.25, "Apache-2.0", False, "A dependable all-rounder."),
    BaseModelInfo("mistralai/Ministral-8B-Instruct-2410", "Mistral", "Ministral 8B", 8.02, "Mistral Research Licence", True, "Newer than Mistral 7B; the licence allows research only."),
    BaseModelInfo("microsoft/Phi-4-mini-instruct", "Phi", "Phi-4 mini 3.8B", 3.84, "MIT", False, "Strong at reasoning for its size."),
    BaseModelInfo("microsoft/phi-4", "Phi", "Phi-4 14B", 14.7, "MIT", False, "Strong at maths and science; for a GPU with much memory."),
)  # fmt: skip

GIB = 1024**3


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that training would take, by part.

    Attributes:
        weights: The base model's numbers: 4 bytes each on a CPU (float32), 2 on a GPU (bfloat16), 0.6 in
            4 bit (half a byte, scales, and the layers that stay in 16 bit).
        adapter: LoRA's numbers with gradient and Adam's two moments, all float32: 16 bytes each.
        work: Activations and the key-value cache of a group of answers.
        total: Their sum and a tenth for what the libraries hold.
    """

    weights: int
    adapter: int
    work: int

    @property
    def total(self) -> int:
        return int(1.1 * (self.weights + self.adapter + self.work))


def estimate(
    parameters: float,
    device: Device,
    *,
    lora_rank: int = 16,
    four_bit: bool = False,
    tokens: int = 1024,
    batch: int = 1,
    group: int = 8,
) -> MemoryEstimate:
    """What training a model takes.

    The model's shape is estimated from its size, as transformers of this kind are built: width
    ``w = 48 × (parameters / 1e6) ** 0.5`` (about 560 for 135 M, 2,000 for 1.7 B, 4,300 for 8 B) and
    ``parameters / (13 w²)`` layers. It is a guide for choosing, right to about a third; the first
    steps of a run show the truth.

    Args:
        parameters: In billions.
        device: Decides the number format.
        lora_rank: Rank of the adapter on all linear layers.
        four_bit: Loaded in 4 bit (GPU only).
        tokens: Longest question and answer together.
        batch: Sequences in one forward pass.
        group: Answers generated together.
    """
    count = parameters * 1e9
    width = 48 * (count / 1e6) ** 0.5
    layers = max(4.0, count / (13 * width**2))
    size = 2 if device.kind == "cuda" else 4
    weight_bytes = 0.6 if four_bit and device.kind == "cuda" else size
    # Seven linear layers, their two sides together about 19 widths, for each layer of the model.
    adapter = lora_rank * 19 * width * layers * 16
    activations = batch * tokens * width * layers * 34 / 2 * size
    logits = batch * tokens * 100_000 * 4 * 2
    cache = group * tokens * layers * 2 * width / 4 * size
    return MemoryEstimate(int(count * weight_bytes), int(adapter), int(max(activations + logits, cache)))
