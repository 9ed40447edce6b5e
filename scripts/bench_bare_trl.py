"""The benchmark's run in bare TRL: what one would write without this program.

``bench_bare_trl.py MODEL_FOLDER ROWS.jsonl STEPS`` prints the time at the end of each step as a JSON list.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

SYSTEM = "Give the result between <SOLUTION> and </SOLUTION>."
ANSWER = re.compile(r"<SOLUTION>\s*(-?\d+)\s*</SOLUTION>")


def reward(completions: list[Any], answer: list[str], **_: Any) -> list[float]:
    """0.2 for the markers, 1 for the right number."""
    scores = []
    for completion, right in zip(completions, answer, strict=True):
        found = ANSWER.search(completion[0]["content"])
        scores.append(0.2 * bool(found) + (found is not None and found[1] == right))
    return scores


class Clock(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Records the time at the end of each step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.times.append(time.time())


def main(folder: str, rows: str, steps: int) -> None:
    """Train, then print the times."""
    data = [json.loads(line) for line in Path(rows).read_text("utf-8").splitlines()]
    prompts = [[{"role": "system", "content": SYSTEM}, {"role": "user", "content": row["question"]}] for row in data]
    dataset = Dataset.from_dict({"prompt": prompts, "answer": [row["answer"] for row in data]})
    clock = Clock()
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype="float32"),
        processing_class=AutoTokenizer.from_pretrained(folder),
        reward_funcs=reward,
        args=GRPOConfig(
            output_dir="out", max_steps=steps, per_device_train_batch_size=8, gradient_accumulation_steps=1,
            num_generations=8, max_completion_length=24, learning_rate=1e-4, lr_scheduler_type="constant",
            logging_steps=1, save_strategy="no", report_to="none", seed=5, beta=0.0, temperature=1.0,
            gradient_checkpointing=False, bf16=False, disable_tqdm=True, max_grad_norm=0.3,
        ),
        train_dataset=dataset,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[clock],
    )  # fmt: skip
    trainer.train()
    print(json.dumps(clock.times[:steps]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
