"""The validity card: what scripted models must score, what a card costs, and how it shows a model's text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dspy
import duckdb
import numpy as np
import pytest
from dspy import lm15
from support import tiny_model
from support.command_line import CommandLine

from evals.compare.statistics import Interval, share
from evals.testing.openai_server import Loopback
from evals.validity import card, workers
from evals.validity.checks import CHECKS
from evals.validity.plan import ValidateRequest, judge, prepare
from evals.validity.planners import TOYS, best_rate
from evals.validity.questionnaire import Ask, Panel, Reply, by_rule
from evals.validity.scores import Finding
from evals.validity.temperaments import TEMPERAMENTS, asks, persona
from evals.validity.temperaments import worker_inputs as asks_of
from evals.validity.voters import CAMPAIGNS, VOTERS, ballots
from pipeline.agents.agents import QUESTIONS
from pipeline.economy.utility import ECONOMIES, best_response
from programs.engines.rules import engine as rules
from programs.engines.rules.prompt_parser import find
from programs.strategies.self_evaluation import hours_worth

ROOT = Path(__file__).parents[2]
SMALL = ("--size", "small")
CUT_OFF = 20
"""Requests after which an interrupted card breaks off."""

CUT_OFF_AT = CUT_OFF
"""The same, for a test that lifts it."""

SCRIPT = "<script>alert(1)</script> | `x` **b** [l](javascript:0)\n# head"


class _Engine:
    """A scripted model. `requests` counts over all of a kind, so that a test can look at what a command asked."""

    requests = 0

    def complete(self, request: lm15.Request) -> lm15.Response:
        type(self).requests += 1
        text = self.say(str(request.system or ""), [message.text or "" for message in request.messages])
        usage = lm15.Usage(input_tokens=10, output_tokens=5)
        message = lm15.Message.assistant(text)
        return lm15.Response(id=None, model="scripted", message=message, finish_reason="stop", usage=usage)

    def say(self, system: str, messages: list[str]) -> str:
        raise NotImplementedError


class _OfWorkers(_Engine):
    """Answers about hours by `hours`, and all else as `rules` does."""

    def say(self, system: str, messages: list[str]) -> str:
        found = find(system, messages)
        assert found is not None
        question, form = found
        if question.outputs == ["labor"]:
            return form.write({"labor": self.hours(question.inputs)})
        return rules.reply(system, messages)

    def hours(self, inputs: Mapping[str, str]) -> int:
        raise NotImplementedError


class Perfect(_OfWorkers):
    """Computes the best whole hours from wage, schedule and formula; never looks at the record."""

    def hours(self, inputs: Mapping[str, str]) -> int:
        return int(np.argmax([hours_worth({**inputs, "record": ""}, {"labor": hours}) for hours in range(101)]))


class Forty(_OfWorkers):
    """Works forty hours whatever it is told."""

    def hours(self, inputs: Mapping[str, str]) -> int:
        return 40


class Copycat(_OfWorkers):
    """Does what was best in any year, whatever the law was then."""

    def hours(self, inputs: Mapping[str, str]) -> int:
        best = re.search(r"^best: (\d+)", inputs["record"], re.MULTILINE)
        assert best is not None
        return int(best[1])


class Prejudiced(Perfect):
    """Perfect, but that women work five hours less."""

    def hours(self, inputs: Mapping[str, str]) -> int:
        return super().hours(inputs) - 5 * ("-year-old woman" in inputs["identity"])


class FirstName(_OfWorkers):
    """Votes for whoever stands at the top of the ballot."""

    def say(self, system: str, messages: list[str]) -> str:
        found = find(system, messages)
        assert found is not None
        question, form = found
        if question.outputs == ["vote"]:
            return form.write({"vote": question.inputs["candidates"].partition(";")[0]})
        return rules.reply(system, messages)


class Garbage(_Engine):
    """Never answers in any form that is asked for."""

    def say(self, system: str, messages: list[str]) -> str:
        return SCRIPT


class BreaksOff(Perfect):
    """Perfect, until it is interrupted."""

    def say(self, system: str, messages: list[str]) -> str:
        if BreaksOff.requests > CUT_OFF:
            raise KeyboardInterrupt
        return super().say(system, messages)


@pytest.fixture(autouse=True)
def nothing_asked() -> Iterator[None]:
    for kind in (Perfect, Forty, Copycat, Prejudiced, FirstName, Garbage, BreaksOff):
        kind.requests = 0
    yield
    BreaksOff.requests = 0


def stored(db: str, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(db, read_only=True) as connection:
        return connection.execute(query).fetchall()


def scores(db: str = "economist.duckdb") -> dict[str, float]:
    return dict(stored(db, "SELECT metric, score FROM evaluations WHERE subject = 'validity'"))


def checked(cli: CommandLine, kind: type[_Engine], *args: str) -> dict[str, float]:
    """The scores that a scripted model gets."""
    result = cli("validate", "--llm", f"engine:test_validity:{kind.__name__}", *args)
    assert result.code == 0, result.err
    return scores()


def by(engine: _OfWorkers) -> Panel:
    """A panel that a scripted model of hours answers without the rest of the program, else the rules."""
    rule = by_rule(0)

    def answer(ask: Ask) -> Reply:
        reply = rule(ask)
        if ask.question == "ChooseLabor" and reply.answer is not None:
            reply.answer.labor = engine.hours(ask.inputs)
        return reply

    return Panel(answer)


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


# The command


def test_a_small_card_asks_a_subset_of_a_full_one() -> None:
    small, full = Panel(by_rule(0)), Panel(by_rule(0))
    judge(small, full=False)
    judge(full, full=True)
    assert 3 * len(small.replies) < len(full.replies) + 10
    of_planner = {key for key, (ask, _) in small.replies.items() if ask.question == "SetTaxRates"}
    assert set(small.replies) - of_planner <= set(full.replies)


def test_a_model_without_usable_answers_gets_a_card_and_its_text_is_harmless(cli: CommandLine) -> None:
    found = checked(cli, Garbage, *SMALL, "-o", "card.md")
    assert set(found.values()) == {0}
    assert set(found) == {*CHECKS, *QUESTIONS}
    text = Path("card.md").read_text()
    assert "no usable answer" in text
    assert "0 of 9" in text
    assert (
        "&lt;script&gt;alert\\(1\\)&lt;/script&gt; \\| \\`x\\` \\*\\*b\\*\\* \\[l\\]\\(javascript\\:0\\) \\# head"
        in text
    )
    assert "<" not in text
    calls = stored("economist.duckdb", "SELECT count(*), count(DISTINCT signature) FROM lm_calls WHERE status != 'ok'")
    assert calls == [(Garbage.requests, len(QUESTIONS))]


@pytest.mark.slow
def test_an_interrupted_card_resumes_without_repeated_calls(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("validate", "--llm", "engine:test_validity:BreaksOff", *SMALL, "-o", "card.md")
    cut = cli(*command)
    assert cut.code == 130
    assert "repeat the command to resume" in cut.out
    assert not Path("card.md").exists()
    assert stored("economist.duckdb", "SELECT status FROM studies") == [("interrupted",)]
    monkeypatch.setitem(globals(), "CUT_OFF", 10**6)
    BreaksOff.requests = 0
    whole = cli(*command)
    assert f"{CUT_OFF_AT} of its stored calls are reused" in whole.out
    first = BreaksOff.requests
    card_text = Path("card.md").read_text()
    assert cli(*command).code == 0
    assert BreaksOff.requests == first, "a card that is there is not paid for again"
    assert Path("card.md").read_text() == card_text
    assert [scores()[question] for question in QUESTIONS] == [1] * len(QUESTIONS)
    result = cli("validate", "--llm", "engine:test_validity:Perfect", *SMALL, "-o", "other.md", "--db", "other.duckdb")
    assert result.code == 0, result.err
    assert Perfect.requests == CUT_OFF_AT + first
    assert Path("other.md").read_text().replace("Perfect", "BreaksOff").replace("other.md", "card.md") == card_text


@pytest.mark.slow
def test_a_cap_stops_a_card_and_a_higher_cap_resumes_it(cli: CommandLine) -> None:
    command = ("validate", "--llm", "rules", *SMALL, "-o", "card.md")
    capped = cli(*command, "--max-tokens", "9000")
    assert capped.code == 2
    assert "no card yet: --max-tokens 9000 is used up" in capped.err
    assert not Path("card.md").exists()
    ((calls, tokens),) = stored(
        "economist.duckdb", "SELECT count(*), sum(prompt_tokens + completion_tokens) FROM lm_calls"
    )
    assert calls > 0
    assert tokens <= 9000
    whole = cli(*command)
    assert f"{calls} of its stored calls are reused" in whole.out
    assert Path("card.md").exists()
    assert (
        "no price is known for engine"
        in cli("validate", "--llm", "engine:test_validity:Forty", "--max-cost-usd", "1").err
    )


@pytest.mark.slow
def test_cards_of_two_models_are_compared_in_one_table(cli: CommandLine) -> None:
    assert "no validity card is stored here" in _none_stored(cli)
    assert cli("validate", "--llm", "rules", *SMALL).code == 0
    second = cli("validate", "--llm", "rules", *SMALL, "--adapter", "chat", "--strategy", "worker=cot")
    heads = ("rules", "rules, adapter chat, strategy worker=cot")
    for shown in (second.out, cli("validate", "--compare").out):
        assert all(head in shown for head in heads)
        assert len(re.findall(r"^ hours +\d\.\d\d \[.*?\] n=9 +\d\.\d\d", shown, re.MULTILINE)) == 1
    strategies = stored(
        "economist.duckdb", "SELECT DISTINCT role, signature, strategy FROM lm_calls WHERE role = 'worker'"
    )
    assert set(strategies) == {
        ("worker", question, how) for question in ("ChooseLabor", "JudgeTaxPolicy") for how in ("io", "cot")
    }


def _none_stored(cli: CommandLine) -> str:
    assert cli("run", "--llm", "rules", "--num-agents", "2", "--max-timesteps", "1").code == 0
    result = cli("validate", "--compare")
    assert result.code == 2
    return result.err


def test_a_dry_run_estimates_calls_and_writes_nothing(cli: CommandLine) -> None:
    result = cli("validate", "--llm", "gpt-4o-mini", *SMALL, "--dry-run", "--strategy", "worker=sc@3")
    assert result.code == 0, result.err
    ((calls,),) = (re.findall(r"^ ?ChooseLabor +(\d+)", result.out, re.MULTILINE),)
    assert int(calls) % 3 == 0
    assert "questions; a question whose reply does not parse" in result.out
    assert not Path("economist.duckdb").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--num-agents", "3"), "--num-agents does not apply to validate"),
        (("--strategy", "worker=knn"), "strategy knn of role worker needs stored decisions"),
        (("--strategy", "worker=nix"), "unknown strategy 'nix'"),
        (("-o", "notes.md"), "-o notes.md exists and is not a validity card"),
        (("-o", "no/card.md"), "-o no/card.md cannot be written"),
        (("--llm", "gpt-4o"), "gpt-4o needs a key"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(cli: CommandLine, args: tuple[str, ...], said: str) -> None:
    Path("notes.md").write_text("My notes.")
    model = () if "--llm" in args else ("--llm", "rules")
    result = cli("validate", *model, *args)
    assert result.code == 2
    assert said in result.err
    assert len(result.err.splitlines()) == 1
    assert Path("notes.md").read_text() == "My notes."


@pytest.mark.slow
def test_the_card_of_rules_in_the_documents_is_what_its_command_makes(cli: CommandLine) -> None:
    Path("docs/cards").mkdir(parents=True)
    assert cli("validate", "--llm", "rules", "-o", "docs/cards/rules.md").code == 0
    made, committed = Path("docs/cards/rules.md").read_text(), (ROOT / "docs/cards/rules.md").read_text()
    assert made == committed, "make it again: uv run llm-economist validate --llm rules -o docs/cards/rules.md"


@pytest.mark.slow
def test_a_local_model_is_asked_and_resumes_after_a_cap(cli: CommandLine, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    file = tiny_model.write(tmp_path / "tiny.gguf")
    args = ("--llm", f"gguf:{file}", "--adapter", "compact", "--max-output-tokens", "60", *SMALL, "-o", "card.md")
    for cap in ("9000", "15000"):
        result = cli("validate", *args, "--max-tokens", cap)
        assert result.code == 2
        assert f"no card yet: --max-tokens {cap} is used up" in result.err
    calls = "SELECT count(*), count(DISTINCT study), count(DISTINCT request_key) FROM lm_calls"
    ((made, studies, keys),) = stored("economist.duckdb", calls)
    assert made > 4
    assert (studies, keys) == (1, made), "nothing was asked twice"


@pytest.mark.slow
def test_a_card_does_not_depend_on_concurrency(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    cli.forget_environment()
    cards = set()
    for number in ("1", "16"):
        with Loopback() as server:
            args = (
                "--llm",
                "gpt-4o-mini",
                "--base-url",
                server.url,
                "--concurrency",
                number,
                "--db",
                f"{number}.duckdb",
            )
            result = cli("validate", *args, *SMALL, "-o", "card.md")
        assert result.code == 0, result.err
        cards.add(re.sub(r":\d{4,5}", "", Path("card.md").read_text()))
    assert len(cards) == 1


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
