"""One draft per request: read once, reviewed once, and started once."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from core.errors import Conflict
from core.readiness import Readiness
from services.container import Services
from tests.conftest import Browser, tiny

PAGES = (
    "/new",
    "/new/model",
    "/new/dataset",
    "/new/dataset/preparation",
    "/new/configuration",
    "/new/reward",
    "/new/train",
    "/new/export",
    "/new/test",
    "/rewards/bench",
    "/configs",
)


SET_UP = frozenset(path for path in PAGES if path.startswith("/new")) - {"/new/export", "/new/test"}
"""Pages that show whether the draft is ready; the others are about its run."""


def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[Any]:
    """Count the results of a method from now on."""
    given: list[Any] = []
    real = getattr(owner, name)

    def ask(*args: Any, **more: Any) -> Any:
        given.append(real(*args, **more))
        return given[-1]

    monkeypatch.setattr(owner, name, ask)
    return given


@pytest.mark.parametrize("started", [False, True])
def test_a_page_reads_the_draft_once_and_reviews_it_once(
    browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch, started: bool
) -> None:
    """So the whole page is about the same choices, even if another tab saves meanwhile."""
    services.wizard.load(tiny())
    if started:
        services.drafts.start(confirmed=True)
    reads = counted(monkeypatch, services.database, "get_draft")
    reviews: list[Readiness] = counted(monkeypatch, services.preflight, "look")
    for path in PAGES:
        reads.clear()
        reviews.clear()
        assert browser.get(path).status_code in {200, 302}
        assert len(reads) == 1, path
        assert len(reviews) == (1 if path in SET_UP else 0), path


def test_a_snapshot_stays_as_it_was(services: Services) -> None:
    """A later save does not change what was read."""
    services.wizard.load(tiny())
    snapshot = services.snapshots.take()
    services.wizard.change({"training.max_steps": 99, "reward": {"type": "preset", "preset_name": "nothing"}})
    assert snapshot.draft.value("training.max_steps") == 6
    assert not snapshot.review.missing
    assert services.snapshots.take().draft.value("training.max_steps") == 99
    assert services.snapshots.take().review.missing == {"reward"}


def test_starts_at_the_same_time_make_one_run(services: Services) -> None:
    """Each request gets its id."""
    services.wizard.load(tiny())
    ids: list[str] = []
    starts = [threading.Thread(target=lambda: ids.append(services.drafts.start(confirmed=True))) for _ in range(4)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert len(ids) == 4
    assert set(ids) == {run.session_id for run in services.runs.list()} == {services.wizard.draft().session_id}


def test_a_reward_that_can_be_fooled_is_started_when_that_is_confirmed(services: Services) -> None:
    """Without the confirmation, the refusal says what to do."""
    fooled = {"type": "composite", "components": [{"name": "length", "weight": 1}]}
    services.wizard.load({**tiny(), "reward": fooled})
    assert any(problem.confirm for problem in services.snapshots.take(quick=False).review.readiness.problems)
    with pytest.raises(Conflict, match="select 'Start anyway' first"):
        services.drafts.start()
    assert services.runs.list() == []
    assert services.drafts.start(confirmed=True) == services.runs.list()[0].session_id


def test_an_invalid_row_number_means_the_first(browser: Browser, services: Services) -> None:
    """On the page and for its buttons."""
    services.wizard.load(tiny())
    browser.get("/new/reward")
    browser.post("/new/reward", form={"ui.row": "abc", "action": "save"})
    assert "Row 1<" in browser.get("/new/reward").text
    browser.post("/new/reward", form={"ui.row": "abc", "action": "next-row"})
    assert services.wizard.draft().row == 1
    assert "Row 2<" in browser.get("/new/reward").text


@pytest.mark.parametrize(
    "odd",
    [
        ["a"],
        5,
        "x",
        {"source": ["a"]},
        {"source": "mix", "mix": ["a"], "tasks": 5},
        {"source": "generated:arithmetic", "instruction_field": ["a"]},
        {"type": "composite", "components": ["a", {"name": "length", "params": ["a"]}]},
        {"type": "composite", "components": 5},
    ],
)
@pytest.mark.parametrize("section", ["model", "dataset", "training", "reward"])
def test_a_configuration_with_an_invalid_section_can_be_viewed(
    browser: Browser, services: Services, section: str, odd: Any
) -> None:
    """An invalid section counts as empty."""
    services.settings.home.configs.joinpath("odd.json").write_text(json.dumps({**tiny(), section: odd}))
    browser.get("/configs")
    assert browser.post("/configs/use", form={"name": "odd"}).status_code == 302
    for step in ("model", "dataset", "configuration", "reward", "train"):
        assert browser.get(f"/new/{step}").status_code == 200
