"""A file of today, and the same as version 1 had it. Every test gets a copy of the older one."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.stores.older_files import DB, MIXED, SIZE, degrade

from pipeline.store.writer import Store


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run 1: all utility types and shocks. 2: bounded. 3: democratic. 4: no worker is asked. 5: run 1 with another
    objective from year 3 on. 6: run 5 with a third one from year 2 on, and so with the first years of run 1. 7: run 1
    cut off in its fifth year. And the scores of an evaluation and of a study."""
    from evals.evaluate.command import evaluate, keep
    from evals.run.command import run
    from evals.run.fork import fork

    folder = tmp_path_factory.mktemp("played")
    db, quiet = str(folder / DB), Console(file=io.StringIO())
    common: dict[str, Any] = {"db": db, "log_dir": str(folder), **SIZE}
    shocks = ("years=2-3: wages*0.5 where wage < 30", "year=4: rebate+500")
    assert run({**common, **MIXED, "shock": shocks}, quiet) == 0
    people = {"satisfaction": "objective", **MIXED}
    assert run({**common, **people, "scenario": "bounded"}, quiet) == 0
    assert run({**common, "satisfaction": "objective", "scenario": "democratic", "platforms": True}, quiet) == 0
    fixed = {"worker_type": "FIXED", "planner_type": "US_FED", "bracket_setting": "US_FED"}
    assert run({**common, **fixed, "name": "fixed"}, quiet) == 0
    assert fork("1", db, 3, {"welfare": "utilitarian", "log_dir": str(folder)}, quiet) == 0
    assert fork("5", db, 2, {"welfare": "rawlsian", "log_dir": str(folder)}, quiet) == 0
    assert run({**common, **MIXED, "shock": shocks, "name": "cut off"}, quiet) == 0
    keep(evaluate(["1"], db, welfare="all", years=None), db, quiet)
    with Store(db) as store:
        for table in ("years", "decisions", "votes", "platforms"):
            store.connection.execute(f"DELETE FROM {table} WHERE run_id = 7 AND year >= 4")
        store.connection.execute("UPDATE runs SET status = 'running', finished_at = NULL WHERE run_id = 7")
        store.write_study("a study", [{"subject": "arm", "metric": "welfare", "score": 12.3, "study": "a study"}])
    return folder / DB


@pytest.fixture(scope="session")
def degraded(played: Path) -> Path:
    """The same as version 1 had it."""
    path = played.with_name("degraded.duckdb")
    shutil.copy(played, path)
    degrade(str(path))
    return path


@pytest.fixture(autouse=True)
def here(nobody_pays: None, degraded: Path) -> None:
    shutil.copy(degraded, DB)
