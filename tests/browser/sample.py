"""Run folders as a worker writes them, for pages with content; made without training."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from core.config import DatasetSection, RewardSection, dump, parse
from core.evaluation import Asked, EvaluationSpec, RunEvaluation, reports
from core.fidelity import FidelityReport, FidelityVerdict
from core.job import Control, JobState, JobStatus
from core.job_dir import JobDir, JsonlWriter, iter_rows, write_json
from core.job_rows import is_answer_of

FINISHED = "20260101-090000-aaaaaa"
STOPPED = "20260101-100000-bbbbbb"
CRASHED = "20260101-110000-cccccc"
EXPORT = "20260101-120000-dddddd"
EVALUATION = "20260101-130000-eeeeee"

STEPS = ("model", "dataset", "configuration", "reward", "train", "export", "test")
PAGES = (
    "/",
    "/runs",
    f"/runs/{FINISHED}",
    *(f"/runs/{FINISHED}?tab={tab}" for tab in ("answers", "charts", "log", "settings")),
    f"/runs/{STOPPED}",
    f"/runs/{CRASHED}",
    "/datasets",
    "/configs",
    "/exports",
    f"/exports/{EXPORT}",
    "/playground",
    "/playground/serve",
    "/evaluations",
    "/evaluations/new",
    f"/evaluations/{EVALUATION}",
    "/rewards",
    "/rewards/bench",
    "/rewards/short-is-good",
    "/settings",
    "/settings/storage",
    "/settings/trash",
    "/help",
    "/help?q=reward",
    "/help/first-10-minutes",
    "/help/reference/datasets",
    "/help/glossary",
    "/help/shortcuts",
    "/help/whats-new",
    "/help/report",
    *(f"/new/{step}" for step in STEPS),
    "/new/dataset/preparation",
)
"""Every page, with the contents of :func:`fill`."""

CONFIG: dict[str, Any] = {
    "name": "sums",
    "model": {"name": "builtin:smollm2-135m-instruct"},
    "dataset": {
        "source": "generated:arithmetic",
        "system_prompt": "Give the result between {solution_start} and {solution_end}.",
    },
    "training": {
        "max_steps": 40,
        "batch_size": 8,
        "gradient_accumulation_steps": 2,
        "num_generations": 8,
        "max_new_tokens": 24,
    },
    "grpo": {"kl_penalty": 0.01},
    "reward": {"type": "preset", "preset_name": "arithmetic"},
    "pre_training": {"enabled": True, "max_samples": 64},
}


def fill(home: Path) -> None:
    """A finished, a stopped and a crashed run, a finished export, and an evaluation of the finished run."""
    _run(home, FINISHED, "Sums, the first try", JobState.COMPLETED, 40)
    _run(home, STOPPED, "Sums with longer answers", JobState.STOPPED, 17)
    _run(home, CRASHED, "Sums with a high learning rate", JobState.CRASHED, 6)
    _export(home)
    _evaluation(home)


def _run(home: Path, run_id: str, name: str, state: JobState, steps: int) -> None:
    run = JobDir(home / "outputs" / run_id)
    run.path.mkdir(parents=True)
    config = dump(parse({**CONFIG, "name": name}))
    day, clock = run_id.split("-")[:2]
    created = f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}+00:00"
    write_json(run.config, {"kind": "train", "name": name, "created_at": created, "config": config, "given": CONFIG})
    run.write_control(Control())
    last = steps - steps % 10
    run.write_status(
        JobStatus(
            state=state,
            step=steps,
            max_steps=40,
            attempt=1,
            device="cpu",
            seconds_per_step=4.2,
            checkpoint_step=last or None,
            pid=1,
            notes=("3 rows were skipped: the question is empty.",),
        )
    )
    run.adapter.mkdir()
    (run.adapter / "adapter_config.json").write_text("{}")
    (run.checkpoints / f"checkpoint-{last}").mkdir(parents=True)
    remark = "llama_adapter_lora_init_impl: lora for blk.8 cannot use buft AMX, fallback to CPU\n"
    run.log.write_text(f"Loading the model\n{remark}Warm-up: 16 steps\nTraining\n")
    _series(run, steps)


def _series(run: JobDir, steps: int) -> None:
    chance = random.Random(run.path.name)
    metrics, groups = JsonlWriter(run.metrics), JsonlWriter(run.completions)
    common = {"attempt": 1, "time": 1_767_000_000.0, "epoch": 0.0}
    metrics.append(
        {
            **common,
            "phase": "evaluation",
            "step": 0,
            "when": "before",
            "reward": 0.05,
            "reward_components": {"numeric": 0.02, "format": 0.15},
            "solved": 0.02,
            "completion_length_mean": 22.0,
            "cut_off": 0.7,
            "samples": 16,
            "kl": 0.0,
        }
    )
    for step in range(1, 17):
        metrics.append(
            {
                **common,
                "phase": "warm_up",
                "step": step,
                "loss": 3.2 * math.exp(-step / 6) + 0.3,
                "learning_rate": 2e-4,
                "grad_norm": 2.5,
                "step_time": 3.1,
            }
        )
    for step in range(1, steps + 1):
        level = 0.2 + 0.6 / (1 + math.exp(-(step - 14) / 5)) + chance.uniform(-0.08, 0.08)
        metrics.append(
            {
                **common,
                "phase": "training",
                "step": step,
                "loss": chance.uniform(-0.01, 0.01),
                "reward": level,
                "reward_std": 0.35 - step * 0.004,
                "reward_components": {"numeric": level * 0.8, "format": min(1.0, level + 0.3)},
                "solved": max(0.0, level - 0.15),
                "kl": 0.002 * step,
                "completion_length_mean": 14 + chance.uniform(-2, 2),
                "completion_length_min": 9,
                "completion_length_max": 24,
                "cut_off": max(0.0, 0.3 - step * 0.01),
                "groups_without_spread": chance.choice([0.0, 0.5]),
                "grad_norm": chance.uniform(0.4, 2.2),
                "learning_rate": 1e-4,
                "clip_ratio": 0.0,
                "clip_ratio_low": 0.0,
                "clip_ratio_high": 0.0,
                "entropy": max(0.1, 1.05 - step * 0.022),
                "step_time": chance.uniform(3.6, 4.8),
                "time_generation": 2.1,
                "time_reward": 0.01,
                "tokens": 220,
                "tokens_per_second": chance.uniform(90, 120),
            }
        )
        groups.append({**common, "phase": "training", "step": step, **_group(chance, level)})
        if step in {20, 40}:
            metrics.append(
                {
                    **common,
                    "phase": "evaluation",
                    "step": step,
                    "when": "end" if step == 40 else "interval",
                    "reward": level - 0.05,
                    "reward_components": {"numeric": level - 0.2, "format": 0.9},
                    "solved": level - 0.2,
                    "completion_length_mean": 13.0,
                    "cut_off": 0.05,
                    "samples": 16,
                    "kl": 0.03,
                }
            )
            groups.append({**common, "phase": "evaluation", "step": step, **_group(chance, level)})
    metrics.close()
    groups.close()


def _group(chance: random.Random, level: float) -> dict[str, Any]:
    one, two = chance.randint(1, 50), chance.randint(1, 50)
    answers = [
        _answer(str(one + two if chance.random() < level else one + two + chance.randint(1, 9)), str(one + two))
        for _ in range(4)
    ]
    system = "Give the result between <SOLUTION> and </SOLUTION>."
    asked = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nWhat is {one} + {two}?<|im_end|>\n"
    prompt = f"{asked}<|im_start|>assistant\n"
    return {
        "instruction": f"What is {one} + {two}?",
        "prompt": prompt,
        "reference": str(one + two),
        "completions": answers,
    }


def _answer(said: str, right: str) -> dict[str, Any]:
    score = float(said == right)
    parts = {
        "numeric": {"score": score, "weight": 1.0, "why": f"{said} {'equals' if score else 'differs from'} {right}."},
        "format": {"score": 1.0, "weight": 0.2, "why": "All tags are present, once and in order."},
    }
    return {
        "text": f"<SOLUTION>{said}</SOLUTION>",
        "tokens": 12,
        "cut_off": False,
        "total": score + 0.2,
        "advantage": 0.8 if score else -0.9,
        "components": parts,
    }


def _export(home: Path) -> None:
    run = JobDir(home / "exports" / EXPORT)
    run.files.mkdir(parents=True)
    write_json(
        run.config,
        {
            "kind": "export",
            "session_id": FINISHED,
            "format": "gguf",
            "quantization": "q4_k_m",
            "name": "Sums, the first try",
            "created_at": "2026-01-01T12:00:00+00:00",
        },
    )
    run.write_control(Control())
    (run.files / "model.gguf").write_bytes(b"GGUF" + bytes(512))
    (run.files / "Modelfile").write_text('FROM ./model.gguf\nPARAMETER stop "<|im_end|>"\n')
    report = FidelityReport(
        subject="Q4_K_M", verdict=FidelityVerdict.LOSES_QUALITY, reason="Its most likely next word differs in 8%.",
        prompts=64, same_prompt_ids=1.0, top1_agreement=0.92, mean_kl=0.021, exact_match=0.5, stops=1.0,
        stops_trained=1.0, reward_trained=0.8, reward_exported=0.7, reward_drop=0.1, reward_drop_low=0.02,
        reward_drop_high=0.18, better_choice="Q8_0",
    ).model_dump(mode="json")  # fmt: skip
    files = [
        {
            "name": "model.gguf",
            "size": 105_000_000,
            "sha256": "ab" * 32,
            "file_type": "Q4_K_M",
            "tensor_types": {"f32": 61, "q5_0": 90, "q8_0": 31},
            "bits_per_weight": 6.23,
            "tensors": {"token_embd.weight": "Q8_0", "blk.0.attn_q.weight": "Q5_0", "blk.1.attn_q.weight": "Q8_0"},
            "fidelity": report,
        },
        {"name": "Modelfile", "size": 51, "sha256": "cd" * 32},
    ]
    commands = [
        {"title": "Ollama", "command": "ollama create sums -f Modelfile\nollama run sums"},
        {"title": "llama.cpp", "command": "llama-cli -m model.gguf"},
    ]
    origin = {"session_id": FINISHED, "checkpoint": 40, "adapter_sha256": "ef" * 32, "base": "builtin:tiny"}
    result = {"files": files, "commands": commands, "origin": origin, "fidelity": [report], "versions": {}}
    write_json(run.path / "result.json", result)
    run.write_status(JobStatus(state=JobState.COMPLETED, step=4, max_steps=4, message="Done"))


def _evaluation(home: Path) -> None:
    """The base and the trained model on the same forty sums; the run's own report uses the same answers."""
    run = JobDir(home / "outputs" / EVALUATION)
    run.path.mkdir(parents=True)
    base = {"kind": "transformers", "base": "builtin:smollm2-135m-instruct", "adapter": None}
    models = (
        Asked(label="SmolLM2 135M", model_path="builtin:smollm2-135m-instruct", resolved=base),
        Asked(label="Sums, the first try", model_path=f"session:{FINISHED}", resolved=base),
    )
    spec = EvaluationSpec(
        name="Sums against the original", created_at="2026-01-01T13:00:00+00:00", models=models,
        source="held-out questions of Sums, the first try", session_id=FINISHED,
        dataset=DatasetSection(source="generated:arithmetic"),
        reward=RewardSection(type="preset", preset_name="arithmetic"), best=1.2,
    )  # fmt: skip
    write_json(run.config, spec.model_dump(mode="json"))
    run.write_control(Control())
    held = JobDir(home / "outputs" / FINISHED).prepared / "holdout.jsonl"
    held.parent.mkdir()
    held.write_text('{"instruction": "What is 1 + 1?", "response": "2"}\n')
    chance, writer = random.Random(3), JsonlWriter(run.completions)
    for model, level in enumerate((0.3, 0.8)):
        for place in range(40):
            group = {**_group(random.Random(place), 1), "model": model, "place": place, "phase": "evaluation"}
            right = group["reference"]
            said = right if chance.random() < level else str(int(right) + 1)
            writer.append({**group, "completions": [_answer(said, right)]})
    writer.close()
    made = reports(spec, iter_rows(run.completions, is_answer_of))
    write_json(run.result, {"reports": [report.model_dump(mode="json") for report in made]})
    run.write_status(JobStatus(state=JobState.COMPLETED, step=80, max_steps=80, message=made[0].sentence))
    found = RunEvaluation(step=40, report=made[0])
    write_json(JobDir(home / "outputs" / FINISHED).evaluation, found.model_dump(mode="json"))
