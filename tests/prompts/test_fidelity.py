"""Personas that are true to their record, and personas that are not, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.economy.census import draw_people
from pipeline.simulation.persona_template import template_persona
from programs.engines.rules.policies import write_persona
from programs.persona_checks import checks, count_sentences, names_job, similarity, tells_age, tells_sex
from signatures.types import Demographics

NURSE = {"occupation": "Registered nurses", "sex": "Female", "age": 34}
GOOD = (
    "You are a 34-year-old woman working nights as a nurse in a county hospital. You grew up with little, pay off a "
    "student loan and take few risks. You are patient, and tired."
)


def failed(text: str, neighbours: tuple[str, ...] = (), **facts: object) -> list[str]:
    found = checks(text, **{**NURSE, **facts}, neighbours=neighbours)  # type: ignore[arg-type]
    return [check.name for check in found if not check.passed]


TRUE = {
    "plain": (GOOD, {}),
    "age in words": (GOOD.replace("34-year-old", "thirty-four year old"), {}),
    "age at the end": ("You work as a nurse. You are a woman of 34 who saves what she can.", {}),
    "a decade": (GOOD.replace("34-year-old woman", "woman in your early thirties"), {}),
    "a mother": ("At 34, you are a single mother and a nurse. You take few risks with money.", {}),
    "a child's age": ("You are a 34-year-old woman and a nurse. Your 12-year-old son lives with you.", {}),
    "a husband": (GOOD.replace("You are patient", "With your husband, you are patient"), {}),
    "a teenager": (
        "You are a woman in your late teens. You work at the counter of a diner and save for a car.",
        {"occupation": "Food and beverage serving workers except waiters/waitresses", "age": 18},
    ),
    "an everyday name": (
        "You are a 61-year-old man, a doctor in a small town. You have paid off the house and fear nothing.",
        {"occupation": "Physicians and surgeons", "sex": "Male", "age": 61},
    ),
    "a form of the word": (
        "You are a 45-year-old man managing the accounts of a shipping firm. You invest with care.",
        {"occupation": "Financial managers", "sex": "Male", "age": 45},
    ),
    "money with points": (GOOD.replace("You grew up with little", "You earn $34.60 an hour"), {}),
}


@pytest.mark.parametrize("name", TRUE)
def test_a_true_persona_passes_every_check(name: str) -> None:
    text, facts = TRUE[name]
    assert failed(text, **facts) == []


FALSE = {
    "no job": (GOOD.replace("nurse in a county hospital", "night owl in the city"), ["occupation"]),
    "another job": (GOOD.replace("a nurse in a county hospital", "a plumber"), ["occupation"]),
    "no age": (GOOD.replace("34-year-old woman", "woman"), ["age"]),
    "another age": (GOOD.replace("34-year", "43-year"), ["age"]),
    "another decade": (GOOD.replace("34-year-old woman", "woman in your forties"), ["age"]),
    "the wrong end of the decade": (GOOD.replace("34-year-old woman", "woman in your late thirties"), ["age"]),
    "an income for an age": (GOOD.replace("34-year-old woman", "woman on $34,000"), ["age"]),
    "another sex": (GOOD.replace("woman", "man"), ["sex"]),
    "both sexes": (GOOD.replace("woman", "woman, formerly a man,"), ["sex"]),
    "no sex": (GOOD.replace("woman", "person"), ["sex"]),
    "first person": (
        GOOD.replace("You are a", "I am a").replace("You grew", "I grew").replace("You are p", "I am p"),
        ["second person"],
    ),
    "third person": (GOOD.replace("You are a", "She is a", 1), ["second person"]),
    "slips into the first person": (GOOD.replace("You are patient", "I am patient"), ["second person"]),
    "one sentence": ("You are a 34-year-old woman and a nurse who saves what she can.", ["sentences"]),
    "five sentences": (GOOD + " You read. You swim.", ["sentences"]),
    "too short": ("You are a nurse. Woman, 34.", ["length"]),
    "too long": (GOOD.replace("You are patient", "You are " + "very " * 70 + "patient"), ["length"]),
    "nothing": ("", ["occupation", "age", "sex", "second person", "sentences", "length"]),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_false_persona_fails_the_check_it_should(name: str) -> None:
    text, expected = FALSE[name]
    assert failed(text) == expected


def test_a_persona_like_a_neighbours_is_not_distinct() -> None:
    other = "You are a 58-year-old man who drives a bus in Ohio. You like to fish and owe nobody anything."
    clone = GOOD.replace("34", "35")
    assert failed(GOOD, neighbours=(other,)) == []
    assert failed(GOOD, neighbours=(other, clone)) == ["distinctness"]
    (complaint,) = [c.complaint for c in checks(GOOD, **NURSE, neighbours=[clone]) if not c.passed]  # type: ignore[arg-type]
    assert f"{similarity(GOOD, clone):.0%} of its words" in complaint


def test_distinctness_is_only_judged_where_neighbours_are_known() -> None:
    assert "distinctness" not in {check.name for check in checks(GOOD, **NURSE)}  # type: ignore[arg-type]


def test_complaints_name_what_was_expected() -> None:
    told = {check.name: check.complaint for check in checks("I sell cars.", **NURSE)}  # type: ignore[arg-type]
    assert "'Registered nurses'" in told["occupation"]
    assert "34 years" in told["age"]
    assert "woman" in told["sex"]
    assert "1 sentence" in told["sentences"]
    assert "12 characters" in told["length"]


def people() -> list[Demographics]:
    drawn = draw_people(300, np.random.default_rng(0))
    return [
        Demographics(occupation=job, sex=sex, age=int(age))
        for job, sex, age in zip(drawn.occupation, drawn.sex, drawn.age, strict=True)
    ]


def test_what_the_rules_and_the_template_write_is_true() -> None:
    for i, person in enumerate(people()):
        facts = person.model_dump()
        inputs = {**facts, "wage": "$20.00 an hour"}
        text = str(write_persona(inputs, np.random.default_rng(i))["persona"])
        assert failed(text, **facts) == [], text
        assert set(failed(template_persona(person, 20.0), **facts)) <= {"length"}


def test_a_generic_text_names_no_job() -> None:
    anybody = (
        "You are a 34-year-old person in the middle of your career. You save what you can, support your family at home "
        "and plan the week ahead; you like your work and your community."
    )
    assert {person.occupation for person in people() if names_job(anybody, person.occupation)} == set()


def test_what_a_group_excludes_is_not_its_job() -> None:
    assert not names_job("You are a cashier.", "Retail sales workers except cashiers")
    assert names_job("You are a retail salesperson.", "Retail sales workers except cashiers")


@pytest.mark.parametrize(
    ("text", "sentences"), [("One. Two! Three?", 3), ("It is $3.50, in the U.S. of course", 1), ("", 0), ("None", 1)]
)
def test_sentences_are_counted(text: str, sentences: int) -> None:
    assert count_sentences(text) == sentences


def test_ages_and_sexes_of_others_are_not_taken_for_the_persons() -> None:
    assert not tells_age("You are 30 years old and have a 34-year-old sister.", 34)
    assert tells_sex("You are a man who lives with your mother and your wife.", "Male")
    assert not tells_sex("You live with your mother.", "Female")
