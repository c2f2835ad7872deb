"""`llm-economist doctor`: report versions, keys and the database, and whether a model answers."""

from __future__ import annotations

import importlib.util
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dspy import lm15
from rich.markup import escape

from evals.doctor.endpoint_probe import engines_of, what_it_takes
from evals.output.console import Console
from pipeline.agents.agents import LLMAgents
from pipeline.agents.model_choice import choose_model, configure
from pipeline.errors import EconomistError, UsageError
from pipeline.parallel.interrupts import run_async
from pipeline.store.reader import connect
from programs.calls.model_names import RULES, SMOLLM2, is_local
from programs.endpoints import endpoints
from programs.engines.local import GET_EXTRA, installed
from programs.engines.local_weights import SIZE, cached
from programs.listed_models import models_at
from programs.models import OPENAI_KEYS, environment, without_secrets
from programs.providers import BY_PREFIX, addresses_in
from programs.trust import ENGINE_PREFIX

PACKAGES = ("llm-economist", "dspy", "duckdb", "openai", "numpy", "pydantic", "typer")


def check(console: Console, *, llm: str | None, base_url: str | None, db: str, omit: str = "") -> int:
    """Print one line per check; 0 if everything requested works, else 1."""
    console.print(f"python {platform.python_version()} on {platform.system()}", highlight=False)
    console.print(", ".join(f"{package} {version(package)}" for package in PACKAGES), highlight=False)
    console.print(f"W&B (extra wandb): {'installed' if importlib.util.find_spec('wandb') else 'not installed'}")
    console.print(f"local models (extra local): {escape(_local())}", highlight=False, soft_wrap=True)
    try:
        known = environment()
    except ValueError as error:
        raise UsageError(str(error)) from error
    for name in OPENAI_KEYS:
        console.print(f"{name}: {'set' if known.get(name) else 'not set'}", highlight=False)
    for name in addresses_in(known):
        console.print(f"{name}: set", highlight=False)
    checks = [_database(console, db)]
    model = llm
    if llm is None:
        model, why = choose_model(configure({"base_url": base_url}))
        console.print(f"model without --llm: {escape(model)} ({escape(why)})", highlight=False)
    if llm is not None or base_url:
        checks.append(_model(console, str(model), base_url, omit))
        if base_url or not (is_local(str(model)) or model == RULES or str(model).startswith(ENGINE_PREFIX)):
            _tell_listed(console, str(model), base_url)
    return 0 if all(checks) else 1


def _local() -> str:
    """Whether models can run in this process, and where the weights of smollm2 are, without reading them."""
    if not installed():
        return f"not installed ({GET_EXTRA})"
    file, extra = cached(), f"xllamacpp {version('xllamacpp')}"
    if not file.is_file():
        return f"{extra}; the weights of {SMOLLM2} are not downloaded yet: --llm {SMOLLM2} downloads them once (93 MB)"
    size = file.stat().st_size
    if size != SIZE:
        return f"{extra}; {file} is broken ({size:,} of {SIZE:,} bytes): --llm {SMOLLM2} downloads it again"
    return f"{extra}; the weights of {SMOLLM2} are in {file} ({size:,} bytes)"


def _database(console: Console, db: str) -> bool:
    if not Path(db).exists():
        console.print(f"database {escape(db)}: does not exist yet; `llm-economist run` creates it", highlight=False)
        return True
    try:
        connection = connect(db)
    except EconomistError as error:
        console.print(f"database: [red]{escape(str(error))}[/red]", highlight=False)
        return False
    row = connection.execute("SELECT count(*) FROM runs").fetchone()
    connection.close()
    console.print(f"database {escape(db)}: {row[0] if row else 0} runs", highlight=False)
    return True


def _model(console: Console, llm: str, base_url: str | None, omit: str) -> bool:
    """Make one short call, and a few more that find out which parts of a request the server accepts."""
    try:
        llm_agents = LLMAgents(configure({"llm": llm, "base_url": base_url, "omit": omit}), llm)
        run_async(llm_agents.preflight())
    except EconomistError as error:
        console.print(f"model: [red]{escape(str(error))}[/red]", highlight=False)
        return False
    console.print(
        f"model {escape(llm_agents.shown_model)}: answers ({llm_agents.usage.tokens} tokens)", highlight=False
    )
    found = [_taken(console, lm, engine) for lm in llm_agents.lms.values() for engine in engines_of(lm)]
    return any(found) or not found


def _taken(console: Console, lm: Any, engine: Any) -> bool:
    """Print what a server accepts, one line per part of a request."""
    server = escape(str(engine.endpoint))
    try:
        taken = run_async(what_it_takes(lm, engine))
    except lm15.LM15Error as error:
        said = escape(without_secrets(str(error))[:160])
        console.print(f"what {server} accepts: unknown ({said})", highlight=False, soft_wrap=True)
        return False
    console.print(f"what {server} accepts:", highlight=False, soft_wrap=True)
    for part, said in taken.items():
        console.print(f"  {part}: {escape(said)}", highlight=False, soft_wrap=True)
    return True


def _tell_listed(console: Console, model: str, base_url: str | None) -> None:
    """Print the models that the servers of `model` list, each queried with its own key."""
    try:
        asked = endpoints(model, base_url, timeout=10, connections=1, offline=False)
    except ValueError:
        return  # reported above
    for endpoint in asked:
        if endpoint.door in ("anthropic", "gemini"):
            continue  # they list their models differently
        prefix = endpoint.route.partition("/")[0]
        url = endpoint.base_url or (BY_PREFIX[prefix].address if prefix in BY_PREFIX else None)
        if url is None:
            continue
        try:
            names = models_at(url, endpoint.key, header=endpoint.key_header)
        except ValueError as error:  # a server may answer without a list
            console.print(f"models listed: none ({escape(without_secrets(str(error))[:120])})", highlight=False)
            continue
        shown = f"{', '.join(names[:20])}{' ...' if len(names) > 20 else ''}"
        console.print(f"models listed: {escape(shown)}", highlight=False)
