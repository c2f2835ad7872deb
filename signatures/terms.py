"""The words of a prompt that depend on an economy's settings: public spending, the lowest rate of its law, and whether
the worth of a dollar depends on consumption."""

from __future__ import annotations

from dataclasses import dataclass

import dspy

REVENUE_RETURNS = {
    "all revenue, your own tax included, returns to all workers in equal parts": (
        "the revenue, your own tax included, pays for public spending first; the rest returns to all workers in equal "
        "parts, and they pay in equal parts what is missing"
    ),
    "all revenue returns to them as an equal rebate": (
        "the revenue pays for public spending first; the rest returns to them as an equal rebate, and they pay in "
        "equal parts what is missing"
    ),
}
"""What instructions say of the revenue without public spending, and with it."""

BOUNDS = "each stays within 0-100"
"""What the description of a tax schedule says of the rates, in percent, unless the law has negative ones."""


VALUE = "without others' taxes"
"""What the description of a record says of its values, unless the worth of a dollar depends on consumption."""

VALUE_WITH_OTHERS = "with others' taxes as in the last year"
"""What it says then: what others pay is no separate part of utility, so all years are valued with the same."""


@dataclass(frozen=True)
class Terms:
    """`spending`: whether there is public spending. `lowest_rate`: in percent, that a planner may set.
    `income_effects`: whether the worth of a dollar depends on consumption."""

    spending: bool = False
    lowest_rate: float = 0.0
    income_effects: bool = False

    def reworded(self, signature: type[dspy.Signature]) -> type[dspy.Signature]:
        """`signature` in the words of these terms; itself if its words fit already."""
        return signature if self == Terms() else _reworded(signature, self)

    def reword(self, module: dspy.Module) -> None:
        """Put the signatures of all predictors of `module` into the words of these terms."""
        for predictor in module.predictors():
            predictor.signature = self.reworded(predictor.signature)


def _reworded(signature: type[dspy.Signature], terms: Terms) -> type[dspy.Signature]:
    said = signature.instructions
    if terms.spending:
        for without, with_spending in REVENUE_RETURNS.items():
            said = said.replace(without, with_spending)
    worded: type[dspy.Signature] = signature if said == signature.instructions else signature.with_instructions(said)
    words = {}
    if terms.lowest_rate < 0:
        words[BOUNDS] = f"each stays within {terms.lowest_rate:g} to 100"
    if terms.income_effects:
        words[VALUE] = VALUE_WITH_OTHERS
    for name, field in signature.input_fields.items():
        told = str(field.json_schema_extra["desc"])
        for usual, other in words.items():
            if usual in told:
                worded = worded.with_updated_fields(name, desc=told.replace(usual, other))
    return worded
