"""Voting rules, from ballots to a leader. A new rule is one function and one entry in `ELECTION_RULES`.

A user's own rule (`--election-rule module:Name`) is a `Rule`, or a function or class that takes a poll and a random
generator and returns one of the candidates, or None. Its attribute `form` says what a ballot holds: `name` (the
default), `set`, `ranking`, or None without a vote; `words`, or the first line of its docstring, says how ballots are
counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike

from pipeline.economy.policy_support import INDIFFERENT, preferred
from pipeline.economy.tax import FloatArray
from pipeline.economy.user_parts.parts import called, made, takes, words_for_prompts
from pipeline.errors import UsageError
from programs.plugins import ELECTION_RULE, Parts
from signatures.texts.ballot import Form

Ballot = tuple[int, ...]
"""Candidates by number: the one chosen, those approved, or a ranking, best first; empty for an abstention."""

MOST_CANDIDATES = 20
"""Maximum names on a ballot; of more candidates, a random sample is drawn, so that ballots stay short."""


def _nobody_asks(voter: int) -> FloatArray:
    raise ValueError("this poll has no `interest` function, which the rule needs")


@dataclass(frozen=True)
class Poll:
    """The input of a voting rule: candidates, ballots, wages and interests.

    `ballots`: one per voter; names of people who are not candidates are ignored. `wage`: (V,) dollars an hour.
    `interest`: maps a voter to its utility under each candidate (C,), in the order of `candidates`.
    """

    candidates: Sequence[int]
    ballots: Sequence[Ballot] = ()
    wage: Sequence[float] | FloatArray = ()
    interest: Callable[[int], FloatArray] = _nobody_asks


Count = Callable[[Poll, np.random.Generator], int | None]


@dataclass(frozen=True)
class Rule:
    """A voting rule. `form`: of its ballots; None for a rule without a vote.

    `words`: how ballots are counted, as the voters' prompt says it.
    """

    elect: Count
    form: Form | None
    words: str


def plurality(poll: Poll, rng: np.random.Generator) -> int | None:
    """The candidate with the most votes; ties at random; None if there is no vote for a candidate.

    >>> plurality(Poll([2, 7], [(2,), (2,), (7,), ()]), np.random.default_rng(0))
    2
    """
    return _most_points(poll, "name", rng)


def approval(poll: Poll, rng: np.random.Generator) -> int | None:
    """The candidate with the most approvals (Brams and Fishburn 1978); ties at random.

    >>> approval(Poll([2, 7], [(2,), (2, 7), (7,), (7,)]), np.random.default_rng(0))
    7
    """
    return _most_points(poll, "set", rng)


def borda(poll: Poll, rng: np.random.Generator) -> int | None:
    """The candidate with the most points, one per candidate ranked below on a ballot (Borda 1781); ties at random.

    Unranked candidates are below all ranked ones and share the points of the remaining positions.

    >>> borda(Poll([1, 2, 3], [(1, 2, 3), (1, 2, 3), (2, 3, 1), (2, 3, 1)]), np.random.default_rng(0))
    2
    """
    return _most_points(poll, "ranking", rng)


def irv(poll: Poll, rng: np.random.Generator) -> int | None:
    """Instant runoff (Ware 1871, after Hare 1859); ties for elimination at random.

    Until a candidate is first on more than half of the ballots that still rank one, the candidate who is first on the
    fewest ballots is eliminated.

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
    """The candidate with the most pairwise wins, ties counting half (Copeland 1951); remaining ties at random.

    A Condorcet winner, who beats every other candidate, is always elected. Unranked candidates are below all ranked
    ones, and equal.

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
    """A random candidate, without a vote, as ancient Athens filled its offices (Aristotle, Constitution of the
    Athenians 43-69; Manin 1997, The Principles of Representative Government).
    """
    return _lot(list(poll.candidates), rng) if poll.candidates else None


def median_voter(poll: Poll, rng: np.random.Generator) -> int | None:
    """The candidate whom the voter with the median wage prefers, without a vote; ties at random.

    If preferences are ordered by wage, that candidate beats every other by majority (Black 1948; for taxes with equal
    rebates Romer 1975, Roberts 1977, Meltzer and Richard 1981). For an even number of voters, the lower of the two
    middle wages decides.
    """
    if not poll.candidates:
        return None
    median = int(np.argsort(poll.wage, kind="stable")[(len(poll.wage) - 1) // 2])
    return _best_of(poll.candidates, poll.interest(median), rng)


def own_rule(name: str, found: Any) -> Rule:
    """The user's own rule that `name` found, with its answers checked. UsageError in one line."""
    if isinstance(found, Rule):
        return replace(found, elect=_checked(found.elect, name))
    function = made(found, name, ELECTION_RULE)
    if not takes(function, 2):
        raise UsageError(
            f"{ELECTION_RULE.flag} {name} cannot be called with a poll and a random generator; expected rule(poll, rng)"
        )
    form: Any = getattr(function, "form", "name")
    if form is not None and form not in get_args(Form):
        raise UsageError(
            f"{ELECTION_RULE.flag} {name}: form {form!r}; expected one of {', '.join(get_args(Form))}, or None for a "
            "rule without a vote"
        )
    return Rule(_checked(function, name), form, words_for_prompts(function, name, ELECTION_RULE))


def _checked(elect: Callable[..., Any], name: str) -> Count:
    """The same rule; UsageError if it fails, or elects somebody who is not a candidate."""

    def checked(poll: Poll, rng: np.random.Generator) -> int | None:
        winner = called(elect, poll, rng, name=name, kind=ELECTION_RULE)
        if winner is None:
            return None
        if isinstance(winner, bool) or winner not in list(poll.candidates):
            raise UsageError(
                f"{ELECTION_RULE.flag} {name} elected {winner!r:.60}; expected one of the candidates "
                f"{', '.join(map(str, poll.candidates))}, or None"
            )
        return int(winner)

    return checked


_BUILT_IN: Mapping[str, Rule] = {
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

ELECTION_RULES: Parts[Rule] = Parts(ELECTION_RULE, _BUILT_IN, own_rule)
"""All voting rules by their `--election-rule`."""


def weights(form: Form, ballot: Ballot, candidates: Sequence[int]) -> FloatArray:
    """The weights (C,) that a ballot gives the candidates: 1 for each name chosen, or Borda points for a ranking.

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
    """The sincere ballot of a voter with `utility` (C,) under each candidate; ties at random.

    A set holds the candidates above the mean, the best approval ballot if the others' votes are unknown (Brams and
    Fishburn 1983, Approval Voting, chapter 5). An indifferent voter names one candidate or ranks all at random, and
    approves of none.

    >>> sincere_ballot("ranking", [5, 9, 1], [4, 6, 8], np.random.default_rng(0))
    (6, 4, 8)
    """
    u = np.asarray(utility, dtype=float)
    worth = np.round((u - u.mean()) / (INDIFFERENT * np.abs(u).max() or 1.0))
    order = sorted(rng.permutation(len(u)).tolist(), key=lambda i: -worth[i])
    kept = {"name": 1, "set": int((worth > 0).sum()), "ranking": len(order)}[form]
    return tuple(candidates[i] for i in order[:kept])


def ballot_names(eligible: Sequence[int], incumbent: int | None, rng: np.random.Generator) -> list[int]:
    """The names on a ballot: all eligible agents, or the incumbent, if eligible, and a random sample of the others."""
    if len(eligible) <= MOST_CANDIDATES:
        return list(eligible)
    kept = [incumbent] if incumbent in eligible else []
    others = [agent for agent in eligible if agent not in kept]
    drawn = rng.choice(others, size=MOST_CANDIDATES - len(kept), replace=False)
    return sorted(int(agent) for agent in [*kept, *drawn])


def _cast(poll: Poll) -> list[Ballot]:
    """The ballots that name a candidate."""
    standing = set(poll.candidates)
    return [ballot for ballot in poll.ballots if not standing.isdisjoint(ballot)]


def _most_points(poll: Poll, form: Form, rng: np.random.Generator) -> int | None:
    """The candidate with the highest sum of weights; ties at random; None if no ballot names a candidate."""
    cast = [weights(form, ballot, poll.candidates) for ballot in _cast(poll)]
    return _best_of(poll.candidates, np.sum(cast, axis=0), rng) if cast else None


def _best_of(candidates: Sequence[int], values: FloatArray, rng: np.random.Generator) -> int:
    """The candidate with the highest value; ties at random, regardless of the order of candidates."""
    slack = INDIFFERENT * np.abs(values).max()
    return _lot([name for name, value in zip(candidates, values, strict=True) if value >= values.max() - slack], rng)


def _lot(tied: Sequence[int], rng: np.random.Generator) -> int:
    return int(rng.choice(sorted(tied)))
