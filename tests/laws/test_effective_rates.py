"""Whoever judges hours agrees with brute force: regret, labels, `validate` and the rewards, among few workers and many.

Among N workers one Nth of a worker's own tax is in its own rebate, so all of them count 1 - 1/N of a tax.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.datasets.exact_answers import Asked, answer_of
from evals.metrics.labor import Work, best_hours, missed
from evals.validity import workers
from pipeline.config import build
from pipeline.economy.equilibrium import equilibrium, regret, settle
from pipeline.economy.tax import FloatArray, tax
from pipeline.economy.utility import effort_cost
from pipeline.simulation.loop import labor_inputs
from pipeline.simulation.world import World, create
from programs.strategies.self_evaluation import reward
from signatures.types import TaxSchedule

WHOLE = np.arange(101)
counts = st.sampled_from([1, 2, 3, 5, 20, 100])
rates = st.lists(st.integers(0, 10).map(lambda tens: 10 * tens), min_size=3, max_size=3)


def world(count: int, law: list[int], seed: int, **given: Any) -> World:
    """A world of `count` workers under `law`, in percent, which may rise and fall."""
    here = create(build({"num_agents": count, "seed": seed, **given}))
    here.schedule = TaxSchedule(thresholds=here.schedule.thresholds, rates=tuple(law))
    return here


def by_brute_force(here: World, agent: int, labor: FloatArray) -> FloatArray:
    """Utility (101,) of `agent` at each whole hour while the others work `labor` (N,), all rebates paid out again."""
    utilities = []
    for hours in WHOLE:
        everybody = labor.copy()
        everybody[agent] = hours
        utilities.append(settle(here.economy, here.schedule, here.population.wage, everybody).utility[agent])
    return np.array(utilities)


@given(counts, rates, st.integers(0, 1_000), st.sampled_from(["weekly", "v1"]))
@settings(max_examples=25, deadline=None)
def test_the_label_of_a_dataset_is_the_best_whole_hour_and_its_regret_the_loss(
    count: int, law: list[int], seed: int, economy: str
) -> None:
    here = world(count, law, seed, economy=economy)
    agent = seed % count
    labels, truth = answer_of("ChooseLabor")(here, Asked(agent, {}, here.schedule))
    others = equilibrium(here.economy, here.schedule, here.population.wage).labor
    utilities = by_brute_force(here, agent, others)
    assert utilities[labels["labor"]] == pytest.approx(utilities.max(), abs=1e-6)
    work = Work.of(truth)
    assert best_hours(work) == labels["labor"]
    for hours in (0, 40, 77, 100):
        found = missed(work, hours)
        assert found.regret == pytest.approx(utilities.max() - utilities[hours], abs=1e-6)
        assert found.best_utility == pytest.approx(utilities.max(), abs=1e-6)


@given(counts, rates, st.integers(0, 1_000))
@settings(max_examples=25, deadline=None)
def test_the_reward_of_hours_ranks_them_as_utility_does_from_the_words_of_the_prompt(
    count: int, law: list[int], seed: int
) -> None:
    here = world(count, law, seed)
    agent = seed % count
    utilities = by_brute_force(here, agent, here.hours)
    # without what the others' taxes bring, which is the same at all hours: idling is worth nothing
    own = utilities - utilities[0]
    inputs = labor_inputs(here, agent, 0)
    rewards = np.array([reward(inputs, {"labor": int(hours)}) for hours in WHOLE])
    wage = here.population.wage[agent]
    cent = 52 * 100 * 0.005 / max(own.max(), 1.0)  # a prompt tells the wage to a cent
    assert rewards.max() == 1
    assert own[int(rewards.argmax())] >= own.max() - 52 * 100 * 0.01
    if own.max() > 500 and wage > 2:
        expected = np.clip(own / own.max(), 0, 1)
        assert rewards == pytest.approx(expected, abs=4 * cent)


def test_the_places_of_validate_are_the_best_whole_hours_of_people_who_share_the_revenue() -> None:
    for (wage, rate), place in workers.grid().items():
        income = 52 * wage * WHOLE
        kept = income - rate / 100 * income * (1 - 1 / len(workers.WAGES)) - 52 * 0.0005 * WHOLE**3.5
        assert place.best == int(np.argmax(kept))


def test_a_prompt_says_how_many_share_the_revenue() -> None:
    for count in (1, 2, 5):
        inputs = labor_inputs(world(count, [50, 50, 50], 1), 0, 0)
        assert inputs["objective"].endswith(f"rebate = taxes of all workers / {count}")
        assert "whatever your hours" not in str(inputs)


def test_among_five_the_hours_of_a_continuum_are_regretted() -> None:
    here = world(5, [60, 60, 60], 42)
    wage = here.population.wage
    of_many = ((1 - 0.6) * wage / (0.0005 * 3.5)) ** 0.4
    year = settle(here.economy, here.schedule, wage, of_many)
    found = regret(here.economy, here.schedule, wage, year)
    assert (found.regret > 1).all()
    assert found.best_labor / of_many == pytest.approx(np.full(5, (0.52 / 0.4) ** 0.4))
    idle = by_brute_force(here, 0, of_many)
    assert idle[0] == pytest.approx((tax(here.schedule, 52 * wage * of_many)[1:].sum()) / 5)
    assert float(effort_cost(here.economy, 0)) == 0
