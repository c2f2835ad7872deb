"""Users' own parts in several processes and in Python."""

from __future__ import annotations

from typing import Any

import pytest
from support.command_line import CommandLine
from support.own_parts import played
from support.stores.stored_rows import rows

import llm_economist as le
from pipeline.economy.baselines import BASELINES, certified_oracle
from pipeline.economy.welfare import WELFARE
from pipeline.simulation.elections.rules import ELECTION_RULES


@pytest.mark.slow
def test_processes_have_the_parts_too(cli: CommandLine) -> None:
    flags = ("--welfare", "mine:middle", "--strategy", "worker=mine:FortyHours", "--callback", "mine:Told")
    one = played(cli, *flags, db="one.duckdb")
    assert one == played(cli, *flags, "--processes", "2", db="two.duckdb")


@pytest.mark.slow
def test_python_takes_the_objects_themselves_and_their_names() -> None:
    import mine  # type: ignore[import-not-found]

    settings: dict[str, Any] = {"llm": "rules", "num_agents": 3, "max_timesteps": 3, "two_timescale": 1}
    given = {"welfare": mine.middle, "planner_type": mine.Creeping, "callback": mine.Told}
    run = le.simulate(**settings, **given, db="a.duckdb")
    assert run.sql("SELECT welfare, planner_type FROM runs").fetchall() == [("mine:middle", "mine:Creeping")]
    named = {name: f"mine:{one.__name__}" for name, one in given.items()}
    le.simulate(**settings, **named, db="b.duckdb")
    assert rows("a.duckdb")["years"] == rows("b.duckdb")["years"]
    run.report("a.html")  # a run of this process needs no permission


def test_python_refuses_a_function_that_no_name_finds() -> None:
    with pytest.raises(le.UsageError, match="a run stores it as module:Name"):
        le.simulate(llm="rules", welfare=lambda u, z, w: 0.0, db="a.duckdb")


def test_looking_up_a_name_imports_nothing() -> None:
    for parts in (WELFARE, BASELINES, ELECTION_RULES):
        assert "mine:unseen" not in parts
        with pytest.raises(KeyError):
            parts["mine:unseen"]


def test_a_function_under_the_same_name_has_its_own_oracle() -> None:
    """In a notebook, a cell that defines a welfare function is run again."""
    import mine  # type: ignore[import-not-found]

    from pipeline.config import build
    from pipeline.simulation.world import create

    settings = {"welfare": "mine:middle", "num_agents": 6, "llm": "rules"}
    before = certified_oracle(create(build(settings)).setting()).certificate.welfare
    old = mine.middle
    mine.middle = lambda u, z, w: 2 * old(u, z, w)
    mine.middle.words = "twice the median"  # type: ignore[attr-defined]
    after = certified_oracle(create(build(settings)).setting()).certificate.welfare
    assert after == pytest.approx(2 * before)
