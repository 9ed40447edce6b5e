"""What most methods have in common: steps, optimizer, answers, checkpoints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.section import Section

GPU_OPTIMIZERS = ("paged_adamw_32bit", "paged_adamw_8bit", "adamw_8bit")
"""Optimizers of bitsandbytes, which needs CUDA. On a CPU ``adamw_torch`` does the same arithmetic."""
RolloutEngine = Literal["auto", "transformers", "llama_cpp"]


class TrainingSection(Section):
    num_epochs: float = Field(1, gt=0, le=1000, title="Passes over the data (epochs)", description="How often each question is used. Ignored where a number of steps is set.")
    max_steps: int | None = Field(None, ge=1, title="Steps", description="Stop after this many steps. Empty: as many as the epochs need.")
    batch_size: int = Field(1, ge=1, le=4096, title="Answers at once (batch size)", description="Answers in one forward pass on each device. Where they come in groups, this times the batches per step must be a multiple of the group size.")
    gradient_accumulation_steps: int = Field(8, ge=1, le=4096, title="Batches per step (gradient accumulation)", description="How many batches are gathered before the model changes. Costs time, not memory.")
    num_generations: int = Field(8, ge=2, le=1024, title="Answers per question (group size)", description="The answers to one question are compared with each other; 4 to 16 is usual.")
    learning_rate: float = Field(2e-4, gt=0, le=1, title="Learning rate", description="How far each step goes. With an adapter 1e-5 to 2e-4; smaller is safer.")
    warmup_steps: int = Field(10, ge=0, title="Steps of rising rate (learning-rate warm-up)", description="The learning rate rises from zero over this many steps.")
    weight_decay: float = Field(0.001, ge=0, le=1, title="Weight decay", description="Pulls the adapter's numbers towards zero.")
    adam_beta1: float = Field(0.9, ge=0, lt=1, title="Adam beta 1", description="Memory of the optimizer for the direction.")
    adam_beta2: float = Field(0.999, ge=0, lt=1, title="Adam beta 2", description="Memory of the optimizer for the size. 0.99 reacts faster in short runs.")
    max_grad_norm: float = Field(0.3, gt=0, title="Largest step (gradient clipping)", description="Gradients with a norm above this are scaled down.")
    lr_scheduler_type: Literal["constant", "constant_with_warmup", "linear", "cosine", "polynomial"] = Field("constant", title="Learning-rate schedule", description="How the learning rate changes over the run. With 'constant' the rising steps above have no effect.")
    optim: Literal["adamw_torch", "adamw_torch_fused", "paged_adamw_32bit", "paged_adamw_8bit", "adamw_8bit", "sgd", "adafactor"] = Field("adamw_torch", title="Optimizer", description="The method that changes the weights. The paged and 8-bit ones save GPU memory; on a CPU plain AdamW takes their place.")
    max_sequence_length: int = Field(1024, ge=16, le=1_048_576, title="Longest text (sequence length)", description="Question and answer together, in tokens. Rows with a longer question are left out and counted.")
    max_new_tokens: int = Field(256, ge=1, le=131_072, title="Longest answer (completion length)", description="In tokens; three quarters of a word each. Too small, and answers are cut off before the solution.")
    temperature: float = Field(1.0, gt=0, le=5, title="Variety (temperature)", description="Higher makes answers differ more. Answers to one question must differ for anything to be learnt.")
    top_p: float = Field(1.0, gt=0, le=1, title="Nucleus (top-p)", description="Draw only from the likeliest tokens that add up to this share. 1 is off and usual in training.")
    top_k: int = Field(0, ge=0, title="Candidates (top-k)", description="Draw only from this many likeliest tokens. 0 is off.")
    min_p: float | None = Field(None, ge=0, le=1, title="Least share (min-p)", description="Leave out tokens below this share of the likeliest one. Empty is off.")
    repetition_penalty: float = Field(1.0, gt=0, le=10, title="Repetition penalty", description="Above 1 discourages tokens already used. 1 is off and usual in training.")
    gradient_checkpointing: bool = Field(False, title="Save memory (gradient checkpointing)", description="Computes some things twice to use less memory; about a third slower.")
    save_steps: int = Field(25, ge=1, title="Checkpoint every … steps", description="How often the state is saved so that a crash loses little. A stop always saves.")
    keep_checkpoints: int = Field(2, ge=1, le=100, title="Checkpoints to keep", description="Older ones are deleted.")
    rollout_engine: RolloutEngine = Field("auto", title="What writes the answers (rollout engine)", description="Auto takes llama.cpp on a CPU, several times faster, after a trial has shown the same probabilities; else transformers.")
    share_prefixes: bool = Field(True, title="Compute shared words once (prefix sharing)", description="Answers to one question share it, and often their beginnings. The same result in less time; on a CPU only.")
    seed: int = Field(42, ge=0, le=2**31 - 1, title="Seed", description="The same seed, data and machine give the same run on a CPU.")
