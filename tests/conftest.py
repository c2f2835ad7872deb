"""No test spends money, reads a user's files, or is moved by another test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from programs.lm import environment

settings.register_profile("unhurried", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("unhurried")

SPENDING = ("ECON_OPENAI", "OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
"""Variables beside `*_API_KEY` with which a call could leave this machine or be charged to somebody."""


@pytest.fixture(autouse=True)
def nobody_pays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No keys in the environment, an empty current folder, and nothing remembered of another test's."""
    for name in list(os.environ):
        if name.endswith("_API_KEY") or name in SPENDING:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    environment.cache_clear()
    yield
    environment.cache_clear()
