"""`llm-economist optimize`: tune a role's program, and save it with its score on held-out examples.

Repeating the command resumes an interrupted study: stored replies are reused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from evals.optimize.layouts import OPTIMIZER as LAYOUTS
from evals.optimize.layouts import optimize_layouts
from evals.optimize.plan import OptimizeRequest, Plan, prepare
from evals.optimize.progress import TrialProgress
from evals.optimize.result import Optimized, figures, report, write
from evals.optimize.study_end import end_told
from evals.optimize.together_command import optimize_together
from evals.optimize.tuning import Outcome, Tuning
from evals.optimize.tuning_of_plan import open_study, tuning_of
from evals.output.console import Console
from pipeline.errors import UsageError
from pipeline.parallel.interrupts import INTERRUPTED
from pipeline.store.writer import Store, check_path


def optimize(order: OptimizeRequest, settings: Mapping[str, Any], console: Console) -> Optimized:
    """Tune a program and print the result. EconomistError has the message for the user."""
    if "," in order.role:
        return optimize_together(order, settings, console)
    if order.optimizer == LAYOUTS:
        return optimize_layouts(order, settings, console)
    try:
        plan = prepare(order, settings)
        console.print(f"Model: [bold]{escape(plan.model)}[/bold] ({escape(plan.why)})", highlight=False)
        for what, name in zip(("Teacher", "Reflection"), plan.names[1:], strict=True):
            if name != plan.model:
                console.print(f"{what}: [bold]{escape(name)}[/bold]", highlight=False)
        models, allowance, (_, cautions) = plan.models(), plan.allowance(), plan.program()
        dataset = plan.dataset()
    except ValueError as error:
        raise UsageError(str(error)) from error
    for caution in cautions:
        console.print(f"Caution: {escape(caution)}", highlight=False, soft_wrap=True)
    check_path(plan.config.db)
    with Store(plan.config.db, serve=True) as store:
        study = open_study(plan, dataset, store, allowance)
        stored = f"; {study.usage.calls:,} of its stored calls are reused" if study.usage.calls else ""
        console.print(
            f"Study [bold]{study.name}[/bold] in {escape(plan.config.db)}{stored}", highlight=False, soft_wrap=True
        )
        tuning = tuning_of(plan, study, dataset, models)
        outcome = _carry_out(tuning, plan, console)
        if outcome is None:
            return Optimized(INTERRUPTED, plan.config.db, (study.name,))
        tuning.trials.close()
        write(plan, outcome, dataset.hash)
        status = "stopped" if outcome.stopped else "finished"
        study.save(status, error=outcome.stopped or outcome.cut_short, **figures(outcome, tuning), program=plan.path)
    report(plan, outcome, tuning, console)
    return Optimized(0, plan.config.db, (study.name,), {order.role: plan.path})


def _carry_out(tuning: Tuning, plan: Plan, console: Console) -> Outcome | None:
    """Run the study to its end; None if it was interrupted."""
    study = tuning.study
    with end_told(study, console), TrialProgress(console, study, plan.order.budget) as progress:
        tuning.on_trial = progress.on_trial
        return tuning.run()
    return None
