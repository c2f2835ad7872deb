"""The voting rules: from ballots to a leader. A new rule is one function and one entry in `RULES`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Ballots = Sequence[int | None]
"""One candidate's number per voter, or None for an abstention."""

Rule = Callable[[Ballots, Sequence[int], np.random.Generator], int | None]

MOST_CANDIDATES = 20
"""Names on a ballot: more are drawn by lot, so that a ballot stays readable and short."""


def plurality(ballots: Ballots, candidates: Sequence[int], rng: np.random.Generator) -> int | None:
    """The candidate with most votes; ties by lot; None if nobody voted for a candidate.

    >>> plurality([2, 2, 7, None], [2, 7], np.random.default_rng(0))
    2
    """
    votes = Counter(ballot for ballot in ballots if ballot is not None and ballot in candidates)
    if not votes:
        return None
    most = max(votes.values())
    return int(rng.choice(sorted(candidate for candidate, count in votes.items() if count == most)))


RULES: Mapping[str, Rule] = {"plurality": plurality}


def ballot_names(eligible: Sequence[int], incumbent: int | None, rng: np.random.Generator) -> list[int]:
    """Who is on a ballot: all who are eligible, or the incumbent, if eligible, and others by lot."""
    if len(eligible) <= MOST_CANDIDATES:
        return list(eligible)
    kept = [incumbent] if incumbent in eligible else []
    others = [agent for agent in eligible if agent not in kept]
    drawn = rng.choice(others, size=MOST_CANDIDATES - len(kept), replace=False)
    return sorted(int(agent) for agent in [*kept, *drawn])
