"""Answers that a prompt supports: the exact best hours are seldom in the record that the prompt shows.

In a year to exploit, an example with hours that its record lacks teaches to answer what the prompt does not show
(docs/optimizing.md has what this costs). The best hours in the record can be learned; in a year to explore, new ones.
"""

from __future__ import annotations

from typing import TypeVar

import dspy

from evals.metrics.exploration import tried_here
from evals.metrics.labor import Work

Labelled = TypeVar("Labelled", bound=dspy.Example)


def supported(example: Labelled, truth: dspy.Example) -> Labelled | None:
    """`example` with an answer that its prompt supports, None if there is none; other questions stay as they are.

    To explore: the best hours a week if the record lacks them under the present schedule. To exploit: of the hours that
    it has under that schedule those with the highest utility. `truth` has the phase and the data of the exact answer.
    """
    if "labor" not in example:
        return example
    try:
        tried = [round(hours) for hours in tried_here(truth.record)]
    except ValueError:
        return None
    if truth.get("phase") == "explore":
        return None if example.labor in tried else example
    if not tried:
        return None
    surplus = Work.of(truth.truth).surplus()
    found: Labelled = example.copy(labor=max(tried, key=lambda hours: surplus[hours]))
    return found
