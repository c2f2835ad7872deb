"""The citizen's program: stand for office, vote, and govern if elected."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
"""For each form of ballot, the type of an answer, made from the candidates' names."""

TOLD = {
    "name": f'"worker N" from candidates or "{ABSTAIN}"',
    "set": 'a list of "worker N" from candidates',
    "ranking": 'a list of "worker N" from candidates',
}
"""The type of an answer in the words of the compact format.

Without the names, which the candidates have in the voter's own order, so that all voters share one system message.
"""


class Voter(dspy.Module):
    """The three questions of an election, each with the given strategy."""

    def __init__(self, strategy: Strategy, brackets: int) -> None:
        super().__init__()
        self.stand_for_office = strategy(for_brackets(StandForOffice, brackets))
        self.cast_vote = strategy(CastVote)
        self.govern_as_leader = strategy(for_brackets(GovernAsLeader, brackets))


@dataclass(frozen=True)
class BallotPaper:
    """The names of the candidates, and the form of the answer: one of `VOTES`."""

    names: tuple[str, ...]
    form: str = "name"


def ballot(cast_vote: dspy.Module, names: Sequence[str], form: str = "name") -> dspy.Module:
    """A copy of the `cast_vote` module whose answer type allows only the candidates, in the ballot's form."""
    kind = VOTES[form](tuple(names))
    narrowed = cast_vote.deepcopy()
    for predictor in narrowed.predictors():
        if "vote" in predictor.signature.output_fields:
            predictor.signature = predictor.signature.with_updated_fields("vote", type_=kind, told=TOLD[form])
    return narrowed


class BallotModules:
    """Types a module to the ballot paper of an election; it keeps the latest one.

    `in_order`: whether the format of the prompt lists the names, which must then be in each voter's order. Without it
    one module serves all voters of an election.
    """

    def __init__(self, *, in_order: bool) -> None:
        self.in_order = in_order
        self._last: tuple[BallotPaper, dspy.Module, dspy.Module] | None = None

    def of(self, cast_vote: dspy.Module, paper: BallotPaper) -> dspy.Module:
        """`cast_vote` for the candidates on `paper`."""
        if not self.in_order:
            paper = replace(paper, names=tuple(sorted(paper.names)))
        if self._last is None or self._last[0] != paper or self._last[1] is not cast_vote:
            self._last = paper, cast_vote, ballot(cast_vote, paper.names, paper.form)
        return self._last[2]


def names_in(vote: str | Sequence[str]) -> tuple[str, ...]:
    """The names in a typed answer, in its order; none for an abstention.

    >>> names_in("worker 2"), names_in("abstain"), names_in(("worker 2", "worker 0"))
    (('worker 2',), (), ('worker 2', 'worker 0'))
    """
    if isinstance(vote, str):
        return () if vote == ABSTAIN else (vote,)
    return tuple(vote)
