"""The study of a valid request, and what tunes its program."""

from __future__ import annotations

from evals.datasets.simulated import Dataset
from evals.optimize.candidates import shown
from evals.optimize.plan import Plan
from evals.optimize.tuning import Models, Tuning
from pipeline.code_version import code_version
from pipeline.store.columns import as_json, now
from pipeline.store.writer import Store
from pipeline.studies.study import Study, study_name
from pipeline.studies.study_budget import StudyBudget
from programs.adapters.repairing import ADAPTERS
from programs.roles import saved_program


def tuning_of(plan: Plan, study: Study, dataset: Dataset, models: Models) -> Tuning:
    """What tunes the program of `plan` on `dataset`, as trials of `study`."""
    fields = [] if plan.episodes else list(plan.signature.fields)
    splits = {"train": dataset.train, "dev": dataset.dev, "test": dataset.test}
    return Tuning(
        study,
        plan.student(),
        models,
        ADAPTERS[plan.config.adapter](),
        {name: shown(examples, fields) for name, examples in splits.items()},
        plan.outputs,
        plan.metric,
        plan.optimizer,
        seed=plan.config.seed,
        demos=plan.order.demos,
        threads=plan.threads(models),
        labelled=plan.labelled,
    )


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
    more = [order.demos, config.temperature, config.max_output_tokens, before]
    more += [config.layout[order.role]] if order.role in config.layout else []
    name = study_name({**identity, "beside": more})
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
