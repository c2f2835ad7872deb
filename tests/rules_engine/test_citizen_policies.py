"""The rules of citizens: votes, candidacies and promises."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.village import ECONOMY, LAW, POPULATION, inputs_of

from pipeline.economy.equilibrium import settle
from pipeline.economy.tax import BRACKETS, tax, uniform
from pipeline.simulation import observations as see
from pipeline.simulation.elections.rules import ELECTION_RULES
from pipeline.simulation.memory import WorkerMemory
from programs.engines.rules import policies
from programs.roles.voter import names_in
from signatures.texts.ballot import BallotRules, candidate_name
from signatures.texts.planner import RateChanges
from signatures.texts.worker import Identity, LastRebate
from signatures.types import TaxSchedule

PAYER, RECEIVER = 4, 0
"""The lawyer pays more than the rebate, the cashier gets more than it pays."""


def citizen(agent: int, law: TaxSchedule = LAW) -> dict[str, str]:
    """What `agent` knows after one year of forty hours under `law`."""
    memory = WorkerMemory(50, POPULATION.num_agents)
    year = settle(ECONOMY, law, POPULATION.wage, np.full(POPULATION.num_agents, 40.0))
    memory.remember(
        year=0, schedule=law, hours=year.labor, income=year.income, tax=year.tax, value=year.utility - year.rebate
    )
    return {
        "tax_schedule": str(law),
        "last_rebate": str(LastRebate(year.rebate)),
        "identity": str(Identity.of(None, POPULATION.wage[agent])),
        "record": str(see.worker_record(memory, agent, law)),
    }


Platforms = Sequence[tuple[int, ...] | None]


def vote(
    agent: int, platforms: Platforms, *, law: TaxSchedule = LAW, rule: str = "plurality", seed: int = 0
) -> list[int]:
    """The ballot of `agent`, where worker 0, 1, ... of the village stand for `platforms`."""
    told = str(see.candidates(dict(enumerate(platforms)), POPULATION, voter=agent, with_platforms=True))
    ballot = str(BallotRules(ELECTION_RULES[rule].form or "name", ELECTION_RULES[rule].words))
    inputs = {**citizen(agent, law), "ballot": ballot, "candidates": told}
    said = policies.cast_vote(inputs, np.random.default_rng(seed))["vote"]
    return [int(name.removeprefix("worker ")) for name in names_in(said)]


def gains(agent: int, platforms: Platforms, *, law: TaxSchedule = LAW) -> list[float]:
    """What each platform brings `agent` if all work 40 hours and those who stand are everybody; a second time."""
    income = 52 * 40 * POPULATION.wage
    moved = [tax(law.changed(changes or (0, 0, 0)), income) - tax(law, income) for changes in platforms]
    return [float(more[: len(platforms)].mean() - more[agent]) for more in moved]


def test_the_payer_votes_for_the_platform_that_cuts_its_tax() -> None:
    assert vote(PAYER, [(10, 10, 10), (-10, -10, -10)]) == [1]
    assert vote(PAYER, [(-10, 0, 0), (0, 0, -20)]) == [1], "what the others save on the first bracket, it does not get"


def test_the_receiver_votes_for_higher_rates_whose_revenue_comes_from_others() -> None:
    assert vote(RECEIVER, [(0, 0, 0), None, (10, 0, 0), None, (0, 10, 20)]) == [2], "all pay more, and most the rich"
    assert vote(RECEIVER, [(0, -10, -10), None, None, None, (0, 10, 10)]) == [4]


def test_who_gains_nothing_from_any_platform_abstains_on_every_ballot() -> None:
    for rule in ("plurality", "approval", "borda"):
        assert vote(PAYER, [(0, 0, 0), (0, 0, 0)], rule=rule) == []
        assert vote(PAYER, [None, None], rule=rule) == []
        assert vote(RECEIVER, [(0, 0, 0)], rule=rule) == []
        top = TaxSchedule(thresholds=(0, 90_000, 300_000), rates=(50, 50, 50))
        assert vote(PAYER, [(0, 0, 20), (0, 0, -20)], law=top, rule=rule) == [], "nobody's income reaches that bracket"
        highest = TaxSchedule(thresholds=LAW.thresholds, rates=(100, 100, 100))
        assert vote(PAYER, [(20, 20, 20), (10, 0, 0)], law=highest, rule=rule) == [], "rates end at 100"


steps = st.tuples(*[st.sampled_from(policies.CHANGES)] * 3)


@given(platforms=st.lists(steps, min_size=1, max_size=5), agent=st.integers(0, 4), seed=st.integers(0, 9))
def test_votes_follow_own_income_at_unchanged_hours(platforms: list[tuple[int, ...]], agent: int, seed: int) -> None:
    gain = gains(agent, platforms)
    name, several, ranking = (vote(agent, platforms, rule=rule, seed=seed) for rule in ("plurality", "approval", "irv"))
    if not np.any(np.round(gain, 6)):
        assert name == several == ranking == []
        return
    assert gain[name[0]] == pytest.approx(max(gain))
    assert sorted(ranking) == list(range(len(platforms)))
    assert [gain[i] for i in ranking] == pytest.approx(sorted(gain, reverse=True))
    assert several
    assert min(gain[i] for i in several) >= np.mean(gain) - 1e-6
    assert all(gain[i] <= np.mean(gain) + 1e-6 for i in range(len(gain)) if i not in several)


def test_ties_are_drawn() -> None:
    platforms = [(0, 0, -10), (0, 0, -10), (0, 10, 10)]
    for rule, ballots in (("plurality", {(0,), (1,)}), ("condorcet", {(0, 1, 2), (1, 0, 2)})):
        assert {tuple(vote(PAYER, platforms, rule=rule, seed=seed)) for seed in range(20)} == ballots


def test_without_platforms_the_vote_goes_to_the_others_with_the_most_similar_income() -> None:
    by_voter = {0: [1, 2, 3, 4], 3: [2, 1, 0, 4], 4: [3, 2, 1, 0]}
    for voter, nearest in by_voter.items():
        everybody = dict.fromkeys(range(POPULATION.num_agents))
        told = str(see.candidates(everybody, POPULATION, voter=voter, with_platforms=False))
        for rule, expected in (("plurality", nearest[:1]), ("borda", nearest)):
            ballot = str(BallotRules(ELECTION_RULES[rule].form or "name", ELECTION_RULES[rule].words))
            inputs = {**citizen(voter), "ballot": ballot, "candidates": told}
            said = policies.cast_vote(inputs, np.random.default_rng(0))["vote"]
            assert list(names_in(said)) == [candidate_name(agent) for agent in expected]


def test_without_others_incomes_a_payer_looks_at_its_tax_and_a_receiver_at_the_brackets_above() -> None:
    payer, receiver = citizen(PAYER), citizen(RECEIVER)
    assert policies.static_gains(payer, [(-10, 0, 0), (0, 0, -20), ()]).argmax() == 0
    assert policies.static_gains(receiver, [(0, 0, 0), (0, 10, 20)]).argmax() == 1
    assert policies.static_gains(receiver, [(10, 0, 0), (0, 0, 10)]).argmax() == 1


def test_a_payer_stands_for_lower_rates_on_what_it_earns() -> None:
    law = TaxSchedule(thresholds=(0, 90_000, 300_000), rates=(30, 40, 60))
    answer = policies.stand_for_office(citizen(PAYER, law), np.random.default_rng(0))
    assert answer == {"stand": True, "rate_changes": [-10, -10, 0]}


def test_a_receiver_stands_for_higher_rates_on_what_others_earn() -> None:
    answer = policies.stand_for_office(citizen(RECEIVER), np.random.default_rng(0))
    assert answer == {"stand": True, "rate_changes": [0, 10, 10]}


def test_citizens_whom_taxes_hardly_affect_rarely_stand() -> None:
    untaxed = uniform(BRACKETS["three"], 0)
    answers = [
        policies.stand_for_office(citizen(PAYER, untaxed), np.random.default_rng(seed))["stand"] for seed in range(200)
    ]
    assert 0 < np.mean(answers) < 0.3


def test_a_citizen_without_a_past_still_answers() -> None:
    inputs = {**citizen(PAYER), "record": "no years yet", "last_rebate": str(LastRebate(None))}
    told = str(see.candidates({0: (10, 0, 0), 1: (-10, 0, 0)}, POPULATION, voter=PAYER, with_platforms=True))
    rng = np.random.default_rng(0)
    assert policies.stand_for_office(inputs, rng)["stand"] in (True, False)
    ballot = str(BallotRules("name", ELECTION_RULES["plurality"].words))
    assert policies.cast_vote({**inputs, "ballot": ballot, "candidates": told}, rng)["vote"] == "worker 1"


@pytest.mark.parametrize("promise", [(10, 0, -20), (0, 0, 0), (-20, -20, -20)])
def test_a_leader_keeps_its_promise(promise: tuple[int, ...]) -> None:
    inputs = {**inputs_of("GovernAsLeader"), "platform": str(RateChanges.of(promise))}
    assert policies.set_tax_rates(inputs, np.random.default_rng(0)) == {"rate_changes": list(promise)}


def test_a_leader_that_promised_nothing_governs_as_a_planner_does() -> None:
    inputs = {**inputs_of("GovernAsLeader"), "platform": str(RateChanges.of(None))}
    planner = policies.set_tax_rates(inputs_of("SetTaxRates"), np.random.default_rng(0))
    assert policies.set_tax_rates(inputs, np.random.default_rng(0)) == planner
