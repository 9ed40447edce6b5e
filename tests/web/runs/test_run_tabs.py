"""A run's page, one tab at a time: what each shows, what is in the address, and that nothing else is sent."""

from __future__ import annotations

import json
import time

import pytest

from core.config import dump, parse
from core.job import JobState
from core.job_dir import JobDir, JsonlWriter
from services.container import Services
from tests.conftest import Browser, tiny
from tests.support.run_made import OTHER, RUN, make, text

TABS = ("overview", "answers", "charts", "log", "settings")
ONLY = {
    "overview": 'data-testid="verdict"',
    "answers": 'data-testid="completions"',
    "charts": 'id="run-data"',
    "log": 'data-testid="log"',
    "settings": 'data-testid="run-settings"',
}


def answered(run: JobDir, *, phase: str = "training", steps: int = 3, groups: int = 1, said: str = "4") -> None:
    """Answers to that many questions in each step; ``said`` is the model's text."""
    writer = JsonlWriter(run.completions)
    for step in range(1, steps + 1):
        for number in range(groups):
            part = {"score": 1.0, "weight": 1.0, "why": f"{said} is right."}
            answer = {
                "text": f"<SOLUTION>{said}</SOLUTION>",
                "tokens": 5,
                "total": 1.2,
                "components": {"numeric": part},
            }
            asked = {"instruction": f"{phase} {step}.{number}", "prompt": "<|im_start|>user", "reference": "4"}
            writer.append({"phase": phase, "step": step, **asked, "completions": [answer]})
    writer.close()


def main(browser: Browser, query: str = "", run: str = RUN) -> str:
    """The page's own content, without the layout around it."""
    return text(browser, f"/runs/{run}{query}").partition("<main")[2].partition("</main>")[0]


def test_a_page_sends_only_what_its_tab_shows(browser: Browser, services: Services) -> None:
    """Each tab is a separate page that marks itself as current; an unknown tab shows the overview."""
    answered(make(services, JobState.COMPLETED, [0.1, 0.2, 0.3]))
    for tab in TABS:
        page = main(browser, f"?tab={tab}")
        assert [key for key in TABS if ONLY[key] in page] == [tab]
        current = page.partition('aria-current="page">')[2].partition("<")[0]
        assert current.strip() == tab.capitalize()
        assert 'data-testid="run-status"' in page
    assert ONLY["overview"] in main(browser)
    assert ONLY["overview"] in main(browser, "?tab=nonsense")


def test_the_address_keeps_step_phase_and_page(browser: Browser, services: Services) -> None:
    """A missing or unknown step shows the latest one."""
    run = make(services, JobState.COMPLETED, [0.1, 0.2, 0.3])
    answered(run, groups=6)
    answered(run, phase="evaluation", steps=1)
    assert "training 3.0" in main(browser, "?tab=answers")
    assert "training 3.0" in main(browser, "?tab=answers&step=77")
    second = main(browser, "?tab=answers&step=2")
    assert "training 2.3" in second
    assert "training 2.4" not in second
    assert 'href="/runs/' + RUN + '?tab=answers&step=2&page=2"' in second
    assert "Questions 5 to 6" in main(browser, "?tab=answers&step=2&page=2")
    assert "Questions 5 to 6" in main(browser, "?tab=answers&step=2&page=99")
    held = main(browser, "?tab=answers&phase=evaluation")
    assert "evaluation 1.0" in held
    assert "training 1.0" not in held


def test_answers_are_searched_over_all_steps(browser: Browser, services: Services) -> None:
    """Newest first, with their step; the query is shown as plain text, whatever it contains."""
    run = make(services, JobState.COMPLETED, [0.1, 0.2, 0.3])
    answered(run, said="Forty-Two")
    answered(run, steps=1, said="41")
    page = main(browser, "?tab=answers&q=forty-two")
    assert "3 questions found" in page
    assert page.index("training 3.0") < page.index("training 2.0") < page.index("training 1.0")
    assert "1 question found" in main(browser, "?tab=answers&q=41")
    nothing = browser.get(f"/runs/{RUN}?tab=answers&q=<script>").text
    assert "&lt;script&gt;" in nothing
    assert "No question or answer contains" in nothing


def test_a_search_stops_at_its_limit(services: Services) -> None:
    """And says that there may be more."""
    answered(make(services, JobState.COMPLETED, [0.1] * 3), steps=30)
    found, more = services.runs.search(RUN, "SOLUTION", "training", limit=20)
    assert (len(found), more) == (20, True)
    assert found[0].get("step") == 30
    found, more = services.runs.search(RUN, "training 30.0", "training", limit=20)
    assert (len(found), more) == (1, False)
    assert services.runs.search(RUN, "SOLUTION", "evaluation", limit=20) == ([], False)


def test_the_overview_shows_answers_of_the_newest_step_with_their_reasons(browser: Browser, services: Services) -> None:
    """One question; the rest is one link away."""
    answered(make(services, JobState.COMPLETED, [0.1, 0.2, 0.3]))
    page = main(browser)
    assert "training 3.0" in page
    assert "4 is right." in page
    assert f'href="/runs/{RUN}?tab=answers"' in page
    assert "training 2.0" not in page


def test_the_overview_prefers_a_question_with_different_scores(browser: Browser, services: Services) -> None:
    """Its best answers and its worst one, in that order."""
    run = make(services, JobState.COMPLETED, [0.1])
    writer = JsonlWriter(run.completions)
    for question, totals in (("all alike", [0.2, 0.2]), ("mixed", [0.3, 0.1, 1.2, 0.2])):
        said = [{"text": f"said {total}", "total": total} for total in totals]
        writer.append(
            {
                "phase": "training",
                "step": 1,
                "instruction": question,
                "prompt": "",
                "reference": "4",
                "completions": said,
            }
        )
    writer.close()
    page = main(browser)
    assert "all alike" not in page
    assert page.index("said 1.2") < page.index("said 0.3") < page.index("said 0.1")
    assert "said 0.2" not in page


def test_the_log_is_shown_without_native_libraries_and_can_be_filtered(browser: Browser, services: Services) -> None:
    """The full log is available on request; a filter without matches says so."""
    run = make(services, JobState.COMPLETED, [0.1])
    remark = "llama_adapter_lora_init_impl: lora for blk.8 cannot use buft AMX, fallback to CPU"
    run.log.write_text(f"Loading the model\n{remark}\nTraining step 1\n")
    page = main(browser, "?tab=log")
    assert "Loading the model" in page
    assert remark not in page
    assert remark in main(browser, "?tab=log&everything=1")
    filtered = main(browser, "?tab=log&q=STEP")
    assert "Training step 1" in filtered
    assert "Loading the model" not in filtered
    assert "No line contains" in main(browser, "?tab=log&q=llama")


def test_settings_are_shown_in_words_and_changes_are_marked(browser: Browser, services: Services) -> None:
    """No raw option values; a changed setting shows its default, and the JSON can be downloaded."""
    make(services, JobState.COMPLETED, [0.1], config=tiny(learning_rate=3e-5, max_new_tokens=40))
    page = main(browser, "?tab=settings")
    words, _, raw = page.partition('id="config-fold"')
    assert "0.00003" in words
    assert "Default: 0.0002" in words
    assert "Default: 256" in words
    assert "AdamW" in words
    assert "adamw_torch" not in words
    assert "adamw_torch" in raw
    answer = browser.get(f"/runs/{RUN}/config.json")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{RUN}.json"'
    assert parse(json.loads(answer.text)) == parse(services.runs.get(RUN).config)
    assert browser.get("/runs/gone/config.json").status_code == 404


def test_settings_that_are_damaged_are_left_out(browser: Browser, services: Services) -> None:
    """The others are shown, and the JSON as it is."""
    make(services, JobState.COMPLETED, [0.1])
    services.database.update(RUN, config={**dump(parse(tiny())), "training": [1], "reward": {"type": "gone"}})
    page = main(browser, "?tab=settings")
    assert "Model and adapter" in page
    assert "gone" in page.partition('id="config-fold"')[2]


@pytest.mark.parametrize(("kl", "said"), [(0.41, "Above 0.1: watch"), (0.05, "")])
def test_a_figure_out_of_range_is_explained(browser: Browser, services: Services, kl: float, said: str) -> None:
    """On the overview, whatever the tile's position, and above the charts."""
    run = make(services, JobState.COMPLETED, [0.1, 0.2])
    writer = JsonlWriter(run.metrics)
    for step in (3, 4):
        writer.append(
            {"phase": "training", "step": step, "reward": 0.2 * step, "solved": 0.5, "kl": kl, "entropy": 1.0}
        )
    writer.close()
    page, charts = main(browser).partition('id="more-tiles"')[0], main(browser, "?tab=charts")
    if said:
        assert said in page
        assert f"KL divergence {kl}. {said}" in charts
    else:
        assert "Above" not in page
        assert 'data-testid="remarks"' not in charts
    assert "+0.70 since the start" in page
    assert "unchanged since the start" in page  # the solve rate


def at_work(services: Services, times: list[float]) -> None:
    """A run in its training phase; ``times`` are when its first steps of six ended."""
    run = make(services, JobState.RUNNING, phase="train")
    writer = JsonlWriter(run.metrics)
    for step, moment in enumerate(times, 1):
        writer.append({"phase": "training", "step": step, "reward": 0.1, "step_time": 60.0, "time": moment})
    writer.close()


def test_the_time_left_is_that_of_the_whole_run(browser: Browser, services: Services) -> None:
    """Unknown until two steps were measured; the Stop button is on every tab."""
    now = time.time()
    at_work(services, [now - 60, now])
    page = main(browser)
    assert "About 4 minutes left in total. Expected end:" in page
    for tab in TABS[1:]:
        assert 'data-testid="stop"' in main(browser, f"?tab={tab}"), tab
    make(services, JobState.RUNNING, [0.1], run_id=OTHER, phase="train")
    assert "Estimating the time left" in main(browser, run=OTHER)


def test_a_run_that_stalls_says_so(browser: Browser, services: Services) -> None:
    """When no row has arrived for much longer than a step takes."""
    now = time.time()
    at_work(services, [now - 1260, now - 1200])
    assert "No new step for 20 minutes" in main(browser)
