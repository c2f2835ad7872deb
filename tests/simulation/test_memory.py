"""What is remembered: the last years of every worker, and one row per schedule of the planner."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.simulation.memory import PlannerMemory, ScheduleRecord, WorkerMemory
from signatures.types import TaxSchedule


def flat(rate: float) -> TaxSchedule:
    return TaxSchedule(thresholds=(0,), rates=(rate,))


def live(memory: WorkerMemory, years: range) -> None:
    """Years in which every figure tells which year and which worker it belongs to."""
    agents = np.arange(memory.num_agents, dtype=float)
    for year in years:
        memory.remember(
            year=year,
            schedule=flat(year % 7 * 10),
            hours=year + agents / 10,
            income=1_000 * year + agents,
            tax=100 * year + agents,
            value=10 * year + agents,
        )


# Workers


def test_there_is_nothing_to_remember_at_first() -> None:
    assert len(WorkerMemory(5, 3).rows()) == 0


@given(length=st.integers(1, 12), years=st.integers(0, 60))
def test_the_last_years_are_held_oldest_first(length: int, years: int) -> None:
    memory = WorkerMemory(length, 3)
    live(memory, range(years))
    rows = memory.rows()
    kept = list(range(max(0, years - length), years))
    assert memory.year[rows].tolist() == kept
    assert [memory.schedule[row] for row in rows] == [flat(year % 7 * 10) for year in kept]
    for agent in range(3):
        assert memory.hours[rows, agent].tolist() == [year + agent / 10 for year in kept]
        assert memory.income[rows, agent].tolist() == [1_000 * year + agent for year in kept]
        assert memory.tax[rows, agent].tolist() == [100 * year + agent for year in kept]
        assert memory.value[rows, agent].tolist() == [10 * year + agent for year in kept]


def test_memory_takes_the_same_room_however_long_the_run_is() -> None:
    memory = WorkerMemory(50, 4)
    live(memory, range(50))
    size = memory.hours.nbytes, len(memory.schedule)
    live(memory, range(50, 500))
    assert (memory.hours.nbytes, len(memory.schedule)) == size


def test_what_is_remembered_is_a_copy() -> None:
    memory, hours = WorkerMemory(3, 2), np.array([40.0, 50.0])
    memory.remember(year=0, schedule=flat(10), hours=hours, income=hours, tax=hours, value=hours)
    hours[:] = 0
    assert memory.hours[memory.rows()].tolist() == [[40, 50]]


# The planner

schedules = st.integers(0, 10).map(lambda tens: flat(10 * tens))
histories = st.lists(st.tuples(schedules, st.floats(-1e6, 1e6), st.booleans()), max_size=60)


def planned(history: list[tuple[TaxSchedule, float, bool]]) -> PlannerMemory:
    memory = PlannerMemory()
    for year, (schedule, welfare, settled) in enumerate(history):
        memory.remember(year=year, schedule=schedule, welfare=welfare, settled=settled)
    return memory


@given(histories)
def test_each_schedule_has_the_means_of_its_own_years(history: list[tuple[TaxSchedule, float, bool]]) -> None:
    records = planned(history).records
    assert len(records) == len({schedule for schedule, _, _ in history})
    for record in records.values():
        mine = [(year, w, s) for year, (schedule, w, s) in enumerate(history) if schedule == record.schedule]
        settled = [w for _, w, s in mine if s]
        assert record.years == len(mine)
        assert record.last_year == mine[-1][0]
        assert record.mean_welfare == pytest.approx(np.mean([w for _, w, _ in mine]), abs=1e-6)
        assert record.settled == pytest.approx(np.mean(settled) if settled else record.mean_welfare, abs=1e-6)


def test_a_schedule_never_in_force_has_no_welfare() -> None:
    assert ScheduleRecord(flat(10)).settled == 0


many = st.lists(st.tuples(st.integers(0, 100).map(flat), st.floats(-1e6, 1e6), st.booleans()), min_size=1, max_size=150)


@given(many, st.integers(1, 12), st.integers(1, 6))
def test_what_is_shown_is_bounded_and_holds_the_best_and_the_latest(
    history: list[tuple[TaxSchedule, float, bool]], best: int, recent: int
) -> None:
    memory = planned(history)
    shown = memory.shown(best=best, recent=recent)
    records = list(memory.records.values())
    assert len(shown) <= best + recent
    assert len(shown) >= min(len(records), max(best, recent))
    assert len({record.schedule for record in shown}) == len(shown)
    assert max(record.settled for record in shown) == max(record.settled for record in records)
    assert [record.last_year for record in shown] == sorted(record.last_year for record in shown)
    latest = sorted(records, key=lambda record: record.last_year)[-recent:]
    assert all(record in shown for record in latest)


def test_at_most_eighteen_of_two_hundred_schedules_are_shown() -> None:
    memory = planned([(TaxSchedule(thresholds=(0, 1), rates=(k % 101, k // 101)), -k, True) for k in range(200)])
    assert len(memory.records) == 200
    assert len(memory.shown()) == 18
