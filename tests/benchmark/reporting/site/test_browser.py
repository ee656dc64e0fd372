"""The site in a browser: Chromium as Debian has it. Skipped where there is none, or nothing to drive it with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fewbench.benchmark.pipeline.reproduction import Comparison, all_reproductions
from fewbench.benchmark.reporting.site.folder import write_site
from fewbench.benchmark.reporting.site.markup import TEMPLATES
from fewbench.benchmark.reporting.site.pages import FILES, Site, files_of

axe = pytest.importorskip("axe_playwright_python.base", reason="pip install axe-playwright-python")
playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
WIDE, NARROW = 1400, 400  # pixels
LARGE = 2000  # records
SHIFT = """() => new Promise(done => {
    let sum = 0;
    const seen = new PerformanceObserver(list => list.getEntries().forEach(one => sum += one.value));
    seen.observe({type: 'layout-shift', buffered: true});
    setTimeout(() => done(sum), 100);
})"""
DRAWN = "() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # which root needs
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(few, found, tmp_path_factory) -> Path:
    """A small site."""
    place = tmp_path_factory.mktemp("small") / "site"
    comparisons = [Comparison(pipeline, run) for pipeline in all_reproductions()[:3] for run in pipeline.runs]
    write_site(files_of(found(few), comparisons, Path("results")), place)
    return place


@pytest.fixture
def opened(browser, site) -> Iterator[Callable[..., Any]]:
    """A function that opens a page of the small site; whatever it asks for lies in the site."""
    contexts = []

    def open_page(name: str, width: int = WIDE, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        contexts.append(context)
        page = context.new_page()
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: pytest.fail(str(error)))
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        page.goto((site / name).as_uri())
        assert all(url.startswith((site.as_uri(), "data:")) for url in asked)
        return page

    yield open_page
    for context in contexts:
        context.close()


def shown(page: Any, column: str) -> list[str]:
    return page.locator(f"table.runs tbody tr:not([hidden]) td.{column}").all_inner_texts()


def test_a_head_sorts_and_sorts_the_other_way(opened):
    page = opened("datasets/omniglot.html")
    head = page.get_by_role("columnheader", name="accuracy (%)")
    head.get_by_role("button").click()
    means = [float(text.split()[0]) for text in shown(page, "accuracy")]
    assert means == sorted(means, reverse=True) and head.get_attribute("aria-sort") == "descending" and len(means) == 6
    head.get_by_role("button").click()
    assert [float(text.split()[0]) for text in shown(page, "accuracy")] == sorted(means)
    page.get_by_role("columnheader", name="method").get_by_role("button").click()
    assert shown(page, "method") == sorted(shown(page, "method")) and head.get_attribute("aria-sort") is None


def test_filters_leave_the_rows_that_they_name(opened):
    page = opened("datasets/omniglot.html")
    page.locator("select[name=method]").select_option("protonet")
    assert len(shown(page, "method")) == 2 and page.get_by_role("status").inner_text() == "2 of 6 runs"
    page.locator("select[name=shots]").select_option("5")
    assert shown(page, "task") == ["5-way 5-shot"]
    page.get_by_role("button", name="reset").click()
    page.locator("table.runs tbody tr:not([hidden])").nth(5).wait_for()  # the page filters after the form was reset
    assert len(shown(page, "method")) == 6
    page.locator("input[name=search]").fill("RESNET12 simple")
    assert shown(page, "method") == ["simpleshot"]


def test_links_lead_to_the_record_and_its_command_is_copied(opened):
    page = opened("index.html")
    page.get_by_role("link", name="omniglot").first.click()
    page.locator("tr", has_text="ridge").first.locator("td.accuracy a").click()
    assert page.get_by_role("heading", level=1).inner_text().startswith("ridge, conv4")
    page.get_by_role("button", name="Copy: repeat the run").click()
    page.get_by_text("copied").wait_for()
    command = page.evaluate("navigator.clipboard.readText()")
    assert command.startswith("bench rerun ") and command.endswith(".json")
    page.get_by_role("link", name="ridge", exact=True).click()
    assert "Ridge regression" in page.locator("main").inner_text()


def test_everything_works_with_keys_alone(opened):
    page = opened("datasets/omniglot.html")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**#main")  # the driver hears of it after the key was pressed
    while page.evaluate("document.activeElement.name") != "method":
        page.keyboard.press("Tab")
    page.keyboard.type("ridge")
    assert set(shown(page, "method")) == {"ridge"}
    while page.evaluate("document.activeElement.innerText") != "rank":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.get_by_role("columnheader", name="rank").get_attribute("aria-sort") == "ascending"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    while "records/" not in (page.evaluate("document.activeElement.href") or ""):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/records/*")


@pytest.mark.parametrize("kind", ["index", "methods", "reproductions", "datasets", "method", "records"])
def test_a_page_is_accessible_narrow_and_dark_wide_and_light(opened, site, kind):
    names = {"datasets": "datasets/omniglot.html", "method": "methods/protonet.html"}
    for width, scheme in ((NARROW, "dark"), (WIDE, "light")):
        first = min(path.name for path in (site / "records").iterdir()) if kind == "records" else ""
        page = opened(f"records/{first}" if first else names.get(kind, f"{kind}.html"), width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        assert page.evaluate(SHIFT) == 0
        page.evaluate(axe.AXE_SCRIPT)
        found = page.evaluate("axe.run()")["violations"]
        serious = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
        assert serious == [], (width, scheme)


def test_a_page_of_many_records_opens_within_a_second(browser, make_record, found, tmp_path):
    records = [
        make_record([0.4, 0.6, number / LARGE], name=f"method-{number % 50}", task={"shots": 1 + number // 50})
        for number in range(LARGE)
    ]
    pages = Site(found(records), [], Path("results")).pages()
    name, text = next(page for page in pages if page[0].startswith("datasets/"))  # those of records, which follow, are not read
    write_site({name: text.encode(), **{file: (TEMPLATES / file).read_bytes() for file in FILES}}, tmp_path / "site")
    page = browser.new_page(viewport={"width": WIDE, "height": 900})
    metrics = page.context.new_cdp_session(page)
    metrics.send("Performance.enable", {"timeDomain": "threadTicks"})  # of the page alone, however busy the machine is

    def seconds() -> float:
        page.evaluate(DRAWN)
        return next(one["value"] for one in metrics.send("Performance.getMetrics")["metrics"] if one["name"] == "TaskDuration")

    page.goto((tmp_path / "site" / name).as_uri())
    times = [seconds()]
    assert page.locator("table.runs tbody tr").count() == LARGE and page.evaluate(SHIFT) == 0
    page.get_by_role("columnheader", name="method").get_by_role("button").click()
    times.append(seconds() - times[0])
    page.locator("input[name=search]").fill("method-7")
    times.append(seconds() - sum(times))
    assert page.get_by_role("status").inner_text() == "40 of 2,000 runs"
    page.close()
    assert max(times) < 1, f"seconds to open, sort, filter: {times}"
