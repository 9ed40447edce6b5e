"""The dataset: source, column mapping, mixing, cleaning, prompt and answer tags."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.dataset import Shape
from core.section import Section

DEFAULT_SYSTEM_PROMPT = (
    "You are given a problem.\n"
    "Think about the problem and provide your working out.\n"
    "Place it between {reasoning_start} and {reasoning_end}.\n"
    "Then, provide your solution between {solution_start} and {solution_end}."
)
"""Default from Unsloth's GRPO notebooks. The four answer tags are filled in from the configuration."""


class GeneratedTask(Section):
    """A reasoning-gym task to generate."""

    name: str = Field(min_length=1, max_length=100, title="Task", description="Name of the exercise, such as chain_sum.")
    weight: float = Field(1.0, gt=0, le=1000, title="Weight", description="Relative share. Weights of 2 and 1 mean two thirds and one third.")
    difficulty: int | None = Field(None, ge=0, le=5, title="Difficulty", description="0 is easiest, 5 is hardest. Leave empty for the task's default mix.")


class SourceFields(Section):
    """A source of rows and its column mapping."""

    source: str = Field(min_length=1, max_length=500, title="Dataset", description="upload:<id>, generated:arithmetic, generated:preferences, generated:reasoning-gym, mix, or a Hugging Face dataset such as openai/gsm8k.")
    subset: str | None = Field(None, title="Subset (configuration)", description="For Hugging Face datasets with several subsets. GSM8K's is 'main'.")
    revision: str | None = Field(None, title="Revision", description="A branch, tag, or commit of the Hugging Face dataset. Leave empty for the latest.")
    split: str = Field("train", min_length=1, title="Split", description="The part of the dataset to train on.")
    instruction_field: str = Field("question", min_length=1, title="Question column", description="Column with the questions.")
    response_field: str = Field("answer", title="Answer column", description="Column with the correct answers: what rewards compare with, or what the model learns to say.")
    chosen_field: str = Field("", title="Better answer column", description="Column with the better of two answers, for learning from pairs. It then is the answer column too.")
    rejected_field: str = Field("", title="Worse answer column", description="Column with the worse of the two answers.")
    winner_field: str = Field("", title="Winner column", description="Column that says which of two answers is better: a or b, model_a or model_b. The two answer columns above then hold answer A and answer B. Ties are left out.")
    label_field: str = Field("", title="Rating column", description="Column that says whether the answer in the answer column is good: true or false, 1 or 0, thumbs up or down.")
    text_field: str | None = Field(None, max_length=500, title="Text column", description="For plain text that the model should learn to continue, without a chat template. Every token is trained, and the end-of-sequence token is added. The question and answer columns are then not used.")
    instruction_template: str | None = Field(None, max_length=20_000, title="Question template", description="To build a question from several columns, write {column} for each, such as {context} followed by {question}. Leave empty to use the question column.")
    extraction: Literal["none", "after_marker", "last_number", "boxed", "regex", "json_path"] = Field("none", title="Extract the answer", description="How to find the reference answer in the answer column. In GSM8K it follows the marker ####.")
    extraction_pattern: str = Field("", max_length=2000, title="Marker, expression, or path", description="What to look for: a marker, a regular expression, or a path such as answers.text[0].")
    columns: dict[str, str] = Field(default_factory=dict, title="Extra columns", description="The name that a reward or a setting expects = your column, separated by commas: tests = test_list, choices. Other columns keep their names.")
    max_samples: int | None = Field(None, ge=1, title="Maximum rows", description="Leave empty to use all rows.")
    size: int = Field(512, ge=8, le=1_000_000, title="Rows to generate", description="Each row is one question with its answer.")
    max_operand: int = Field(50, ge=1, le=1_000_000, title="Largest number", description="Problems use numbers from 1 up to this.")
    tasks: tuple[GeneratedTask, ...] = Field((), max_length=110, title="Tasks", description="For generated exercises: which ones, how hard, and in what proportion.")

    @property
    def shape(self) -> Shape:
        """What a row holds, by the columns that are named."""
        return Shape.of(vars(self))


class MixSource(SourceFields):
    """One source of a mix, with its own column mapping."""

    weight: float = Field(1.0, gt=0, le=1000, title="Weight", description="Relative share. Weights of 2 and 1 mean two thirds and one third.")


class DatasetSection(SourceFields):
    mix: tuple[MixSource, ...] = Field((), max_length=20, title="Datasets to mix", description="Datasets with their weights and column mappings.")
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Data seed", description="The same seed gives the same generated and mixed rows.")
    deduplicate: Literal["off", "exact", "near"] = Field("off", title="Remove duplicates", description="Exact: rows with the same question and answer. Near: also rows whose questions share at least 80% of their words, in the same order.")
    drop_unparseable: bool = Field(False, title="Remove rows the reward cannot check", description="Rows whose reference answer the reward cannot read, such as text where it expects a number.")
    drop_personal: bool = Field(False, title="Remove rows with secrets or email addresses", description="Rows that contain an email address or something that looks like a password or access key.")
    drop_overlap: bool = Field(False, title="Remove overlap with held-out rows", description="Training rows whose question is nearly the same as a held-out question.")
    system_prompt: str | None = Field(None, max_length=20_000, title="System prompt", description="Instructions the model gets before each question. Leave empty for the default, which asks for answer tags; methods that learn only from pairs or ratings have none. Tags such as {solution_start} are filled in.")
    chat_template: str | None = Field(None, max_length=100_000, title="Chat template", description="Jinja template that turns the system prompt and question into what the model reads. Leave empty to use the model's own template, which works best.")
    reasoning_start: str = Field("<start_working_out>", title="Reasoning start tag", description="Comes before the model's reasoning.")
    reasoning_end: str = Field("<end_working_out>", title="Reasoning end tag", description="Comes after the model's reasoning.")
    solution_start: str = Field("<SOLUTION>", title="Answer start tag", description="Comes before the model's final answer.")
    solution_end: str = Field("</SOLUTION>", title="Answer end tag", description="Comes after the model's final answer.")


MARKERS = ("reasoning_start", "reasoning_end", "solution_start", "solution_end")


def marker_checks(dataset: DatasetSection) -> list[tuple[str, str]]:
    """Find answer tags that cannot be told apart in an answer: blank, equal, or one inside another.

    The reasoning tags may be empty, for answers without reasoning or chat templates that open it themselves. Both
    solution tags may be empty for free text.
    """
    given: dict[str, str] = {name: getattr(dataset, name) for name in MARKERS}
    problems = []
    for place, (name, text) in enumerate(given.items()):
        if text and not text.strip():
            problems.append((f"dataset.{name}", "must not be only white space"))
        elif not text and name.startswith("solution") and dataset.solution_start + dataset.solution_end:
            problems.append((f"dataset.{name}", "must not be empty while the other answer tag is set: the answer is read from between the two"))
        for earlier in MARKERS[:place]:
            if overlap := _overlap(given[earlier], text):
                problems.append((f"dataset.{name}", f"{overlap} {earlier} ({given[earlier]!r:.60}), so they cannot be told apart in an answer"))
                break
    return problems


def _overlap(earlier: str, text: str) -> str:
    if not earlier or not text:
        return ""
    if earlier == text:
        return "must differ from"
    return "must not be part of" if text in earlier else "must not contain" if earlier in text else ""


def source_checks(source: SourceFields, path: str) -> list[tuple[str, str]]:
    """Find conflicting settings of a source, as (field path, how to fix it)."""
    problems = []
    if bool(source.chosen_field) != bool(source.rejected_field):
        lacking = "rejected_field" if source.chosen_field else "chosen_field"
        problems.append((f"{path}.{lacking}", "pairs need both columns, the better and the worse answer"))
    if source.chosen_field and source.chosen_field == source.rejected_field:
        problems.append((f"{path}.rejected_field", "must be another column than the better answer's"))
    if source.winner_field and source.shape is not Shape.PAIRS:
        problems.append((f"{path}.winner_field", "needs the columns of both answers: name them in chosen_field and rejected_field"))
    if source.chosen_field and source.label_field:
        problems.append((f"{path}.label_field", "rows hold either pairs or single answers with a rating; leave one of them empty"))
    if source.source == "generated:reasoning-gym" and not source.tasks:
        problems.append((f"{path}.tasks", "choose at least one task to generate"))
    if source.tasks and source.source != "generated:reasoning-gym":
        problems.append((f"{path}.source", "must be 'generated:reasoning-gym' where tasks are given"))
    if source.extraction in {"after_marker", "regex", "json_path"} and not source.extraction_pattern:
        problems.append((f"{path}.extraction_pattern", f"the rule '{source.extraction}' needs to know what to look for"))
    return problems
