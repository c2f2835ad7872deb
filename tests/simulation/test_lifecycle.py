"""The life of a run: it opens its database once, tells its observers of every year, and sets its status."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.command_line import CommandLine

from evals.output.console import Console
from evals.run.command import run
from pipeline.errors import ModelError
from pipeline.simulation.lifecycle import Ending, OnYear, carry_out, new_run, prepare
from pipeline.simulation.records import Year
from pipeline.simulation.world import create

SETTINGS = {"llm": "rules", "num_agents": 3, "max_timesteps": 3, "db": "a.duckdb"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def notices(settings: dict[str, Any]) -> list[str]:
    """What a new run tells the user before its first year."""
    told: list[str] = []
    config, model, _ = prepare(settings)
    with new_run(config, model, create(config), told.append):
        pass
    return told


@pytest.mark.parametrize("strategy", ["io", "knn"])
def test_a_run_opens_an_existing_database_once(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its strategy reads examples from it."""
    assert run(SETTINGS, Console()) == 0
    opened: list[str] = []
    connect = duckdb.connect

    def counted(path: Any = ":memory:", *args: Any, **flags: Any) -> Any:
        opened.append(Path(path).name)
        return connect(path, *args, **flags)

    monkeypatch.setattr(duckdb, "connect", counted)
    assert run({**SETTINGS, "strategy": f"worker={strategy}"}, Console()) == 0
    assert opened.count("a.duckdb") == 1


def test_examples_from_the_open_database_are_those_that_another_process_reads() -> None:
    assert run(SETTINGS, Console()) == 0
    (told,) = notices({**SETTINGS, "strategy": "worker=knn"})
    (told_apart,) = notices({**SETTINGS, "strategy": "worker=knn", "db": "b.duckdb", "examples": "a.duckdb"})
    assert "ChooseLabor 9" in told
    assert told == told_apart


def test_observers_hear_every_year_and_are_closed() -> None:
    heard: list[str] = []

    @contextmanager
    def observer(name: str) -> Iterator[OnYear]:
        heard.append(f"{name} opens")
        yield lambda year: heard.append(f"{name} {year.year}")
        heard.append(f"{name} closes")

    def on_year(year: Year) -> None:
        heard.append(f"year {year.year}")

    config, model, _ = prepare({**SETTINGS, "max_timesteps": 2})
    with new_run(config, model, create(config), heard.append) as simulation:
        assert carry_out(simulation, on_year, observers=[observer("a"), observer("b")]) == Ending("finished")
    assert heard == ["a opens", "b opens", "year 0", "a 0", "b 0", "year 1", "a 1", "b 1", "b closes", "a closes"]


def test_a_run_whose_observer_fails_is_stored_as_failed(cli: CommandLine) -> None:
    @contextmanager
    def observer() -> Iterator[OnYear]:
        def fail(year: Year) -> None:
            raise ModelError("the observer failed")

        yield fail

    config, model, _ = prepare(SETTINGS)
    with new_run(config, model, create(config), print) as simulation, pytest.raises(ModelError, match="the observer"):
        carry_out(simulation, lambda year: None, observers=[observer()])
    assert cli.sql("select status, error from runs", "a.duckdb") == [
        {"status": "failed", "error": "the observer failed"}
    ]


@pytest.mark.parametrize("exists", [False, True])
def test_a_run_that_cannot_begin_leaves_the_database_as_it_was(exists: bool) -> None:
    if exists:
        assert run(SETTINGS, Console()) == 0
    config, model, _ = prepare(SETTINGS)
    with pytest.raises(ZeroDivisionError), new_run(config, model, create(config), print):
        raise ZeroDivisionError
    assert Path("a.duckdb").exists() == exists
    if exists:
        with duckdb.connect("a.duckdb", read_only=True) as connection:
            assert connection.execute("SELECT count(*) FROM runs").fetchall() == [(1,)]
