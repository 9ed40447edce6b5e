"""What pages say about a run, and what their buttons do, based on folders as workers leave them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from flask import Flask

from core import job_dir
from core.config import parse
from core.job import JobState, JobStatus
from core.job_dir import JobDir, JsonlWriter, read_row, write_json
from services.container import Services
from services.jobs.rebuild import rebuild
from tests.conftest import Browser, tiny
from tests.support.run_made import OTHER, RUN, make, text
from tests.support.second_method import install


def buttons(browser: Browser) -> dict[str, bool]:
    """The run page's buttons in order, and whether each is primary."""
    page = text(browser, f"/runs/{RUN}")
    part = page.partition("<h2>Next steps</h2>")[2].partition('id="more-actions"')[0]
    found = {}
    for piece in part.split("<button")[1:] + part.split("<a ")[1:]:
        tag = piece.partition(">")[0]
        found[tag.partition('data-testid="')[2].partition('"')[0]] = "primary" in tag
    return found


def primary(browser: Browser) -> list[str]:
    return [key for key, first in buttons(browser).items() if first]


NOTHING = "It did not learn this: reward 0.01 of 1.20, 0 of 5 right."


def test_one_sentence_everywhere(browser: Browser, services: Services) -> None:
    """The run's page, lists, Home, the wizard, exports and the API say the same about a run that did not learn."""
    make(
        services,
        JobState.COMPLETED,
        [0.0, 0.01, 0.0, 0.01, 0.0, 0.01],
        held=([0.0] * 5, [0, 0.05, 0, 0, 0]),
        checkpoint=6,
    )
    services.wizard.load(services.runs.get(RUN).config)
    services.wizard.put(session_id=RUN)
    for path in (f"/runs/{RUN}", "/runs", "/", "/new/train", f"/exports?session_id={RUN}", "/new/export"):
        assert NOTHING in text(browser, path), path
    said = browser.get(f"/api/training/sessions/{RUN}/verdict").json
    assert (said["headline"], said["outcome"], said["best"]) == (NOTHING, "not_learned", 1.2)
    assert said["remedy"]["changes"] == [{"path": "pre_training.enabled", "value": True, "was": False}]
    assert "did not learn this" in text(browser, "/playground")
    assert "reward 0.01 of 1.2" in text(browser, "/runs")


def test_what_did_not_learn_is_changed_not_exported(browser: Browser, services: Services) -> None:
    """The primary button opens a new draft with that change; the run's other choices are kept."""
    make(
        services,
        JobState.COMPLETED,
        [0.0] * 6,
        held=([0.0] * 5, [0.0] * 5),
        config=tiny(learning_rate=3e-5),
        checkpoint=6,
    )
    assert primary(browser) == ["change"]
    assert "New run with a warm-up" in text(browser, f"/runs/{RUN}")
    assert "Warm-up: off → on" in text(browser, f"/runs/{RUN}")
    assert list(buttons(browser)) == ["change", "continue", "go-export", "go-test", "go-evaluate"]
    answer = browser.post(f"/runs/{RUN}/change")
    assert answer.location == "/new/train"
    draft = services.wizard.draft().sections
    assert draft["pre_training"]["enabled"] is True
    assert draft["training"]["learning_rate"] == 3e-5
    assert services.wizard.draft().session_id is None
    page = text(browser, "/new/train")
    assert 'data-testid="start"' in page
    assert "New run with a warm-up." in page


def test_what_learned_is_exported_first(browser: Browser, services: Services) -> None:
    """There is no button to change the choices."""
    make(services, JobState.COMPLETED, [0.1, 0.2, 0.4, 0.6, 0.8, 0.9], held=([0.0] * 12, [1.2] * 12), checkpoint=6)
    assert primary(browser) == ["go-export"]
    assert "change" not in buttons(browser)
    assert "Export the model" in text(browser, "/")
    assert 'class="note watch"' not in text(browser, f"/exports?session_id={RUN}").partition("form-export")[2]


def test_too_little_evidence_leads_to_more_questions(browser: Browser, services: Services) -> None:
    """Neither Export nor a change is the primary button."""
    make(services, JobState.COMPLETED, [0.2, 0.3, 0.4, 0.5, 0.6, 0.7], held=([0.2] * 5, [1.2, 1.2, 0.2, 0.2, 0.2]))
    assert primary(browser) == ["go-evaluate"]
    assert "Not enough evidence that it learned" in text(browser, "/runs")


def test_a_stopped_run_keeps_its_diagnosis_and_offers_the_change_beside_resume(
    browser: Browser, services: Services
) -> None:
    """88% cut off is reported after the stop as before it, even after a server restart."""
    run = make(services, JobState.STOPPED, config=tiny(max_new_tokens=40), checkpoint=6)
    writer = JsonlWriter(run.metrics)
    for step in range(1, 7):
        writer.append({"phase": "training", "step": step, "reward": 0.0, "cut_off": 0.88})
    writer.close()
    assert "Stopped after step 6: 88% of the answers are cut off" in text(browser, f"/runs/{RUN}")
    assert "Stopped after step 6: 88% of the answers are cut off" in text(browser, "/runs")
    assert list(buttons(browser))[:2] == ["change", "resume"]
    assert primary(browser) == ["change"]
    browser.post(f"/runs/{RUN}/change")
    assert services.wizard.draft().training.values["max_new_tokens"] == 160
    parse(services.wizard.config())


def test_a_run_that_never_began_is_fixed_not_resumed(browser: Browser, services: Services) -> None:
    """No empty charts, no mention of a checkpoint, no Resume on Home; the draft opens at the step with the error."""
    error = "The Hub cannot be reached, and the model is not on this machine."
    make(services, JobState.FAILED, error=error, error_field="model.name")
    page = text(browser, f"/runs/{RUN}")
    assert "It failed before the first step." in page
    assert error in page
    assert 'id="charts"' not in page
    assert "before its first step, so there is nothing to draw" in text(browser, f"/runs/{RUN}?tab=charts")
    assert "Try again" in page
    assert "last checkpoint" not in page
    assert ">Resume" not in page
    assert primary(browser) == ["fix"]
    home = text(browser, "/")
    assert "can be resumed" not in home
    assert "Fix and start again" in home
    answer = browser.post(f"/runs/{RUN}/fix")
    assert answer.location == "/new/model"
    assert error in text(browser, "/new/model")
    assert services.wizard.config()["model"]["name"] == tiny()["model"]["name"]


def test_resume_is_offered_where_there_is_something_to_resume(browser: Browser, services: Services) -> None:
    """With a checkpoint, Home offers it too; a run that failed before its first checkpoint starts over."""
    make(services, JobState.CRASHED, [0.2, 0.3, 0.4], checkpoint=2)
    assert primary(browser) == ["resume"]
    assert "Resume from step 2" in text(browser, f"/runs/{RUN}")
    assert "can be resumed" in text(browser, "/")
    make(services, JobState.CRASHED, [0.2, 0.3, 0.4], run_id=OTHER)
    page = text(browser, f"/runs/{OTHER}")
    assert "Try again" in page
    assert "No checkpoint was saved" in page


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.COMPLETED, JobState.STOPPED])
def test_changed_choices_bring_back_the_start_form(
    browser: Browser, app: Flask, services: Services, state: JobState
) -> None:
    """The old run is one link away; pressing Start twice makes one run. Unchanged choices show the old run."""
    make(services, state, [0.2, 0.3, 0.4])
    services.wizard.load(services.runs.get(RUN).config)
    services.wizard.put(session_id=RUN)
    page = text(browser, "/new/train")
    assert 'data-testid="verdict"' in page
    assert 'data-testid="again"' in page
    browser.get("/new/configuration")
    browser.post("/new/configuration", form={"training.max_steps": "9", "action": "save"})
    page = text(browser, "/new/train")
    assert 'data-testid="start"' in page
    assert 'data-testid="before-run"' in page
    assert f'href="/runs/{RUN}"' in page
    for _ in range(2):
        browser.post("/new/train", form={"action": "start", "confirm_reward": "on"})
    runs = services.runs.list()
    assert len(runs) == 2
    assert services.wizard.draft().session_id == runs[0].session_id != RUN
    assert services.snapshots.take().started.run is not None


def test_a_run_at_work_stays_in_view_when_choices_change(browser: Browser, services: Services) -> None:
    """It continues with its original choices, and the page says so."""
    services.wizard.load(tiny())
    session_id = services.drafts.start(confirmed=True)
    services.wizard.put(training={**services.wizard.draft().training.values, "max_steps": 9})
    page = text(browser, "/new/train")
    assert f'href="/runs/{session_id}"' in page
    assert "Your setup has changed since this run started" in page
    browser.post("/new/train", form={"action": "again"})
    assert 'data-testid="start"' in text(browser, "/new/train")


def test_a_run_that_was_deleted_does_not_block_the_start(browser: Browser, services: Services) -> None:
    """The draft still refers to it; Start makes a new run."""
    services.wizard.load(tiny())
    services.wizard.put(session_id="20250101-000000-ffffff")
    browser.get("/new/train")
    browser.post("/new/train", form={"action": "start", "confirm_reward": "on"})
    assert len(services.runs.list()) == 1


def test_two_runs_of_one_name_can_be_told_apart(browser: Browser, services: Services) -> None:
    """In the list, the heading, the palette and every picker; a unique name is shown as it is."""
    make(services, JobState.COMPLETED, [0.2, 0.3, 0.4])
    assert services.runs.get(RUN).title == "tiny"
    make(services, JobState.COMPLETED, [0.2, 0.3, 0.4], run_id=OTHER)
    titles = services.runs.titles()
    assert len({*titles.values()}) == 2
    assert all(title.startswith("tiny, Jan 1, ") for title in titles.values())
    for path in ("/runs", "/", "/exports", "/playground", "/evaluations/new"):
        page = text(browser, path)
        assert all(title in page for title in titles.values()), path
    assert f"<h1>{titles[RUN]}</h1>" in text(browser, f"/runs/{RUN}")
    assert (services.runs.get(RUN).job.name, services.runs.get(RUN).title) == ("tiny", titles[RUN])


@pytest.mark.parametrize(
    ("state", "rewards", "held", "title"),
    [
        (JobState.COMPLETED, [0.0] * 6, ([0.0] * 5, [0.0] * 5), "Completed: did not learn this · tiny · Tunesmith"),
        (JobState.FAILED, [], None, "Failed · tiny · Tunesmith"),
        (JobState.STOPPED, [0.1] * 3, None, "Stopped · tiny · Tunesmith"),
    ],
)
def test_the_document_is_titled_by_the_outcome(
    browser: Browser, services: Services, state: JobState, rewards: list[float], held: Any, title: str
) -> None:
    """A background tab shows how the run ended."""
    make(services, state, rewards, held=held)
    assert f"<title>{title}</title>" in text(browser, f"/runs/{RUN}")


def test_the_document_is_titled_by_the_progress(browser: Browser, services: Services) -> None:
    """While a worker is running."""
    make(services, JobState.RUNNING, [0.1] * 3, phase="train")
    assert "<title>Training 3/6 · tiny · Tunesmith</title>" in text(browser, f"/runs/{RUN}")


def test_a_running_run_offers_a_notification(browser: Browser, services: Services) -> None:
    """A finished run does not offer it."""
    make(services, JobState.RUNNING, [0.1] * 3, phase="train")
    assert 'id="notify"' in text(browser, f"/runs/{RUN}")
    make(services, JobState.STOPPED, [0.1] * 3, run_id=OTHER)
    assert 'id="notify"' not in text(browser, f"/runs/{OTHER}")


def test_a_new_step_is_read_once(browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live page refreshes after each step: verdict, tiles and damage come from one read."""
    run = make(services, JobState.STOPPED, [0.1] * 6, checkpoint=6)
    read: list[bytes] = []

    def counted(line: bytes, fits: Any) -> Any:
        read.append(line)
        return read_row(line, fits)

    monkeypatch.setattr(job_dir, "read_row", counted)
    text(browser, f"/runs/{RUN}")
    writer = JsonlWriter(run.metrics)
    writer.append({"phase": "training", "step": 7, "reward": 0.9, "cut_off": 0.0})
    writer.close()
    assert "0.9" in text(browser, f"/runs/{RUN}")
    assert len(read) == 6 + 7


def test_damaged_files_affect_only_their_run(browser: Browser, services: Services) -> None:
    """Lists still load and report the damage."""
    run = make(services, JobState.COMPLETED, [0.1] * 3, held=([0.0], [0.0]))
    run.evaluation.write_text('{"step": "x", "report": []}')
    config = run.read_config()
    write_json(run.config, {**config, "config": {**config["config"], "reward": {"type": "gone"}, "training": []}})
    run.metrics.write_text('{"row": 1, "phase": "training", "step": 1, "reward": 0.5, "cut_off": 0.9}\n' * 3)
    for path in ("/runs", "/"):
        assert services.runs.verdict(services.runs.get(RUN)).headline in text(browser, path)


def make_unrewarded(services: Services, rows: Sequence[dict[str, Any]]) -> JobDir:
    """A completed run of a method that has no reward."""
    config = {**tiny("copied"), "method": "imitate", "imitate": {}}
    del config["reward"]
    run = make(services, JobState.COMPLETED, config=config)
    run.write_status(JobStatus(state=JobState.COMPLETED, step=9, max_steps=9))
    writer = JsonlWriter(run.metrics)
    for row in rows:
        writer.append(row)
    writer.close()
    run.adapter.mkdir()
    rebuild(services.settings.home, services.database)
    return run


def losses(end: float) -> list[dict[str, Any]]:
    """Rows of nine steps, with a held-out loss before and after them."""
    held = {"phase": "evaluation", "samples": 32}
    return [
        {**held, "when": "before", "step": 0, "loss": 2.31},
        *({"phase": "training", "step": step, "loss": 2.4 - step / 10} for step in range(1, 10)),
        {**held, "when": "end", "step": 9, "loss": end},
    ]


def test_a_run_without_a_reward_has_one_sentence_everywhere(
    monkeypatch: pytest.MonkeyPatch, browser: Browser, services: Services
) -> None:
    """It is based on the losses, on pages and in the API; the primary button follows from it."""
    install(monkeypatch)
    make_unrewarded(services, losses(2.29))
    said = "Not enough evidence that it learned: the loss on 32 held-out rows hardly changed, from 2.31 to 2.29."
    for path in (f"/runs/{RUN}", "/runs", "/", f"/exports?session_id={RUN}"):
        assert said in text(browser, path), path
    answer = browser.get(f"/api/training/sessions/{RUN}/verdict").json
    assert (answer["headline"], answer["outcome"], answer["best"]) == (said, "not_enough_evidence", None)
    assert "not enough evidence" in text(browser, "/playground")
    assert primary(browser) == ["change"]
    assert "New run with more steps" in text(browser, f"/runs/{RUN}")
    assert browser.post(f"/runs/{RUN}/change").location.endswith("/new/train")
    assert services.wizard.config()["training"]["max_steps"] == answer["remedy"]["changes"][0]["value"]


def test_a_run_without_a_reward_is_shown_by_its_loss(
    services: Services, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On its page, the list and Home; rewards and answers, which it does not have, are not mentioned."""
    install(monkeypatch)
    copied = {name: section for name, section in tiny("copies").items() if name not in {"reward", "training"}}
    run = make(services, JobState.COMPLETED, config={**copied, "method": "imitate"})
    writer = JsonlWriter(run.metrics)
    for step in range(1, 7):
        writer.append({"phase": "training", "step": step, "loss": 1.5 / step, "grad_norm": 1.0, "step_time": 2.0})
    for step, loss in ((0, 1.5), (6, 0.3)):
        writer.append({"phase": "evaluation", "step": step, "when": "end", "loss": loss, "samples": 12})
    writer.close()
    run.write_status(JobStatus(state=JobState.COMPLETED, step=6, max_steps=6))
    rebuild(services.settings.home, services.database)
    page = text(browser, f"/runs/{RUN}").partition("<main")[2].partition("</main>")[0]
    for words in ("Held-out loss", "1.50 before training", "Gradient norm"):
        assert words in page
    for words in ("Sample answers", "Solve rate", "reward"):
        assert words not in page
    assert "?tab=answers" not in page
    for path in ("/runs", "/"):
        assert "loss 0.25" in text(browser, path)


@pytest.mark.parametrize("damage", ["method", "training", "evaluation", "metrics", "report"])
def test_damage_of_a_run_without_a_reward_affects_only_that_run(
    monkeypatch: pytest.MonkeyPatch, browser: Browser, services: Services, damage: str
) -> None:
    """With values of unexpected types, lists still load and report the damage."""
    install(monkeypatch)
    run = make_unrewarded(services, losses(1.0))
    config = run.read_config()
    if damage == "metrics":
        run.metrics.write_text('{"row": 1, "phase": "evaluation", "step": 1, "loss": []}\n{"row": 2}\n{')
    elif damage == "report":
        run.evaluation.write_text('{"step": "x", "report": []}')
    else:
        write_json(run.config, {**config, "config": {**config["config"], damage: [1]}})
    for path in ("/runs", "/"):
        assert services.runs.verdict(services.runs.get(RUN)).headline in text(browser, path)


def test_the_overview_says_how_many_parameters_are_trained(browser: Browser, services: Services) -> None:
    """As the worker counted them; nothing before it has."""
    run = make(services, JobState.COMPLETED)
    rebuild(services.settings.home, services.database)
    assert 'data-testid="trains"' not in browser.get(f"/runs/{run.path.name}").text
    run.write_status(JobStatus(state=JobState.COMPLETED, trained_parameters=640, parameters=6_400_000))
    assert "Trains 640 of 6,400,000 parameters (0.01%)." in text(browser, f"/runs/{run.path.name}")
