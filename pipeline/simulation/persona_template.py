"""Write a worker's persona from census data with a template, without a language model."""

from __future__ import annotations

from pipeline.economy.wages import FULL_TIME_HOURS
from signatures.types import Demographics

CAREER_STAGES = {
    25: "You are at the beginning of your working life.",
    35: "You are in the early years of your career.",
    55: "You are in the middle of your career.",
    65: "You are in the later years of your career.",
    91: "You are of an age at which many people have retired.",
}
"""Sentences by the age, in years, below which they apply."""


def template_persona(demographics: Demographics, wage: float) -> str:
    """A persona in three sentences in the second person: plain ASCII, 40 to 450 characters.

    `wage`: dollars an hour. The persona states census facts and no attitudes.

    >>> nurse = Demographics(occupation="Registered nurses", sex="Female", age=55)
    >>> template_persona(nurse, 34.6).split(". ")[0]
    'You are a 55-year-old woman'
    """
    age = demographics.age
    article = "an" if age == 18 or 80 <= age <= 89 else "a"
    noun = "man" if demographics.sex == "Male" else "woman"
    stage = next(sentence for below, sentence in CAREER_STAGES.items() if age < below)
    income = _three_digits(wage * FULL_TIME_HOURS)
    return (
        f"You are {article} {age}-year-old {noun}. "
        f"You work in the occupation group '{demographics.occupation}' and earn about ${income:,.0f} a year "
        f"at 40 hours a week ({wage:,.2f} dollars an hour). {stage}"
    )


def _three_digits(dollars: float) -> float:
    """`dollars` rounded to three significant digits: 71,968 becomes 72,000."""
    return float(f"{dollars:.3g}")
