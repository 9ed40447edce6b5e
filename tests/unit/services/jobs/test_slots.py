"""Slots: how many jobs run at a time."""

from __future__ import annotations

import pytest

from services.jobs.slots import Slots


def test_a_job_has_the_lowest_free_slot_until_it_gives_it_back() -> None:
    """Requested again, it keeps its slot."""
    slots = Slots({"local": 1, "cluster": 2})
    assert [slots.hold("cluster", job) for job in ("a", "b", "a")] == [0, 1, 0]
    assert (slots.free("cluster"), slots.free("local")) == (False, True)
    slots.release("a")
    assert slots.hold("cluster", "c") == 0


def test_a_job_that_is_already_running_counts_even_without_a_free_slot() -> None:
    """Nothing else is started until both have ended."""
    slots = Slots({"local": 1})
    assert [slots.hold("local", job) for job in ("a", "b")] == [0, 1]
    slots.release("a")
    assert not slots.free("local")
    slots.release("b")
    slots.release("b")
    assert slots.free("local")


def test_an_unknown_launcher_has_no_slots() -> None:
    """A job for it stays queued."""
    slots = Slots({"local": 1})
    assert not slots.free("elsewhere")
    with pytest.raises(KeyError):
        slots.hold("elsewhere", "a")
