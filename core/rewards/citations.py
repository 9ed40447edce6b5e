"""Citations in APA or MLA style: parsed, not matched by keywords."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from core.reward import Markers, Score
from core.rewards.info import Param, RewardInfo

_NAME = r"[A-ZÀ-Þ][\w'’-]+"
_APA_AUTHOR = rf"{_NAME}, (?:[A-ZÀ-Þ]\.[ -]?){{1,4}}"
_APA_ENTRY = re.compile(
    rf"^(?P<author>{_APA_AUTHOR}(?:,? (?:& )?{_APA_AUTHOR})*)\s*\((?P<year>(?:1[5-9]|20)\d\d)[a-z]?(?:, [A-Z]\w+ ?\d{{0,2}})?\)\. (?P<title>[^.]{{4,300}}[.?!])\s*(?P<rest>\S.{{2,300}})$"
)
_MLA_ENTRY = re.compile(
    rf"^(?P<author>{_NAME}, {_NAME}(?: [A-Z]\.)?(?:, (?:and )?{_NAME} {_NAME})*(?:, et al)?)\. (?P<title>[\"“][^\"”]{{4,300}}[.?!][\"”]|[*_]?[A-Z][^.]{{3,300}}\.) (?P<rest>.{{2,300}}?\b(?P<year>(?:1[5-9]|20)\d\d)\b.{{0,120}})$"
)
_APA_CITE = re.compile(
    rf"\((?P<author>{_NAME})(?:(?:,? & | and )(?P<second>{_NAME})| et al\.)?, (?P<year>(?:1[5-9]|20)\d\d)[a-z]?(?:, pp?\. ?\d+(?:[-–]\d+)?)?\)|(?P<said>{_NAME})(?: and {_NAME}| et al\.)? \((?P<said_year>(?:1[5-9]|20)\d\d)[a-z]?\)"
)
_MLA_CITE = re.compile(rf"\((?P<author>{_NAME})(?: and {_NAME}| et al\.)? (?P<page>\d{{1,4}}(?:[-–]\d{{1,4}})?)\)")


class Entry(NamedTuple):
    """One entry of a list of works."""

    author: str
    year: str
    title: str


def entries(text: str, style: Literal["apa", "mla"]) -> list[Entry]:
    """The complete entries of a text, one per line.

    >>> entries("Curie, M. (1911). Radium and its discovery. Science Press.", "apa")
    [Entry(author='Curie', year='1911', title='Radium and its discovery')]
    >>> entries('Curie, Marie. "Radium." Journal of Science, vol. 2, 1911, pp. 1-9.', "mla")
    [Entry(author='Curie', year='1911', title='Radium')]
    >>> entries("Source: the internet, 1911.", "apa")
    []
    """
    pattern = _APA_ENTRY if style == "apa" else _MLA_ENTRY
    found = []
    for line in text.splitlines():
        match = pattern.match(line.strip().lstrip("-*•0123456789.) ")[:900])
        if match:
            found.append(Entry(match["author"].split(",")[0], match["year"], match["title"].strip('"“”*_ .?!')))
    return found


def citation(
    completion: str,
    prompt: str,
    row: Mapping[str, Any],
    *,
    markers: Markers,
    style: Literal["apa", "mla"] = "apa",
    wanted: int = 1,
) -> Score:
    """Whether there are citations and each matches a complete entry, in APA or MLA style.

    Half for the number of different complete entries out of ``wanted``; half for the share of citations in
    the text that match one (by author, in APA also by year). Checks format, not whether the works exist.

    Args:
        style: ``apa``: (Curie, 1911); ``mla``: (Curie 12).
        wanted: Number of works that a full answer lists.

    >>> m = Markers("<w>", "</w>", "<s>", "</s>")
    >>> text = "Radium glows (Curie, 1911).\\n\\nReferences\\nCurie, M. (1911). Radium and its discovery. Science Press."
    >>> citation(text, "", {}, markers=m)
    Score(value=1.0, why='1 complete entries; 1 of 1 citations match one.')
    >>> citation(text.replace("(Curie, 1911)", "(Bohr, 1913)"), "", {}, markers=m)
    Score(value=0.5, why='1 complete entries; 0 of 1 citations match one.')
    >>> citation("According to a source (reference) et al., see citation.", "", {}, markers=m)
    Score(value=0.0, why='There are no complete APA entries and no APA citations.')
    """
    listed = list(dict.fromkeys(entries(completion, style)))
    known = {(entry.author, entry.year if style == "apa" else "") for entry in listed}
    cited = set(_cited(completion, style))
    if not listed and not cited:
        return Score(0.0, f"There are no complete {style.upper()} entries and no {style.upper()} citations.")
    leading = len(cited & known)
    value = 0.5 * min(1.0, len(listed) / wanted) + (0.5 * leading / len(cited) if cited else 0.0)
    return Score(value, f"{len(listed)} complete entries; {leading} of {len(cited)} citations match one.")


def _cited(text: str, style: str) -> list[tuple[str, str]]:
    if style == "mla":
        return [(match["author"], "") for match in _MLA_CITE.finditer(text)]
    body = "\n".join(line for line in text.splitlines() if not _APA_ENTRY.match(line.strip()))
    return [
        (match["author"] or match["said"], match["year"] or match["said_year"]) for match in _APA_CITE.finditer(body)
    ]


INFOS = (
    RewardInfo(
        "citation",
        "Citations (APA, MLA)",
        "Checks that citations and the list of works match. Does not check whether the works exist.",
        False,
        (),
        (
            Param(
                "style",
                "choice",
                "apa",
                "Style",
                "Citation style to check.",
                (("apa", "APA: (Curie, 1911)"), ("mla", "MLA: (Curie 12)")),
            ),
            Param("wanted", "integer", 1, "Works", "Number of entries for full score.", minimum=1, maximum=100),
        ),
        citation,
        family="Format",
    ),
)
