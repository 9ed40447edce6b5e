"""Which files belong to a model, and the doctests."""

from __future__ import annotations

import doctest
import errno
from pathlib import Path

import pytest

import core.model
from core.model_hub import files
from core.model_hub.download import keep


def test_the_examples_of_the_docstrings_hold() -> None:
    for module in (core.model, files):
        found = doctest.testmod(module)
        assert found.attempted
        assert not found.failed


def test_only_what_is_loaded_is_downloaded() -> None:
    """The same weights in other formats, pickles, programs and folders are skipped."""
    sizes = dict.fromkeys(
        (
            "config.json", "tokenizer.json", "tokenizer.model", "chat_template.jinja", files.INDEX,
            "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "consolidated.safetensors",
            "pytorch_model.bin", "modeling_own.py", "onnx/model.onnx", "original/model.safetensors", "README.md",
            "../config.json", "adapter_model.safetensors",
        ),
        1,
    )  # fmt: skip
    assert set(files.wanted(sizes)) == {
        "config.json", "tokenizer.json", "tokenizer.model", "chat_template.jinja", files.INDEX,
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    }  # fmt: skip
    assert list(files.wanted(sizes))[-1] == "model-00002-of-00002.safetensors"


def test_a_cache_on_another_disk_gets_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each appears by one rename there too; the ref that completes the model comes last."""
    arrived, snapshot = tmp_path / "arrived", tmp_path / "hub" / "snapshots" / "abc1234"
    arrived.mkdir()
    (arrived / "config.json").write_text("{}")
    real, moved = Path.replace, []

    def across(self: Path, target: Path) -> Path:
        if self.parent != target.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        moved.append(target.relative_to(tmp_path / "hub").as_posix())
        return real(self, target)

    monkeypatch.setattr(Path, "replace", across)
    keep(arrived, ["config.json"], snapshot, None)
    assert moved == ["snapshots/abc1234/config.json", "refs/main"]
    assert (snapshot / "config.json").read_text() == "{}"
    assert (tmp_path / "hub" / "refs" / "main").read_text() == "abc1234"
