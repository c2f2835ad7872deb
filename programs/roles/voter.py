"""The citizen's program: stand for office, vote, and govern if elected."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import dspy

from programs.strategies.registry import Strategy
from signatures.planner import for_brackets
from signatures.types import approval_type, ranking_type
from signatures.voter import CastVote, GovernAsLeader, StandForOffice

ABSTAIN = "abstain"

VOTES: Mapping[str, Callable[[tuple[str, ...]], Any]] = {
    "name": lambda names: Literal[(*names, ABSTAIN)],
    "set": approval_type,
    "ranking": ranking_type,
}
"""The type of an answer by the form of the ballot: from the candidates' names."""


class Voter(dspy.Module):
    """The three questions of an election, each in the given strategy."""

    def __init__(self, strategy: Strategy, brackets: int) -> None:
        super().__init__()
        self.stand_for_office = strategy(for_brackets(StandForOffice, brackets))
        self.cast_vote = strategy(CastVote)
        self.govern_as_leader = strategy(for_brackets(GovernAsLeader, brackets))


def ballot(cast_vote: dspy.Module, names: Sequence[str], form: str = "name") -> dspy.Module:
    """A copy of the `cast_vote` module whose answer is typed to the candidates that exist and to the ballot's form.

    Its `on_ballot` is what it takes to make it again, in another process.
    """
    kind = VOTES[form](tuple(names))
    narrowed = cast_vote.deepcopy()
    for predictor in narrowed.predictors():
        if "vote" in predictor.signature.output_fields:
            predictor.signature = predictor.signature.with_updated_fields("vote", type_=kind)
    narrowed.on_ballot = (tuple(names), form)
    return narrowed


def names_in(vote: str | Sequence[str]) -> tuple[str, ...]:
    """The names in a typed answer, in its order; none for an abstention.

    >>> names_in("worker 2"), names_in("abstain"), names_in(("worker 2", "worker 0"))
    (('worker 2',), (), ('worker 2', 'worker 0'))
    """
    if isinstance(vote, str):
        return () if vote == ABSTAIN else (vote,)
    return tuple(vote)
