"""The citizen's mind: stands for office, votes, and governs if elected."""

from typing import Literal

import dspy

from programs.strategies import Strategy
from signatures.planner import for_brackets
from signatures.voter import CastVote, GovernAsLeader, StandForOffice

ABSTAIN = "abstain"


class Voter(dspy.Module):
    """The three questions of an election, each in the given strategy."""

    def __init__(self, strategy: Strategy, brackets: int) -> None:
        super().__init__()
        self.stand_for_office = strategy(for_brackets(StandForOffice, brackets))
        self.cast_vote = strategy(CastVote)
        self.govern_as_leader = strategy(for_brackets(GovernAsLeader, brackets))


def ballot(cast_vote: dspy.Module, names: list[str]) -> dspy.Module:
    """A copy of the `cast_vote` module whose answer is typed to the candidates that exist, or to abstaining."""
    kind = Literal[(*names, ABSTAIN)]  # type: ignore[valid-type]
    narrowed = cast_vote.deepcopy()
    for predictor in narrowed.predictors():
        if "vote" in predictor.signature.output_fields:
            predictor.signature = predictor.signature.with_updated_fields("vote", type_=kind)
    return narrowed
