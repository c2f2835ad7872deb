"""The command `validate`: cards, interruptions, caps and comparisons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.models import tiny_model
from support.models.validity_models import (
    CUT_OFF,
    SMALL,
    BreaksOff,
    Copycat,
    FirstName,
    Forty,
    Garbage,
    Perfect,
    Prejudiced,
    checked,
    scores,
    stored,
)

from evals.testing.openai_server import Loopback
from evals.validity.checks import CHECKS
from evals.validity.plan import judge
from evals.validity.questionnaire import Panel, by_rule
from pipeline.agents.roles import QUESTIONS

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_asked() -> Iterator[None]:
    for kind in (Perfect, Forty, Copycat, Prejudiced, FirstName, Garbage, BreaksOff):
        kind.requests = 0
    yield
    BreaksOff.requests = 0


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
    command = ("validate", "--llm", "engine:support.models.validity_models:BreaksOff", *SMALL, "-o", "card.md")
    cut = cli(*command)
    assert cut.code == 130
    assert "repeat the command to resume" in cut.out
    assert not Path("card.md").exists()
    assert stored("economist.duckdb", "SELECT status FROM studies") == [("interrupted",)]
    monkeypatch.setattr("support.models.validity_models.CUT_OFF", 10**6)
    BreaksOff.requests = 0
    whole = cli(*command)
    assert f"{CUT_OFF} of its stored calls are reused" in whole.out
    first = BreaksOff.requests
    card_text = Path("card.md").read_text()
    assert cli(*command).code == 0
    assert BreaksOff.requests == first, "a card that is there is not paid for again"
    assert Path("card.md").read_text() == card_text
    assert [scores()[question] for question in QUESTIONS] == [1] * len(QUESTIONS)
    result = cli(
        "validate",
        "--llm",
        "engine:support.models.validity_models:Perfect",
        *SMALL,
        "-o",
        "other.md",
        "--db",
        "other.duckdb",
    )
    assert result.code == 0, result.err
    assert Perfect.requests == CUT_OFF + first
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
        in cli("validate", "--llm", "engine:support.models.validity_models:Forty", "--max-cost-usd", "1").err
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


@pytest.mark.slow
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
