"""The texts of a voter's prompt: the ballot and the candidates.

Each class renders its text with `str` and reads it back with `parse`, which returns None for any other text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from signatures.texts.numbers import MONEY, dollars, money
from signatures.texts.planner import RateChanges

Form = Literal["name", "set", "ranking"]
"""The form of a ballot: one name, a set of names, or a ranking of names."""

BALLOT_WORDS: dict[Form, str] = {
    "name": "The one name you vote for, or abstain.",
    "set": "All names you approve of, as a list; an empty list abstains.",
    "ranking": "Names from best to worst, as a list; whom you leave out is below all others; an empty list abstains.",
}


@dataclass(frozen=True)
class BallotRules:
    """The form of a ballot, and one sentence on how ballots are counted."""

    form: Form
    counted: str

    def __str__(self) -> str:
        return f"{BALLOT_WORDS[self.form]} {self.counted}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        for form, words in BALLOT_WORDS.items():
            if text.startswith(f"{words} "):
                return cls(form, text[len(words) + 1 :])
        return None


def candidate_name(agent: int) -> str:
    return f"worker {agent}"


class Person(NamedTuple):
    """A candidate's occupation, which is one line of any text, its sex in lower case and its age in years."""

    occupation: str
    sex: str
    age: int

    def __str__(self) -> str:
        return f"{self.occupation}, {self.sex}, {self.age}"


@dataclass(frozen=True)
class Prospect:
    """What a platform would change for the voter at last year's incomes, in dollars a year, printed without cents."""

    tax: float
    rebate: float

    PATTERN = re.compile(r"your tax ([-+]\$[\d,]+), your rebate ([-+]\$[\d,]+), together ([-+]\$[\d,]+)")

    def __str__(self) -> str:
        together = round(self.rebate) - round(self.tax)
        return f"your tax {_signed(self.tax)}, your rebate {_signed(self.rebate)}, together {_signed(together)}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        found = cls.PATTERN.fullmatch(text)
        return cls(dollars(found[1].replace("+", "")), dollars(found[2].replace("+", ""))) if found else None


def _signed(value: float) -> str:
    """Whole dollars with their sign: `+$1,200`."""
    told = money(value)
    return told if told.startswith("-") else f"+{told}"


@dataclass(frozen=True)
class Candidate:
    """One line of a ballot: name, income in dollars a year at 40 hours (printed without cents), and optional parts.

    `own`: the voter is this candidate. `person`: None without a census record. `platform`: None without platforms.
    `prospect`: what the platform would change for the voter, if the layout tells it.
    """

    name: str
    income: float
    own: bool = False
    person: Person | None = None
    platform: RateChanges | None = None
    prospect: Prospect | None = None

    PATTERN = re.compile(
        rf"([^;\n]+?)( \(you\))?; (?:([^\n]*), (male|female), (\d{{1,3}}); )?({MONEY}) at 40 hours"
        rf"(?:; platform ({RateChanges.TEXT})(?:; (your tax [^;\n]+))?)?"
    )

    def __str__(self) -> str:
        parts = [f"{self.name} (you)" if self.own else self.name]
        if self.person is not None:
            parts.append(str(self.person))
        parts.append(f"{money(self.income)} at 40 hours")
        if self.platform is not None:
            parts.append(f"platform {self.platform}")
            if self.prospect is not None:
                parts.append(str(self.prospect))
        return "; ".join(parts)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        found = cls.PATTERN.fullmatch(text)
        if not found:
            return None
        name, own, occupation, sex, age, income, platform, told = found.groups()
        prospect = Prospect.parse(told) if told else None
        if told and prospect is None:
            return None
        person = None if sex is None else Person(occupation, sex, int(age))
        changes = RateChanges.parse(platform) if platform else None
        return cls(name, dollars(income), own is not None, person, changes, prospect)


@dataclass(frozen=True)
class Candidates:
    """The candidates on a ballot, one per line: all with a platform, or all without."""

    lines: tuple[Candidate, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(candidate.name for candidate in self.lines)

    @property
    def platforms(self) -> tuple[tuple[int, ...], ...] | None:
        """The rate changes that each candidate proposes; None if the ballot has no platforms."""
        found = tuple(candidate.platform.changes for candidate in self.lines if candidate.platform is not None)
        return found or None

    @property
    def prospects(self) -> tuple[float, ...] | None:
        """What each platform would add to the voter's income, in dollars a year; None if the ballot does not tell."""
        told = [candidate.prospect for candidate in self.lines]
        return tuple([one.rebate - one.tax for one in told if one is not None]) if told and all(told) else None

    def without_voter(self) -> Candidates:
        """The other candidates; all of them if the voter is the only one."""
        return Candidates(tuple(candidate for candidate in self.lines if not candidate.own) or self.lines)

    def __str__(self) -> str:
        return "\n".join(map(str, self.lines))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        lines: list[Candidate] = []
        for line in text.split("\n"):
            candidate = Candidate.parse(line)
            if candidate is None or (lines and (candidate.platform is None) != (lines[0].platform is None)):
                return None
            lines.append(candidate)
        return cls(tuple(lines))
