"""The settings of one run, or of several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from evals.output.number_format import MISSING, several
from evals.output.tables import Table
from evals.policies.loaded_run import LoadedRun
from pipeline.config import ROLES, STORED, RunConfig
from pipeline.fixed_rates import rates_as_text

SHOWN = {
    *("scenario", "num_agents", "max_timesteps", "two_timescale", "history_len", "agent_mix", "worker_type"),
    *("planner_type", "bracket_setting", "platforms", "election_rule", "welfare", "economy", "llm", "prompt_algo"),
    *("strategy", "program", "temperature", "seed", "name", "db", "log_dir", "rates"),
}
"""Settings with their own line below, or without interest for readers."""


def settings(run: LoadedRun) -> dict[str, str]:
    """The settings of a run, by name."""
    config, row = run.config, run.row
    strategies = {role: config.strategy_of(role) for role in ROLES}
    same, mix = len(set(strategies.values())) == 1, config.agent_mix or run.world.scenario.agent_mix
    edges = ", ".join(f"${edge:,.0f}" for edge in run.world.setting().thresholds)
    return {
        "Name": str(row["name"] or MISSING),
        "Scenario": config.scenario,
        "Workers": f"{config.num_agents:,} ({config.worker_type}), wages {mix}",
        "Government": government(run),
        "Years": f"{run.years:,} of {config.max_timesteps:,}, tax years of {config.two_timescale}",
        "Brackets": f"{config.bracket_setting}, from {edges}",
        "Objective": config.welfare,
        "Economy": config.economy,
        "Model": str(row["llm"]),
        "Strategy": config.prompt_algo if same else ", ".join(f"{role} {name}" for role, name in strategies.items()),
        "Programs": ", ".join(f"{role} {path}" for role, path in sorted(config.program.items())) or MISSING,
        "Temperature": f"{config.temperature:g}",
        "Seed": str(config.seed),
        "Memory": several(config.history_len, "year"),
        "Fork": f"of run {row['parent_run_id']} from year {row['fork_year']}" if row["parent_run_id"] else MISSING,
        "Status": str(row["status"]),
        "Started": f"{row['created_at']:%Y-%m-%d %H:%M} UTC" if row["created_at"] else MISSING,
        "Code": str(row["code_version"] or MISSING),
        "Other settings": _others(config) or MISSING,
    }


def _others(config: RunConfig) -> str:
    """The remaining settings that differ from their defaults, as flags."""
    default, public = RunConfig(), config.public()
    changed = [field.name for field in fields(RunConfig) if field.name in STORED - set(SHOWN)]
    changed = [name for name in changed if public[name] != getattr(default, name)]
    return ", ".join(f"--{name.replace('_', '-')} {public[name]}" for name in changed)


def government(run: LoadedRun) -> str:
    """Who sets the rates, and how often."""
    config = run.config
    if run.world.scenario.elections:
        platforms = "on platforms" if config.platforms else "without platforms"
        return f"leaders elected {platforms} every {config.two_timescale} years ({config.election_rule})"
    if config.planner_type == "LLM":
        return f"a planner that sets the rates every {config.two_timescale} years"
    if config.rates:
        return f"fixed rates of {rates_as_text(config.rates)} percent (--rates)"
    return f"the schedule of {config.planner_type}"


def settings_table(runs: Sequence[LoadedRun]) -> Table:
    """Settings side by side; a line is marked if the runs differ."""
    columns = [settings(run) for run in runs]
    names = [name for name in columns[0] if any(column[name] != MISSING for column in columns)]
    rows = [[name, *(column[name] for column in columns)] for name in names]
    marked = {(i, j) for i, row in enumerate(rows) if len(set(row[1:])) > 1 for j in range(1, len(row))}
    return Table("Settings", ["", *(run.label for run in runs)], rows, marked=frozenset(marked))
