"""Every page renders, has its content, violates no policy, and is accessible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import PATIENCE_MS, Complaints, Server
from tests.browser.sample import CRASHED, FINISHED, PAGES, STOPPED

pytestmark = pytest.mark.browser

MOST_BYTES = 300_000
ALWAYS = {"heading-order", "landmark-unique", "region"}
"""Rules that axe rates as moderate but that fail the test here."""
RUNNING = """
document.getElementById('top-job').innerHTML =
  '<a class="job" href="/"><span class="status running">Training</span>'
  + '<span class="name">' + 'a-long-name-'.repeat(9) + '</span><progress max="9" value="3"></progress></a>'
"""
"""A job in the top bar, as base.html writes it."""
SHARING = """
async () => {
  const files = performance.getEntriesByType('resource').map((file) => file.name)
  const { default: uPlot } = await import(files.find((name) => name.includes('uPlot.esm')))
  return uPlot.sync('run').plots.length
}
"""
"""How many charts share the crosshair, according to the page's own copy of uPlot."""


def settle(page: Page, url: str) -> None:
    """Open a page and wait until its scripts, if any, have run."""
    page.goto(url)
    page.wait_for_function("document.documentElement.classList.contains('js')")
    if "tab=charts" in url:
        expect(page.get_by_test_id("chart-reward")).to_be_visible()


def serious(page: Page) -> list[str]:
    """Serious and critical axe violations, and rules that always count, each with its first element."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(Axe().axe_script)
    found: list[dict[str, Any]] = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
    return [
        f"{item['id']}: {item['nodes'][0]['target']} ({len(item['nodes'])})"
        for item in found
        if item["impact"] in {"serious", "critical"} or item["id"] in ALWAYS
    ]


def test_no_page_has_a_serious_fault(chromium: Browser, filled: Server, complaints: Complaints) -> None:
    """In both themes axe finds nothing serious, and the console stays empty."""
    context = chromium.new_context(reduced_motion="reduce", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    complaints.listen(page)
    faults = {}
    papers = set()
    for path in PAGES:
        page.emulate_media(color_scheme="light")
        settle(page, filled.url + path)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            papers.add((scheme, page.evaluate("getComputedStyle(document.body).backgroundColor")))
            if found := serious(page):
                faults[path, scheme] = found
    context.close()
    assert faults == {}
    assert complaints.found == []
    assert len({paper for _, paper in papers}) == len(papers) == 2, "the same page in the other theme's colours"


def test_nothing_scrolls_sideways_on_narrow_screens(chromium: Browser, filled: Server) -> None:
    """Every page and the top bar fit 400 pixels, and 320 (WCAG 1.4.10), even while something runs."""
    context = chromium.new_context(viewport={"width": 400, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    wide = []
    for path in PAGES:
        page.set_viewport_size({"width": 400, "height": 800})
        settle(page, filled.url + path)
        for width in (400, 320):
            page.set_viewport_size({"width": width, "height": 800})
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wide.append(f"{path} at {width}")
    page.evaluate(RUNNING)
    for width in (400, 384, 320):
        page.set_viewport_size({"width": width, "height": 800})
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(f"with a job, at {width}")
    context.close()
    assert wide == []


def test_every_page_can_be_read_without_scripts(chromium: Browser, filled: Server) -> None:
    """Headings, numbers and the menu are there before any script has run."""
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 400, "height": 800})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    for path in PAGES:
        page.goto(filled.url + path)
        expect(page.locator("main h1").first).to_be_visible()
    page.goto(f"{filled.url}/runs/{FINISHED}")
    expect(page.get_by_test_id("verdict")).to_contain_text("It learned this")
    page.get_by_test_id("tab-charts").click()
    page.locator("#numbers > summary").click()
    expect(page.locator("#metrics-table tbody tr").first).to_be_visible()
    page.locator(".menu > summary").click()
    expect(page.locator(".menu nav a", has_text="Datasets")).to_be_visible()
    context.close()


@pytest.mark.parametrize("path", [f"/runs/{FINISHED}?tab=charts", "/rewards/short-is-good"])
def test_a_page_weighs_little(context: BrowserContext, filled: Server, path: str) -> None:
    """Scripts and styles stay under 300 KB on the two pages with large libraries: charts and code editor."""
    sizes: dict[str, int] = {}
    page = context.new_page()

    def count(response: Any) -> None:
        if response.url.endswith((".js", ".css")):
            sizes[response.url] = len(response.body())

    page.on("response", count)
    settle(page, filled.url + path)
    page.wait_for_load_state("networkidle")
    assert 0 < sum(sizes.values()) < MOST_BYTES


def test_charts_share_a_crosshair_by_keyboard(page: Page, filled: Server) -> None:
    """Arrow keys on one chart read out a step's value and move the crosshairs of the others."""
    settle(page, f"{filled.url}/runs/{FINISHED}?tab=charts")
    page.locator("#section-health > summary").click()
    expect(page.locator("#chart-entropy .now")).to_contain_text("Latest")
    page.locator("#chart-reward .canvas").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#chart-readout")).to_contain_text("Reward, Step 39: mean")
    expect(page.locator("#chart-entropy .now")).to_contain_text("Step 39")
    page.keyboard.press("+")
    page.evaluate("document.dispatchEvent(new Event('live:swapped'))")  # as after each step of a run
    page.locator("#reset-zoom").click()
    expect(page.locator("#reset-zoom")).to_be_hidden()
    page.get_by_test_id("tab-log").click()
    page.get_by_test_id("tab-charts").click()
    expect(page.locator("#chart-reward .now")).not_to_be_empty()
    assert page.evaluate(SHARING) == page.locator(".uplot").count(), "charts that left the page were kept"


def test_numbers_and_charts_can_be_downloaded(page: Page, filled: Server) -> None:
    """The CSV has every row, and a chart can be saved as a PNG."""
    settle(page, f"{filled.url}/runs/{FINISHED}?tab=charts")
    with page.expect_download() as csv:
        page.locator("#csv").click()
    assert len(Path(csv.value.path()).read_text().splitlines()) == 1 + 16 + 40 + 3
    with page.expect_download() as picture:
        page.locator("#chart-reward .png").click()
    assert Path(picture.value.path()).read_bytes().startswith(b"\x89PNG")


def test_the_answers_of_another_step_are_shown(page: Page, filled: Server) -> None:
    """Choosing a step replaces the answers and the address, without a reload."""
    settle(page, f"{filled.url}/runs/{FINISHED}")
    page.evaluate("window.stayed = true")
    page.get_by_test_id("tab-answers").click()
    page.locator("#answers-step").select_option("3")
    page.wait_for_url("**step=3**")
    expect(page.locator("#answers-step")).to_have_value("3")
    page.go_back()
    expect(page.locator("#answers-step")).to_have_value("40")
    page.go_back()
    expect(page.get_by_test_id("verdict")).to_be_visible()
    page.go_forward()
    expect(page.get_by_test_id("tab-answers")).to_have_attribute("aria-current", "page")
    assert page.evaluate("window.stayed")
    page.get_by_label("Show the prompt with special tokens").check()
    expect(page.locator("#completions .special").first).to_be_visible()


def test_keys_open_the_palette_and_the_list(page: Page, filled: Server) -> None:
    """Ctrl+K finds pages as you type; ? lists the shortcuts; neither fires in a text field."""
    settle(page, f"{filled.url}/runs")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("#q").focus()
    page.keyboard.press("?")
    expect(page.locator("#q")).to_have_value("?")
    page.keyboard.press("Control+k")
    page.keyboard.type("datas")
    page.keyboard.press("Enter")
    page.wait_for_url("**/datasets")


def test_keys_of_one_letter_can_be_switched_off(page: Page, filled: Server) -> None:
    """L opens the log and Escape closes it; switched off, L does nothing. Ctrl+T and Ctrl+1 stay the browser's."""
    settle(page, f"{filled.url}/runs/{FINISHED}")
    page.keyboard.press("l")
    expect(page.locator("#console")).to_have_attribute("open", "")
    page.keyboard.press("Escape")
    expect(page.locator("#console")).not_to_have_attribute("open", "")
    taken = "new Promise((r) => addEventListener('keydown', (e) => r(e.defaultPrevented), { once: true }))"
    for key in ("Control+t", "Control+1"):
        waiting = page.evaluate_handle(f"() => ({{ taken: {taken} }})")
        page.keyboard.press(key)
        assert page.evaluate("async (held) => await held.taken", waiting) is False
    page.keyboard.press("?")
    expect(page.get_by_role("dialog").locator("#shortcuts")).to_contain_text("Show or hide the log")
    page.locator("#letters").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("l")
    expect(page.locator("#console")).not_to_have_attribute("open", "")
    expect(page.locator("#console-key")).to_be_hidden()
    page.keyboard.press("Control+k")
    page.keyboard.type("nothing of this name")
    expect(page.locator(".palette .nothing")).to_have_text("No page or action matches “nothing of this name”.")


def test_a_second_press_is_swallowed_until_the_answer_is_there(page: Page, filled: Server) -> None:
    """A double click on Resume sends one request; the button is disabled meanwhile, and enabled after a refusal."""
    sent: list[str] = []

    def slow(route: Any) -> None:
        sent.append(route.request.url)
        page.wait_for_timeout(500)
        route.fulfill(status=409, content_type="text/html", body="<main><p>Not now.</p></main>")

    settle(page, f"{filled.url}/runs/{STOPPED}")
    page.route("**/resume", slow)
    page.get_by_test_id("resume").dblclick()
    expect(page.get_by_test_id("resume")).to_have_attribute("aria-disabled", "true")
    expect(page.locator("#toasts")).to_contain_text("Not now.")
    expect(page.get_by_test_id("resume")).not_to_have_attribute("aria-disabled", "true")
    assert len(sent) == 1


def test_remarks_of_native_libraries_are_hidden_until_asked_for(page: Page, filled: Server) -> None:
    """The useful lines are there at once; 'Show everything' shows the rest, and a filter the matching ones."""
    settle(page, f"{filled.url}/runs/{STOPPED}?tab=log")
    log = page.get_by_test_id("log")
    expect(log.get_by_text("Loading the model")).to_be_visible()
    expect(log.get_by_text("cannot use buft")).to_have_count(0)
    page.locator("#run-everything").check()
    expect(log.get_by_text("cannot use buft")).to_be_visible()
    page.locator("#log-q").fill("warm-up")
    expect(log.get_by_text("Loading the model")).to_have_count(0)
    expect(log.get_by_text("Warm-up: 16 steps")).to_be_visible()


def test_charts_without_a_value_are_left_out(page: Page, filled: Server) -> None:
    """This run has no judge, and no chart shows empty axes for one."""
    settle(page, f"{filled.url}/runs/{FINISHED}?tab=charts")
    expect(page.get_by_test_id("chart-entropy")).to_have_count(1)
    expect(page.get_by_test_id("chart-judge_requests")).to_have_count(0)
    # From here on no row is missing: the socket has none to send either.
    page.route("**/metrics?points=2000", lambda route: route.fulfill(json={"rows": [], "next": 10**6}))
    page.goto(f"{filled.url}/runs/{CRASHED}?tab=charts")
    expect(page.locator("#charts")).to_be_hidden()


def test_who_asks_for_it_is_notified_at_the_end(context: BrowserContext, page: Page, filled: Server) -> None:
    """One notification with the verdict, only if it was enabled."""
    page.add_init_script(
        "window.told = [];"
        "window.Notification = class { static permission = 'granted'; static requestPermission = async () => 'granted';"
        " constructor(title, more) { told.push([title, more.body, more.tag]) } }"
    )
    settle(page, f"{filled.url}/runs/{FINISHED}")
    tell = (
        "async () => (await import('/static/js/lib/notify.js'))"
        f".tellEnd({{ session_id: '{FINISHED}', name: 'Sums', status: 'completed' }})"
    )
    page.evaluate(tell)
    assert page.evaluate("told") == []
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<label hidden><input type=checkbox id=notify></label>');"
        "document.dispatchEvent(new CustomEvent('live:swapped'))"
    )
    # By script: at the end of the page the log bar covers it. In one step, since a swap replaces the box.
    page.evaluate(
        "const box = document.getElementById('notify'); box.checked = true;"
        "box.dispatchEvent(new Event('change', { bubbles: true }))"
    )
    page.evaluate(tell)
    [[title, body, tag]] = page.evaluate("told")
    assert (title, tag) == ("Sums has finished", FINISHED)
    assert body.startswith("It learned this:")


def test_the_theme_is_kept(page: Page, filled: Server) -> None:
    """The chosen theme is used in the first paint of the next page."""
    settle(page, f"{filled.url}/help")
    page.locator("#theme-form button").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.goto(f"{filled.url}/runs")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.locator("#theme-form button").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator("#theme-form button").click()  # Other tests look at pages in the system's theme.
    expect(page.locator("html")).not_to_have_attribute("data-theme", "dark")


def test_a_term_is_explained_in_place(page: Page, filled: Server) -> None:
    """A term opens its explanation; the text is the same as on the help page."""
    settle(page, f"{filled.url}/runs/{FINISHED}")
    page.locator("#run-tiles .term", has_text="Solve rate").click()
    expect(page.locator("#term-solved")).to_be_visible()


def test_the_skip_link_comes_first(page: Page, filled: Server) -> None:
    """The first Tab reaches the link to the content, and the link works."""
    settle(page, f"{filled.url}/runs")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
