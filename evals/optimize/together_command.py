"""The command for several roles: check the request, search, write a file for each role, and print the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.markup import escape
from rich.table import Table

from evals.compare.statistics import Interval
from evals.optimize.candidates import Candidate, apply
from evals.optimize.layouts import OPTIMIZER as LAYOUTS
from evals.optimize.plan import OptimizeRequest, Plan, prepare
from evals.optimize.result import DIGITS, Optimized
from evals.optimize.together import METHODS, Findings, Interrupted, Together
from evals.output.console import Console
from evals.output.files import whole_file
from evals.output.tables import rich_table
from pipeline.agents.budget import Capped
from pipeline.code_version import code_version
from pipeline.errors import UsageError
from pipeline.parallel.interrupts import INTERRUPTED
from pipeline.printed_commands import command
from pipeline.store.writer import Store, check_path
from programs.roles import saved_program

ROLE = "{role}"
"""The placeholder that `-o` must contain if several files are written."""


def optimize_together(order: OptimizeRequest, settings: Mapping[str, Any], console: Console) -> Optimized:
    """Tune several roles and print the comparison. EconomistError has the message for the user."""
    try:
        plans = prepare_together(order, settings)
        first = next(iter(plans.values()))
        console.print(f"Model: [bold]{escape(first.model)}[/bold] ({escape(first.why)})", highlight=False)
        together = Together(plans, console)
        for plan in plans.values():
            for caution in plan.program()[1]:
                console.print(f"Caution: {escape(caution)}", highlight=False, soft_wrap=True)
    except ValueError as error:
        raise UsageError(str(error)) from error
    check_path(first.config.db)
    try:
        with Store(first.config.db, serve=True) as store:
            findings = together.run(store)
    except Interrupted:
        return Optimized(INTERRUPTED, first.config.db, tuple(together.used))
    except Capped as cap:
        raise UsageError(f"{cap}: the comparison is not complete; raise the cap and repeat the command") from cap
    write(plans, findings, together.data.hash)
    report(plans, findings, together, console)
    return Optimized(0, first.config.db, tuple(together.used), {role: plan.path for role, plan in plans.items()})


def prepare_together(order: OptimizeRequest, settings: Mapping[str, Any]) -> dict[str, Plan]:
    """The plan of each role. UsageError if they cannot be tuned in one game."""
    roles = [role.strip() for role in order.role.split(",")]
    if len(set(roles)) < len(roles):
        raise UsageError(f"{order.role}: expected each role once")
    if {"planner", "voter"} <= set(roles):
        raise UsageError(f"{order.role}: no economy has both a planner and elections; tune one of them")
    if order.optimizer == LAYOUTS:
        raise UsageError(
            f"--optimizer {LAYOUTS} compares the layouts of one role; give {roles[0]} first, then the others"
        )
    if order.metric not in (None, "episode"):
        raise UsageError(f"--metric {order.metric} judges one role; several roles are tuned with --metric episode")
    if order.output is not None and ROLE not in order.output:
        raise UsageError(f"-o {order.output}: a file is written for each role; put {ROLE} into its name")
    if isinstance(settings.get("program"), str) and "=" not in settings["program"]:
        raise UsageError(f"--program {settings['program']}: name its role, e.g. {roles[0]}={settings['program']}")
    plans = {role: prepare(_of_one(order, role), settings) for role in roles}
    asked = next(iter(plans.values())).config.role_llm
    if any(role in asked for role in roles):
        raise UsageError("--role-llm: one model answers all roles that are tuned together; give it with --llm")
    return plans


def _of_one(order: OptimizeRequest, role: str) -> OptimizeRequest:
    output = order.output.replace(ROLE, role) if order.output is not None else None
    return replace(order, role=role, metric="episode", output=output)


def write(plans: Mapping[str, Plan], findings: Findings, data_hash: str) -> None:
    """Write each role's program as it is in the best game. The same searches write the same bytes."""
    best, untuned = findings.best, findings.games[0]
    for role, plan in plans.items():
        program, _ = plan.program()
        apply(_of_role(role, best.candidate), program)
        tuned = {
            "roles": list(plans),
            "method": best.name,
            "optimizer": plan.order.optimizer,
            "metric": plan.metric.name,
            "welfare": plan.config.welfare,
            "teacher": plan.names[1],
            "reflection": plan.names[2],
            "seed": plan.config.seed,
            "demos": plan.order.demos,
            "budget": plan.order.budget,
            "data_hash": data_hash,
            "scores": {
                "dev": _scores(untuned.dev.score, best.dev.score, len(best.dev.scores)),
                "test": _scores(untuned.test.score, best.test.score, len(best.test.scores)),
            },
            "code_version": code_version(),
        }
        with whole_file(plan.path, not_over=plan.config.db) as part:
            known = {"strategy": plan.strategy, "adapter": plan.config.adapter, "model": plan.model}
            saved_program.save(program, str(part), role=role, tuned=tuned, **known)


def _of_role(role: str, candidate: Candidate) -> Candidate:
    """The part of a game's candidate that is one role's, with its predictors named as in the role's program."""
    prefix = f"{role}."
    return {name.removeprefix(prefix): state for name, state in candidate.items() if name.startswith(prefix)}


def _scores(before: float, after: float, examples: int) -> dict[str, Any]:
    return {"before": round(before, DIGITS), "after": round(after, DIGITS), "examples": examples}


def report(plans: Mapping[str, Plan], findings: Findings, together: Together, console: Console) -> None:
    """Print the rounds, the comparison, and how to use the files."""
    console.print(rounds_table(findings))
    console.print(games_table(findings))
    for line in notes(plans, findings, together):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def rounds_table(findings: Findings) -> Table:
    """Each search of the alternating rounds, with its gain on the dev economies."""
    rows = (
        [str(one.round), one.role, f"{one.before:.3f}", f"{one.after:.3f}", f"{one.after - one.before:+.3f}"]
        for one in findings.rounds
    )
    title = "Alternating rounds: score on dev"
    return rich_table(["round", "role", "before", "after", "gain"], rows, title=title, left=(1,))


def games_table(findings: Findings) -> Table:
    """The games on the dev economies and on the held-out ones, with the paired change from the untuned one."""
    examples = len(findings.games[0].test.scores)
    title = f"Games compared: mean score, 0 to 1; test: {examples} held-out economies"
    head = ["game", "dev", "test", "change of test,\n95 % interval", "planner\nshare", "regret,\n$ a year"]
    made = rich_table(head, title=title, whole=range(len(head)))
    for game in findings.games:
        shares = [answer.planner_share for answer in game.test.answers if answer.get("planner_share") is not None]
        regrets = [answer.mean_regret for answer in game.test.answers if "mean_regret" in answer]
        made.add_row(
            game.name,
            f"{game.dev.score:.3f}",
            f"{game.test.score:.3f}",
            "" if game is findings.games[0] else _interval(game.change),
            f"{sum(shares) / len(shares):.3f}" if shares else "-",
            f"{sum(regrets) / len(regrets):,.0f}" if regrets else "-",
        )
    return made


def _interval(change: Interval) -> str:
    if change.low != change.low:  # nan: no interval of one economy, or of equal changes
        return f"{change.mean:+.3f}"
    return f"{change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"


def notes(plans: Mapping[str, Plan], findings: Findings, together: Together) -> list[str]:
    """Notes on the figures for the reader."""
    first, best = next(iter(plans.values())), findings.best
    calls = sum(usage.calls for _, usage in together.used.values())
    dollars = sum(usage.cost_usd for _, usage in together.used.values())
    programs = ",".join(f"{role}={plan.path}" for role, plan in plans.items())
    strategies = ",".join(f"{role}={plan.strategy}" for role, plan in plans.items())
    server = first.config.public()["base_url"]
    use = command(
        "run",
        *("--program", programs, "--strategy", strategies, "--adapter", first.config.adapter, "--llm", first.model),
        *(("--base-url", server) if server else ()),
    )
    return [
        "; ".join(f"{name}: {said}" for name, said in METHODS.items()) + ".",
        f"Alternating rounds: {findings.ending}.",
        *([f"A search was cut short: {findings.stopped}."] if findings.stopped else []),
        verdict(findings),
        f"{calls:,} calls in all, {findings.bought:,} of them new; cost ${dollars:.4f}.",
        f"The files hold the game {best.name!r}. Use them: {use}",
    ]


def verdict(findings: Findings) -> str:
    """Whether tuning helped, in plain words."""
    best, changed = findings.best, f"the mean score changed by {_interval(findings.best.change)} on held-out economies"
    if best is findings.games[0]:
        return "No search scored higher on dev than the untuned game: the files hold it unchanged."
    if best.change.low > 0:
        return f"Better ({best.name}): {changed}."
    if best.change.high < 0:
        return f"Worse on held-out economies, though better on dev ({best.name}): {changed}."
    return f"Not shown to be better on held-out economies ({best.name}): {changed}."
