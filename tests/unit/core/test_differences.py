"""Where two texts differ."""

from __future__ import annotations

import pytest

from core.differences import BEFORE, marked


def texts(first: str, second: str, most: int = 1000) -> tuple[list[str], list[str]]:
    """The parts that only one of the texts has."""
    return tuple([part.text for part in side if part.differs] for side in marked(first, second, most))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("It is the Po.", "It is the Nile.", (["Po"], ["Nile"])),
        ("the same", "the same", ([], [])),
        ("", "anything", ([], ["anything"])),
        ("one\ntwo", "one two", (["\n"], [" "])),
        ("a b c", "a c", (["b "], [])),
        ("I am late", "We were late", (["I am"], ["We were"])),
    ],
)
def test_only_words_of_one_text_are_marked(first: str, second: str, expected: tuple[list[str], list[str]]) -> None:
    """Each text is complete."""
    assert texts(first, second) == expected
    sides = marked(first, second, 1000)
    assert ["".join(part.text for part in side) for side in sides] == [first, second]


def test_a_long_text_begins_shortly_before_the_first_difference() -> None:
    """And ends after the given length, so that the difference is visible and comparing is fast."""
    same = "word " * 2000
    first, second = (
        "".join(part.text for part in side) for side in marked(f"{same}good " + same, f"{same}bad " + same, 600)
    )
    assert first.startswith("… word")
    assert "good" in first
    assert "bad" in second
    assert first.endswith("…")
    assert 600 <= len(first) <= 604
    assert first.index("good") <= BEFORE + len("… word ")
