"""`llm-economist doctor`: what is installed, what is set, and whether a model answers."""

from __future__ import annotations

import importlib.util
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dspy import lm15
from rich.console import Console
from rich.markup import escape

from evals.running import configure
from evals.takes import engines_of, what_it_takes
from pipeline.errors import EconomistError
from pipeline.minds import Minds
from pipeline.query import connect
from pipeline.signals import run_async
from programs.engines.local import GET_EXTRA, installed
from programs.engines.weights import SIZE, SMOLLM2, cached, is_local
from programs.lm import OPENAI_KEYS, default_model, environment, without_secrets
from programs.urls import each_url

PACKAGES = ("llm-economist", "dspy", "duckdb", "openai", "numpy", "pydantic", "typer")


def check(console: Console, *, llm: str | None, base_url: str | None, db: str, omit: str = "") -> int:
    """Print one line a check; 0 if nothing that was asked for is broken, else 1."""
    console.print(f"python {platform.python_version()} on {platform.system()}", highlight=False)
    console.print(", ".join(f"{package} {version(package)}" for package in PACKAGES), highlight=False)
    console.print(f"W&B (extra wandb): {'installed' if importlib.util.find_spec('wandb') else 'not installed'}")
    console.print(f"local models (extra local): {escape(_local())}", highlight=False, soft_wrap=True)
    for name in OPENAI_KEYS:
        console.print(f"{name}: {'set' if environment().get(name) else 'not set'}", highlight=False)
    model, why = default_model()
    console.print(f"model without --llm: {model} ({why})", highlight=False)
    checks = [_database(console, db)]
    if llm or base_url:
        checks.append(_model(console, llm or model, base_url, omit))
        if base_url or not is_local(llm or model):
            checks += [_listed(console, url) for url in each_url(base_url) or (None,)]
    return 0 if all(checks) else 1


def _local() -> str:
    """Whether models can be computed in this process, and where the weights of smollm2 are, without reading them."""
    if not installed():
        return f"not installed ({GET_EXTRA})"
    file, extra = cached(), f"xllamacpp {version('xllamacpp')}"
    if not file.is_file():
        return f"{extra}; the weights of {SMOLLM2} are not here yet: --llm {SMOLLM2} fetches them once (93 MB)"
    size = file.stat().st_size
    if size != SIZE:
        return f"{extra}; {file} is broken ({size:,} of {SIZE:,} bytes): --llm {SMOLLM2} fetches it again"
    return f"{extra}; the weights of {SMOLLM2} are in {file} ({size:,} bytes)"


def _database(console: Console, db: str) -> bool:
    if not Path(db).exists():
        console.print(f"database {escape(db)}: not there yet; `llm-economist run` makes it", highlight=False)
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
    """One tiny call, and a few more that tell what parts of a request the server takes."""
    try:
        minds = Minds(configure({"llm": llm, "base_url": base_url, "omit": omit}), llm, 3)
        run_async(minds.preflight())
    except EconomistError as error:
        console.print(f"model: [red]{escape(str(error))}[/red]", highlight=False)
        return False
    console.print(f"model {escape(minds.shown_model)}: answers ({minds.usage.tokens} tokens)", highlight=False)
    found = [_taken(console, lm, engine) for lm in minds.lms.values() for engine in engines_of(lm)]
    return any(found) or not found


def _taken(console: Console, lm: Any, engine: Any) -> bool:
    """What a server takes, a line for each part of a request."""
    server = escape(str(engine.endpoint))
    try:
        taken = run_async(what_it_takes(lm, engine))
    except lm15.LM15Error as error:
        said = escape(without_secrets(str(error))[:160])
        console.print(f"what {server} takes: not found out ({said})", highlight=False, soft_wrap=True)
        return False
    console.print(f"what {server} takes:", highlight=False, soft_wrap=True)
    for part, said in taken.items():
        console.print(f"  {part}: {escape(said)}", highlight=False, soft_wrap=True)
    return True


def _listed(console: Console, base_url: str | None) -> bool:
    """The models that an OpenAI-compatible server lists."""
    import openai

    known = environment()
    key = next((known[name] for name in OPENAI_KEYS if known.get(name)), "none")
    try:
        client = openai.OpenAI(base_url=base_url, api_key=key, timeout=10, max_retries=0)
        names = sorted(model.id for model in client.models.list())
    except openai.OpenAIError as error:
        console.print(f"models listed: none ({escape(without_secrets(str(error))[:120])})", highlight=False)
        return True  # a server may answer and list nothing
    console.print(f"models listed: {escape(', '.join(names[:20]))}{' ...' if len(names) > 20 else ''}", highlight=False)
    return True
