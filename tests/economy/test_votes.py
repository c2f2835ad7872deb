"""What a vote is worth to the voter, against the equilibrium of each platform."""

from __future__ import annotations

import pytest

from evals.metrics.votes import VoteScore, prospects
from pipeline.config import build
from pipeline.economy.equilibrium import equilibrium
from pipeline.simulation.world import World, create
from signatures.types import TaxSchedule

PLATFORMS: dict[int, tuple[int, ...] | None] = {0: (20, 20, 20), 2: (-20, -20, -20), 4: (0, 0, 10)}


@pytest.fixture(scope="module")
def world() -> World:
    return create(build({"scenario": "democratic", "platforms": True, "num_agents": 5, "seed": 3}))


def choice(world: World, voter: int, platforms: dict[int, tuple[int, ...] | None] = PLATFORMS) -> VoteScore:
    return VoteScore.of(prospects(world, world.schedule, voter, platforms))


def utility(world: World, law: TaxSchedule, voter: int) -> float:
    return float(equilibrium(world.economy, law, world.population.wage).utility[voter])


@pytest.mark.parametrize("voter", range(5))
def test_a_vote_for_the_label_scores_one_and_the_worst_none(world: World, voter: int) -> None:
    ballot = choice(world, voter)
    worth = {
        f"worker {agent}": utility(world, world.schedule.changed(p or ()), voter) for agent, p in PLATFORMS.items()
    }
    assert ballot.best == max(worth, key=lambda name: worth[name])
    assert ballot.score(ballot.best) == 1
    assert ballot.lost(ballot.best) == 0
    worst = min(worth, key=lambda name: worth[name])
    assert ballot.score(worst) == 0
    assert ballot.lost(worst) == pytest.approx(max(worth.values()) - min(worth.values()))


def test_an_abstention_counts_as_a_random_vote(world: World) -> None:
    ballot = choice(world, 1)
    names = [prospect["utility"] for prospect in ballot.ballot.values()]
    assert ballot.utilities["abstain"] == pytest.approx(sum(names) / 3)
    assert 0 < ballot.score("abstain") < 1


def test_abstaining_costs_nothing_if_every_platform_equals_the_status_quo(world: World) -> None:
    ballot = choice(world, 1, {0: (0, 0, 0), 3: (0, 0, 0)})
    assert ballot.best == "abstain"
    assert [ballot.score(vote) for vote in ("worker 0", "worker 3", "abstain")] == [1, 1, 1]


def test_all_votes_are_equally_good_if_all_platforms_are_the_same(world: World) -> None:
    ballot = choice(world, 1, {0: (20, 0, 0), 3: (20, 0, 0)})
    assert ballot.best == "worker 0"
    assert [ballot.score(vote) for vote in ("worker 0", "worker 3", "abstain")] == [1, 1, 1]


def test_the_voter_is_told_in_dollars(world: World) -> None:
    ballot = choice(world, 1)
    worst = min(ballot.ballot, key=lambda name: ballot.ballot[name]["utility"])
    text = ballot.in_words(worst)
    assert text.startswith(f"You voted for {worst}: worth ")
    assert f"{ballot.best} would have been worth " in text
    assert f"${round(ballot.lost(worst)):,} more: your tax would change by " in text
    assert "no name on the ballot would serve you better" in ballot.in_words(ballot.best)
    assert ballot.in_words("abstain").startswith("You abstained: worth ")


def test_without_platforms_no_vote_has_an_exact_worth(world: World) -> None:
    with pytest.raises(ValueError, match="without platforms"):
        choice(world, 1, {0: None, 2: (0, 0, 0)})
