"""Databases that several tests of the store share."""

from pathlib import Path

import pytest
from support.stores import rows_by_hand
from support.stores.rows_by_hand import DB


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return rows_by_hand.by_hand(tmp_path_factory.mktemp("views"))


@pytest.fixture
def made(nobody_pays: None, by_hand: bytes) -> str:
    Path(DB).write_bytes(by_hand)
    return DB
