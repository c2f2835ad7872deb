"""The template persona: true to the census, short, and readable for everybody in the table."""

import re

import pytest

from pipeline.economy.census import read_table
from pipeline.simulation.persona_template import template_persona
from signatures.types import Demographics

OCCUPATIONS = sorted({row["occupation"] for row in read_table("occupations")})


def persona(*, occupation: str = "Carpenters", sex: str = "Male", age: int = 40, wage: float = 20.0) -> str:
    return template_persona(Demographics.model_validate({"occupation": occupation, "sex": sex, "age": age}), wage)


def test_a_persona_says_what_the_census_says() -> None:
    assert persona(occupation="Registered nurses", sex="Female", age=55, wage=34.6) == (
        "You are a 55-year-old woman. You work in the occupation group 'Registered nurses' and earn about "
        "$72,000 a year at 40 hours a week (34.60 dollars an hour). "
        "You are in the later years of your career."
    )


@pytest.mark.parametrize("wage", [0.01, 20.0, 12_345.678])
def test_every_occupation_fits_in_450_plain_characters(wage: float) -> None:
    assert len(OCCUPATIONS) == 115
    for occupation in OCCUPATIONS:
        for age in (18, 30, 44, 60, 90):
            text = persona(occupation=occupation, sex="Female", age=age, wage=wage)
            assert 40 <= len(text) <= 450
            assert text.isascii()
            assert "\n" not in text
            assert f"'{occupation}'" in text
            assert len(re.findall(r"\.(?: You|$)", text)) == 3


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (16, "a 16-year"),
        (18, "an 18-year"),
        (79, "a 79-year"),
        (80, "an 80-year"),
        (89, "an 89-"),
        (90, "a 90-"),
    ],
)
def test_the_article_fits_the_age(age: int, words: str) -> None:
    assert f"You are {words}" in persona(age=age)


def test_sex_is_said_in_words() -> None:
    assert "-year-old man." in persona(sex="Male")
    assert "-year-old woman." in persona(sex="Female")


@pytest.mark.parametrize(
    ("wage", "income"), [(0.01, "$21 "), (14.99, "$31,200 "), (48.0, "$99,800 "), (600.0, "$1,250,000 ")]
)
def test_income_is_rounded_to_three_digits(wage: float, income: str) -> None:
    assert f"about {income}a year" in persona(wage=wage)


def test_the_last_sentence_is_the_stage_of_the_career() -> None:
    stages = [persona(age=age).rsplit(". ", 1)[1] for age in range(16, 91)]
    changes = [16 + i for i in range(1, len(stages)) if stages[i] != stages[i - 1]]
    assert changes == [25, 35, 55, 65]
    assert "beginning" in stages[0]
    assert "retired" in stages[-1]
