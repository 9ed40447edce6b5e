"""Regenerates ``tests/fixtures/stored``: ``.venv/bin/python -P tests/support/store_files.py``, about two minutes.

The fixture is from version 0.1.0, to show that later versions still read it. So run this to store another version's
files, not to make a test pass.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from flask.testing import FlaskClient

from core.config import dump, parse
from core.settings import Settings
from flask_app import create_app
from tests.conftest import Browser
from tests.support.letters import BASE, make_base
from tests.support.stored import STORED, answers, draft, pack, unpack

PATIENCE = 600.0
ENDS = frozenset({"completed", "stopped", "failed", "crashed"})

TRAINED: dict[str, Any] = {
    "name": "Sums & more",
    "model": {"name": BASE, "lora_rank": 2, "lora_alpha": 4},
    "dataset": {"source": "", "system_prompt": "Add.", "max_samples": 20},
    "training": {
        "max_steps": 4, "batch_size": 4, "gradient_accumulation_steps": 2, "num_generations": 4, "max_new_tokens": 24,
        "max_sequence_length": 320, "save_steps": 2, "learning_rate": 1e-2, "rollout_engine": "transformers",
    },
    "grpo": {"kl_penalty": 0.02},
    "reward": {
        "type": "composite",
        "components": [
            {"name": "length", "params": {"unit": "characters", "minimum": 20, "maximum": 20, "fall_off": 20}},
            {"name": "numeric", "label": "sum", "weight": 2.0},
        ],
    },
    "pre_training": {"enabled": True, "epochs": 1, "max_samples": 4, "learning_rate": 1e-3},
    "evaluation": {"holdout_fraction": 0.3, "max_prompts": 3},
}  # fmt: skip
STOPPED = {
    **TRAINED,
    "name": "stopped half-way",
    "dataset": {"source": "generated:arithmetic", "size": 40},
    "training": {**TRAINED["training"], "max_steps": 400, "save_steps": 1, "keep_checkpoints": 1},
    "pre_training": {"enabled": False},
    "evaluation": {"holdout_fraction": 0.1, "max_prompts": 2, "every_steps": 200},
}

EXAMPLE: dict[str, Any] = {
    "name": "math-reasoning-config",
    "model": {"name": "unsloth/Qwen3-1.7B", "lora_rank": 16, "lora_alpha": 32, "lora_dropout": 0.0},
    "dataset": {
        "source": "openai/gsm8k", "split": "train", "instruction_field": "question", "response_field": "answer",
        "max_samples": None,
    },
    "training": {
        "num_epochs": 3, "batch_size": 1, "gradient_accumulation_steps": 8, "learning_rate": 0.0002, "warmup_steps": 10,
        "weight_decay": 0.001, "max_grad_norm": 0.3, "lr_scheduler_type": "constant", "optim": "paged_adamw_32bit",
        "max_sequence_length": 2048, "max_new_tokens": 512, "temperature": 0.7,
    },
    "grpo": {"kl_penalty": 0.05, "clip_range": 0.2, "importance_sampling_level": "token"},
    "reward": {"type": "preset", "preset_name": "math"},
    "pre_training": {"enabled": True, "epochs": 2, "max_samples": 100, "learning_rate": 0.00005},
}  # fmt: skip
"""The public format's example."""
COMBINED = {
    "name": "Wörter 2/3",
    "model": {
        "name": "Qwen/Qwen3-0.6B", "revision": "main", "target_modules": ["q_proj", "v_proj"], "use_rslora": True,
    },
    "dataset": {
        "source": "openai/gsm8k", "subset": "main", "extraction": "after_marker", "extraction_pattern": "####",
        "system_prompt": "Antworte kurz – und nur mit der Zahl.\n\n{solution_start}…{solution_end}",
        "solution_start": "<lösung>", "solution_end": "</lösung>", "deduplicate": "near", "drop_overlap": True,
    },
    "training": {
        "batch_size": 2, "gradient_accumulation_steps": 12, "num_generations": 6, "learning_rate": 5e-06, "top_p": 0.95,
        "top_k": 40, "min_p": None, "seed": 7, "max_steps": 250, "optim": "adamw_torch", "gradient_checkpointing": True,
    },
    "grpo": {
        "importance_sampling_level": "sequence", "loss_type": "dr_grpo", "clip_range": 0.1, "clip_range_high": 0.28,
    },
    "reward": {
        "type": "composite",
        "components": [
            {"name": "format", "label": "form", "weight": 0.25, "params": {"require": "solution"}},
            {"name": "numeric", "weight": 1, "requires": "form", "requires_at_least": 0.5},
            {"name": "repetition", "weight": -0.5, "clip_high": 0.8},
            {"name": "length", "label": "short", "params": {"unit": "words", "maximum": 120}},
        ],
        "normalise": True, "clip_low": -1, "clip_high": 1.0,
    },
    "pre_training": {"enabled": False, "epochs": 0.5, "max_samples": None},
    "evaluation": {"holdout_fraction": 0.05, "test_fraction": 0.05, "every_steps": 50, "max_prompts": 64},
}  # fmt: skip
MIXED = {
    "dataset": {
        "source": "mix", "seed": 3,
        "mix": [
            {"source": "openai/gsm8k", "subset": "main", "weight": 2, "instruction_template": "{question}\nThink."},
            {"source": "generated:reasoning-gym", "size": 100, "tasks": [{"name": "chain_sum", "difficulty": 1}]},
        ],
    },
    "reward": {"preset_name": "arithmetic", "type": "preset"},
    "name": "mixed (old) +1",
    "model": {"name": "builtin:smollm2-135m-instruct", "load_in_4bit": False},
}  # fmt: skip
"""Its keys in another order, without some sections."""


class Maker:
    """Acts as a user and an API client in a home folder, until everything to store exists."""

    def __init__(self, root: Path) -> None:
        app = create_app(Settings.from_env({"TUNESMITH_HOME": str(root)}))
        self.services = app.extensions["tunesmith"]
        self.client, self.browser = app.test_client(), Browser(app)

    def make(self) -> None:
        """Everything in order, as a user would."""
        self.services.watcher.start()
        for config in (EXAMPLE, COMBINED, MIXED):
            self.post("/api/configs/save", {"name": config["name"], "config": config})
        for weight in (1, 2):
            self.post("/api/rewards/save", {"name": "strict", "reward": _weighted(weight)})
        upload = self.upload()
        config = {**TRAINED, "dataset": {**TRAINED["dataset"], "source": upload}}
        self.job("/api/probe/start", {"config": config, "prompts": 2, "samples": 4}, "probe_id", "/api/probe/{}")
        trained = self.job("/api/training/start", {"config": config, "confirm_reward": True}, "session_id", RUN)
        self.stopped()
        models = [BASE, f"session:{trained}"]
        asked = {"models": models, "session_id": trained, "limit": 3, "name": "before and after"}
        self.job("/api/evaluations/start", asked, "evaluation_id", "/api/evaluations/{}")
        for kind in ("adapter", "bundle"):
            body = {"session_id": trained, "format": kind}
            self.job("/api/exports/create", body, "export_id", "/api/exports/{}")
        self.post("/api/models/serve", {"on": True, "model_path": f"session:{trained}", "name": "sums"})
        self.draft()
        self.services.close()

    def upload(self) -> str:
        """A small table, as the source of a dataset section."""
        lines = [
            "question,answer,level",
            *(f"What is {n} + {n * 3 % 7}?,{n + n * 3 % 7},{n % 2}" for n in range(1, 25)),
        ]
        file = (io.BytesIO("\n".join(lines).encode()), "sums.csv")
        response = self.client.post("/api/datasets/upload", data={"file": file})
        assert response.status_code == 201, response.text
        return str(response.get_json()["source"])

    def stopped(self) -> None:
        """A run that was stopped, with a checkpoint."""
        session_id = self.post("/api/training/start", {"config": STOPPED, "confirm_reward": True})["session_id"]
        self.wait(RUN.format(session_id), lambda run: run["status"] == "training" and run["step"] >= 2)
        self.post("/api/training/stop", {"session_id": session_id})
        assert self.wait(RUN.format(session_id), lambda run: run["status"] in ENDS)["status"] == "stopped"

    def draft(self) -> None:
        """A configuration loaded in the wizard, its prompt saved as a template, one field changed."""
        self.browser.get("/configs")
        self.browser.post("/configs/use", form={"name": str(COMBINED["name"])})
        self.browser.get("/new/dataset")
        self.browser.post("/new/dataset", form={"action": "save-template", "template-name": "kurz"})
        self.browser.get("/new/configuration")
        self.browser.post("/new/configuration", form={"training.seed": "11"})

    def job(self, address: str, body: dict[str, Any], key: str, shown: str) -> str:
        """Start a job and wait for it; its id."""
        job_id = str(self.post(address, body)[key])
        found = self.wait(shown.format(job_id), lambda job: job["status"] in ENDS)
        assert found["status"] == "completed", found
        return job_id

    def post(self, address: str, body: dict[str, Any]) -> Any:
        response = self.client.post(address, json=body)
        assert response.status_code < 300, f"{address}: {response.text}"
        return response.get_json()

    def wait(self, address: str, right: Any) -> Any:
        until = time.monotonic() + PATIENCE
        while not right(found := self.client.get(address).get_json()):
            assert time.monotonic() < until, found
            time.sleep(0.1)
        return found


RUN = "/api/training/sessions/{}"


def _weighted(weight: int) -> dict[str, Any]:
    parts = [{"name": "numeric", "weight": weight}, {"name": "format", "weight": 0.2}]
    return {"type": "composite", "components": parts}


def addresses(client: FlaskClient) -> list[str]:
    """All API addresses of the stored items."""
    lists = {
        "/api/training/sessions": ("sessions", "session_id"),
        "/api/exports/list": ("exports", "export_id"),
        "/api/evaluations/list": ("evaluations", "evaluation_id"),
        "/api/datasets/list": ("datasets", "id"),
    }
    ids = {path: [one[key] for one in client.get(path).get_json()[name]] for path, (name, key) in lists.items()}
    found = [*lists, "/api/configs/list", "/api/rewards/saved", "/api/models/serve", "/api/models/list"]
    for session_id in ids["/api/training/sessions"]:
        parts = ("", "/metrics", "/metrics?points=10", "/completions?limit=500", "/verdict")
        found += [RUN.format(session_id) + part for part in parts]
        if client.get(RUN.format(session_id)).get_json()["status"] == "completed":
            found.append(f"{RUN.format(session_id)}/evaluation")
    found += [f"/api/exports/{export_id}" for export_id in ids["/api/exports/list"]]
    for evaluation_id in ids["/api/evaluations/list"]:
        found += [f"/api/evaluations/{evaluation_id}{part}" for part in ("", "/results?limit=1000")]
    found += [f"/api/datasets/{dataset}{part}" for dataset in ids["/api/datasets/list"] for part in ("", "/rows")]
    found += [f"/api/rewards/saved/strict?version={version}" for version in (1, 2)]
    kinds = {
        path.parent.name: json.loads(path.read_bytes())["kind"] for path in STORED.glob("home/outputs/*/config.json")
    }
    probes = [job_id for job_id, kind in kinds.items() if kind == "probe"]
    return found + [f"/api/probe/{probe}{part}" for probe in probes for part in ("", "/completions")]


def main() -> None:
    """Make, pack, unpack, and record the responses."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "home"
        make_base(root / "cache" / "models")
        Maker(root).make()
        pack(root)
        shutil.rmtree(root)
        unpack(root)
        app = create_app(Settings.from_env({"TUNESMITH_HOME": str(root)}))
        client = app.test_client()
        _write("answers.json", answers(client, root, addresses(client)))
        _write("draft.json", draft(client))
        configs = {path.stem: json.loads(path.read_bytes()) for path in (STORED / "home" / "configs").glob("*.json")}
        _write("complete.json", {name: dump(parse(config)) for name, config in sorted(configs.items())})
        app.extensions["tunesmith"].close()


def _write(name: str, data: Any) -> None:
    (STORED / name).write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
