"""The voting rules: from ballots to a leader. A new rule is one function and one entry in `ELECTION_RULES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.policy_support import INDIFFERENT, preferred
from pipeline.economy.tax import FloatArray

Ballot = tuple[int, ...]
"""Candidates by number: the one named, those approved of, or a ranking with the best first; empty for an abstention."""

Form = Literal["name", "set", "ranking"]
"""What a ballot asks for: one name, any number of names, an order of names."""

MOST_CANDIDATES = 20
"""Names on a ballot: more are drawn by lot, so that a ballot stays readable and short."""


def _nobody_asks(voter: int) -> FloatArray:
    raise ValueError("this poll knows no interests; give it `interest`")


@dataclass(frozen=True)
class Poll:
    """What a rule may look at: who stands, and what the voters said, earn and want.

    `ballots`: one a voter; names that do not stand are ignored. `wage`: (V,) dollars an hour. `interest`: from a voter
    to what it has under each candidate, (C,), in the order of `candidates`.
    """

    candidates: Sequence[int]
    ballots: Sequence[Ballot] = ()
    wage: Sequence[float] | FloatArray = ()
    interest: Callable[[int], FloatArray] = _nobody_asks


Count = Callable[[Poll, np.random.Generator], int | None]


@dataclass(frozen=True)
class Rule:
    """How a leader is found. `form`: of the ballot that is asked for; None where nobody is asked.

    `words`: how ballots are counted, as voters are told.
    """

    elect: Count
    form: Form | None
    words: str


def plurality(poll: Poll, rng: np.random.Generator) -> int | None:
    """The candidate with most votes; ties by lot; None if nobody voted for a candidate.

    >>> plurality(Poll([2, 7], [(2,), (2,), (7,), ()]), np.random.default_rng(0))
    2
    """
    return _most_points(poll, "name", rng)


def approval(poll: Poll, rng: np.random.Generator) -> int | None:
    """The candidate of whom most voters approve (Brams and Fishburn 1978); ties by lot.

    >>> approval(Poll([2, 7], [(2,), (2, 7), (7,), (7,)]), np.random.default_rng(0))
    7
    """
    return _most_points(poll, "set", rng)


def borda(poll: Poll, rng: np.random.Generator) -> int | None:
    """The candidate with most points: one for each other that a ballot ranks below (Borda 1781); ties by lot.

    Those whom a ballot leaves out are below all others and share the points of the places that are left.

    >>> borda(Poll([1, 2, 3], [(1, 2, 3), (1, 2, 3), (2, 3, 1), (2, 3, 1)]), np.random.default_rng(0))
    2
    """
    return _most_points(poll, "ranking", rng)


def irv(poll: Poll, rng: np.random.Generator) -> int | None:
    """Instant runoff (Ware 1871, after Hare 1859): until somebody is first on more than half of the ballots that still
    rank anybody, the candidate who is first on fewest leaves all ballots; ties for leaving by lot.

    >>> irv(Poll([1, 2, 3], [(1,), (1,), (2, 3), (3, 2), (3, 2)]), np.random.default_rng(0))
    3
    """
    left = list(poll.candidates)
    while left:
        firsts = [next((name for name in ballot if name in left), None) for ballot in poll.ballots]
        votes = {name: firsts.count(name) for name in left}
        total = sum(votes.values())
        if not total:
            return None
        leading = max(left, key=lambda name: votes[name])
        if 2 * votes[leading] > total:
            return leading
        left.remove(_lot([name for name in left if votes[name] == min(votes.values())], rng))
    return None


def copeland(poll: Poll, rng: np.random.Generator) -> int | None:
    """The candidate who wins most contests in pairs, a tied one counting half (Copeland 1951); ties by lot.

    A candidate who beats each other, the Condorcet winner, is always elected. Those whom a ballot leaves out are below
    all that it ranks, and equal.

    >>> copeland(Poll([1, 2, 3], [(1, 2, 3), (1, 2, 3), (2, 3, 1), (3, 2, 1), (3, 2, 1)]), np.random.default_rng(0))
    2
    """
    cast = [weights("ranking", ballot, poll.candidates) for ballot in _cast(poll)]
    if not cast:
        return None
    more = preferred(cast)
    won, tied = (more > more.T).sum(axis=1), (more == more.T).sum(axis=1)
    return _best_of(poll.candidates, won + 0.5 * tied, rng)


def sortition(poll: Poll, rng: np.random.Generator) -> int | None:
    """Any of those who stand, by lot and without a vote, as Athens filled its offices (Aristotle, Constitution of the
    Athenians 43-69; Manin 1997, The Principles of Representative Government).
    """
    return _lot(list(poll.candidates), rng) if poll.candidates else None


def median_voter(poll: Poll, rng: np.random.Generator) -> int | None:
    """The candidate whom the voter with the median wage likes best; ties by lot. Nobody votes.

    Where voters' wishes line up with their wages, that candidate beats each other by majority (Black 1948; for taxes
    that are given back in equal parts Romer 1975, Roberts 1977, Meltzer and Richard 1981). Of an even number of voters
    the lower of the middle two decides.
    """
    if not poll.candidates:
        return None
    median = int(np.argsort(poll.wage, kind="stable")[(len(poll.wage) - 1) // 2])
    return _best_of(poll.candidates, poll.interest(median), rng)


ELECTION_RULES: Mapping[str, Rule] = {
    "plurality": Rule(plurality, "name", "Most votes win."),
    "approval": Rule(approval, "set", "Who is approved of by most wins."),
    "borda": Rule(borda, "ranking", "A candidate gets a point for each other ranked below; most points win."),
    "irv": Rule(
        irv, "ranking", "Until one is first on most ballots, whoever is first on fewest is struck from all ballots."
    ),
    "condorcet": Rule(copeland, "ranking", "Who beats most others, each pair by majority, wins."),
    "sortition": Rule(sortition, None, "The lot decides."),
    "median_voter": Rule(median_voter, None, "The voter with the median wage decides."),
}


def weights(form: Form, ballot: Ballot, candidates: Sequence[int]) -> FloatArray:
    """What a ballot gives each candidate, (C,): one to a name, one to each of a set, Borda's points by a ranking.

    >>> weights("ranking", (7, 2), [1, 2, 5, 7])
    array([0.5, 2. , 0.5, 3. ])
    """
    places = {name: place for place, name in enumerate(name for name in ballot if name in candidates)}
    if form != "ranking":
        chosen = list(places)[:1] if form == "name" else places
        return np.array([float(name in chosen) for name in candidates])
    left_out = (len(candidates) - len(places) - 1) / 2 if places else 0.0
    return np.array([len(candidates) - 1 - places[name] if name in places else left_out for name in candidates])


def sincere_ballot(form: Form, utility: ArrayLike, candidates: Sequence[int], rng: np.random.Generator) -> Ballot:
    """The ballot of a voter who has `utility` (C,) under each candidate and says so; equals by lot.

    In a set: those above the mean, the best answer where nothing is known of the others' votes (Brams and Fishburn
    1983, Approval Voting, chapter 5). Whom all are the same to names one or ranks them all, and approves of nobody.

    >>> sincere_ballot("ranking", [5, 9, 1], [4, 6, 8], np.random.default_rng(0))
    (6, 4, 8)
    """
    u = np.asarray(utility, dtype=float)
    worth = np.round((u - u.mean()) / (INDIFFERENT * np.abs(u).max() or 1.0))
    order = sorted(rng.permutation(len(u)).tolist(), key=lambda i: -worth[i])
    kept = {"name": 1, "set": int((worth > 0).sum()), "ranking": len(order)}[form]
    return tuple(candidates[i] for i in order[:kept])


def ballot_names(eligible: Sequence[int], incumbent: int | None, rng: np.random.Generator) -> list[int]:
    """Who is on a ballot: all who are eligible, or the incumbent, if eligible, and others by lot."""
    if len(eligible) <= MOST_CANDIDATES:
        return list(eligible)
    kept = [incumbent] if incumbent in eligible else []
    others = [agent for agent in eligible if agent not in kept]
    drawn = rng.choice(others, size=MOST_CANDIDATES - len(kept), replace=False)
    return sorted(int(agent) for agent in [*kept, *drawn])


def _cast(poll: Poll) -> list[Ballot]:
    """The ballots that name somebody who stands."""
    standing = set(poll.candidates)
    return [ballot for ballot in poll.ballots if not standing.isdisjoint(ballot)]


def _most_points(poll: Poll, form: Form, rng: np.random.Generator) -> int | None:
    """The candidate to whom the ballots give most; ties by lot; None if no ballot names a candidate."""
    cast = [weights(form, ballot, poll.candidates) for ballot in _cast(poll)]
    return _best_of(poll.candidates, np.sum(cast, axis=0), rng) if cast else None


def _best_of(candidates: Sequence[int], values: FloatArray, rng: np.random.Generator) -> int:
    """The candidate with the highest value; ties by lot, whatever the order of the candidates."""
    slack = INDIFFERENT * np.abs(values).max()
    return _lot([name for name, value in zip(candidates, values, strict=True) if value >= values.max() - slack], rng)


def _lot(tied: Sequence[int], rng: np.random.Generator) -> int:
    return int(rng.choice(sorted(tied)))
