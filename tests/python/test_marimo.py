"""The notebooks run to their end as scripts; exported and as an app they work in a real browser, without a network."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import marimo
import pytest
from support.chromium import CHROMIUM, DRIVER, chromium, deep, needs_chromium, show

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.py"))
STATIC = Path(marimo.__file__).parent / "_static"
REMOTE = r"https://cdn\.jsdelivr\.net/npm/@marimo-team/frontend@[^/]+/dist"
PATIENCE = 120


def python(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    driver = chromium(tmp_path / "browser")
    show(driver, 1200, 3000, "light")
    yield driver
    driver.quit()


def eventually(look: Callable[[], Any]) -> Any:
    """What `look` finds as soon as it finds something; marimo may replace an element while it is looked at."""
    from selenium.common.exceptions import StaleElementReferenceException

    end = time.monotonic() + PATIENCE
    while True:
        try:
            if found := look():
                return found
        except StaleElementReferenceException:
            pass
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


@pytest.mark.slow
def test_a_notebook_runs_to_its_end_as_a_script() -> None:
    done = python(str(ROOT / "docs/notebooks/tax_lab.py"))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_every_notebook_is_in_its_page_and_no_other() -> None:
    page = (ROOT / "docs/notebooks.md").read_text()
    assert set(re.findall(r"notebooks/(\w+\.py)", page)) == {one.name for one in NOTEBOOKS}


class Assets(SimpleHTTPRequestHandler):
    """The exported page in the current folder, and marimo's scripts, which an exported page takes from a network."""

    def translate_path(self, path: str) -> str:
        folder = Path() if path == "/page.html" else STATIC
        return str(folder.absolute() / path.lstrip("/").partition("?")[0])

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_is_exported_with_the_results_of_all_cells_and_shown_by_a_browser(
    notebook: Path, request: pytest.FixtureRequest
) -> None:
    shutil.copy(notebook, "notebook.py")  # marimo writes a folder beside a notebook
    done = python("-m", "marimo", "-q", "export", "html", "notebook.py", "-o", "page.html", "--no-include-code")
    assert done.returncode == 0, done.stderr
    assert not list(Path().glob("*.duckdb")), "a notebook leaves no database in the current folder"
    page = Path("page.html").read_text()
    assert "Traceback" not in page
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("exported; to look at it needs Debian's chromium and chromium-driver")
    browser = request.getfixturevalue("browser")
    title = re.search(r'app_title="([^"]+)"', notebook.read_text())
    assert title is not None
    with ThreadingHTTPServer(("127.0.0.1", 0), Assets) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        Path("page.html").write_text(
            re.sub(r"https://cdn\.jsdelivr\.net/npm/@marimo-team/frontend@[^/]+/dist", address, page)
        )
        try:
            browser.get(f"{address}/page.html")
            eventually(lambda: title[1] in browser.execute_script("return document.title"))
            subject = title[1].split()[-1].lower()
            eventually(lambda: subject in browser.find_element("tag name", "body").text.lower())
            if "alt.Chart" in notebook.read_text():
                eventually(lambda: deep(browser, "canvas, svg.marks"))
        finally:
            server.shutdown()


@pytest.fixture
def tax_lab() -> Iterator[str]:
    """The address of the tax lab as an app."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "marimo", "-q", "run", str(ROOT / "docs/notebooks/tax_lab.py"), "--headless"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--no-token"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)) as app:
        try:
            eventually(lambda: app.poll() is not None or reachable(port))
            assert app.poll() is None
            yield f"http://127.0.0.1:{port}"
        finally:
            app.terminate()


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
@needs_chromium
def test_moving_a_slider_of_the_tax_lab_changes_its_figures_and_its_charts(tax_lab: str, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(tax_lab)
    eventually(lambda: len(deep(browser, "canvas, svg.marks")) >= 4)
    sliders = deep(browser, "[role='slider']")
    assert len(sliders) == 6, "aversion, elasticity, effort, and a rate for each of three brackets"
    before = browser.find_element("tag name", "body").text
    drawn = eventually(lambda: [one.screenshot_as_png for one in deep(browser, "canvas")[:4]])
    rate = sliders[-1]
    assert rate.get_attribute("aria-valuenow") == "50"
    rate.send_keys(Keys.END)
    eventually(lambda: deep(browser, "[role='slider']")[-1].get_attribute("aria-valuenow") == "100")
    eventually(lambda: browser.find_element("tag name", "body").text != before)
    eventually(lambda: [one.screenshot_as_png for one in deep(browser, "canvas")[:4]] != drawn)
    assert not [one for one in browser.get_log("browser") if "SyntaxError" in one["message"]]
