"""The explorer in a real browser: every page without console errors, hostile texts, and a run that is being played."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.chromium import chromium, deep, needs_chromium, show
from support.runs.explored_runs import BOUNDED, YEARS, play, poison
from support.runs.live_runs import started, year_of

from evals.explore.registry import PAGES
from evals.testing.openai_server import Loopback
from evals.testing.server_replies import MODEL

pytestmark = [pytest.mark.slow, needs_chromium]

DESK, PHONE = (1200, 900), (390, 844)
PATIENCE = 120
RUN = ("run", "--llm", MODEL, "--num-agents", "3", "--max-timesteps", "1000")


@contextmanager
def explored(db: str) -> Iterator[str]:
    """The address of an explorer of `db`."""
    with started("explore", "--db", db, "--no-browser") as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address + process.stdout.read()
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver = chromium(tmp_path_factory.mktemp("browser"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The explorer of runs whose models and names are markup, with replies of 5 MB."""
    db = play(tmp_path_factory.mktemp("hostile"))
    poison(db)
    with explored(db) as address:
        yield address


def eventually(look: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.3)
    return found


def opened(browser: Any, address: str, size: tuple[int, int] = DESK, theme: str = "light") -> str:
    """Open a page and wait until it shows something; the text of it."""
    show(browser, *size, theme)
    browser.get(address)
    eventually(lambda: browser.execute_script("return document.querySelectorAll('.ex').length"))
    return str(browser.execute_script("return document.body.innerText"))


def said(browser: Any) -> list[str]:
    """Errors on the console since the last look."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_hostile_texts_fits_every_screen_without_console_errors_and_runs_nothing(
    browser: Any, hostile: str, page: str
) -> None:
    browser.get_log("browser")
    opened(browser, f"{hostile}&page={page}&run={BOUNDED}&question=worst_calls")
    for size in (DESK, PHONE):
        for theme in ("light", "dark"):
            show(browser, *size, theme)
            dark = "getComputedStyle(document.querySelector('.ex')).color.match(/\\d+/g)[0] > 128"
            eventually(lambda: browser.execute_script(f"return {dark}") == (theme == "dark"))  # noqa: B023
            assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0]
    assert said(browser) == []
    assert browser.execute_script("return window.owned") is None
    assert deep(browser, ".ex script, .ex img, img[src=x], img[src*='x.png'], [onerror], a[href^='javascript']") == []
    origin = hostile.partition("/?")[0]
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(it => it.name)")
    assert [name for name in loaded if not name.startswith((origin, "data:", "blob:"))] == []


def test_a_click_on_a_year_shows_the_decision_of_that_year(browser: Any, hostile: str) -> None:
    text = opened(browser, f"{hostile}&page=Worker&run={BOUNDED}&worker=1&year=3")
    assert "Year 3: worker 1 chose" in text
    assert "<script>window.owned=1</script>" in text
    assert "more characters)" in text or "xxxx" not in text
    boxes = eventually(lambda: deep(browser, "table [role=checkbox]"))
    boxes[-1].click()
    eventually(lambda: "Year 3: worker" not in browser.execute_script("return document.body.innerText"))
    eventually(lambda: re.search(r"Year \d+: worker 1 chose", browser.execute_script("return document.body.innerText")))


def test_a_button_plays_the_years(browser: Any, hostile: str) -> None:
    shown = "return +document.querySelector('.ex .title').innerText.match(/Year (\\d+)/)[1]"
    opened(browser, f"{hostile}&page=Year&run={BOUNDED}&year=1")
    assert browser.execute_script(shown) == 1
    (button,) = (one for one in deep(browser, "button") if "play" in one.text)
    button.click()
    seen = eventually(lambda: (year := browser.execute_script(shown)) > 2 and year)
    assert seen <= YEARS - 1
    button.click()
    eventually(lambda: deep(browser, "marimo-refresh") == [])
    assert said(browser) == []


def asked(address: str, path: str, headers: dict[str, str]) -> tuple[int, Any, bytes]:
    """Status, headers and body of the answer."""
    with closing(HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def test_without_the_token_or_from_another_site_nothing_is_told(hostile: str) -> None:
    parts = urlsplit(hostile)
    status, headers, _ = asked(hostile, f"{parts.path}?{parts.query}", {})
    assert status in (200, 303)
    assert "default-src 'self'" in headers["content-security-policy"]
    for path in ("/", "/?access_token=wrong", "/api/status"):
        status, _, body = asked(hostile, path, {})
        assert status in (303, 401, 403), path
        assert b"marimo-filename" not in body
    status, _, body = asked(hostile, f"{parts.path}?{parts.query}", {"Origin": "http://elsewhere.example"})
    assert (status, body) == (403, b"another origin")


def test_a_run_grows_while_it_is_watched_without_flicker(browser: Any, tmp_path: Path) -> None:
    db = str(tmp_path / "live.duckdb")
    years = "return +document.body.innerText.match(/([\\d,]+) of [\\d,]+/)[1].replaceAll(',', '')"
    faint = """
        return [...document.querySelectorAll('.ex')].some(it => {
            for (; it; it = it.parentElement) if (getComputedStyle(it).opacity < 1) return true;
            return false;
        })"""
    with Loopback(latency=0.3) as server, started(*RUN, "--base-url", server.url, "--db", db):
        eventually(lambda: year_of(db) > 1)
        with explored(db) as address:
            assert "running" in opened(browser, f"{address}&page=Live")
            first, seen = browser.execute_script(years), []
            end = time.monotonic() + PATIENCE
            while (not seen or seen[-1] <= first) and time.monotonic() < end:
                assert not browser.execute_script(faint)
                seen.append(browser.execute_script(years))
                time.sleep(0.2)
            assert seen[-1] > first
            assert said(browser) == []
