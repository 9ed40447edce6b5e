"""Settings that most methods share: steps, optimizer, generation, checkpoints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.section import Section, usual

GPU_OPTIMIZERS = ("paged_adamw_32bit", "paged_adamw_8bit", "adamw_8bit")
"""Optimizers from bitsandbytes, which needs CUDA. On a CPU, ``adamw_torch`` computes the same updates."""
RolloutEngine = Literal["auto", "transformers", "llama_cpp"]
TrainOn = Literal["last_assistant_message", "last_assistant_turn", "all_assistant_messages", "all_messages", "all_tokens", "weights"]


class TrainingSection(Section):
    num_epochs: float = Field(1, gt=0, le=1000, title="Epochs", description="Passes over the training rows. Ignored if a number of steps is set.")
    max_steps: int | None = Field(None, ge=1, title="Steps", description="Stop after this many updates to the model. Leave empty to train for whole epochs.")
    batch_size: int = Field(1, ge=1, le=4096, title="Batch size", description="Rows or answers processed at once on each device. Lower it if memory runs out. With several answers per question, batch size × gradient accumulation must be a multiple of the answers per question.")
    gradient_accumulation_steps: int = Field(8, ge=1, le=4096, title="Gradient accumulation", description="How many batches are combined into one update. Takes more time instead of more memory.")
    num_generations: int = Field(8, ge=2, le=1024, title="Answers per question (group size)", description="Answers to the same question are compared with each other. More answers give a clearer signal and take longer.", json_schema_extra=usual(4, 16))
    learning_rate: float = Field(2e-4, gt=0, le=1, title="Learning rate", description="How much each step changes the model. Lower is safer, higher is faster.")
    warmup_steps: int = Field(10, ge=0, title="Learning-rate warm-up steps", description="The learning rate rises from zero over this many steps.")
    weight_decay: float = Field(0.001, ge=0, le=1, title="Weight decay", description="Pulls weights toward zero, which limits overfitting.", json_schema_extra=usual(0, 0.1))
    adam_beta1: float = Field(0.9, ge=0, lt=1, title="Adam beta 1", description="How long the optimizer remembers the direction of past updates.")
    adam_beta2: float = Field(0.999, ge=0, lt=1, title="Adam beta 2", description="How long the optimizer remembers the size of past updates. 0.99 adapts faster in short runs.", json_schema_extra=usual(0.95, 0.999))
    max_grad_norm: float = Field(0.3, gt=0, title="Gradient clipping", description="Larger gradients are scaled down to this norm, so that one batch cannot change the model too much.", json_schema_extra=usual(0.1, 1))
    lr_scheduler_type: Literal["constant", "constant_with_warmup", "linear", "cosine", "polynomial"] = Field("constant", title="Learning-rate schedule", description="How the learning rate changes during the run. 'Constant' ignores the warm-up steps.")
    optim: Literal["adamw_torch", "adamw_torch_fused", "paged_adamw_32bit", "paged_adamw_8bit", "adamw_8bit", "sgd", "adafactor"] = Field("adamw_torch", title="Optimizer", description="The algorithm that updates the weights. Paged and 8-bit versions save GPU memory; on a CPU, plain AdamW is used instead.")
    max_sequence_length: int = Field(1024, ge=16, le=1_048_576, title="Maximum sequence length", description="Prompt and answer together, in tokens. Rows whose prompt is longer are skipped and counted.")
    train_on: TrainOn = Field("last_assistant_message", title="Trained on (train on)", description="Which part of a conversation the model learns to write. The rest is only read. Rows with one question and one answer give the same result with the first three choices, except that the answer tags are only added with the first.")
    max_new_tokens: int = Field(256, ge=1, le=131_072, title="Maximum answer length", description="In tokens; a token is about three quarters of a word. If it is too small, answers are cut off before they finish.")
    temperature: float = Field(1.0, gt=0, le=5, title="Temperature", description="Higher makes answers more varied. Answers to a question must differ for the model to learn from them.", json_schema_extra=usual(0.7, 1.2))
    top_p: float = Field(1.0, gt=0, le=1, title="Top-p", description="Sample only from the most likely tokens that add up to this probability. 1 turns it off, which is usual in training.")
    top_k: int = Field(0, ge=0, title="Top-k", description="Sample only from this many of the most likely tokens. 0 turns it off.")
    min_p: float | None = Field(None, ge=0, le=1, title="Min-p", description="Skip tokens below this share of the most likely token's probability. Leave empty to turn it off.", json_schema_extra=usual(0, 0.2))
    repetition_penalty: float = Field(1.0, gt=0, le=10, title="Repetition penalty", description="Above 1 discourages tokens that were already used. 1 turns it off, which is usual in training.")
    gradient_checkpointing: bool = Field(False, title="Gradient checkpointing", description="Uses less memory by computing some values twice. About a third slower.")
    save_steps: int = Field(25, ge=1, title="Checkpoint interval", description="How many steps between checkpoints. After a crash, a run resumes from the last one. Stopping a run always saves one.")
    keep_checkpoints: int = Field(2, ge=1, le=100, title="Checkpoints to keep", description="Older checkpoints are deleted.")
    rollout_engine: RolloutEngine = Field("auto", title="Generation engine", description="The software that generates answers. On a CPU, Automatic uses llama.cpp, which is several times faster, if a check shows that it computes the same probabilities.")
    share_prefixes: bool = Field(True, title="Prefix sharing", description="Computes text that several answers share only once. Same result in less time. CPU only.")
    seed: int = Field(42, ge=0, le=2**31 - 1, title="Seed", description="On a CPU, the same seed, data, and machine give the same run.")
