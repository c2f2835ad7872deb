"""The command that plays a stored run again, without paths and addresses of the machine that played it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import PurePath
from typing import Any

from pipeline.config import NAMES, RunConfig
from pipeline.printed_commands import command
from pipeline.store.columns import Reader, Row
from pipeline.store.run_lookup import config_of
from programs.calls.model_names import without_folder

OF_A_MACHINE = frozenset(
    (
        *("db", "log_dir", "debug", "wandb", "prices", "base_url", "ray_address", "timeout", "concurrency", "rpm"),
        *("tpm", "processes", "engine", "shards", "use_multithreading"),
    )
)
"""Settings that say where and how fast a run is played, and change no result."""

FILES = ("program", "examples")
"""Settings that name files; a command has their names without their folders."""


def command_of(reader: Reader, row: Row) -> str:
    """The command of a run: `run`, or `fork` with what differs from the parent. StoreError for unusable settings."""
    config = config_of(row)
    if config.llm is None and row["llm"]:
        config = _with_model(config, row["llm"])
    parents = reader.rows("SELECT * FROM runs WHERE run_id = ?", [row["parent_run_id"]])
    if not parents:
        return command("run", *_flags(config, RunConfig()))
    parent = _with_model(config_of(parents[0]), parents[0]["llm"])
    return command("fork", row["parent_run_id"], "--at", row["fork_year"], *_flags(config, parent))


def _with_model(config: RunConfig, model: str) -> RunConfig:
    return replace(config, llm=model)


def _flags(config: RunConfig, usual: RunConfig) -> Iterator[str]:
    """The flags for settings that differ from those of `usual`, in the order of `RunConfig`."""
    for one in fields(RunConfig):
        value = getattr(config, one.name)
        if one.name in NAMES - OF_A_MACHINE and value != getattr(usual, one.name):
            yield from _flag(one.name, value)


def _flag(name: str, value: Any) -> Iterator[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        yield f"--{flag}" if value else f"--no-{flag}"
    elif name in ("shock", "callback"):
        for one in value:
            yield from (f"--{flag}", one)
    elif isinstance(value, Mapping):
        pairs = (f"{role}={_public(name, one)}" for role, one in sorted(value.items()))
        yield from (f"--{flag}", ",".join(pairs))
    elif isinstance(value, tuple):
        yield from (f"--{flag}", ",".join(f"{one:.15g}" for one in value))
    elif value not in (None, ""):
        yield from (f"--{flag}", _public(name, value))


def _public(name: str, value: Any) -> str:
    text = str(value)
    return PurePath(text).name if name in FILES else without_folder(text)
