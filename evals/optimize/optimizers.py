"""Optimizers by name: those of DSPy, all configured from the same few settings and sized to the budget.

A new one is a function and an entry in `OPTIMIZERS`. Each yields programs; every program that it judges on the whole
dev set along the way competes too. Its threads, errors and calls are those of the study
(pipeline/studies/dspy_callbacks.py), its randomness that of the task's seed, so that a restart does the same.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from typing import Any

import dspy

from evals.datasets.supported_answers import supported
from evals.optimize.candidates import BlindedExample
from programs.adapters.repairing import ADAPTERS
from programs.dspy_versions import instruction_proposer

MOST = 16
"""Maximum number of candidates, whatever the budget."""


@dataclass(frozen=True)
class Task:
    """The inputs of an optimizer. `answers`: estimated number of program answers that its budget allows.

    `judge` scores; `with_feedback` also explains in words. `demos`: maximum demonstrations. `labelled`: whether
    examples have the best answers. `teacher` answers when demonstrations are collected, `reflection` writes
    instructions.
    """

    student: dspy.Module
    train: list[BlindedExample]
    dev: list[BlindedExample]
    judge: Callable[..., Any]
    with_feedback: Callable[..., Any]
    lm: dspy.LM
    teacher: dspy.LM
    reflection: dspy.LM
    seed: int
    demos: int
    answers: int
    threads: int
    labelled: bool = True

    def fits(self, cost: float, *, least: int, most: int = MOST, but: float = 0) -> int:
        """How often the budget covers `cost` answers after `but` others; between `least` and `most`."""
        return max(least, min(most, int((self.answers - but) // max(1.0, cost))))

    def shuffled(self, number: int = 0) -> list[BlindedExample]:
        """The training examples in a random order for `number`."""
        return random.Random(f"{self.seed}/{number}").sample(self.train, len(self.train))

    @property
    def shots(self) -> dict[str, Any]:
        """Settings for collecting demonstrations."""
        return {
            "teacher_settings": {"lm": self.teacher},
            "max_bootstrapped_demos": self.demos,
            "max_labeled_demos": self.demos if self.labelled else 0,
        }


def labeled(task: Task) -> Iterator[dspy.Module]:
    """Several draws of labelled examples, in turn with the exact answers and with those that the prompts support.

    Each draw shows as many states to exploit as to explore, since one of them misleads about the other. Calls are made
    only to judge the draws.
    """
    for number in range(task.fits(len(task.dev), least=1, most=10)):
        drawn = task.shuffled(number)
        if number % 2:
            drawn = [one for example in drawn if (one := supported(example, example.whole)) is not None] or drawn
        balanced = _alternating([example.whole.get("phase") for example in drawn], drawn)
        yield dspy.LabeledFewShot(k=task.demos).compile(task.student, trainset=balanced, sample=False)


def _alternating(groups: Sequence[Any], items: Sequence[Any]) -> list[Any]:
    """The `items` with those of different `groups` in turn, as long as each lasts; otherwise in their order.

    >>> _alternating("aaabb", [1, 2, 3, 4, 5])
    [1, 4, 2, 5, 3]
    """
    places = {group: count() for group in groups}
    order = sorted(range(len(items)), key=lambda i: (next(places[groups[i]]), i))
    return [items[i] for i in order]


def bootstrap(task: Task) -> Iterator[dspy.Module]:
    """The program's own good answers, filled up with labelled examples."""
    yield dspy.BootstrapFewShot(metric=task.judge, **task.shots).compile(task.student, trainset=task.shuffled())


def bootstrap_rs(task: Task) -> Iterator[dspy.Module]:
    """Many such sets, including none and labels only (`seed` -3 to -1 in DSPy)."""
    sets = task.fits(len(task.dev) + 2 * task.demos, least=4, most=MOST + 3) - 3
    search = dspy.BootstrapFewShotWithRandomSearch(
        metric=task.judge, num_candidate_programs=sets, num_threads=task.threads, **task.shots
    )
    yield search.compile(task.student, trainset=task.shuffled(), valset=task.dev)


def copro(task: Task) -> Iterator[dspy.Module]:
    """Instructions proposed from the scores of earlier ones (Yang et al. 2023), judged on dev."""
    predictors = len(task.student.predictors())
    prompts = task.fits(predictors * (len(task.dev) + 1), least=2, most=30)
    depth = 3 if prompts >= 12 else 2 if prompts >= 6 else 1
    search = dspy.COPRO(
        prompt_model=task.reflection,
        metric=task.judge,
        breadth=max(2, min(10, prompts // depth)),
        depth=depth,
        init_temperature=1.0,
    )
    yield search.compile(
        task.student, trainset=task.dev, eval_kwargs={"num_threads": task.threads, "display_progress": False}
    )


def mipro(task: Task) -> Iterator[dspy.Module]:
    """Instructions and demonstrations together, by Bayesian search (MIPROv2; Opsahl-Ong et al. 2024)."""
    batches = len(task.dev) >= 40
    batch = 20 if batches else len(task.dev)
    cost = batch + (len(task.dev) / 5 if batches else 0)
    trials = task.fits(cost, least=2, most=40, but=30 + 2 * len(task.dev))
    search = dspy.MIPROv2(
        metric=task.judge,
        prompt_model=task.reflection,
        task_model=task.lm,
        auto=None,
        num_candidates=max(3, min(10, trials // 2)),
        num_threads=task.threads,
        seed=task.seed + 1,  # it treats 0 as missing
        track_stats=False,
        **task.shots,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna warns that DSPy's sampler is experimental
        yield search.compile(
            task.student,
            trainset=task.shuffled(),
            valset=task.dev,
            num_trials=trials,
            minibatch=batches,
            minibatch_size=batch,
        )


def simba(task: Task) -> Iterator[dspy.Module]:
    """Rules and demonstrations from examples whose answers differ most (SIMBA), judged on training examples."""
    candidates = 4
    size = min(len(task.train), task.fits(60, least=4))
    pool = task.shuffled()[: 3 * size]
    cost, ending = (2 * candidates + 1) * size, (candidates + 1) * len(pool)
    search = dspy.SIMBA(
        metric=task.with_feedback,
        bsize=size,
        num_candidates=candidates,
        max_steps=task.fits(cost, least=1, most=8, but=ending),
        max_demos=task.demos,
        prompt_model=task.reflection,
        teacher_settings={"lm": task.teacher.copy()} if task.teacher is not task.lm else None,
        num_threads=task.threads,
    )
    yield search.compile(task.student, trainset=pool, seed=task.seed)


def gepa(task: Task) -> Iterator[dspy.Module]:
    """Instructions evolved by reflection on feedback, keeping the best for each dev example (Agrawal et al. 2025)."""
    search = dspy.GEPA(
        metric=task.judge,
        max_metric_calls=max(len(task.dev) + 6, int(0.9 * task.answers)),
        reflection_lm=task.reflection,
        instruction_proposer=instruction_proposer(ADAPTERS["json"]()),
        add_format_failure_as_feedback=True,
        use_merge=len(task.student.predictors()) > 1,
        num_threads=task.threads,
        seed=task.seed,
    )
    yield search.compile(task.student, trainset=task.shuffled(), valset=task.dev)


def layouts(task: Task) -> Iterator[dspy.Module]:
    """Nothing to tune: the layouts are compared by evals/optimize/layouts.py."""
    yield from ()


@dataclass(frozen=True)
class Optimizer:
    """A tuning method. `proposes`: a model writes instructions. `labels`: it needs examples with the best answers.

    `finalists`: the number of candidates, judged only on training examples so far, that are then judged on dev.
    """

    tune: Callable[[Task], Iterator[dspy.Module]]
    help: str
    proposes: bool = False
    labels: bool = False
    finalists: int = 0
    needs: str | None = None


OPTIMIZERS: Mapping[str, Optimizer] = {
    "labeled": Optimizer(labeled, "demonstrations from labelled examples, the best of several draws", labels=True),
    "bootstrap": Optimizer(bootstrap, "demonstrations from the program's own good answers"),
    "bootstrap_rs": Optimizer(bootstrap_rs, "the best of many sets of such demonstrations"),
    "mipro": Optimizer(mipro, "instructions and demonstrations by Bayesian search", proposes=True, needs="optuna"),
    "simba": Optimizer(
        simba, "rules and demonstrations from examples whose answers differ", proposes=True, finalists=3
    ),
    "copro": Optimizer(copro, "instructions proposed from scores", proposes=True),
    "gepa": Optimizer(gepa, "instructions evolved by reflection on feedback", proposes=True),
    "layouts": Optimizer(layouts, "the layout of the observations that serves the model best"),
}


def optimizer(name: str) -> Optimizer:
    """The optimizer called `name`; ValueError lists the optimizers, or names the missing package."""
    if name not in OPTIMIZERS:
        raise ValueError(f"--optimizer {name!r}: choose one of {', '.join(OPTIMIZERS)}")
    found = OPTIMIZERS[name]
    if found.needs is not None and find_spec(found.needs) is None:
        raise ValueError(f"--optimizer {name} needs {found.needs}: install the extra with `uv sync --extra optimize`")
    return found
