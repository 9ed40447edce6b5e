"""The fidelity check on the real small model after a short real training, and on sabotaged exports."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from peft import PeftModel

from core.config import parse
from core.fidelity import FidelityReport, FidelityVerdict
from core.job import JobState
from core.job_dir import JobDir, iter_lines
from core.model import Device
from core.settings import Home
from core.training.fidelity.check import Fidelity
from core.training.fidelity.prompts import only_spaces
from core.training.gguf import adapter as gguf_adapter
from core.training.gguf import file as gguf_file
from core.training.gguf import header as gguf_header
from core.training.models.load import load_base, load_tokenizer
from core.training.models.reference import start_of
from core.training.rollouts.llama_cpp import base_gguf
from tests.training.worker_runs import REAL, make_run, work

pytestmark = [pytest.mark.training, pytest.mark.slow]
needs_converter = pytest.mark.skipif(
    not gguf_file.CONVERTER.is_file(), reason="the GGUF converter is not installed: run setup"
)
CPU = Device("cpu", "cpu", 0, 0, False)
SHORT: dict[str, Any] = {
    "name": "short",
    "model": {"name": "builtin:smollm2-135m-instruct"},
    "dataset": {
        "source": "generated:arithmetic", "size": 200, "max_operand": 50,
        "system_prompt": "Give the result between {solution_start} and {solution_end}.",
    },
    "training": {
        "max_steps": 1, "batch_size": 4, "num_generations": 4, "gradient_accumulation_steps": 1, "max_new_tokens": 16,
        "max_sequence_length": 128,
    },
    "pre_training": {"enabled": True, "max_samples": 8, "batch_size": 4, "learning_rate": 1e-3},
    "reward": {"type": "preset", "preset_name": "arithmetic"},
    "evaluation": {"max_prompts": 1},
}  # fmt: skip
QUESTIONS = 8
"""Of the 64: enough for these tests."""


class Trained:
    """A model after a short training, its check, and what an export is made from."""

    def __init__(self, home: Home, run: JobDir, folder: Path) -> None:
        self.folder = folder
        self.tokenizer = load_tokenizer(str(run.adapter))
        self.adapter = run.adapter
        self.check = Fidelity(
            config=parse(run.read_config()["config"]),
            rows=list(iter_lines(run.prepared / "holdout.jsonl"))[:QUESTIONS],
            tokenizer=self.tokenizer,
            work=folder / "work",
            stop=lambda: False,
            say=lambda _: None,
        )
        model = self.load()
        self.check.trained(model, start_of(model, lambda: model))
        self.copied = self.check.adapted(self.load())
        self.lora = folder / "adapter.gguf"
        gguf_adapter.write(self.lora, "llama", gguf_adapter.layers(model, permute=True))
        self.base = base_gguf(REAL, home)
        merged = model.merge_and_unload(safe_merge=True)
        merged.half().save_pretrained(folder / "merged")
        self.tokenizer.save_pretrained(folder / "merged")

    def load(self) -> Any:
        return PeftModel.from_pretrained(load_base(str(REAL), dtype="float32", device=CPU), str(self.adapter))


@pytest.fixture(scope="module")
def trained(models: Home, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    if not gguf_file.CONVERTER.is_file():
        pytest.skip("the GGUF converter is not installed: run setup")
    run = make_run(models, "short", SHORT)
    with pytest.MonkeyPatch.context() as patch:
        assert work(run, patch, models) == JobState.COMPLETED
    return Trained(models, run, tmp_path_factory.mktemp("exports"))


@pytest.fixture(scope="module")
def f16(trained: Trained) -> Path:
    target = trained.folder / "f16.gguf"
    gguf_file.convert(trained.folder / "merged", target, lambda: False)
    return target


def faithful(report: FidelityReport) -> None:
    assert report.verdict == FidelityVerdict.FAITHFUL, report.reason
    assert report.same_prompt_ids == 1
    # In one of the eight answers, rounding may decide between two nearly equally likely words.
    assert (report.exact_match or 0) >= 1 - 1 / QUESTIONS
    assert (report.mean_kl or 0) < 1e-3
    assert report.change_kept == pytest.approx(1, abs=0.05)
    assert abs(report.reward_drop or 0) <= 1.2 / QUESTIONS


def test_adapter_and_merged_model_are_faithful(trained: Trained) -> None:
    """The training had an effect, and both keep it within 16-bit rounding."""
    assert (trained.copied.adapter_kl or 0) > 0.1
    faithful(trained.copied)
    faithful(trained.check.merged(trained.folder / "merged"))


def test_a_16_bit_gguf_is_faithful(trained: Trained, f16: Path) -> None:
    """llama.cpp, prompted with the file's own template, gives the trained model's answers."""
    faithful(trained.check.gguf(f16, "F16"))


def test_the_adapter_as_gguf_is_faithful(trained: Trained) -> None:
    """The base in llama.cpp with the adapter applied at load time."""
    faithful(trained.check.gguf(trained.base, "adapter as GGUF", adapter=trained.lora))


def test_a_missing_adapter_is_broken(trained: Trained) -> None:
    """The base model alone is recognized as such."""
    report = trained.check.gguf(trained.base, "Q8_0")
    assert report.verdict == FidelityVerdict.BROKEN
    assert report.reason.startswith("The trained weights are missing: it contains 0%")
    assert (report.base_kl or 0) < (report.mean_kl or 0) / 100


def sabotaged(source: Path, target: Path, name: str, change: Callable[[Any], Any]) -> Path:
    """A copy of a GGUF with one header field replaced by another value of the same size."""
    content, old = bytearray(source.read_bytes()), gguf_header.read(source).fields[name]
    new = change(old)
    # The key is followed by the type and, for a string, its length.
    place = content.index(name.encode()) + len(name) + (12 if isinstance(old, str) else 4)
    before, after = _stored(old), _stored(new)
    assert len(after) == len(before)
    assert content[place : place + len(before)] == before
    content[place : place + len(before)] = after
    target.write_bytes(content)
    return target


def _stored(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else int(value).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("field", "change", "reason", "token"),
    [
        ("tokenizer.ggml.eos_token_id", lambda _: 28, "Its end token is ", "<|im_end|>"),
        (
            "tokenizer.chat_template",
            lambda old: old.replace("<|im_start|>assistant", "<|im_start|>Assistant"),
            "Prompts differ from those of the trained model.",
            "'Ass' (9519)",
        ),
        (
            "tokenizer.chat_template",
            lambda old: old.replace("named SmolLM", "named SmallM"),
            "Prompts differ from those of the trained model.",
            "' Small'",
        ),
    ],
    ids=["another end token", "another template", "another default system prompt"],
)
def test_a_sabotaged_header_is_broken(
    trained: Trained, f16: Path, tmp_path: Path, field: str, change: Callable[[Any], Any], reason: str, token: str
) -> None:
    """Each for its own reason, with the first different token, before anything is generated."""
    report = trained.check.gguf(sabotaged(f16, tmp_path / "sabotaged.gguf", field, change), "F16")
    assert report.verdict == FidelityVerdict.BROKEN
    assert report.reason.startswith(reason)
    assert token in report.reason
    assert report.exact_match is None


def test_a_merged_folder_with_another_end_token_is_broken(trained: Trained, tmp_path: Path) -> None:
    """If the tokenizer's file names another one, programs stop at the wrong place."""
    folder = tmp_path / "merged"
    shutil.copytree(trained.folder / "merged", folder)
    config = folder / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"eos_token": "<|im_end|>"', '"eos_token": "<|endoftext|>"'))
    report = trained.check.merged(folder)
    assert report.verdict == FidelityVerdict.BROKEN
    assert "<|endoftext|>" in report.reason


def test_an_extra_space_is_not_a_different_word(trained: Trained) -> None:
    """Programs differ in where they put spaces; a different word is a real difference."""
    read = [trained.tokenizer(text)["input_ids"] for text in ("What is 2", " What is 2", "Which is 2")]
    assert read[0] != read[1]
    assert only_spaces(read[0], read[1], trained.tokenizer)
    assert not only_spaces(read[0], read[2], trained.tokenizer)


def test_a_file_that_ends_llama_cpp_is_broken(trained: Trained, f16: Path, tmp_path: Path) -> None:
    """Its process dies, the check continues."""
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(f16.read_bytes()[:5_000_000])
    report = trained.check.gguf(torn, "F16")
    assert report.verdict == FidelityVerdict.BROKEN
    assert "could not load it" in report.reason


def test_a_stop_request_is_followed(trained: Trained, f16: Path) -> None:
    """Even during llama.cpp's work."""
    task = trained.check.task
    trained.check.task = replace(task, stop=lambda: True)
    try:
        with pytest.raises(gguf_file.Cancelled):
            trained.check.gguf(f16, "F16")
    finally:
        trained.check.task = task
