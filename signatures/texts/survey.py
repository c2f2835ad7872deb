"""The text of a survey's question: what is asked, and what may be answered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

from signatures.texts.numbers import NUMBER

Kind = Literal["text", "yes/no", "choice", "number"]


@dataclass(frozen=True)
class SurveyQuestion:
    """A question and the kind of its answer: `choices` of a choice, bounds `low` and `high` of a number.

    `str` gives the text that an agent reads, and `parse` reads it back (a text without a hint is of kind `text`).
    """

    ask: str
    kind: Kind = "text"
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 100.0

    YES_NO = " (true for yes, false for no)"
    CHOICE = re.compile(r"(.*) \(exactly one of: (.+)\)", re.DOTALL)
    NUMBERS = re.compile(rf"(.*) \(a number from ({NUMBER}) to ({NUMBER})\)", re.DOTALL)

    def __str__(self) -> str:
        match self.kind:
            case "yes/no":
                return f"{self.ask}{self.YES_NO}"
            case "choice":
                return f"{self.ask} (exactly one of: {'; '.join(self.choices)})"
            case "number":
                return f"{self.ask} (a number from {self.low:.15g} to {self.high:.15g})"
            case _:
                return self.ask

    @classmethod
    def parse(cls, text: str) -> Self:
        if text.endswith(cls.YES_NO):
            return cls(text.removesuffix(cls.YES_NO), "yes/no")
        if found := cls.CHOICE.fullmatch(text):
            return cls(found[1], "choice", tuple(found[2].split("; ")))
        if found := cls.NUMBERS.fullmatch(text):
            return cls(found[1], "number", low=float(found[2]), high=float(found[3]))
        return cls(text)
