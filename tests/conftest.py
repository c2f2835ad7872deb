"""No test spends money, reads a user's files, or is moved by another test."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from programs.engines.refused_parts import forget
from programs.models import environment
from programs.providers import addresses_in

settings.register_profile("unhurried", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The cases of a test after its `first_cases` repeat it with other settings: they are slow."""
    seen: Counter[str] = Counter()
    for module in {item.module for item in items if isinstance(item, pytest.Function)}:
        sys.modules.setdefault(module.__name__.rpartition(".")[2], module)  # `--llm engine:test_llm_agents:Leisurely`
    for item in items:
        marker, test = item.get_closest_marker("first_cases"), item.nodeid.partition("[")[0]
        if marker is not None and seen[test] >= marker.args[0]:
            item.add_marker("slow")
        seen[test] += 1


SPENDING = ("ECON_OPENAI", "OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
"""Variables beside `*_API_KEY` with which a call could leave this machine or be charged to somebody."""


@pytest.fixture(autouse=True)
def nobody_pays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No keys in the environment, an empty current folder, and nothing remembered of another test's."""
    for name in list(os.environ):
        if name.endswith("_API_KEY") or name in (*SPENDING, *addresses_in(os.environ)):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    environment.cache_clear()
    forget()
    yield
    environment.cache_clear()
