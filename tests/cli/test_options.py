"""The command line's options are the settings, and a TOML file uses the same names."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine
from typer.testing import CliRunner

from evals.cli.options import completed, gather_elasticities, read_toml, with_run_options
from pipeline.config import NAMES, RunConfig, build
from pipeline.errors import UsageError

app = typer.Typer(rich_markup_mode=None)


@app.command()
@with_run_options
def echo(
    config: Annotated[str | None, typer.Option("--config")] = None,
    **settings: Any,
) -> None:
    """Print what was given."""
    given = {name: value for name, value in settings.items() if value is not None}
    typer.echo(json.dumps({**(read_toml(config) if config else {}), **given}))


def given_by(*arguments: str) -> dict[str, Any]:
    """The settings that a command line sets."""
    result = CliRunner().invoke(app, gather_elasticities(list(arguments)))
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def flag_of(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def test_nothing_is_set_by_an_empty_command_line() -> None:
    assert given_by() == {}


SWITCHES = [name for name, default in vars(RunConfig()).items() if isinstance(default, bool)]


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_turned_on_by_its_name(name: str) -> None:
    assert given_by(flag_of(name)) == {name: True}


SLASH = "`--x` and `--no-x` are given to typer as two names of True; it wants the one string `--x/--no-x`"


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_turned_off_by_its_name_with_no(name: str) -> None:
    assert given_by(f"--no-{flag_of(name)[2:]}") == {name: False}


OTHER_VALUES = {
    "planner_type": "SAEZ",
    "welfare": "paper",
    "election_rule": "borda",
    "strategy": "worker=cot",
    "program": "worker=a.json",
    "layout": "worker=ranked",
}
"""Values of settings for which 50 is no value."""


def choice_of(name: str) -> str | None:
    """The last choice of a setting with a fixed list of choices; None for other settings."""
    [literal] = [part for part in parts_of(get_type_hints(RunConfig)[name]) if get_origin(part) is Literal] or [None]
    return get_args(literal)[-1] if literal else None


def parts_of(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a type: those of a union, or the type itself."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


CHOICES = sorted(name for name in NAMES if choice_of(name))


@pytest.mark.parametrize("name", CHOICES)
def test_a_value_that_is_no_choice_is_refused_with_the_list_of_choices(cli: CommandLine, name: str) -> None:
    result = cli("run", flag_of(name), "50")
    assert result.code == 2
    assert f"Invalid value for '{flag_of(name)}': '50' is not one of '" in result.err


@pytest.mark.first_cases(24)
@pytest.mark.parametrize("name", sorted(NAMES - set(SWITCHES)))
def test_every_setting_is_a_flag_and_arrives_as_it_was_given(name: str) -> None:
    value = choice_of(name) or OTHER_VALUES.get(name, "50")
    [(given, got)] = given_by(flag_of(name), value).items()
    assert given == name
    assert got == (type(got)(value) if isinstance(got, int | float) else [value] if isinstance(got, list) else value)


def test_what_a_command_line_gives_is_what_is_built() -> None:
    given = given_by(
        *("--scenario", "democratic", "--platforms", "--num-agents", "9", "--percent-ego", "50", "--percent-alt", "50"),
        *("--strategy", "worker=cot,planner=io", "--elasticity", "0.18", "0.11", "0.57", "--timeout", "2.5"),
    )
    config = build(given)
    assert (config.scenario, config.platforms, config.num_agents, config.timeout) == ("democratic", True, 9, 2.5)
    assert config.strategy == {"worker": "cot", "planner": "io"}
    assert config.elasticity == (0.18, 0.11, 0.57)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--worker-type", "ROBIN_HOOD"], "--worker-type"),
        (["--num-agents", "many"], "'--num-agents': 'many'; expected a whole number"),
        (["--num-agents", "2.5"], "'--num-agents': '2.5'; expected a whole number"),
        (["--timeout", "soon"], "'--timeout': 'soon'; expected a number"),
        (["--nonsense", "1"], "--nonsense"),
        (["--debug", "False"], "False"),  # a switch has no value
    ],
)
def test_unparsable_values_are_named_with_exit_code_2(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_help_shows_every_flag_with_its_default() -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"})
    text = " ".join(result.output.split())
    for field in (one for one in fields(RunConfig) if one.name in NAMES):
        assert flag_of(field.name) in text
    assert "number of workers [default: 5]" in text


# -- the run file -------------------------------------------------------------------------------------------------


def test_a_run_file_has_the_same_keys_with_dashes_or_underscores() -> None:
    Path("study.toml").write_text(
        'scenario = "bounded"\nnum-agents = 3\nmax_timesteps = 7\nelasticity = [0.1, 0.2, 0.3]\n'
        '[strategy]\nworker = "cot"\n'
    )
    config = build(read_toml("study.toml"))
    assert (config.scenario, config.num_agents, config.max_timesteps) == ("bounded", 3, 7)
    assert (config.elasticity, config.strategy) == ((0.1, 0.2, 0.3), {"worker": "cot"})


def test_flags_override_the_file() -> None:
    Path("study.toml").write_text("num-agents = 3\nseed = 1\nplatforms = false\n")
    given = given_by("--config", "study.toml", "--num-agents", "4", "--platforms")
    assert given == {"num_agents": 4, "seed": 1, "platforms": True}


def test_a_flag_turns_off_what_the_file_turned_on() -> None:
    Path("study.toml").write_text("platforms = true\n")
    assert given_by("--config", "study.toml", "--no-platforms") == {"platforms": False}


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"num_agents = ", "is not TOML"), (b"\xff\xfe", "is not TOML")],
)
def test_a_file_that_is_not_a_run_file_is_refused_in_one_line(content: bytes | None, said: str) -> None:
    if content is not None:
        Path("bad.toml").write_bytes(content)
    with pytest.raises(UsageError, match=r"^--config bad.toml [^\n]+$") as refusal:
        read_toml("bad.toml")
    assert said in str(refusal.value)


def test_an_unknown_key_in_a_file_is_refused_by_its_name() -> None:
    Path("study.toml").write_text("num-workers = 3\n")
    with pytest.raises(ValueError, match="unknown setting 'num_workers'"):
        build(read_toml("study.toml"))


# -- several values after one flag --------------------------------------------------------------------------------


numbers = st.floats(0, 9, allow_subnormal=False).map(lambda x: f"{x:.3f}")
words = st.text("abcdefg-", min_size=1, max_size=8)


@given(before=st.lists(words), elasticities=st.lists(numbers, min_size=1, max_size=7), after=st.lists(words))
def test_several_elasticities_can_follow_one_flag(before: list[str], elasticities: list[str], after: list[str]) -> None:
    arguments = [*before, "--elasticity", *elasticities, *after]
    assert gather_elasticities(arguments) == [*before, "--elasticity", ",".join(elasticities), *after]


@given(st.lists(words | numbers))
def test_a_command_line_without_elasticities_stays_as_it_is(arguments: list[str]) -> None:
    assert gather_elasticities(arguments) == arguments


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ([], []),
        (["run", "--otel"], ["run", "--otel=env"]),
        (["run", "--otel", "--seed", "1"], ["run", "--otel=env", "--seed", "1"]),
        (["run", "--mlflow", "sqlite:///a.db"], ["run", "--mlflow", "sqlite:///a.db"]),
        (["run", "--wandb", "trackio"], ["run", "--trackio"]),
        (["run", "--wandb", "--seed", "1"], ["run", "--wandb", "--seed", "1"]),
    ],
)
def test_an_address_may_be_left_out_and_wandb_may_be_trackio(arguments, read):
    assert completed(arguments) == read
