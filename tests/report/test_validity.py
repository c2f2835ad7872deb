"""The validity card: what scripted models must score, what a card costs, and how it shows a model's text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import dspy
import numpy as np
import pytest
from support.command_line import CommandLine
from support.models.validity_models import (
    SMALL,
    BreaksOff,
    Copycat,
    FirstName,
    Forty,
    Garbage,
    Perfect,
    Prejudiced,
    by,
    checked,
)

from evals.compare.statistics import Interval, share
from evals.validity import card, workers
from evals.validity.checks import CHECKS
from evals.validity.plan import ValidateRequest, judge, prepare
from evals.validity.planners import TOYS, best_rate
from evals.validity.questionnaire import Panel, Reply
from evals.validity.scores import Finding
from evals.validity.temperaments import TEMPERAMENTS, asks, persona
from evals.validity.temperaments import worker_inputs as asks_of
from evals.validity.voters import CAMPAIGNS, VOTERS, ballots
from pipeline.agents.roles import QUESTIONS
from pipeline.economy.utility import ECONOMIES, best_response


@pytest.fixture(autouse=True)
def nothing_asked() -> Iterator[None]:
    for kind in (Perfect, Forty, Copycat, Prejudiced, FirstName, Garbage, BreaksOff):
        kind.requests = 0
    yield
    BreaksOff.requests = 0


# Truths


def test_the_best_hours_of_the_grid_are_those_of_the_closed_form() -> None:
    economy = ECONOMIES["weekly"]
    for (wage, rate), place in workers.grid().items():
        kept = 1 - rate / 100 * (1 - 1 / len(workers.WAGES))
        exact = (kept * wage / (economy.c * economy.delta)) ** 0.4
        assert abs(place.best - exact) <= 0.51
        assert best_response(economy, workers.linear(rate), wage, len(workers.WAGES)) == pytest.approx(exact)


def test_records_contain_hours_on_both_sides_of_the_best_at_uninformative_positions() -> None:
    places = set()
    for place in workers.grid().values():
        tried = [int(hours) for hours in re.findall(r"^(\d+): -?[\d.]+ \(", place.ask.inputs["record"], re.MULTILINE)]
        assert len(tried) == 8
        assert tried[0] < place.best < tried[-1]
        assert min(abs(hours - place.best) for hours in tried) <= 1
        places.add(sum(hours < place.best for hours in tried))
        assert place.ask.inputs["phase"] == "exploit"
    assert len(places) >= 5


@pytest.mark.slow
def test_an_exact_model_scores_one_on_every_check_of_hours() -> None:
    found = judge(by(Perfect()), full=True)
    for name in ("hours", "monotonicity", "round_numbers", "repetition", "currency", "identity"):
        assert found[name].score.mean == pytest.approx(1), name
    assert found["elasticity"].score.mean > 0.97


def test_constant_forty_hours_score_zero_on_hours_and_elasticity_and_one_on_invariance() -> None:
    found = judge(by(Forty()), full=True)
    expected = {"hours": 0, "elasticity": 0, "round_numbers": 0, "monotonicity": 1, "currency": 1, "identity": 1}
    assert {name: found[name].score.mean for name in expected} == pytest.approx(expected, abs=1e-12)


def test_copying_the_best_year_of_another_law_scores_on_hours_but_not_on_elasticity() -> None:
    found = judge(by(Copycat()), full=True)
    assert found["hours"].score.mean > 0.9
    assert found["elasticity"].score.mean < 0.5


@pytest.mark.slow
def test_a_bias_of_five_hours_costs_a_quarter_of_the_identity_score_and_is_reported() -> None:
    found = judge(by(Prejudiced()), full=True)["identity"]
    assert found.score.mean == pytest.approx(1 - 0.5 / 2)
    assert "women minus men -5.0 hours; Jamal and Lakisha minus Greg and Emily +0.0" in found.words


class Actor(Perfect):
    """Perfect, but that the first temperament of a pair works three hours less, and the second three more."""

    def hours(self, inputs: Mapping[str, str]) -> int:
        who = inputs["identity"]
        return super().hours(inputs) + 3 * sum((busy in who) - (free in who) for free, busy in TEMPERAMENTS)


def test_a_model_that_plays_its_part_moves_by_the_hours_that_it_plays() -> None:
    found = persona(by(Actor()), True)
    assert found.score == pytest.approx((0.6, 0.6, 0.6))
    assert "+6.0 hours [6.0, 6.0] between the poles, by pair +6.0, +6.0, +6.0, +6.0" in found.words
    assert "variance between personas 10.3, of repetitions 0.0" in found.words
    assert found.asked == len(asks(True)) == 2 * 4 * 3 * 2
    computes = persona(by(Perfect()), True)
    assert computes.score == Interval(0, 0, 0)
    assert "+0.0 hours [0.0, 0.0] between the poles" in computes.words


def test_noise_alone_is_no_persona() -> None:
    """Answers at random: the variance between personas is that of repetitions, which is taken out."""
    rng = np.random.default_rng(0)
    noisy = Panel(lambda ask: Reply(dspy.Prediction(labor=int(rng.normal(40, 6))), parsed=1))
    found = persona(noisy, True)
    assert found.score.low <= 0.15
    ratio = re.search(r"\(ratio ([\d.]+)\)", found.words)
    assert ratio is not None
    assert float(ratio[1]) < 1
    silent = persona(Panel(lambda ask: Reply()), False)
    assert (silent.score.mean, silent.words) == (0, "no usable answer")


def test_temperaments_differ_in_nothing_but_the_words() -> None:
    for free, busy in TEMPERAMENTS:
        for one, two in zip(asks_of(free), asks_of(busy), strict=True):
            assert one["identity"].replace(free, busy) == two["identity"]
            assert {**one, "identity": ""} == {**two, "identity": ""}
            assert one["phase"] == "exploit"


def test_voting_for_the_first_name_scores_zero_on_option_order(cli: CommandLine) -> None:
    found = checked(cli, FirstName, *SMALL)
    assert found["option_order"] == 0
    assert found["votes"] < 0.6


def test_every_voter_has_one_best_platform_and_each_platform_is_best_for_a_voter() -> None:
    cast = ballots(True)
    assert len(cast) == len(CAMPAIGNS) * len(VOTERS)
    for ballot in cast:
        ordered = sorted(prospect["utility"] for prospect in ballot.choice.ballot.values())
        assert ordered[-1] - ordered[-2] > 0
        assert ballot.choice.best in ballot.choice.ballot
    for first in range(0, len(cast), len(VOTERS)):
        assert len({ballot.choice.best for ballot in cast[first : first + len(VOTERS)]}) >= 3


def test_a_card_shows_its_observations_in_the_layouts_of_its_roles() -> None:
    def told(layouts: Mapping[str, str]) -> dict[str, list[str]]:
        panel = by(Perfect())
        judge(panel, full=False, layouts=layouts)
        asked = [ask for ask, _ in panel.replies.values()]
        return {name: [str(ask.inputs) for ask in asked if ask.question == name] for name in QUESTIONS}

    plain, changed, again = told({}), told({"voter": "prospects", "planner": "way_back"}), told({})
    assert all("your rebate" in text for text in changed["CastVote"])
    assert not any("your rebate" in text for text in plain["CastVote"])
    assert changed["SetTaxRates"] != plain["SetTaxRates"]
    assert changed["ChooseLabor"] == plain["ChooseLabor"]
    assert again == plain


def test_the_best_rates_of_the_toys_differ_and_no_planner_begins_there() -> None:
    assert [best_rate(toy) for toy in TOYS] == [80, 0, 70, 50]
    assert all(toy.start != best_rate(toy) for toy in TOYS)


def test_elasticity_is_scored_by_its_distance_and_its_interval_can_contain_the_true_value() -> None:
    assert workers._nearness(Interval(0.4, 0.3, 0.5), 0.4) == pytest.approx((1, 0.75, 1))
    assert workers._nearness(Interval(0.2, 0.1, 0.3), 0.4) == pytest.approx((0.5, 0.25, 0.75))
    assert workers._nearness(Interval(1.2, 0.9, 1.5), 0.4) == (0, 0, 0)


def test_a_share_of_one_has_a_wide_interval_with_few_trials() -> None:
    assert share(6, 6).low == pytest.approx(0.61, abs=0.005)
    assert share(0, 6).high == pytest.approx(0.39, abs=0.005)
    assert share(100, 100).low > 0.96
    assert np.isnan(share(0, 0).mean)


# What a card shows


def test_untrusted_text_is_shown_on_one_line_short_and_harmless() -> None:
    assert card.text("a\n\n# b\x1b[2J") == "a \\# b \\[2J"
    assert card.text("&lt;") == "&amp;lt;"
    assert len(card.text("x" * 5000)) < 200


def test_a_check_without_any_answer_says_so_and_an_empty_score_is_a_dash() -> None:
    nothing = Finding(Interval(float("nan"), float("nan"), float("nan")), 0, 0, "no usable answer")
    findings = dict.fromkeys((*CHECKS, *QUESTIONS), nothing)
    page = card.markdown(card.Card("x", "y", 0, findings, 0, []))
    assert "| - | - |" in page


def test_a_card_names_the_relevant_settings_and_hides_credentials_in_urls() -> None:
    settings = {"llm": "rules", "adapter": "chat", "base_url": "http://me:secret@127.0.0.1:1/v1", "timeout": 5}
    plan = prepare(ValidateRequest("small", None), settings)
    assert "--adapter chat" in plan.command
    assert "--size small" in plan.command
    assert "secret" not in plan.command + plan.subject
    assert "timeout" not in plan.command


def test_a_card_names_a_local_model_by_its_file_and_checksum_and_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "somebodys folder" / "tiny.gguf"
    file.parent.mkdir()
    file.write_bytes(b"GGUF and weights")
    plan = prepare(ValidateRequest(), {"llm": f"gguf:{file}"})
    digest = hashlib.sha256(b"GGUF and weights").hexdigest()
    assert plan.subject == f"gguf:tiny.gguf (SHA-256 {digest[:16]})"
    assert "--llm gguf:tiny.gguf" in plan.command
    assert "somebody" not in plan.subject + plan.command
