"""Sample answers to a row, for trying out a reward."""

from __future__ import annotations

from core.config import DatasetSection
from core.data.prompts import warm_up_target
from core.dataset import Row
from services.wizard.draft import DatasetDraft

SAMPLES = (
    ("right", "Correct answer"),
    ("wrong", "Wrong answer, correct format"),
    ("bare", "Correct answer without tags"),
)
"""Keys of the answers, and their button labels."""
MARKERS = ("reasoning_start", "reasoning_end", "solution_start", "solution_end")


def sample(row: Row, chosen: DatasetDraft, key: str) -> str:
    """An answer to the row.

    Args:
        row: By mapped names.
        chosen: The dataset section, for its markers and system prompt.
        key: ``right``, ``wrong`` or ``bare``.
    """
    told = {name: value for name, value in chosen.values.items() if name in (*MARKERS, "system_prompt")}
    dataset = DatasetSection.model_validate({"source": "none", **told})
    right = warm_up_target(row, dataset)
    answer = str(row["response"]).rpartition("####")[2].strip()
    if key == "bare":
        return f"The answer is {answer}."
    if key == "wrong":
        wrong = f"{dataset.solution_start}{'7' if answer != '7' else '8'}{dataset.solution_end}"
        return f"{right.rpartition(dataset.solution_start)[0]}{wrong}" if dataset.solution_start else wrong
    return right
