"""A user's own parts, as the module `mine` and as an installed package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.own_parts import forget, install, write_module


@pytest.fixture(autouse=True)
def mine(nobody_pays: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    forget("mine")
    write_module("mine")
    monkeypatch.syspath_prepend(".")
    yield
    forget("mine")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    forget("economist_parts")
    install("economist_parts", tmp_path / "site-packages")
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    yield
    forget("economist_parts")
