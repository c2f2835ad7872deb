"""`llm-economist optimize`: tune a role's program, and save it with its score on held-out examples.

Repeating the command resumes an interrupted study: stored replies are reused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from evals.datasets.simulated import Dataset
from evals.optimize.candidates import shown
from evals.optimize.plan import OptimizeRequest, Plan, prepare
from evals.optimize.progress import TrialProgress
from evals.optimize.result import Optimized, figures, report, write
from evals.optimize.study_end import end_told
from evals.optimize.together_command import optimize_together
from evals.optimize.tuning import Outcome, Tuning
from evals.output.console import Console
from pipeline.code_version import code_version
from pipeline.errors import UsageError
from pipeline.parallel.interrupts import INTERRUPTED
from pipeline.store.columns import as_json, now
from pipeline.store.writer import Store, check_path
from pipeline.studies.study import Study, study_name
from pipeline.studies.study_budget import StudyBudget
from programs.adapters.repairing import ADAPTERS
from programs.roles import saved_program


def optimize(order: OptimizeRequest, settings: Mapping[str, Any], console: Console) -> Optimized:
    """Tune a program and print the result. EconomistError has the message for the user."""
    if "," in order.role:
        return optimize_together(order, settings, console)
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
        fields = [] if plan.episodes else list(plan.signature.fields)
        splits = {"train": dataset.train, "dev": dataset.dev, "test": dataset.test}
        tuning = Tuning(
            study,
            plan.student(),
            models,
            ADAPTERS[plan.config.adapter](),
            {name: shown(examples, fields) for name, examples in splits.items()},
            plan.outputs,
            plan.metric,
            plan.optimizer,
            seed=plan.config.seed,
            demos=order.demos,
            threads=plan.threads(models),
            labelled=plan.labelled,
        )
        outcome = _carry_out(tuning, plan, console)
        if outcome is None:
            return Optimized(INTERRUPTED, plan.config.db, (study.name,))
        tuning.trials.close()
        write(plan, outcome, dataset.hash)
        status = "stopped" if outcome.stopped else "finished"
        study.save(status, error=outcome.stopped or outcome.cut_short, **figures(outcome, tuning), program=plan.path)
    report(plan, outcome, tuning, console)
    return Optimized(0, plan.config.db, (study.name,), {order.role: plan.path})


def open_study(plan: Plan, dataset: Dataset, store: Store, allowance: StudyBudget) -> Study:
    """The study of this request: a new one, or the stored one to resume."""
    order, config = plan.order, plan.config
    llm, teacher, reflection = plan.names
    identity = {
        "role": order.role,
        "question": plan.question,
        "optimizer": order.optimizer,
        "metric": plan.metric.name,
        "welfare": config.welfare,
        "strategy": plan.strategy,
        "adapter": config.adapter,
        "llm": llm,
        "teacher_llm": teacher,
        "reflection_llm": reflection,
        "seed": config.seed,
        "data_hash": dataset.hash,
    }
    loaded = config.program.get(order.role)
    before = saved_program.state_hash(saved_program.read(loaded)["predictors"]) if loaded is not None else None
    name = study_name({**identity, "beside": [order.demos, config.temperature, config.max_output_tokens, before]})
    row = {
        "study": name,
        "created_at": store.one("SELECT created_at FROM studies WHERE study = ?", [name]) or now(),
        **identity,
        "config": as_json(config.public()),
        "code_version": code_version(),
        "budget": order.budget,
    }
    output = list(plan.signature.output_fields)[-1]
    return Study(store, row, output, config.seed, allowance, plan.prices)


def _carry_out(tuning: Tuning, plan: Plan, console: Console) -> Outcome | None:
    """Run the study to its end; None if it was interrupted."""
    study = tuning.study
    with end_told(study, console), TrialProgress(console, study, plan.order.budget) as progress:
        tuning.on_trial = progress.on_trial
        return tuning.run()
    return None
