"""`llm-economist validate`: measure a model, and write its validity card.

A card is a study: its calls are stored and paid for once; repeating the command resumes an interrupted card.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from evals.optimize.plan import capped, connected
from evals.optimize.study_end import end_told
from evals.output.console import Console
from evals.output.files import whole_file
from evals.run.progress import cost_in_words
from evals.validity import card as cards
from evals.validity.card_comparison import show
from evals.validity.forecast import forecast
from evals.validity.plan import Plan, ValidateRequest, identity, judge, prepare
from evals.validity.questionnaire import Panel, Session
from pipeline.agents.budget import Capped
from pipeline.code_version import code_version
from pipeline.errors import UsageError
from pipeline.parallel.interrupts import INTERRUPTED
from pipeline.printed_commands import command
from pipeline.store.columns import as_json, now
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.writer import Store, check_path
from pipeline.studies.study import Study, study_name
from programs.adapters.repairing import ADAPTERS
from programs.models import is_remote

METRIC = "validity"


def validate(order: ValidateRequest, settings: Mapping[str, Any], console: Console, *, dry_run: bool = False) -> int:
    """Make the card and print its scores next to those of other cards; return the exit code."""
    plan = prepare(order, settings)
    console.print(f"Model: [bold]{escape(plan.model)}[/bold] ({escape(plan.why)})", highlight=False)
    for caution in plan.cautions:
        console.print(f"Caution: {escape(caution)}", highlight=False, soft_wrap=True)
    if dry_run:
        forecast(plan, measured, console)
        return 0
    check_path(plan.config.db)
    with Store(plan.config.db, serve=True) as store:
        study = open_study(plan, store)
        stored = f"; {study.usage.calls:,} of its stored calls are reused" if study.usage.calls else ""
        where = f"Study [bold]{study.name}[/bold] in {escape(plan.config.db)}{stored}"
        console.print(where, highlight=False, soft_wrap=True)
        made = carry_out(plan, study, console)
        if made is None:
            return INTERRUPTED
        store.write_study(study.name, cards.rows(made, study.name, plan.config.seed))
        study.save("finished")
        show(store, console)
        _tell(plan, study, made, console)
    return 0


def compare(db: str, console: Console) -> None:
    """Print the cards in a database side by side."""
    with ReadOnlyStore(db) as reader:
        show(reader, console)


def open_study(plan: Plan, store: Store) -> Study:
    """The study of this card: a new one, or the stored one to resume. UsageError if a capped model has no price."""
    config, about = plan.config, identity(plan)
    name = study_name({**about, "role": METRIC, "optimizer": _word(plan.model)})
    row = {
        "study": name,
        "created_at": store.one("SELECT created_at FROM studies WHERE study = ?", [name]) or now(),
        "metric": METRIC,
        "strategy": as_json(about["strategy"]),
        "adapter": config.adapter,
        "llm": plan.model,
        "seed": config.seed,
        "config": as_json(config.public()),
        "code_version": code_version(),
    }
    return Study(store, row, "", config.seed, capped(config, [plan.model], plan.prices), plan.prices)


def _word(model: str) -> str:
    """The model in a study's name: the last word of its name."""
    return str(re.findall(r"[\w.]+|$", model)[-2:][0])[-24:].lower()


def make(plan: Plan, study: Study, on_reply: Callable[[], None] = lambda: None) -> cards.Card:
    """Ask and judge everything. Raises Capped and Halted, and UsageError if a name cannot be a model."""
    try:
        lm = connected(plan.config, plan.model)
    except ValueError as error:
        raise UsageError(str(error)) from error
    # a model in this process gains nothing from more than one thread
    threads = plan.config.concurrency if is_remote(lm) else 1
    session = Session(study, plan.config)
    panel = Panel(session.answer, threads, on_reply)
    with session.open(lm=lm, adapter=ADAPTERS[plan.config.adapter](), threads=threads):
        findings = judge(panel, full=plan.full, layouts=plan.config.layout)
    return cards.of(panel, findings, subject=plan.subject, command=plan.command)


def measured(plan: Plan, query: str) -> list[dict[str, Any]]:
    """Make a card, and return the result of a query on its database."""
    with Store(plan.config.db) as store:
        make(plan, open_study(plan, store))
        store.flush()
        return store.rows(query)


def carry_out(plan: Plan, study: Study, console: Console) -> cards.Card | None:
    """Make the card, and set the study's status in every case; None if it was interrupted."""
    logging.getLogger("dspy").setLevel(logging.ERROR)  # its warnings would garble the progress bar
    try:
        with end_told(study, console):
            with _progress(plan, study, console) as on_reply:
                made = make(plan, study, on_reply)
            if plan.order.output is not None:
                with whole_file(plan.order.output, not_over=plan.config.db, flag="-o") as part:
                    part.write_text(cards.markdown(made), encoding="utf-8")
            return made
    except Capped as cap:
        study.save("stopped", error=str(cap))
        kept = f"{study.usage.calls:,} calls are stored; repeat the command with a higher cap to resume"
        raise UsageError(f"no card yet: {cap}; {kept}") from cap
    return None


@contextmanager
def _progress(plan: Plan, study: Study, console: Console) -> Iterator[Callable[[], None]]:
    """A progress bar over the questions in a terminal, else ten plain lines; yields the callback for each reply."""
    total, done = plan.questions, 0
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("questions {task.description}"), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task("", total=total)

    def on_reply() -> None:
        nonlocal done
        done += 1
        took = f"{study.usage.calls:,} calls · {cost_in_words(study.usage)}"
        bar.update(task, completed=done, description=took)
        if not console.is_terminal and done % max(1, total // 10) == 0:
            console.print(f"{done}/{total} questions · {took}", highlight=False, soft_wrap=True)

    with bar:
        yield on_reply


def _tell(plan: Plan, study: Study, made: cards.Card, console: Console) -> None:
    """Print the cost, and where the card is stored."""
    console.print(
        f"{made.questions:,} questions, {made.replies:,} replies; {study.bought:,} new calls, {study.usage.calls:,} in "
        f"all; tokens {study.usage.tokens:,}; cost {cost_in_words(study.usage)}",
        highlight=False,
        soft_wrap=True,
    )
    stored = command("sql", f"from evaluations where study = '{study.name}'", "--db", plan.config.db)
    for line in ([f"Card: {plan.order.output}"] if plan.order.output else []) + [f"Stored: {stored}"]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
