"""The worker's signatures: how many hours to work, and whether the tax policy is satisfactory."""

from typing import Literal

import dspy

from signatures.types import Hours, Identity


class ChooseLabor(dspy.Signature):
    """Choose how many hours a week you work this year.

    Your income is taxed by the schedule; all revenue, your own tax included, returns to all workers in equal parts.
    explore: try hours near your best that your record lacks under this schedule.
    exploit: work the hours that serve your objective best."""

    objective: str = dspy.InputField()
    tax_schedule: str = dspy.InputField(desc="marginal rates")
    last_rebate: str = dspy.InputField()
    identity: Identity = dspy.InputField()
    record: str = dspy.InputField(desc="your years so far; value is your objective's, without others' taxes")
    phase: Literal["explore", "exploit"] = dspy.InputField()
    labor: Hours = dspy.OutputField(desc="hours a week")


class JudgeTaxPolicy(dspy.Signature):
    """Say whether you, as the person described, are satisfied with this year's tax policy."""

    tax_schedule: str = dspy.InputField(desc="marginal rates")
    identity: Identity = dspy.InputField()
    this_year: str = dspy.InputField()
    satisfied: bool = dspy.OutputField()
