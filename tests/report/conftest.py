"""Three runs in one store, which several tests of figures and charts draw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.runs import three_runs as three
from support.runs.three_runs import DB, Stored


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    with three.stored(tmp_path_factory.mktemp("stored")) as it:
        yield it


@pytest.fixture
def here(nobody_pays: None, stored: Stored) -> None:
    """A copy of the store in the current folder."""
    Path(DB).write_bytes(stored.content)
