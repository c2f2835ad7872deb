"""Checks of voters. The outcome of each platform for a voter is exact: every worker best-responds to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evals.metrics.votes import VoteScore, prospects
from evals.validity.questionnaire import Ask, Panel, Reply
from evals.validity.scores import Finding, finding, shared
from evals.validity.vignettes import SEED, THREE, Person, built_once, try_hours, village
from pipeline.simulation.government import vote_inputs
from pipeline.simulation.world import World
from signatures.types import TaxSchedule

VILLAGE = (
    Person(9.5, "Cashiers", "Female", 23),
    Person(14.0, "Laborers and freight movers", "Male", 31),
    Person(19.0, "Bookkeeping clerks", "Female", 52),
    Person(26.0, "Carpenters", "Male", 44),
    Person(36.0, "Registered nurses", "Female", 39),
    Person(52.0, "Civil engineers", "Male", 35),
    Person(80.0, "Lawyers", "Female", 48),
    Person(130.0, "Physicians and surgeons", "Male", 56),
)
"""Voters and candidates, from low to high wages."""

VOTERS = (0, 2, 4, 7)

Platforms = dict[int, tuple[int, ...]]


class Campaign(NamedTuple):
    """The current rates, in percent, and the platforms by candidate."""

    rates: tuple[float, ...]
    platforms: Platforms


CAMPAIGNS = (
    Campaign((30, 40, 50), {1: (20, 20, 20), 3: (0, 0, 0), 5: (-20, -20, -20), 6: (-10, 0, 10)}),
    Campaign((50, 50, 50), {6: (-20, -20, -20), 1: (10, 10, 10), 5: (10, -10, -20), 3: (-20, 0, 20)}),
    Campaign((20, 30, 40), {5: (10, 0, -10), 3: (20, 10, 10), 6: (-20, -20, -10), 1: (0, 20, 20)}),
)
"""Elections in which every voter has a single best platform."""


class Ballot(NamedTuple):
    """A voter's question, the same with the candidates in the opposite order, and the outcome of each name."""

    ask: Ask
    turned: Ask
    choice: VoteScore


def settled(rates: tuple[float, ...]) -> tuple[World, int]:
    """The village under a law that its workers know, and the next year."""
    law = TaxSchedule(thresholds=THREE, rates=rates)
    world = village(VILLAGE, law, scenario="democratic", platforms=True)
    return world, try_hours(world, 0, seed=SEED)


@built_once
def _ballots(campaign: int) -> list[Ballot]:
    rates, platforms = CAMPAIGNS[campaign]
    world, _ = settled(rates)
    turned = dict(reversed(platforms.items()))
    return [
        Ballot(
            Ask("CastVote", vote_inputs(world, voter, platforms)),
            Ask("CastVote", vote_inputs(world, voter, turned)),
            VoteScore.of(prospects(world, world.schedule, voter, platforms)),
        )
        for voter in VOTERS
    ]


def ballots(full: bool) -> list[Ballot]:
    """All ballots, or those of the first election."""
    return [ballot for campaign in range(len(CAMPAIGNS) if full else 1) for ballot in _ballots(campaign)]


def votes(panel: Panel, full: bool) -> Finding:
    """Do voters recognize the platform that is best for them? Value: what the vote brings the voter, from the mean of
    all names (0) to the best (1); negative if worse than a random vote. An abstention or missing answer is 0."""
    cast = ballots(full)
    replies = panel.ask(ballot.ask for ballot in cast)
    values = [_worth(ballot.choice, reply) for ballot, reply in zip(cast, replies, strict=True)]
    best = sum(_vote(reply) == ballot.choice.best for ballot, reply in zip(cast, replies, strict=True))
    by_lot = sum(1 / len(ballot.choice.ballot) for ballot in cast)
    words = f"the best name on {best} of {len(cast)} ballots, {by_lot:.0f} expected at random"
    return finding(values, replies, words)


def option_order(panel: Panel, full: bool) -> Finding:
    """The same ballot with the candidates in the opposite order. Value: 1 for the same vote."""
    cast = ballots(full)
    replies = panel.ask([*(ballot.ask for ballot in cast), *(ballot.turned for ballot in cast)])
    first, second = replies[: len(cast)], replies[len(cast) :]
    same = [one.answer is not None and _vote(one) == _vote(two) for one, two in zip(first, second, strict=True)]
    top = sum(_is_first(ballot.ask, one) for ballot, one in zip(cast, first, strict=True))
    top += sum(_is_first(ballot.turned, two) for ballot, two in zip(cast, second, strict=True))
    words = f"the same vote on {sum(same)} of {len(cast)} ballots; the first name in {top} of {len(replies)} votes"
    return shared(same, replies, words)


def _vote(reply: Reply) -> str | None:
    return None if reply.answer is None else str(reply.answer.vote)


def _worth(choice: VoteScore, reply: Reply) -> float:
    vote, utilities = _vote(reply), choice.utilities
    if vote is None:
        return 0.0
    by_lot = float(np.mean([utilities[name] for name in choice.ballot]))
    return (utilities[vote] - by_lot) / (max(utilities.values()) - by_lot)


def _is_first(ask: Ask, reply: Reply) -> bool:
    return str(ask.inputs["candidates"]).startswith(f"{_vote(reply)};")
