"""The report in a real browser: no console error, fits the screen, light and dark, no injected script, a slider."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.runs import three_runs as three
from support.runs.three_runs import BOUNDED, DB, DEMOCRATIC, RATIONAL

from evals.figures.style import DARK, INK
from evals.report.command import write

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs Debian's chromium and chromium-driver: apt-get install them"
)

QUIET = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync", "disable-dev-shm-usage"),
)
DESK, TABLET, PHONE, SMALL_PHONE = (1200, 900), (820, 1100), (390, 844), (360, 640)
HOSTILE = (
    "\x1b[2J**b** </script><b>[a](javascript:1)</b></pre></details>"
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
)


class Browser:
    """Chromium, looking at one local page at a time."""

    def __init__(self, folder: Path) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in (*QUIET, f"user-data-dir={folder}"):
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))

    def open(self, page: Path, size: tuple[int, int], theme: str) -> list[dict[str, Any]]:
        """Open a page, and return what its console has to say."""
        width, height = size
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get(page.as_uri())
        said: list[dict[str, Any]] = self.driver.get_log("browser")
        return said

    def ask(self, expression: str) -> Any:
        return self.driver.execute_script(f"return ({expression})")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    it = Browser(tmp_path_factory.mktemp("browser"))
    yield it
    it.driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports of one run and of two whose models wrote markup."""
    folder = tmp_path_factory.mktemp("pages")
    three.play(folder)
    db = str(folder / DB)
    with duckdb.connect(db) as store:
        store.execute("UPDATE agents SET persona = $1, occupation = $1", [HOSTILE])
        store.execute("UPDATE lm_calls SET prompt = prompt || $1, response = repeat('x', 3000) || $1", [HOSTILE])
        store.execute("UPDATE runs SET name = $1", [HOSTILE])
    made = {"one": folder / "one.html", "two": folder / "two.html"}
    write([BOUNDED], str(made["one"]), db=db)
    write([DEMOCRATIC, RATIONAL], str(made["two"]), db=db)
    return made


WIDER = """
[...document.querySelectorAll("body *")].filter(it => !it.closest(".scroll") && !it.closest("svg")
    && it.getClientRects().length && it.getBoundingClientRect().right > window.innerWidth + 1)
    .map(it => it.tagName + "." + it.className)
"""
SHOWN = """[...document.querySelectorAll(".plot")].filter(it => it.getClientRects().length).map(it => it.className)"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [DESK, TABLET, PHONE, SMALL_PHONE], ids=lambda size: f"{size[0]}px")
@pytest.mark.parametrize("name", ["one", "two"])
def test_the_page_fits_every_screen_without_console_messages(
    browser: Browser, pages: dict[str, Path], name: str, size: tuple[int, int]
) -> None:
    assert browser.open(pages[name], size, "light") == []
    browser.ask("document.querySelectorAll('details').forEach(it => it.open = true)")
    assert browser.ask("document.documentElement.scrollWidth") <= size[0]
    assert browser.ask(WIDER) == []
    shown = browser.ask(SHOWN)
    assert len(shown) >= 11
    assert set(shown) == {"plot phone" if size[0] <= 640 else "plot desk"}
    assert browser.ask("performance.getEntriesByType('resource').length") == 0, "nothing is loaded"


@pytest.mark.slow
def test_text_of_models_is_never_executed(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["one"], DESK, "light")
    assert browser.ask("document.title") == f"Run 1: bounded, {three.PEOPLE} workers, {three.YEARS} years"
    assert browser.ask("document.querySelectorAll('img, iframe, [onerror]').length") == 0
    scripts = browser.ask("[...document.scripts].map(it => [it.type, it.id, it.src])")
    assert scripts == [["application/json", "years-data", ""], ["", "", ""]], "data, and the one script"
    browser.driver.execute_script(MOVE.format(year=3))
    assert browser.ask("document.querySelectorAll('.years script, .years img, .years b, .years [onerror]').length") == 0
    cell = "document.querySelector('[data-part=people] tbody td').textContent"
    assert browser.ask(cell) == HOSTILE[:80].replace("\x1b", "\\x1b"), "as text, when the script has written it"
    assert browser.ask("document.title") != "owned"
    assert (
        browser.ask("[...document.querySelectorAll('pre')].filter(it => it.textContent.includes('<script>')).length")
        > 5
    )


MOVE = """
document.querySelectorAll(".years input").forEach(it => {{ it.value = {year}; it.dispatchEvent(new Event("input")) }})
"""
TEXT = "[...document.querySelectorAll('.years')].map(it => it.textContent.replace(/\\s+/g, ''))"
TITLES = "[...document.querySelectorAll('[data-part=title]')].map(it => it.textContent)"
HOURS = """
[...document.querySelectorAll("[data-part=facts] div")].filter(it => it.querySelector("dt").textContent === "hours")
    .map(it => it.querySelector("dd").textContent)
"""
LABELS = "[...document.querySelectorAll('[data-part=year]')].map(it => it.textContent)"


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_slider_moves_the_figures_of_each_run(
    browser: Browser, pages: dict[str, Path], size: tuple[int, int], theme: str
) -> None:
    browser.open(pages["two"], size, theme)
    with duckdb.connect(str(pages["two"].with_name(DB)), read_only=True) as store:
        laws = store.execute("SELECT run_id, year, mean_labor, rates FROM years WHERE run_id IN (2, 3)").fetchall()
    last = browser.ask(TEXT)
    for year in (0, 5, three.YEARS - 1):
        browser.driver.execute_script(MOVE.format(year=year))
        now = {run: (hours, rates) for run, at, hours, rates in laws if at == year}
        titles = [f"Year {year}: rates of {'/'.join(f'{rate:.0f}' for rate in now[run][1])} %" for run in (2, 3)]
        assert browser.ask(TITLES) == titles
        assert browser.ask(LABELS) == [f"year {year}"] * 2
        assert browser.ask(HOURS) == [f"{now[run][0]:.1f}" for run in (2, 3)]
        assert (browser.ask(TEXT) == last) == (year == three.YEARS - 1), "the script's last year is that of the page"
        assert browser.ask("document.documentElement.scrollWidth") <= size[0]
    assert browser.driver.get_log("browser") == []


@pytest.mark.slow
def test_the_years_play_to_the_last_one_and_stop(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["one"], DESK, "light")
    browser.driver.execute_script("window.setInterval = tick => { window.tick = tick; return 1 }")
    browser.driver.execute_script("document.querySelector('[data-part=play]').click()")
    seen = browser.ask(LABELS)
    for _ in range(three.YEARS - 1):
        assert browser.ask("document.querySelector('[data-part=play]').textContent") == "Pause"
        browser.driver.execute_script("window.tick()")
        seen += browser.ask(LABELS)
    assert seen == [f"year {year}" for year in range(three.YEARS)]
    assert browser.ask("document.querySelector('[data-part=play]').textContent") == "Play"


@pytest.mark.slow
def test_a_browser_without_scripts_shows_the_last_year_and_all_else(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["two"], DESK, "light")
    text, scripted = browser.ask("document.querySelector('main').textContent"), browser.ask(TEXT)
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open(pages["two"], DESK, "light")
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert browser.ask("[...document.querySelectorAll('.player')].every(it => !it.getClientRects().length)")
    assert browser.ask("document.querySelector('noscript').innerText") == (
        "This is the last year; the slider over the years needs JavaScript."
    )
    assert browser.ask(TEXT) == scripted
    assert browser.ask("document.querySelector('main').textContent.replace(/<.?p>/g, '')") == re.sub("</?p>", "", text)


@pytest.mark.slow
def test_the_content_security_policy_blocks_injected_scripts(browser: Browser, pages: dict[str, Path]) -> None:
    """The same page with a script and a picture written into it by force: the browser refuses both, and says so."""
    holed = pages["one"].with_name("holed.html")
    slipped = '<script>document.title=\'owned\'</script><img src="http://127.0.0.1:9/x.png"><p style="color:red">x</p>'
    holed.write_text(pages["one"].read_text().replace("<main>", f"<main>{slipped}"))
    said = " ".join(entry["message"] for entry in browser.open(holed, DESK, "light"))
    assert browser.ask("document.title") != "owned"
    for directive in ("script-src", "img-src", "style-src"):
        assert directive in said


def colours(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def hexadecimal(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


@pytest.mark.slow
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_charts_follow_the_theme_of_the_page(browser: Browser, pages: dict[str, Path], size: tuple[int, int]) -> None:
    body = "getComputedStyle(document.body)"
    letters = f"[...document.querySelectorAll('.plot text[fill=\"{INK}\"]')]"
    letter = f"getComputedStyle({letters}.find(it => it.getClientRects().length))"
    for theme, ink in (("light", INK), ("dark", DARK[INK])):
        assert browser.open(pages["two"], size, theme) == []
        paper = colours(browser.ask(f"{body}.backgroundColor"))
        assert (sum(paper) > 3 * 200) == (theme == "light")
        assert colours(browser.ask(f"{letter}.fill")) == hexadecimal(ink)
        assert colours(browser.ask(f"{body}.color")) == hexadecimal(ink)
    for light, dark in DARK.items():
        for channel in ("fill", "stroke"):
            found = browser.ask(
                f"[...new Set([...document.querySelectorAll('.plot [{channel}=\"{light}\"]')]"
                f".map(it => getComputedStyle(it).{channel}))]"
            )
            assert {colours(one) for one in found} <= {hexadecimal(dark)}


@pytest.mark.slow
def test_heading_levels_are_consecutive_and_figures_have_descriptions(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["two"], DESK, "light")
    levels = browser.ask("[...document.querySelectorAll('h1,h2,h3,h4')].map(it => +it.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    words = browser.ask("[...document.querySelectorAll('.plot')].map(it => it.getAttribute('aria-label').length)")
    assert min(words) > 40
    assert browser.ask("document.querySelectorAll('nav a').length") == browser.ask(
        "[...document.querySelectorAll('nav a')].filter(it => document.querySelector(it.getAttribute('href'))).length"
    )
