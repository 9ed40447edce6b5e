"""Usual names of dataset columns, the most likely first.

Case and word separators do not matter: ``answerKey``, ``answer key`` and ``answer_key`` are equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

QUESTIONS = (
    "question",
    "problem",
    "instruction",
    "query",
    "prompt",
    "question_text",
    "question_content",
    "user_prompt",
    "task",
    "ctx",
    "goal",
    "sentence",
    "input",
    "source_text",
    "frage", "pregunta", "pergunta", "domanda", "vraag", "вопрос", "问题", "問題", "質問",
)  # fmt: skip
ANSWERS = (
    "answer",
    "final_answer",
    "correct_answer",
    "right_answer",
    "expected_answer",
    "answer_key",
    "ground_truth",
    "reference_answer",
    "gold_answer",
    "gold",
    "correct_option",
    "correct",
    "reference",
    "target",
    "label",
    "solution",
    "expected_output",
    "output",
    "response",
    "completion",
    "chosen",
    "answers",
    "cop",
    "antwort", "respuesta", "resposta", "risposta", "antwoord", "réponse", "reponse", "ответ", "答案", "回答",
)  # fmt: skip
CHOICES = ("choices", "options", "endings", "answer_choices", "candidates")
"""Columns with the choices of a question. Rewards know the first two."""
NEVER = frozenset(
    {
        *CHOICES,
        "thinking", "thought", "thoughts", "reasoning", "reasoning_content", "rationale", "explanation", "cot",
        "chain_of_thought", "working", "scratchpad", "hint", "hints", "feedback", "analysis", "steps",
        "rejected", "incorrect_answers", "wrong_answer", "wrong_answers", "incorrect_answer", "best_answer_id",
        "distractor", "distractors",
        "context", "passage", "article", "document", "support", "evidence", "background",
        "tools", "functions", "messages", "conversations", "system", "system_prompt", "history", "generations",
        "tests", "test", "test_list", "unit_tests", "entry_point",
        "id", "idx", "index", "uid", "uuid", "row", "row_id", "question_id", "prompt_id", "task_id", "example_id",
        "source", "data_source", "dataset", "url", "link", "title", "author", "license", "date", "created_at",
        "timestamp", "time", "split", "lang", "language",
        "subject", "topic", "category", "type", "level", "difficulty", "ability", "domain", "tags", "keywords",
        "question_type", "problem_type", "answer_type", "score", "model", "metadata", "meta", "extra_info",
    }
)  # fmt: skip
"""Columns that are never the answer, even if their cells look like it."""


def folded(name: str) -> str:
    """A name normalized for comparison.

    >>> folded("answerKey"), folded(" Correct Answer "), folded("final-answer"), folded("QUESTION")
    ('answer_key', 'correct_answer', 'final_answer', 'question')
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[\s\-.]+", "_", apart).casefold()


def first_known(columns: Iterable[str], names: Iterable[str]) -> str | None:
    """The column whose name comes first in a list of names, in its own spelling."""
    spelt: dict[str, str] = {}
    for column in columns:
        spelt.setdefault(folded(column), column)
    return next((spelt[name] for name in names if name in spelt), None)


def known_question(row: Mapping[str, object]) -> bool:
    """Whether one of a row's columns has a usual name for a question."""
    return first_known(row, QUESTIONS) is not None


def never_answer(name: str) -> bool:
    """Whether a column's name rules it out as the answer, numbered or not (distractor1).

    >>> never_answer("thinking"), never_answer("distractor2"), never_answer("Antwort")
    (True, True, False)
    """
    return folded(name).rstrip("0123456789_") in NEVER or folded(name) in NEVER
