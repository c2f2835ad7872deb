"""`llm-economist init`: a commented file of settings, for `--config` of run, compare, experiment and optimize."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from evals.output.console import Console
from evals.run.setting_panels import panel_of, place_of
from pipeline.config import NAMES, RunConfig
from pipeline.errors import UsageError
from pipeline.printed_commands import command

SET = ("scenario", "num_agents", "max_timesteps", "two_timescale")
"""Settings that the new file sets, to their defaults; the others are comments."""

EXAMPLES: Mapping[str, Any] = {
    "llm": "gpt-4o-mini",
    "base_url": "http://127.0.0.1:8000/v1",
    "role_llm": {"worker": "rules", "planner": "gpt-4o"},
    "strategy": {"worker": "cot", "planner": "io"},
    "program": {"worker": "worker.json"},
    "examples": "study.duckdb",
    "layout": {"planner": "steady"},
    "archetypes": 20,
    "agent_mix": "acs",
    "dollars_of": 2024,
    "elasticity_of_labor": [0.4, 0.1],
    "gamma": 0,
    "brackets": [0, 14600, 60000],
    "law": "us-2024-single",
    "rates": [30, 40, 60],
    "shock": ["year=25: wages*0.8 where age > 50"],
    "name": "my-study",
    "omit": "seed,temperature",
    "rpm": 500,
    "tpm": 200000,
    "shards": 4,
    "ray_address": "auto",
    "max_cost_usd": 5,
    "max_tokens": 1000000,
    "prices": "prices.toml",
    "callback": ["my_module:told"],
    "otel": "http://127.0.0.1:4318",
    "mlflow": "sqlite:///mlflow.db",
}
"""For settings whose default is none, or is empty."""

HEAD = """\
# Settings for `{run}`, and for compare, experiment and optimize.
# A line without # sets a value; a line with # shows the default, or an example where there is no default.
# A flag of the command line overrides this file."""

WIDTH = 110


def init(path: str, console: Console) -> None:
    """Write the file. UsageError if it exists or cannot be written."""
    name = Path(path).name
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(settings_file(name))
    except FileExistsError:
        raise UsageError(f"{path} exists; name a new file: llm-economist init FILE.toml") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path} cannot be written ({why}); name a file in a folder that exists") from error
    console.print(f"{path}: edit it, then {command('run', '--config', path)}", soft_wrap=True, highlight=False)


def settings_file(name: str) -> str:
    """The text of the file: every setting with its help, by the panels of `run --help`."""
    return "\n".join((HEAD.format(run=command("run", "--config", name)), *_lines())) + "\n"


def _lines() -> Iterator[str]:
    panel, default = "", RunConfig()
    for one in sorted(fields(RunConfig), key=lambda one: place_of(one.name)):
        if one.name not in NAMES:
            continue
        if panel_of(one.name) != panel:
            panel = panel_of(one.name)
            yield from ("", f"# ---- {panel} " + "-" * (WIDTH - 8 - len(panel)))
        yield ""
        yield from (f"# {line}" for line in textwrap.wrap(one.metadata["description"], WIDTH - 2))
        value = getattr(default, one.name)
        shown = EXAMPLES.get(one.name) if value in (None, "", {}, ()) else value
        if shown is not None:
            yield f"{'' if one.name in SET else '# '}{one.name} = {as_toml(shown)}"


def as_toml(value: Any) -> str:
    """A value in one line of TOML: a text, number, truth value, list, or table of texts.

    >>> as_toml({"worker": "cot"}), as_toml((0.4,)), as_toml(False)
    ('{ worker = "cot" }', '[0.4]', 'false')
    """
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{name} = {as_toml(one)}' for name, one in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_toml, value))}]"
    return json.dumps(value)
