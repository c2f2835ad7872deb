"""The worker's program: choose hours and judge the tax policy."""

import dspy

from programs.strategies.registry import Strategy
from signatures.worker import ChooseLabor, JudgeTaxPolicy


class Worker(dspy.Module):
    """The two questions to a worker, each with the given strategy."""

    def __init__(self, strategy: Strategy, brackets: int) -> None:
        super().__init__()
        self.choose_labor = strategy(ChooseLabor)
        self.judge_tax_policy = strategy(JudgeTaxPolicy)
