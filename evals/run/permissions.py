"""Decide which settings of a stored run may be used, and tell the user which are not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rich.markup import escape

from evals.output.console import Console
from pipeline.config import ROLES, RunConfig
from pipeline.permissions import confirmed, log_folder, refuse
from programs.calls.model_names import RULES
from programs.endpoints import without_key
from programs.trust import ENGINE_PREFIX
from programs.urls import each_url, shown


@dataclass(frozen=True)
class Allowed:
    """Names of code and files that the user repeated, by --allow-code and --allow-file."""

    code: Collection[str] = ()
    files: Collection[str] = ()

    @property
    def names(self) -> frozenset[str]:
        return frozenset((*self.code, *self.files))


NOTHING = Allowed()


def take(
    stored: RunConfig, settings: Mapping[str, Any], built: RunConfig, model: str, allowed: Allowed, console: Console
) -> RunConfig:
    """The permitted part of `built`, the `stored` settings overridden by the user's; prints what is left out.

    UsageError in one line if it names code, a file or a cluster that the user did not name.
    """
    config = replace(built, given=confirmed(stored, settings, allowed.names))
    refuse(config, model)
    usual = log_folder(config)
    if usual.log_dir != config.log_dir:
        _say(console, f"The log goes to {usual.log_dir}; --log-dir {config.log_dir} comes out of the database.")
    tell_address(usual, model, console)
    return usual


def tell_address(config: RunConfig, model: str, console: Console) -> None:
    """Print the server's address if only the database names it, and that no key is sent there."""
    names = {config.role_llm.get(role, model) for role in ROLES}
    asked = [name for name in names if name != RULES and not name.startswith(ENGINE_PREFIX)]
    given = {url for text in config.given or () for url in each_url(text)}
    stored = [url for url in each_url(config.base_url) if url not in given]
    if config.given is None or not asked or not stored:
        return
    _say(console, f"The database names the server that is asked: {shown(','.join(stored))}")
    keyless = dict.fromkeys(url for name in asked for url in without_key(name, config.base_url, config.given))
    for url in keyless:
        _say(console, f"No key goes to {shown(url)}; give --base-url {shown(url)} again to send your key there.")


def _say(console: Console, text: str) -> None:
    console.print(escape(text), highlight=False, soft_wrap=True)
