"""The texts of an interview with a planner or an elected leader: the decision and outcome of a year, and both records.

Each class renders its text with `str` and reads it back with `parse`, which returns None for any other text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from signatures.texts.planner import EconomySummary, PlannerRecord, RateChanges
from signatures.texts.worker import WorkerRecord, YearSummary


@dataclass(frozen=True)
class RatesDecision:
    """A planner's decision: the changes, or None if no change was due or its answer was `unusable`.

    `promised`: the changes that an elected leader had promised, None if there were none. The text states them only
    together with changes.
    """

    changes: RateChanges | None
    promised: RateChanges | None = None
    unusable: bool = False

    NOT_DUE = "No change of the rates was due"
    UNUSABLE = "Your answer could not be used, so that the rates stayed"
    PATTERN = re.compile(
        rf"You changed the rates by ({RateChanges.TEXT}) points\.(?: You had promised ({RateChanges.TEXT})\.)?"
    )

    @property
    def deed(self) -> str:
        """The first sentence, without its period."""
        if self.unusable:
            return self.UNUSABLE
        return self.NOT_DUE if self.changes is None else f"You changed the rates by {self.changes} points"

    def __str__(self) -> str:
        said = "" if self.changes is None or self.promised is None else f" You had promised {self.promised}."
        return f"{self.deed}.{said}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        if text in (f"{cls.NOT_DUE}.", f"{cls.UNUSABLE}."):
            return cls(None, unusable=text.startswith(cls.UNUSABLE))
        found = cls.PATTERN.fullmatch(text)
        if not found:
            return None
        return cls(RateChanges.parse(found[1]), RateChanges.parse(found[2]) if found[2] else None)


@dataclass(frozen=True)
class PlannersYear:
    """The decision of a planner in one year, and the economy at its end."""

    decision: RatesDecision
    economy: EconomySummary

    @property
    def deed(self) -> str:
        """The first sentence, without its period."""
        return self.decision.deed

    def __str__(self) -> str:
        return f"{self.decision}\n{self.economy}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        head, _, rest = text.partition("\n")
        decision, economy = RatesDecision.parse(head), EconomySummary.parse(rest)
        return cls(decision, economy) if decision and economy else None


@dataclass(frozen=True)
class LeadersRecord:
    """An elected leader's record of schedules, and its record as a worker."""

    planner: PlannerRecord
    worker: WorkerRecord

    BETWEEN = "\nyour years as a worker:\n"

    def __str__(self) -> str:
        return f"{self.planner}{self.BETWEEN}{self.worker}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        head, _, rest = text.partition(cls.BETWEEN)
        planner, worker = PlannerRecord.parse(head), WorkerRecord.parse(rest)
        return cls(planner, worker) if planner and worker else None


def parse_deed(text: str) -> str | None:
    """The decision of a worker, a planner or a leader in its year: the first sentence, without its period."""
    year = YearSummary.parse(text) or PlannersYear.parse(text)
    return year.deed if year else None


def parse_record(text: str) -> LeadersRecord | None:
    """The record of a worker, a planner or a leader; the part that the text lacks is empty."""
    if planner := PlannerRecord.parse(text):
        return LeadersRecord(planner, WorkerRecord())
    if worker := WorkerRecord.parse(text):
        return LeadersRecord(PlannerRecord(), worker)
    return LeadersRecord.parse(text)
