"""The playground in a browser, on a server whose models echo the message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.settings import Home
from tests.browser.conftest import Complaints
from tests.support.live import Live

pytestmark = pytest.mark.browser
MODEL = "builtin:smollm2-135m-instruct"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = Home(tmp_path_factory.mktemp("home"))
    home.make()
    folder = home.cache / "models" / "smollm2-135m-instruct"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    server = Live(home.root).start()
    yield server
    server.close()


def opened(page: Page, live: Live, path: str = "/playground") -> Page:
    page.goto(live.url + path)
    page.wait_for_function("document.documentElement.classList.contains('js')")
    expect(page.locator("#chat-earlier option").first).to_be_attached()
    return page


def ask(page: Page, text: str, sides: int = 2) -> None:
    page.get_by_test_id("chat-prompt").fill(text)
    page.get_by_test_id("chat-send").click()
    for side in range(1, sides + 1):
        expect(page.get_by_test_id(f"side-{side}").locator(".bubble.you").last).to_have_text(text)
        expect(page.get_by_test_id(f"facts-{side}")).to_contain_text("tokens per second")


def answers(page: Page, side: int) -> list[str]:
    return page.get_by_test_id(f"side-{side}").locator(".bubble:not(.you)").all_inner_texts()


def saved(page: Page, kind: str) -> Path:
    with page.expect_download() as download:
        page.get_by_test_id(f"chat-{kind}").click()
    return Path(download.value.path())


def test_a_conversation_is_kept_saved_opened_and_asked_again(
    page: Page, live: Live, complaints: Complaints, tmp_path: Path
) -> None:
    """Three models, two turns; a reload keeps everything; the saved file asks other models the same again."""
    opened(page, live)
    page.get_by_test_id("chat-add").click()
    page.locator("#model-3").select_option("other")
    page.locator("#other-3").fill("Qwen/Qwen3-0.6B")
    ask(page, "one two three", 3)
    ask(page, "four five", 3)
    assert [answers(page, side) for side in (1, 2, 3)] == [["one two three", "four five"]] * 3
    page.locator("#chat-settings > summary").click()
    page.locator("#chat-top-k").fill("7")
    page.locator("#chat-top-k").blur()

    opened(page, live)
    assert [answers(page, side) for side in (1, 2, 3)] == [["one two three", "four five"]] * 3
    expect(page.locator("#other-3")).to_have_value("Qwen/Qwen3-0.6B")
    expect(page.locator("#chat-top-k")).to_have_value("7")
    seen = page.get_by_test_id("side-1").locator(".seen").last
    seen.locator("summary").click()
    expect(seen.locator(".special").first).to_have_text("<|user|>")

    page.locator("#chat-keep > summary").click()
    page.get_by_test_id("chat-tokens").check()
    expect(page.get_by_test_id("side-1").locator(".token")).to_have_count(5)
    text = saved(page, "markdown").read_text()
    assert "> one two three" in text
    assert "`Qwen/Qwen3-0.6B`" in text
    data = json.loads(saved(page, "json").read_text())
    assert [side["model"] for side in data["sides"]] == [MODEL, MODEL, "Qwen/Qwen3-0.6B"]
    assert data["settings"]["top_k"] == 7

    data["sides"] = data["sides"][:2]
    file = tmp_path / "conversation.json"
    file.write_text(json.dumps(data))
    page.get_by_test_id("chat-open").set_input_files(file)
    expect(page.locator("[data-side]")).to_have_count(2)
    page.locator("#model-2").select_option("other")
    page.locator("#other-2").fill("somebody/else")
    page.locator("#other-2").blur()
    expect(page.get_by_test_id("side-2")).to_contain_text("Answered by SmolLM2 135M Instruct")
    page.locator("#chat-settings > summary").click()
    page.locator("#chat-max-tokens").fill("2")
    page.get_by_test_id("chat-replay").click()
    for side in (1, 2):
        expect(page.get_by_test_id(f"side-{side}").locator(".bubble:not(.you)")).to_have_text(["one two", "four five"])
    expect(page.locator("#chat-earlier option")).to_have_count(4)
    assert complaints.found == []


def test_an_answer_can_be_stopped_and_retried(page: Page, live: Live) -> None:
    """The text so far stays; an error is shown next to its message and not sent along."""
    opened(page, live)
    page.get_by_test_id("side-2").locator(".js-remove").click()
    page.get_by_test_id("chat-prompt").fill("one hold")
    page.get_by_test_id("chat-send").click()
    expect(page.get_by_test_id("facts-1")).to_contain_text("Writing: ")
    expect(page.get_by_test_id("chat-earlier")).to_be_disabled()
    page.get_by_test_id("chat-cancel").click()
    expect(page.get_by_test_id("facts-1")).to_contain_text("stopped by you")
    expect(page.get_by_test_id("chat-earlier")).to_be_enabled()
    page.get_by_test_id("chat-clear").click()
    page.get_by_test_id("chat-prompt").fill("refuse")
    page.get_by_test_id("chat-send").click()
    expect(page.get_by_test_id("side-1").get_by_role("alert")).to_contain_text("too long")
    ask(page, "again please", 1)
    page.get_by_test_id("side-1").locator(".js-again").click()
    expect(page.get_by_test_id("side-1").locator(".bubble:not(.you)")).to_have_text(["again please"])


MARKDOWN = """# Result

**Bold** <SOLUTION>42</SOLUTION> <img src=x onerror=alert(1)> ![picture](https://example.org/x.png)
[bad](javascript:alert(1)) [here](/settings) [data](data:text/html,x)

```python
print(1)
```
"""


def test_an_answer_is_shown_as_markdown_and_can_do_nothing_else(
    page: Page, live: Live, complaints: Complaints, tmp_path: Path
) -> None:
    """HTML stays text, nothing is loaded, links only go elsewhere; an earlier message is edited and sent again."""
    opened(page, live)
    turns = [{"role": "user", "content": "Say it"}, {"role": "assistant", "content": MARKDOWN, "model": MODEL}]
    sides = [{"model": MODEL, "turns": [*turns, {"role": "user", "content": "More"}]}, {"model": MODEL, "turns": turns}]
    file = tmp_path / "conversation.json"
    file.write_text(json.dumps({"format": "tunesmith-conversation", "version": 1, "sides": sides}))
    page.locator("#chat-keep > summary").click()
    page.get_by_test_id("chat-open").set_input_files(file)
    bubble = page.get_by_test_id("side-1").locator(".bubble:not(.you)").first
    expect(bubble.locator("strong")).to_have_text("Bold")
    expect(bubble.locator(".heading")).to_have_text("Result")
    expect(bubble).to_contain_text("<SOLUTION>42</SOLUTION> <img src=x onerror=alert(1)>")
    expect(bubble.locator("img, h1, h2, script")).to_have_count(0)
    links = bubble.locator("a").evaluate_all("all => all.map(one => [one.textContent, one.href, one.rel])")
    assert links == [["picture", "https://example.org/x.png", "noopener noreferrer nofollow"]]
    expect(bubble.get_by_role("button", name="Copy code")).to_have_attribute("data-copy", "print(1)\n")
    page.get_by_test_id("chat-plain").check()
    expect(bubble).to_have_text(MARKDOWN)

    page.get_by_test_id("side-1").get_by_role("button", name="Edit this message").first.click()
    page.get_by_label("Edit your message").fill("say something else")
    page.keyboard.press("Enter")
    for side in (1, 2):
        expect(page.get_by_test_id(f"side-{side}").locator(".bubble")).to_have_text(["say something else"] * 2)
    assert complaints.found == []


def test_a_blind_comparison_names_the_models_after_the_vote(page: Page, live: Live) -> None:
    """Nothing reveals the models before it; the tally survives a reload."""
    opened(page, live)
    page.locator("#model-2").select_option("other")
    page.locator("#other-2").fill("Qwen/Qwen3-0.6B")
    page.locator("#chat-compare > summary").click()
    page.get_by_test_id("chat-blind").check()
    page.get_by_test_id("chat-prompt").fill("which one")
    page.get_by_test_id("chat-send").click()
    expect(page.get_by_role("button", name="Model B is better")).to_be_visible()
    for side in (1, 2):
        for hidden in ("called", "facts"):
            expect(page.get_by_test_id(f"{hidden}-{side}")).to_be_hidden()
    page.get_by_role("button", name="Model B is better").click()
    winner = page.get_by_test_id("called-2")
    expect(winner).to_be_visible()
    name = winner.inner_text()
    opened(page, live)
    page.locator("#chat-compare > summary").click()
    expect(page.get_by_test_id("chat-tally").locator("tbody tr").first).to_have_text(
        f"{name}100100%", use_inner_text=False
    )


def test_what_was_written_is_there_after_a_reload(page: Page, live: Live) -> None:
    """The message with the start of its answer, marked as incomplete."""
    opened(page, live)
    page.get_by_test_id("side-2").locator(".js-remove").click()
    page.get_by_test_id("chat-prompt").fill("one hold")
    page.get_by_test_id("chat-send").click()
    expect(page.get_by_test_id("side-1").locator(".bubble:not(.you)")).to_have_text("one")
    opened(page, live)
    expect(page.get_by_test_id("side-1").locator(".bubble")).to_have_text(["one hold", "one"])
    expect(page.get_by_test_id("facts-1")).to_contain_text("incomplete, because the page was closed")
    ask(page, "once more", 1)


def test_a_model_is_served_from_its_page(page: Page, live: Live) -> None:
    """When enabled, the token is shown once, with the address that this browser used."""
    page.goto(f"{live.url}/playground/serve")
    page.get_by_test_id("serve-on").click()
    expect(page.get_by_test_id("serving")).to_have_text("On: smollm2-135m-instruct")
    expect(page.get_by_test_id("base-url")).to_have_text(f"{live.url}/v1")
    expect(page.get_by_test_id("token")).to_be_visible()
    page.reload()
    page.goto(f"{live.url}/playground/serve")
    expect(page.get_by_test_id("token")).to_have_count(0)
    page.get_by_test_id("serve-off").click()
    expect(page.get_by_test_id("serving")).to_have_text("Off")
