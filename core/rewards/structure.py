"""Rewards for structure: JSON, patterns, Markdown, the language of the text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from core.reward import Item, Markers, Score
from core.rewards.boxed_code import run_reward
from core.rewards.info import Param, RewardInfo, one_of
from core.rewards.sandbox import Limits
from core.rewards.words import answer_text, words

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n```", re.DOTALL)
_SCHEMA = """
import json, jsonschema, referencing
def reward(completion, prompt, row):
    schema, data = json.loads(prompt), json.loads(completion)
    checker = jsonschema.validators.validator_for(schema)(schema, registry=referencing.Registry())
    errors = sorted(checker.iter_errors(data), key=lambda error: list(map(str, error.path)))
    if not errors:
        return 1.0, "The JSON fits the schema."
    first = errors[0]
    return 1 / (2 + len(errors)), f"The JSON does not fit the schema in {len(errors)} places, the first at {'/'.join(map(str, first.path)) or 'the top'}: {first.message[:120]}"
"""
_PATTERN = """
import re
def reward(completion, prompt, row):
    found = (re.fullmatch if row["whole"] else re.search)(prompt, completion, re.DOTALL)
    return (1.0, "The pattern is found.") if found else (0.0, "The pattern is not found.")
"""


def json_answer(items: Sequence[Item], *, markers: Markers, schema: str = "", compare: bool = False) -> list[Score]:
    """1 for JSON that fits the schema (or the row's ``schema``), less with each error, 0 for invalid JSON.

    Args:
        schema: JSON Schema; empty for the row's, or any JSON.
        compare: The value must equal the reference's, key by key; the score is the share of equal leaves.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> schema = '{"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}'
    >>> texts = ('{"city": "Paris"}', '{"town": 3}', "city: Paris")
    >>> [round(score.value, 2) for score in json_answer([Item(text, "", {}) for text in texts], markers=m, schema=schema)]
    [1.0, 0.33, 0.0]
    """
    scores: list[Score | None] = []
    asked: list[Item] = []
    for item in items:
        text = _json_text(item.completion, markers)
        wanted = schema or _as_text(item.row.get("schema"))
        score = _parsed(text)
        if score.value and compare:
            score = _compared(text, str(item.row.get("response", "")))
        if score.value == 1 and wanted:
            asked.append(Item(text, wanted, {}))
            scores.append(None)
        else:
            scores.append(score)
    checked = iter(run_reward(_SCHEMA, asked, limits=Limits(cpu=10, wall=3), preload=("jsonschema",)) if asked else [])
    return [next(checked) if score is None else score for score in scores]


def _json_text(completion: str, markers: Markers) -> str:
    text = answer_text(completion, markers)
    blocks = _FENCE.findall(text)
    return str(blocks[-1]) if blocks else text


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value) if value else ""


def _parsed(text: str) -> Score:
    try:
        json.loads(text[:200_000], parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return Score(0.0, f"The answer is not JSON: {str(error)[:100]}.")
    return Score(1.0, "The answer is JSON.")


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is Python's, not JSON's")


def _compared(text: str, reference: str) -> Score:
    try:
        got, wanted = _leaves(json.loads(text)), _leaves(json.loads(reference))
    except (ValueError, RecursionError):
        return Score(0.0, "The reference answer is not JSON, so there is nothing to compare with.")
    every = set(got) | set(wanted)
    same = sum(path in got and path in wanted and got[path] == wanted[path] for path in every)
    return Score(same / len(every) if every else 1.0, f"{same} of {len(every)} values match the reference.")


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], Any]:
    """Every leaf value, by its path: keys are text, list indexes numbers."""
    if isinstance(value, Mapping | list) and value:
        inside = value.items() if isinstance(value, Mapping) else enumerate(value)
        return {key: leaf for name, item in inside for key, leaf in _leaves(item, (*path, name)).items()}
    return {path: (type(value).__name__, value) if isinstance(value, bool) else value}


def pattern(items: Sequence[Item], *, markers: Markers, expression: str = ".", whole: bool = False) -> list[Score]:
    """1 if the regular expression is found in the answer, else 0. Runs in the sandbox: a slow pattern only affects
    its row.

    Args:
        expression: Python's ``re``.
        whole: The whole answer must match.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> texts = ("<s>AB-12</s>", "<s>12-AB</s>", "no")
    >>> [score.value for score in pattern([Item(t, "", {}) for t in texts], markers=m, expression="[A-Z]{2}-[0-9]{2}", whole=True)]
    [1.0, 0.0, 0.0]
    """
    asked = [Item(answer_text(item.completion, markers)[:100_000], expression, {"whole": whole}) for item in items]
    return run_reward(_PATTERN, asked, limits=Limits(cpu=4, wall=1))


def markdown(
    completion: str,
    prompt: str,
    row: Mapping[str, Any],
    *,
    markers: Markers,
    headings: int = 1,
    lists: int = 0,
    code_blocks: int = 0,
    tables: int = 0,
) -> Score:
    """The share of the wanted Markdown elements that are present, parsed (not searched for symbols), each with text
    inside.

    Args:
        headings, lists, code_blocks, tables: Minimum number of each.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> markdown("# Title\\n\\n- one\\n- two", "", {}, markers=m, lists=1)
    Score(value=1.0, why='All required elements are present.')
    >>> markdown("# Title\\n\\ntext", "", {}, markers=m, lists=1)
    Score(value=0.5, why='Missing: lists.')
    >>> markdown("##### # - * ```", "", {}, markers=m, lists=1)
    Score(value=0.0, why='Missing: headings, lists.')
    """
    wanted = {"headings": headings, "lists": lists, "code blocks": code_blocks, "tables": tables}
    wanted = {name: count for name, count in wanted.items() if count}
    if not wanted:
        return Score(0.0, "Nothing is required. Set at least one count above 0.")
    found = _parts(answer_text(completion, markers)[:100_000])
    missing = [name for name, count in wanted.items() if found.get(name, 0) < count]
    value = sum(min(1.0, found.get(name, 0) / count) for name, count in wanted.items()) / len(wanted)
    return Score(value, f"Missing: {', '.join(missing)}." if missing else "All required elements are present.")


def _parts(text: str) -> dict[str, int]:
    names = {"heading": "headings", "bullet_list": "lists", "ordered_list": "lists", "table": "tables"}
    counts: dict[str, int] = {}
    # Open elements, and the number of texts with words before each: one pass over the tokens.
    opened: list[tuple[str, int]] = []
    texts = 0
    for token in _markdown().parse(text):
        kind, _, side = token.type.rpartition("_")
        if side == "open":
            opened.append((names.get(kind, ""), texts))
        elif side == "close":
            name, before = opened.pop()
            counts[name] = counts.get(name, 0) + (texts > before)
        elif token.type == "fence":
            counts["code blocks"] = counts.get("code blocks", 0) + bool(token.content.strip())
        elif token.type == "inline":
            texts += bool(words(token.content))
    return counts


@cache
def _markdown() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")


def language(
    completion: str, prompt: str, row: Mapping[str, Any], *, markers: Markers, wanted: str = "en", where: str = "all"
) -> Score:
    """Confidence that the text is in the wanted language (py3langid). Fewer than five words earn 0.

    Args:
        wanted: Two letters: en, de, fr, es, zh …
        where: ``all`` of the text, or only the ``answer`` between the solution markers.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> language("The weather was fine and we walked along the river.", "", {}, markers=m).value > 0.9
    True
    >>> language("Das Wetter war schön und wir gingen am Fluss spazieren.", "", {}, markers=m).value < 0.1
    True
    >>> language("x", "", {}, markers=m)
    Score(value=0.0, why='There are too few words to detect the language.')
    """
    text = answer_text(completion, markers) if where == "answer" else completion
    for marker in (markers.reasoning_start, markers.reasoning_end, markers.solution_start, markers.solution_end):
        text = text.replace(marker, " ") if marker else text
    letters = re.sub(r"[^\w\s]|\d", " ", text)
    if len(words(letters)) < 5 and len(re.findall(r"[\u3040-\u9fff\uac00-\ud7af]", letters)) < 5:
        return Score(0.0, "There are too few words to detect the language.")
    ranked = dict(_identifier().rank(letters[:5000]))
    best = max(ranked, key=lambda code: ranked[code])
    if wanted not in ranked:
        return Score(
            0.0, f"{wanted!r} is not a language that can be detected. Use a two-letter code such as en, de, or fr."
        )
    return Score(min(1.0, max(0.0, float(ranked[wanted]))), f"The text appears to be {best} ({ranked[best]:.0%}).")


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _schema_check(params: dict[str, Any]) -> tuple[str, str] | None:
    if not params["schema"]:
        return None
    try:
        fine = isinstance(json.loads(params["schema"]), dict)
    except ValueError:
        fine = False
    return None if fine else ("schema", "must be a JSON object, a JSON Schema")


def _pattern_check(params: dict[str, Any]) -> tuple[str, str] | None:
    try:
        re.compile(params["expression"])
    except (re.error, RecursionError, OverflowError) as error:
        return "expression", f"is not a regular expression: {error}"
    return None


def _count(name: str, title: str, default: int) -> Param:
    return Param(name, "integer", default, title, "Minimum number; 0 means not required.", minimum=0, maximum=100)


INFOS = (
    RewardInfo(
        "json",
        "Valid JSON",
        "Checks that the answer is JSON and fits a JSON Schema, or has the same values as the reference.",
        False,
        (),
        (
            Param(
                "schema",
                "text",
                "",
                "JSON Schema",
                "Leave empty to use the row's 'schema' column, or to accept any JSON.",
                maximum=50_000,
            ),
            Param(
                "compare",
                "boolean",
                False,
                "Compare with the reference",
                "The values must equal those of the reference, which must be JSON.",
            ),
        ),
        one_of(json_answer),
        batch=json_answer,
        family="Format",
        check=_schema_check,
    ),
    RewardInfo(
        "pattern",
        "Matches a pattern",
        "Checks that the answer matches a regular expression.",
        False,
        (),
        (
            Param("expression", "text", ".", "Regular expression", "Python syntax.", maximum=2000, required=True),
            Param("whole", "boolean", False, "Match the whole answer", "The expression must match from start to end."),
        ),
        one_of(pattern),
        batch=pattern,
        family="Format",
        check=_pattern_check,
        thought=True,
    ),
    RewardInfo(
        "markdown",
        "Markdown structure",
        "Counts headings, lists, code blocks, and tables.",
        False,
        (),
        (
            _count("headings", "Headings", 1),
            _count("lists", "Lists", 0),
            _count("code_blocks", "Code blocks", 0),
            _count("tables", "Tables", 0),
        ),
        markdown,
        family="Format",
    ),
    RewardInfo(
        "language",
        "Language",
        "Checks which language the text is in.",
        False,
        (),
        (
            Param("wanted", "text", "en", "Language", "Two-letter code: en, de, fr, es, zh.", maximum=3, required=True),
            Param(
                "where",
                "choice",
                "all",
                "Which text",
                "The part of the text to check.",
                (("all", "Whole answer"), ("answer", "Between the answer tags")),
            ),
        ),
        language,
        family="Format",
        thought=True,
    ),
)
