"""Pairs and ratings in the wizard: which columns a method needs, and which method fits a dataset."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from core.config import parse
from core.dataset import Shape
from core.methods import METHODS
from core.methods.dpo import DPO
from core.settings import Home
from services.container import Services
from tests.conftest import Browser
from tests.support.live import until
from tests.support.run_made import text
from tests.web.wizard.test_dataset_step import words_alone
from tests.web.wizard.test_tabs import Tab

PAIRS = [{"prompt": f"Name {n} rivers.", "chosen": f"The {n} Po", "rejected": f"The {n} Nile"} for n in range(40)]
RATED = [{"prompt": f"Name {n} rivers.", "completion": f"The {n} Po", "label": n % 2 == 0} for n in range(40)]
PLAIN = [{"question": f"What is {n}+1?", "answer": str(n + 1)} for n in range(40)]
COLUMNS = {"chosen_field": "chosen", "rejected_field": "rejected"}
PREFERENCES = ("chosen_field", "rejected_field", "label_field")


@pytest.fixture
def choose(app: Flask, browser: Browser) -> Any:
    """Upload rows and choose them on the dataset step."""
    browser.get("/new/dataset")

    def choose(rows: list[dict[str, Any]], name: str = "rows.jsonl", **fields: str) -> str:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        form = {"file": (io.BytesIO(lines.encode()), name)}
        source = app.test_client().post("/api/datasets/upload", data=form).get_json()["source"]
        browser.post("/new/dataset", form={"ui.kind": "upload", "upload": source, "action": "save", **fields})
        return str(source)

    return choose


def section(services: Services) -> dict[str, Any]:
    return dict(services.wizard.config()["dataset"])


def fit_of(browser: Browser) -> str:
    """What the dataset step says about dataset and method, without its markup."""
    page = text(browser, "/new/dataset").partition('data-testid="fit">')[2].partition('<div id="guess"')[0]
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_pairs_are_mapped_for_the_method(browser: Browser, services: Services, choose: Any) -> None:
    """The form has the columns that DPO needs, and not those that it does not use."""
    Tab(browser, "model").send(method="dpo")
    choose(PAIRS)
    kept = section(services)
    assert {name: kept[name] for name in ("instruction_field", "chosen_field", "rejected_field")} == {
        "instruction_field": "prompt",
        "chosen_field": "chosen",
        "rejected_field": "rejected",
    }
    page = text(browser, "/new/dataset")
    assert 'name="dataset.rejected_field"' in page
    assert not {name for name in ("response_field", "label_field", "extraction") if f'name="dataset.{name}"' in page}
    assert fit_of(browser) == ""
    assert "prompt → chosen (better), rejected (worse)" in page
    assert re.search(r"The 0 <mark class=.differs.>Nile</mark>", page)
    assert services.snapshots.take().review.missing == set()


def test_pairs_need_no_prompt_and_no_answer_tags(browser: Browser, services: Services, choose: Any) -> None:
    """Unless the person chose some; a method that scores answers gets its suggestion back."""
    Tab(browser, "model").send(method="dpo")
    choose(PAIRS)
    tags = ("system_prompt", "reasoning_start", "reasoning_end", "solution_start", "solution_end")
    assert {section(services)[name] for name in tags} == {""}
    assert "No system prompt · no answer tags" in text(browser, "/new/dataset")
    Tab(browser, "model").send(method="grpo")
    assert section(services)["system_prompt"] != ""
    Tab(browser, "dataset").send(dataset__system_prompt="Be kind.")
    Tab(browser, "model").send(method="dpo")
    choose(PAIRS, "again.jsonl")
    assert section(services)["system_prompt"] == "Be kind."


def test_an_unsaved_page_shows_no_default_prompt(browser: Browser, services: Services) -> None:
    """And saving it unchanged is not a choice."""
    Tab(browser, "model").send(method="dpo")
    page = text(browser, "/new/dataset")
    assert "provide your working out" not in page
    Tab(browser, "dataset").send(ui__kind="hub", ui__hub="someone/pairs")
    assert "dataset.system_prompt" not in services.wizard.draft().page("dataset").get("by", {})


def test_examples_chosen_for_pairs_are_refused_with_a_way_out(
    browser: Browser, services: Services, choose: Any
) -> None:
    """It says what is missing, and its button changes the method and keeps the dataset."""
    Tab(browser, "model").send(method="dpo")
    source = choose(PLAIN)
    said = fit_of(browser)
    assert said.startswith("DPO learns from pairs of a better and a worse answer. No column with worse answers")
    assert "Use SFT with this dataset" in said
    assert "dataset" in services.snapshots.take().review.missing
    assert "set Better answer column and Worse answer column" in text(browser, "/new/dataset")
    Tab(browser, "dataset").send("method-sft")
    assert services.wizard.config()["method"] == "sft"
    kept = section(services)
    assert (kept["source"], kept.get("instruction_field", "question")) == (source, "question")
    assert fit_of(browser) == ""
    assert services.snapshots.take().review.missing == set()


def test_pairs_chosen_for_examples_are_learned_from_the_better_answers(
    browser: Browser, services: Services, choose: Any
) -> None:
    """It says so, and DPO is a click away: with the columns that were detected."""
    Tab(browser, "model").send(method="sft")
    choose(PAIRS)
    said = fit_of(browser)
    assert said.startswith("This dataset has pairs. SFT learns the better answers and ignores the worse ones.")
    assert section(services)["response_field"] == "chosen"
    assert not set(PREFERENCES) & set(section(services))
    assert services.snapshots.take().review.missing == set()
    for name in PREFERENCES:  # as in a setup from before these columns
        services.wizard.change({f"dataset.{name}": ""})
    Tab(browser, "dataset").send("method-dpo")
    assert services.wizard.config()["method"] == "dpo"
    assert (section(services)["chosen_field"], section(services)["rejected_field"]) == ("chosen", "rejected")
    assert services.snapshots.take().review.missing == set()


def test_an_unknown_method_on_the_button_changes_nothing(browser: Browser, services: Services, choose: Any) -> None:
    """As from an outdated page."""
    choose(PLAIN)
    Tab(browser, "dataset").send("method-guess")
    assert "method" not in services.wizard.config()


def test_another_better_answer_is_what_a_method_for_examples_learns(
    browser: Browser, services: Services, choose: Any
) -> None:
    """The answer column follows it, although DPO's form does not show that."""
    Tab(browser, "model").send(method="dpo")
    choose([row | {"best": "The Rhine"} for row in PAIRS])
    Tab(browser, "dataset").send(dataset__chosen_field="best")
    Tab(browser, "model").send(method="sft")
    assert section(services)["response_field"] == "best"


def test_the_detected_columns_can_be_taken_back(browser: Browser, services: Services, choose: Any) -> None:
    """After a wrong choice."""
    Tab(browser, "model").send(method="dpo")
    choose(PAIRS)
    Tab(browser, "dataset").send(dataset__chosen_field="rejected", dataset__rejected_field="chosen")
    assert "Use detected columns" in text(browser, "/new/dataset")
    Tab(browser, "dataset").send("use-guess")
    assert section(services)["chosen_field"] == "chosen"
    assert "Use detected columns" not in text(browser, "/new/dataset")


def test_rated_answers_say_that_the_bad_ones_are_learned_too(
    browser: Browser, services: Services, choose: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rating is a word in the preview, and a method that uses it is offered if there is one."""
    monkeypatch.setattr("core.methods.METHODS", tuple(one for one in METHODS if Shape.RATINGS not in one.shapes))
    Tab(browser, "model").send(method="sft")
    choose(RATED)
    said = fit_of(browser)
    assert "SFT ignores the rating and learns the bad answers too. Remove the rows with bad answers first." in said
    page = text(browser, "/new/dataset")
    assert "Rated good" in page
    assert "Rated bad" in page
    rated = replace(DPO, key="rated", term="RATED", shapes=(Shape.RATINGS,), given="Thumbs")
    monkeypatch.setattr("core.methods.METHODS", (*METHODS[:3], rated))
    assert "Use RATED with this dataset" in fit_of(browser)


def test_plain_text_is_offered_to_a_method_that_can_learn_it(browser: Browser, services: Services, choose: Any) -> None:
    """A click maps the column; a method that needs answers still asks for them."""
    choose([{"id": n, "text": f"Chapter {n} of the story."} for n in range(40)])
    assert fit_of(browser) == ""
    assert "dataset" in services.snapshots.take().review.missing
    Tab(browser, "model").send(method="sft")
    assert "SFT can learn to continue it, without questions. Learn the column text as plain text" in fit_of(browser)
    Tab(browser, "dataset").send("use-text")
    assert section(services)["text_field"] == "text"
    assert fit_of(browser) == ""
    assert services.snapshots.take().review.missing == set()


def test_methods_with_the_same_data_are_shown_together(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a word on when to choose each; a method that is added appears, alone or beside its relatives."""
    other = replace(DPO, key="other", term="OTHER", title="Another way", when="If memory is short.")
    alone = replace(DPO, key="alone", term="ALONE", given="Something else")
    monkeypatch.setattr("core.methods.METHODS", (*METHODS[:3], other, alone))
    page = text(browser, "/new/model")
    group = page.partition('data-testid="given"')[2].partition("</fieldset>")[0]
    assert "<legend>Pairs of a better and a worse answer</legend>" in group
    assert 'value="dpo"' in group
    assert 'value="other"' in group
    assert "If memory is short." in group
    assert 'value="alone"' not in group
    assert page.index("Examples of good answers") < page.index("Questions with answers that can be checked")
    assert re.search(r'<span class="title">Something else</span>', page)


def test_lengths_count_both_answers_of_a_pair(home: Home, services: Services, choose: Any) -> None:
    """In the preparation's report and before a start: the longer one decides whether the row fits."""
    words_alone(home.cache / "models" / "smollm2-135m-instruct")
    rows = [row | {side: "long " * 300} for row, side in zip(PAIRS, ("chosen", "rejected") * 20, strict=True)]
    source = choose(rows)
    config = {
        "name": "a",
        "method": "dpo",
        "model": {"name": "builtin:smollm2-135m-instruct"},
        "dataset": {"source": source, "instruction_field": "prompt", **COLUMNS},
        "training": {"max_sequence_length": 256},
    }
    report = services.library.prepare(config)
    assert report["lengths"]["cut_examples"] == 1
    assert report["lengths"]["reference"]["median"] >= 300
    assert report["unparseable"] == 0
    problem = next(one for one in services.preflight.look(parse(config)).problems if "max_sequence" in one.field)
    assert "40 of the 40 rows" in problem.message


def test_a_dataset_of_pairs_is_prepared_for_a_method_that_learns_from_them(
    home: Home, browser: Browser, services: Services, choose: Any
) -> None:
    """Without a reward to check its answers with."""
    upload_id = choose(PAIRS).removeprefix("upload:")
    words_alone(home.cache / "models" / "smollm2-135m-instruct")
    assert 'name="preset"' not in text(browser, f"/datasets/{upload_id}")
    browser.post(f"/datasets/{upload_id}/prepare", form={})
    config = (until(lambda: services.library.report(upload_id), bool) or {})["config"]
    assert (config["method"], config.get("reward")) == ("dpo", None)
    assert "Answers (the longer one of each pair)" in text(browser, f"/datasets/{upload_id}")


def test_the_library_and_the_api_know_the_shape(app: Flask, browser: Browser, choose: Any) -> None:
    """As a word; a saved mapping changes it, and its preview marks where the answers differ."""
    upload_id = choose(PAIRS).removeprefix("upload:")
    page = text(browser, "/datasets")
    assert '<span class="tag">Pairs</span>' in page
    assert "prompt → chosen, rejected" in page
    page = text(browser, f"/datasets/{upload_id}")
    assert "a question, a better and a worse answer (pairs)" in page
    assert page.count('class="pair two"') == 3
    client = app.test_client()
    mapping = {"instruction_field": "prompt", "chosen_field": "rejected", "rejected_field": "chosen"}
    shown = client.post(f"/api/datasets/{upload_id}/map", json={"mapping": mapping, "samples": 1}).get_json()
    assert shown["shape"] == "pairs"
    worse = shown["shown"][0]["answers"][1]
    assert (worse["title"], worse["parts"]) == ("Worse answer", [["The 0 ", False], ["Po", True]])
    assert client.patch(f"/api/datasets/{upload_id}", json={"mapping": mapping}).status_code == 200
    kept = client.get(f"/api/datasets/{upload_id}").get_json()["section"]
    assert (kept["chosen_field"], kept["rejected_field"]) == ("rejected", "chosen")
    form = {"instruction_field": "prompt", "response_field": "chosen", **dict.fromkeys(PREFERENCES, "")}
    browser.post(f"/datasets/{upload_id}/change", form=form)
    assert not set(PREFERENCES) & set(client.get(f"/api/datasets/{upload_id}").get_json()["section"])
    assert '<span class="tag">Examples</span>' in text(browser, "/datasets")


def test_popular_pairs_come_with_their_columns(browser: Browser, services: Services) -> None:
    """The catalog says what they are for."""
    page = text(browser, "/datasets?task=preferences")
    assert "prompt → chosen and rejected" in page
    assert re.search(r'<span class="tag">Pairs for [^<]*DPO', page)
    assert '<span class="tag">Ratings' in page
    browser.post("/datasets/fetch", form={"known": "HuggingFaceH4/ultrafeedback_binarized", "action": "use"})
    Tab(browser, "model").send(method="dpo")
    assert section(services)["rejected_field"] == "rejected"
    assert services.snapshots.take().review.missing == set()
