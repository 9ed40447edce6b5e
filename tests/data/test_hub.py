"""Datasets and models with the real Hugging Face client, from a loopback server with its file API."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from core.config import DatasetSection, ModelSection
from core.data import uploads
from core.errors import NotFound, Unavailable
from core.settings import PROJECT, Home
from services.datasets.incoming import DatasetJobs, JobView
from services.datasets.prompts import ask, reader_environment, tokenizer_folder
from tests.support.hub import COMMIT, TOKEN, Hub, Repo
from tests.support.live import until

ROWS = [{"question": f"What is {n} + {n}?", "answer": f"Add.\n#### {2 * n}"} for n in range(4_000)]
CARD = b"---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n    path: main/train-*\n---\n"
TRAIN = "main/train-00000-of-00001.parquet"


def packed(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), out, compression="none")
    return out.getvalue()


@pytest.fixture(scope="module")
def parquet_bytes() -> bytes:
    return packed(ROWS)


@pytest.fixture(scope="module")
def large() -> bytes:
    """Three chunks of 10 MB, the client's chunk size: incomplete chunks are downloaded again."""
    return "".join(json.dumps({"question": f"{n}?", "answer": "x" * 99_000}) + "\n" for n in range(320)).encode()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, parquet_bytes: bytes, large: bytes) -> Iterator[Hub]:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS[:20]).encode()
    repos = {
        "openai/gsm8k": Repo({"README.md": CARD, TRAIN: parquet_bytes}),
        "someone/large": Repo({"train.jsonl": large}),
        "someone/gated": Repo({"train.jsonl": lines}, gated=True),
    }
    with Hub(repos, renamed={"old/name": "openai/gsm8k"}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.make()
    return home


def peek(home: Home, source: str) -> Any:
    section = DatasetSection(source=source).model_dump(mode="json")
    return ask(home, "peek", timeout=120, dataset=section, root=str(home.root), samples=2)


def waited(jobs: DatasetJobs, job: JobView) -> JobView | None:
    """The job's final state, or None once it is a dataset."""

    def look() -> JobView | None:
        try:
            return jobs.get(job.id)
        except NotFound:
            return None

    return until(look, lambda found: found is None or found.state != "working")


def fetched(home: Home, source: str, rows: int | None = None) -> Any:
    jobs = DatasetJobs(home, 1 << 30)
    job = jobs.fetch(DatasetSection(source=source), rows)
    end = waited(jobs, job)
    assert end is None, end
    return jobs.ended(job.id)


def test_a_public_dataset_is_fetched_and_kept(hub: Hub, home: Home) -> None:
    """Every row, the commit, the catalog's mapping; a subset without the rest."""
    info = fetched(home, "openai/gsm8k")
    assert (info.rows, info.columns, info.origin) == (len(ROWS), ("question", "answer"), "openai/gsm8k")
    assert info.hub == {"subset": "main", "split": "train", "revision": COMMIT}
    assert info.mapping["extraction"] == "after_marker"
    assert uploads.page(home.uploads / info.id, len(ROWS) - 1, 1) == [ROWS[-1]]
    part = fetched(home, "openai/gsm8k", rows=50)
    assert part.rows == 50
    assert uploads.page(home.uploads / part.id, 0, 50) == ROWS[:50]


def test_a_renamed_dataset_is_found_under_its_old_name(hub: Hub, home: Home) -> None:
    """The Hub's redirect is followed."""
    assert peek(home, "old/name")["rows"] == ROWS[:2]


def test_a_missing_dataset_says_so(hub: Hub, home: Home) -> None:
    """In the preview and in the import."""
    with pytest.raises(NotFound, match="has no dataset named someone/nothing"):
        peek(home, "someone/nothing")
    jobs = DatasetJobs(home, 1 << 30)
    end = waited(jobs, jobs.fetch(DatasetSection(source="someone/nothing")))
    assert end is not None
    assert (end.state, "has no dataset" in end.error) == ("failed", True)


def test_a_gated_dataset_opens_with_a_token_alone(hub: Hub, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one the message says what to do; with one it works; the token is stored nowhere."""
    with pytest.raises(Unavailable, match=r"gated.*HF_TOKEN"):
        peek(home, "someone/gated")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetched(home, "someone/gated").rows == 20
    written = [path for path in home.root.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert written == []


def test_a_download_cut_half_way_goes_on(hub: Hub, home: Home, large: bytes) -> None:
    """The connection breaks in the middle: the client requests only the rest, and every row arrives."""
    hub.cut.add("train.jsonl")
    assert fetched(home, "someone/large").rows == 320
    starts = [
        int(wanted.removeprefix("bytes=").partition("-")[0])
        for path, wanted in hub.ranges
        if path == "train.jsonl" and wanted
    ]
    assert any(0 < start < len(large) for start in starts), hub.ranges


def test_a_download_that_was_canceled_is_resumed_where_it_stopped(hub: Hub, home: Home, large: bytes) -> None:
    """Cancel ends the process and keeps the bytes; Resume fetches the rest; bytes and rows are reported meanwhile."""
    hub.slow = 6.0
    hub.go.clear()
    jobs = DatasetJobs(home, 1 << 30)
    job = jobs.fetch(DatasetSection(source="someone/large"))
    seen = until(lambda: jobs.get(job.id), lambda found: found.bytes >= len(large) // 4)
    assert 0 < seen.bytes < seen.total_bytes == len(large)
    assert jobs.cancel(job.id).state == "stopped"
    hub.slow = 0.0
    hub.go.set()
    hub.ranges.clear()
    assert jobs.resume(job.id).state == "working"
    assert waited(jobs, job) is None
    info = jobs.ended(job.id)
    assert info is not None
    assert info.rows == 320
    starts = [
        int(wanted.removeprefix("bytes=").partition("-")[0])
        for path, wanted in hub.ranges
        if path == "train.jsonl" and wanted
    ]
    assert starts
    assert min(starts) > 0, hub.ranges


def test_offline_what_is_cached_works_and_the_rest_says_so(
    hub: Hub, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After one fetch no network is needed; for another dataset the message names offline alternatives."""
    fetched(home, "openai/gsm8k")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nothing listens there
    with pytest.raises(Unavailable, match="cannot be reached"):
        peek(home, "someone/else")
    [info] = uploads.every(home.uploads)
    assert uploads.page(home.uploads / info.id, 7, 1) == [ROWS[7]]


def small_model(folder: Path) -> None:
    """A model with six words and one layer, in its libraries' format, written without them because they are slow."""
    words = {word: place for place, word in enumerate(["<s>", "</s>", "<unk>", "What", "is", "two"])}
    raw = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    kind = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(kind | named))
    size = {"vocab_size": 6, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1}
    more = {"num_attention_heads": 2, "num_key_value_heads": 2, "model_type": "llama", "torch_dtype": "float32"}
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], **size, **more}))
    layer: dict[str, tuple[int, ...]] = {f"self_attn.{name}_proj": (8, 8) for name in "qkvo"}
    layer |= {"mlp.gate_proj": (16, 8), "mlp.up_proj": (16, 8), "mlp.down_proj": (8, 16)}
    layer |= {"input_layernorm": (8,), "post_attention_layernorm": (8,)}
    shapes = {f"model.layers.0.{name}": shape for name, shape in layer.items()}
    shapes |= {"model.embed_tokens": (6, 8), "model.norm": (8,), "lm_head": (6, 8)}
    weights: dict[str, Any] = {f"{name}.weight": np.ones(shape, np.float32) for name, shape in shapes.items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_a_small_model_loads_through_the_client(hub: Hub, home: Home, tmp_path: Path) -> None:
    """Tokenizer files for the preview, and the whole model for training, both from HF_ENDPOINT."""
    made = tmp_path / "made"
    made.mkdir()
    small_model(made)
    hub.repos["someone/tiny"] = Repo({path.name: path.read_bytes() for path in made.iterdir()}, kind="model")
    folder = tokenizer_folder(home, ModelSection(name="someone/tiny"))
    assert (folder / "tokenizer.json").is_file()
    load = (
        "from transformers import AutoModelForCausalLM as M, AutoTokenizer as T\n"
        "model, tokenizer = M.from_pretrained('someone/tiny'), T.from_pretrained('someone/tiny')\n"
        "print(model.num_parameters(), tokenizer('What is two')['input_ids'])\n"
    )
    env = reader_environment(home) | {"USE_TORCH": "1", "HF_ENDPOINT": os.environ["HF_ENDPOINT"]}
    done = subprocess.run(
        [sys.executable, "-P", "-c", load], env=env, cwd=PROJECT.root, capture_output=True, text=True, check=False
    )
    assert done.stdout.split(maxsplit=1)[1].strip() == "[3, 4, 5]", done.stderr
