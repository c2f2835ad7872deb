"""The planner's program: one rate change per bracket."""

import dspy

from programs.strategies.registry import Strategy
from signatures.planner import SetTaxRates, for_brackets


class Planner(dspy.Module):
    """The planner's question with the given strategy, typed to the number of brackets."""

    def __init__(self, strategy: Strategy, brackets: int) -> None:
        super().__init__()
        self.set_tax_rates = strategy(for_brackets(SetTaxRates, brackets))
