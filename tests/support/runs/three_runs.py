"""A bounded, a democratic and a rational run in one store, and how tests look at them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from evals.policies.loaded_run import LoadedRun, load
from evals.run.command import run
from pipeline.store.reader import ReadOnlyStore

DB = "traces.duckdb"
BOUNDED, DEMOCRATIC, RATIONAL = "1", "2", "3"
YEARS, TAX_YEAR, PEOPLE = 12, 4, 6


def play(folder: Path) -> bytes:
    """The store of three small runs, in the order of the names above."""
    common = {"db": str(folder / DB), "log_dir": str(folder), "llm": "rules", "num_agents": PEOPLE}
    common |= {"max_timesteps": YEARS, "two_timescale": TAX_YEAR}
    for settings in ({"scenario": "bounded"}, {"scenario": "democratic", "platforms": True}, {}):
        assert run({**common, **settings}, Console(file=io.StringIO())) == 0
    return (folder / DB).read_bytes()


@dataclass(frozen=True)
class Stored:
    """The store's bytes, and its runs by number, open for reading."""

    content: bytes
    reader: ReadOnlyStore
    runs: dict[str, LoadedRun]


@contextmanager
def stored(folder: Path) -> Iterator[Stored]:
    """Play the runs in `folder` and open them."""
    content = play(folder)
    with ReadOnlyStore(str(folder / DB)) as reader:
        names = (BOUNDED, DEMOCRATIC, RATIONAL)
        yield Stored(content, reader, dict(zip(names, load(reader, names), strict=True)))
