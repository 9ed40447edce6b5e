"""Where the rows come from, and how a question is put."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.section import Section

DEFAULT_SYSTEM_PROMPT = (
    "You are given a problem.\n"
    "Think about the problem and provide your working out.\n"
    "Place it between {reasoning_start} and {reasoning_end}.\n"
    "Then, provide your solution between {solution_start} and {solution_end}."
)
"""The default of Unsloth's GRPO notebooks. The four markers are filled in from the configuration."""


class GeneratedTask(Section):
    """One kind of exercise of reasoning-gym."""

    name: str = Field(min_length=1, max_length=100, title="Task", description="Name of the exercise, such as chain_sum.")
    weight: float = Field(1.0, gt=0, le=1000, title="Weight", description="Its share among the tasks; 2 and 1 mean two thirds and one third.")
    difficulty: int | None = Field(None, ge=0, le=5, title="Difficulty", description="0 is easiest, 5 hardest. Empty for the task's own mixture.")


class SourceFields(Section):
    """Where rows come from and which of their columns is what."""

    source: str = Field(min_length=1, max_length=500, title="Dataset", description="upload:<id>, generated:arithmetic, generated:reasoning-gym, mix, or a dataset of the Hub such as openai/gsm8k.")
    subset: str | None = Field(None, title="Subset (configuration)", description="The Hub dataset's subset, where it has several; GSM8K's is 'main'.")
    revision: str | None = Field(None, title="Revision", description="A branch, tag or commit of the Hub dataset; empty for the newest.")
    split: str = Field("train", min_length=1, title="Split", description="Which part of the dataset to learn from.")
    instruction_field: str = Field("question", min_length=1, title="Question column (instruction)", description="The column that the model is asked.")
    response_field: str = Field("answer", title="Answer column (reference)", description="The column with the right answer: what rewards compare with, or what the model learns to say.")
    instruction_template: str | None = Field(None, max_length=20_000, title="Text of the question", description="Where a question takes several columns: text with {column} for each, such as {context} and then {question}. Empty: the question column alone.")
    extraction: Literal["none", "after_marker", "last_number", "boxed", "regex", "json_path"] = Field("none", title="Take the answer out by rule (extraction)", description="How the reference is found in the answer column. GSM8K's stands after the marker ####.")
    extraction_pattern: str = Field("", max_length=2000, title="Marker, expression or path", description="What the rule looks for: the marker, the regular expression, or a path such as answers.text[0].")
    columns: dict[str, str] = Field(default_factory=dict, title="Further columns for rewards", description="A reward's name for a column, and the column, with commas between: tests = test_list, choices. Every other column keeps its own name.")
    max_samples: int | None = Field(None, ge=1, title="Rows to use", description="Empty for all rows.")
    size: int = Field(512, ge=8, le=1_000_000, title="Rows to make", description="For generated tasks only: how many rows are made.")
    max_operand: int = Field(50, ge=1, le=1_000_000, title="Largest number", description="For the arithmetic task only: numbers are drawn from 1 up to this.")
    tasks: tuple[GeneratedTask, ...] = Field((), max_length=110, title="Tasks", description="For generated:reasoning-gym: which exercises, how hard, and in which proportion.")


class MixSource(SourceFields):
    """One of several sources, with its own mapping."""

    weight: float = Field(1.0, gt=0, le=1000, title="Weight", description="Its share among the sources; 2 and 1 mean two thirds and one third.")


class DatasetSection(SourceFields):
    mix: tuple[MixSource, ...] = Field((), max_length=20, title="Sources to mix", description="For the source 'mix': datasets with their weights and mappings.")
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed of the rows", description="Generated and mixed rows are the same for the same seed.")
    deduplicate: Literal["off", "exact", "near"] = Field("off", title="Leave out repeated rows (deduplication)", description="'exact' leaves out rows with the same question and answer; 'near' also those whose questions share four fifths of their words in order.")
    drop_unparseable: bool = Field(False, title="Leave out rows that the reward cannot check", description="Rows whose reference is not what the reward compares with, such as a number.")
    drop_personal: bool = Field(False, title="Leave out secrets and e-mail addresses", description="Rows that hold an e-mail address, or what looks like a password or an access key.")
    drop_overlap: bool = Field(False, title="Leave out what the held-out rows ask", description="Rows to train on whose question is nearly that of a held-out row.")
    system_prompt: str | None = Field(None, max_length=20_000, title="System prompt", description="What the model is told before each question. Empty for the default with markers; {solution_start} and its like are filled in.")
    chat_template: str | None = Field(None, max_length=100_000, title="Chat template", description="Jinja text that turns system prompt and question into what the model reads. Empty for the model's own, which suits it best.")
    reasoning_start: str = Field("<start_working_out>", title="Working-out begins", description="Marker before the model's working-out.")
    reasoning_end: str = Field("<end_working_out>", title="Working-out ends", description="Marker after the model's working-out.")
    solution_start: str = Field("<SOLUTION>", title="Solution begins", description="Marker before the model's answer.")
    solution_end: str = Field("</SOLUTION>", title="Solution ends", description="Marker after the model's answer.")


MARKERS = ("reasoning_start", "reasoning_end", "solution_start", "solution_end")


def marker_checks(dataset: DatasetSection) -> list[tuple[str, str]]:
    """Markers that could not be found again in an answer: empty, the same, or one inside another.

    The markers of the working-out may be empty, for answers without it or templates that open it themselves; so may
    both solution markers, for free text.
    """
    given: dict[str, str] = {name: getattr(dataset, name) for name in MARKERS}
    problems = []
    for place, (name, text) in enumerate(given.items()):
        if text and not text.strip():
            problems.append((f"dataset.{name}", "must not be white space alone"))
        elif not text and name.startswith("solution") and dataset.solution_start + dataset.solution_end:
            problems.append((f"dataset.{name}", "must not be empty while the other solution marker is set: the answer is looked for between the two"))
        for earlier in MARKERS[:place]:
            if overlap := _overlap(given[earlier], text):
                problems.append((f"dataset.{name}", f"{overlap} {earlier} ({given[earlier]!r:.60}), so the two could not be told apart in an answer"))
                break
    return problems


def _overlap(earlier: str, text: str) -> str:
    if not earlier or not text:
        return ""
    if earlier == text:
        return "must differ from"
    return "must not be part of" if text in earlier else "must not contain" if earlier in text else ""


def source_checks(source: SourceFields, path: str) -> list[tuple[str, str]]:
    """Settings of one source that do not go together, as (field path, what would be right)."""
    problems = []
    if source.source == "generated:reasoning-gym" and not source.tasks:
        problems.append((f"{path}.tasks", "choose at least one task to generate"))
    if source.tasks and source.source != "generated:reasoning-gym":
        problems.append((f"{path}.source", "must be 'generated:reasoning-gym' where tasks are given"))
    if source.extraction in {"after_marker", "regex", "json_path"} and not source.extraction_pattern:
        problems.append((f"{path}.extraction_pattern", f"the rule '{source.extraction}' needs to know what to look for"))
    return problems
