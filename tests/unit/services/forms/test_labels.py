"""Names on pages: titles instead of ids, paths and field names."""

from __future__ import annotations

import re
from typing import Any

import pytest

from core.config import parse
from core.errors import InvalidConfig
from core.settings import Home
from services.forms.labels import config_title, dataset_title, in_words, model_title, plain_name, reward_title
from tests.conftest import TINY

RAW = re.compile(r"\b[a-z]+_[a-z_]+\b")


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"batch_size": 3, "gradient_accumulation_steps": 1}},
        {"training": {"max_new_tokens": 512, "max_sequence_length": 256}},
        {"grpo": {"clip_range": 0.3, "clip_range_high": 0.1}},
        {"dataset": {"source": "a/b", "solution_start": "<x>", "reasoning_start": "<x>"}},
        {"dataset": {"source": "mix", "mix": [{"source": "mix"}]}},
        {"reward": {"type": "composite", "components": [{"name": "numeric", "weight": 1000}]}},
        {"training": {"max_steps": 0}},
    ],
)
def test_a_refusal_names_fields_as_the_page_does(changes: dict[str, Any]) -> None:
    """API clients get paths; users get titles, in the message and before it."""
    with pytest.raises(InvalidConfig) as refused:
        parse({**TINY, **changes})
    for path, words in refused.value.problems:
        text = in_words(f"{path}: {words}")
        assert not RAW.search(text), text


@pytest.mark.parametrize(
    "text",
    [
        "No column 'max_steps'. There are: my_text, system_prompt.",
        "https://example.org/a_b",
        "adamw_torch",
    ],
)
def test_other_names_stay(text: str) -> None:
    """A user's columns, values and addresses."""
    assert in_words(text) == text


def test_ids_become_names(home: Home) -> None:
    assert model_title("builtin:smollm2-135m-instruct") == "SmolLM2 135M Instruct"
    assert dataset_title("generated:arithmetic", home) == "Arithmetic (generated)"
    assert dataset_title("upload:20260101-000000-aaaaaa", home) == "a deleted file"
    assert plain_name("upload:20260101-000000-aaaaaa", home) == "a deleted file"
    assert plain_name("builtin:smollm2-135m-instruct", home) == "SmolLM2 135M Instruct"
    parts = {"type": "composite", "components": [{"name": "numeric", "weight": 2}, {"name": "format", "label": "form"}]}
    assert reward_title(parts) == "Correct number × 2, form × 1"
    line = config_title(parse(TINY), home)
    assert line == "SmolLM2 135M Instruct · Arithmetic (generated) · reward: Arithmetic"
