"""The planner's signature: one rate change per bracket."""

from functools import cache
from typing import Any

import dspy

from signatures.types import Platform, RateChange, rate_changes_type


class SetTaxRates(dspy.Signature):
    """Set income tax: choose one change in percentage points for each bracket, lowest bracket first.

    Workers answer your rates with their hours, and all revenue returns to them as an equal rebate.
    Judge a schedule by its settled welfare: that of the last year before the next change.
    explore: move to a promising schedule that the record lacks.
    exploit: move to the schedule that you expect to be best."""

    objective: str = dspy.InputField()
    economy: str = dspy.InputField(desc="last year")
    record: str = dspy.InputField(desc="schedules tried")
    tax_schedule: str = dspy.InputField(desc="marginal rates now; each stays within 0-100")
    phase: str = dspy.InputField(desc="explore or exploit")
    rate_changes: tuple[RateChange, ...] = dspy.OutputField()


@cache
def for_brackets(signature: type[dspy.Signature], brackets: int) -> type[dspy.Signature]:
    """`signature` with its `rate_changes` typed to exactly `brackets` changes."""
    kind: Any = rate_changes_type(brackets)
    if signature.output_fields["rate_changes"].annotation == Platform:
        kind = kind | None
    typed: type[dspy.Signature] = signature.with_updated_fields("rate_changes", type_=kind)
    return typed
