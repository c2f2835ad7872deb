"""A headless Chromium that reaches only this machine, for tests that look at pages."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs Debian's chromium and chromium-driver: apt-get install them"
)
FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync", "disable-dev-shm-usage"),
    "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def chromium(folder: Path) -> Any:
    """A Selenium driver with its profile in `folder`; the test quits it."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"user-data-dir={folder}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(str(DRIVER)))


DEEP = """
const found = [];
const walk = it => {
  for (const one of it.querySelectorAll("*")) {
    if (one.matches(arguments[0])) found.push(one);
    if (one.shadowRoot) walk(one.shadowRoot);
  }
};
walk(document);
return found;
"""


def deep(driver: Any, selector: str) -> list[Any]:
    """All elements that match a selector, those in shadow roots, too."""
    found: list[Any] = driver.execute_script(DEEP, selector)
    return found


def show(driver: Any, width: int, height: int, theme: str) -> None:
    """Emulate a screen of that size whose user prefers the theme `light` or `dark`."""
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
