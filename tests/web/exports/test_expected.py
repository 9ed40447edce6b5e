"""What the export form says about each format before anything is exported."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from core.export import Quantization
from core.job_dir import JobDir, write_json
from core.settings import Home
from services.container import Services
from services.exports.expected import quality
from services.jobs.database import Job, new_job
from services.models.shape import shape_of
from tests.conftest import TINY
from tests.unit.core.test_gguf_size import LAYERS, SMOLLM, WORDS

MODEL = "builtin:smollm2-135m-instruct"
SETTINGS = {
    "num_attention_heads": 9, "num_key_value_heads": 3, "num_hidden_layers": LAYERS, "vocab_size": WORDS,
    "tie_word_embeddings": True,
}  # fmt: skip


def write_model(folder: Path, *, dtype: str = "BF16") -> None:
    """A model's config and the header of its weights; the weights themselves are never read."""
    entries = {name: {"dtype": dtype, "shape": dims, "data_offsets": [0, 0]} for name, dims in SMOLLM.items()}
    entries["lm_head.weight"] = entries["model.embed_tokens.weight"]
    header = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    write_json(folder / "config.json", SETTINGS)


@pytest.fixture
def base(home: Home) -> Path:
    return home.cache / "models" / "smollm2-135m-instruct"


def run(services: Services, home: Home, run_id: str, model: str = MODEL) -> None:
    """A finished run with an adapter."""
    config = {**TINY, "model": {**TINY["model"], "name": model}}
    services.database.add(
        Job(
            id=run_id, kind="train", name=run_id, state="completed", created_at="2026-01-01", model=model, config=config
        )
    )
    folder = JobDir(home.outputs / run_id)
    folder.adapter.mkdir(parents=True)
    (folder.adapter / "adapter_model.safetensors").write_bytes(bytes(4_000_000))


def checked(services: Services, home: Home, run_id: str, export_id: str, verdict: str) -> None:
    """An export of a run whose Q4_K_M has a verdict."""
    job = new_job(export_id, {"kind": "export", "session_id": run_id, "format": "gguf", "created_at": export_id})
    job.state = "completed"
    services.database.add(job)
    folder = JobDir(home.exports / export_id)
    folder.path.mkdir(parents=True)
    write_json(folder.result, {"files": [], "fidelity": [{"subject": "Q4_K_M", "verdict": verdict}]})


def tags(page: str, choice: str) -> list[str]:
    found = re.search(rf'data-testid="expected-{choice}">(.*?)</span>\s*</label>', page, re.DOTALL)
    return re.findall(r'<span class="tag[^"]*">([^<]*)</span>', found[1]) if found else []


def test_sizes_come_from_the_base_models_own_tensors(
    client: FlaskClient, services: Services, home: Home, base: Path
) -> None:
    """For the chosen run, with what the format costs in quality; free disk space is shown too."""
    write_model(base)
    run(services, home, "r1")
    page = client.get("/exports").get_data(as_text=True)
    assert tags(page, "gguf-q4_k_m") == ["about 105.4 MB", "Small loss"]
    assert tags(page, "gguf-q8_0") == ["about 144.8 MB", "Nearly identical"]
    assert tags(page, "merged") == ["about 269.0 MB", "Same as the trained model"]
    assert tags(page, "adapter") == ["about 4.0 MB", "Same as the trained model"]
    assert re.search(r"of disk space available\. Creating a GGUF temporarily needs up to 807\.1 MB", page)
    table = page[page.index('data-testid="quantizations"') :]
    assert re.search(r'value="q2_k".*?88\.2 MB.*?<td class="num">5\.1</td>.*?Severe loss', table, re.DOTALL)


def test_a_base_model_that_is_not_here_has_rough_sizes_or_none(
    client: FlaskClient, services: Services, home: Home
) -> None:
    """Based on its parameter count if it is a listed model."""
    run(services, home, "r1", "Qwen/Qwen3-4B")
    run(services, home, "r2", "somebody/unknown")
    assert tags(client.get("/exports?session_id=r1").get_data(as_text=True), "gguf-q8_0")[0] == "about 4.2 GB"
    page = client.get("/exports?session_id=r2").get_data(as_text=True)
    assert tags(page, "gguf-q8_0") == ["Nearly identical"]
    assert "temporarily needs" not in page


def test_earlier_checks_on_this_machine_override_typical_values(
    client: FlaskClient, services: Services, home: Home
) -> None:
    """Checks of the same run outweigh those of others; unverified files do not count."""
    run(services, home, "r1")
    run(services, home, "r2")
    checked(services, home, "r2", "e1", "loses_quality")
    checked(services, home, "r1", "e2", "unverified")
    page = client.get("/exports?session_id=r1").get_data(as_text=True)
    assert tags(page, "gguf-q4_k_m")[1] == "Loses quality for another run of this base model"
    checked(services, home, "r1", "e3", "faithful")
    page = client.get("/exports?session_id=r1").get_data(as_text=True)
    assert tags(page, "gguf-q4_k_m")[1] == "Faithful for this run"


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}", b"\x04\0\0\0\0\0\0\0null"])
def test_a_damaged_model_has_no_shape(home: Home, base: Path, content: bytes) -> None:
    """Whatever the file contains, and if its weights are quantized."""
    write_model(base)
    assert shape_of(MODEL, home) is not None
    (base / "model.safetensors").write_bytes(content)
    assert shape_of(MODEL, home) is None
    write_model(base, dtype="U8")
    assert shape_of(MODEL, home) is None
    assert shape_of("builtin:../x", home) is None


def test_every_quantization_says_what_it_costs(client: FlaskClient, services: Services, home: Home) -> None:
    """The page lists each one once, in plain words."""
    run(services, home, "r1")
    page = client.get("/exports").get_data(as_text=True)
    assert all(page.count(f'name="quantization" value="{kind.value}"') == 1 for kind in Quantization)
    assert {quality(kind) for kind in Quantization} == {
        "Same as the trained model", "Nearly identical", "Very small loss", "Small loss", "Noticeable loss",
        "Large loss", "Severe loss",
    }  # fmt: skip
