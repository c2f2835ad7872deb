"""Permissions of a stored run: its code, files and addresses are used only after the user has confirmed them.

Someone else may have written the database. `refuse` runs before anything is imported, opened or contacted;
`confirmed` collects what the user named on the command line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pipeline.config import OWN_PARTS, ROLES, RunConfig
from pipeline.config_texts import by_role
from pipeline.errors import UsageError
from programs.plugins import CALLBACK, Kind, is_taken
from programs.strategies.registry import is_own_strategy
from programs.trust import ENGINE_PREFIX, FILE_PREFIX, is_given
from programs.urls import HIDDEN, each_url, shown

BY_ROLE = ("strategy", "program", "role_llm")


def confirmed(stored: RunConfig, settings: Mapping[str, Any], also: Collection[str] = ()) -> frozenset[str]:
    """The values that the user named: those in `settings`, and those allowed by the flags in `also`."""
    found = {*(stored.given or ()), *also}
    for name, value in settings.items():
        if name in BY_ROLE:
            found.update((by_role(value) if isinstance(value, str) else value).values())
        elif name == "callback":
            found.update([value] if isinstance(value, str) else value)
        elif isinstance(value, str):
            found.update((value, *(each_url(value) if name == "base_url" else ())))
    return frozenset(found)


def refuse(config: RunConfig, model: str, *, offline: bool = False) -> None:
    """UsageError in one line that names the first code, file or address that the user has not confirmed.

    `offline`: no model is called, so engines, weights, prices and clusters do not matter.
    """
    if config.given is None:
        return
    for flag, code in _code(config, model, offline=offline):
        _refuse_code(flag, code, config)
    for flag, path in _files(config, model, offline=offline):
        if not is_given(path, config.given):
            raise UsageError(
                f"{flag} {path} comes from the database and was not opened; if you trust this file, "
                f"add --allow-file {path.removeprefix(FILE_PREFIX)}"
            )
    if offline:
        return
    if config.ray_address is not None and not is_given(config.ray_address, config.given):
        raise UsageError(
            f"--ray-address {config.ray_address} comes from the database; nothing was sent there; "
            "repeat the flag to send questions and keys there, or use --engine local"
        )
    if any(HIDDEN in url for url in each_url(config.base_url)):
        raise UsageError(
            f"--base-url {shown(config.base_url or '')}: the key in this address was not stored; give the address again"
        )


def refuse_parts(config: RunConfig) -> None:
    """UsageError in one line if a part of the economy is code that the user has not confirmed.

    What the user's own settings made this process import already needs no permission: nothing is imported.
    """
    for kind, name in _parts(config):
        if not is_taken(kind, name):
            _refuse_code(kind.flag, name, config, f" (in Python: llm_economist.open(..., allow_code=[{name!r}]))")


def _refuse_code(flag: str, code: str, config: RunConfig, or_else: str = "") -> None:
    if not is_given(code, config.given):
        raise UsageError(
            f"{flag} {code} comes from the database, whose author may be a stranger; it was not imported; "
            f"if you trust it, add --allow-code {code.removeprefix(ENGINE_PREFIX)}{or_else}"
        )


def confirming_flags(config: RunConfig, model: str) -> tuple[str, ...]:
    """The flags with which `resume` confirms what the user's own run names; addresses only if they hold no secret."""
    found: dict[tuple[str, str], None] = {}
    for _, code in _code(config, model, offline=False):
        found["--allow-code", code.removeprefix(ENGINE_PREFIX)] = None
    for _, path in _files(config, model, offline=False):
        found["--allow-file", path.removeprefix(FILE_PREFIX)] = None
    for flag, value in (("--base-url", config.base_url), ("--ray-address", config.ray_address)):
        if value is not None and shown(value) == value:
            found[flag, value] = None
    if config.log_dir != RunConfig().log_dir:
        found["--log-dir", config.log_dir] = None
    return tuple(word for pair in found for word in pair if is_given(pair[1], config.given))


def log_folder(config: RunConfig) -> RunConfig:
    """`config` with the default log folder, unless the user confirmed the stored one."""
    usual = RunConfig().log_dir
    return config if is_given(config.log_dir, config.given) else replace(config, log_dir=usual)


def _models(config: RunConfig, model: str) -> Iterator[tuple[str, str]]:
    for role in ROLES:
        yield ("--role-llm", config.role_llm[role]) if role in config.role_llm else ("--llm", model)


def _code(config: RunConfig, model: str, *, offline: bool) -> Iterator[tuple[str, str]]:
    """Flags and modules that the run would import."""
    for role in ROLES:
        if is_own_strategy(config.strategy_of(role)):
            yield "--strategy", config.strategy_of(role)
    yield from ((kind.flag, name) for kind, name in _parts(config))
    for callback in () if offline else config.callback:
        yield CALLBACK.flag, callback
    for flag, name in () if offline else _models(config, model):
        if name.startswith(ENGINE_PREFIX):
            yield flag, name


def _parts(config: RunConfig) -> Iterator[tuple[Kind, str]]:
    """Kinds and names of the parts of the economy that are not built in."""
    for setting, (kind, builtin) in OWN_PARTS.items():
        name = getattr(config, setting)
        if name not in builtin:
            yield kind, name


def _files(config: RunConfig, model: str, *, offline: bool) -> Iterator[tuple[str, str]]:
    """Flags and files that the run would open."""
    for path in config.program.values():
        yield "--program", path
    if offline:
        return
    for flag, name in _models(config, model):
        if name.startswith(FILE_PREFIX):
            yield flag, name
    for flag, other in (("--examples", config.examples), ("--prices", config.prices)):
        if other is not None:
            yield flag, other
