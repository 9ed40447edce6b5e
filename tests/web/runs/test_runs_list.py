"""The list of runs: search, filters and sort order, all in the address."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from core.job import JobState
from services.container import Services
from services.jobs.database import new_job
from tests.conftest import Browser, tiny
from tests.support.run_made import text


@pytest.fixture(autouse=True)
def runs(services: Services) -> None:
    """Three runs named c, a, b, oldest first; they took 30, 20 and 40 seconds."""
    for hour, (name, state, seconds, reward) in enumerate(
        [("c", JobState.COMPLETED, 30, 0.2), ("a", JobState.CRASHED, 20, 0.9), ("b", JobState.STOPPED, 40, None)]
    ):
        begun = f"2026-01-01T0{hour}:00"
        job = new_job(
            f"run-{name}", {"kind": "train", "name": name, "created_at": f"{begun}:00+00:00", "config": tiny()}
        )
        job.state, job.reward = str(state), reward
        job.started_at, job.ended_at = f"{begun}:00+00:00", f"{begun}:{seconds}+00:00"
        services.database.add(job)


def listed(browser: Browser, query: str = "") -> str:
    """The names in the list, in order."""
    return "".join(re.findall(r'class="c-name">\s*<a href="/runs/run-(\w)"', text(browser, f"/runs{query}")))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "bac"),
        ("?order=asc", "cab"),
        ("?sort=name", "abc"),
        ("?sort=name&order=desc", "cba"),
        ("?sort=duration", "bca"),
        ("?sort=result", "acb"),
        ("?sort=nonsense&order=sideways&page=-3", "bac"),
        ("?state=failed", "a"),
        ("?state=completed", "c"),
        ("?state=nonsense", "bac"),
        ("?state=queued", ""),
        ("?q=a", "bac"),  # the model's name contains an a
        ("?page=9", "bac"),
    ],
)
def test_the_address_says_which_runs_in_which_order(browser: Browser, query: str, names: str) -> None:
    """Newest first by default; a crashed run counts as failed."""
    assert listed(browser, query) == names


def test_heads_and_filters_lead_from_one_to_the_other(browser: Browser) -> None:
    """A second click on a header reverses the order; search and filters are kept."""
    page = text(browser, "/runs?state=failed&q=a&sort=name")
    assert 'aria-sort="ascending"' in page
    assert 'href="/runs?q=a&state=failed&sort=name&order=desc"' in page
    assert 'href="/runs?q=a&state=failed&sort=duration"' in page
    assert 'href="/runs?q=a&sort=name"' in page  # All
    assert '<input type="hidden" name="state" value="failed">' in page


def test_filters_say_how_many_runs_they_leave(browser: Browser) -> None:
    """Filters without matches are hidden."""
    page = text(browser, "/runs")
    chips = re.sub(r"<[^>]+>|\s+", " ", page.partition('class="chips"')[2].partition("</nav>")[0])
    assert chips.split()[-8:] == ["All", "3", "Completed", "1", "Stopped", "1", "Failed", "1"]
    assert "No matching runs" in text(browser, "/runs?q=zebra")


def add(services: Services, name: str, method: str) -> None:
    content = {"kind": "train", "name": name, "created_at": "2026-01-02T00:00:00+00:00"}
    job = new_job(f"run-{name}", {**content, "config": {**tiny(), "method": method}})
    job.state = str(JobState.COMPLETED)
    services.database.add(job)


def test_runs_are_filtered_by_kind_of_training(browser: Browser, services: Services) -> None:
    """With their number and the methods; a filter keeps the search and the status, and the search finds methods."""
    assert "Filter by kind of training" not in text(browser, "/runs")
    add(services, "d", "dpo")
    add(services, "e", "sft")
    page = text(browser, "/runs")
    bar = page.partition('aria-label="Filter by kind of training"')[2].partition("</nav>")[0]
    chips = " ".join(re.sub(r"<[^>]+>", " ", bar.partition(">")[2]).split())
    assert re.fullmatch(r"All 5 SL: SFT\b.* 1 RL: GRPO\b.* 3 DPO\b.* 1", chips)
    assert 'data-testid="row-method">DPO<' in page
    assert listed(browser, "?type=DPO") == "d"
    assert listed(browser, "?type=RL") == "bac"
    assert listed(browser, "?type=RLHF") == ""
    assert len(listed(browser, "?type=nonsense")) == 5
    assert listed(browser, "?q=dpo") == "d"
    page = text(browser, "/runs?state=completed&type=RL&q=sm")
    assert 'href="/runs?q=sm&state=completed&type=SL"' in page
    assert 'href="/runs?q=sm&state=failed&type=RL"' in page
    assert '<input type="hidden" name="type" value="RL">' in page


def test_the_api_lists_runs_of_a_kind(client: FlaskClient, services: Services) -> None:
    """By job type or by method; another value is refused."""
    add(services, "d", "dpo")

    def names(query: str) -> list[str]:
        return [run["name"] for run in client.get(f"/api/training/sessions?{query}").get_json()["sessions"]]

    assert names("job_type=DPO") == names("method=dpo") == ["d"]
    assert names("job_type=RL") == ["b", "a", "c"]
    assert names("job_type=RL&method=dpo") == []
    first = client.get("/api/training/sessions").get_json()["sessions"][0]
    assert (first["method"], first["job_type"]) == ("dpo", "DPO")
    assert client.get("/api/training/sessions?job_type=dpo").status_code in {400, 422}


def test_a_row_says_when_it_started_and_how_long_it_took(browser: Browser) -> None:
    """On Home, too; long lists have links to further pages."""
    for path in ("/runs", "/"):
        assert "30 seconds" in text(browser, path), path


def test_many_runs_come_a_page_at_a_time(browser: Browser, services: Services) -> None:
    """In the chosen order."""
    for number in range(30):
        content = {"kind": "train", "name": f"more {number:02}", "created_at": "2026-02-01T00:00:00+00:00"}
        job = new_job(f"more-{number:02}", {**content, "config": tiny()})
        job.state = str(JobState.COMPLETED)
        services.database.add(job)
    first, second = text(browser, "/runs?sort=name"), text(browser, "/runs?sort=name&page=2")
    assert 'href="/runs?sort=name&page=2"' in first
    assert "Page 2 of 2" in second
    assert "more-00" in first.partition('data-testid="runs"')[2]
    assert "more-29" in second.partition('data-testid="runs"')[2]
