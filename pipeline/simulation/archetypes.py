"""Archetypes: groups of similar workers for whom one member's prompt is answered, and the assignment of answers.

The members of an archetype have the same utility type and a similar background, wage and remembered hours. The model
is asked about one member, with its own wage and record, and the others use the same answer.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.economy.census import IntArray, occupation_groups
from pipeline.economy.population import UTILITY_TYPES, Population
from pipeline.economy.utility import Economy
from pipeline.simulation.memory import Floats, WorkerMemory

FULL_TIME = 40
"""Hours a week at which differences in wages are converted into hours."""

PER_GROUP = 4
"""Minimum average number of archetypes per demographic group; otherwise groups are not used, because wages matter
more."""


@dataclass(frozen=True, eq=False)
class Delegation:
    """The questions to workers in a year, and which worker uses which answer.

    `agent` (Q,), ascending: the worker under whose number each question is stored. `shown` (Q,): the worker whose wage
    and record the prompt shows. `answer` (N,): the question whose answer each worker uses, -1 for workers that no model
    decides for. `archetype` (N,): the worker whose state is shown for each worker; None without archetypes.
    """

    agent: IntArray
    shown: IntArray
    answer: IntArray
    archetype: IntArray | None = None

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(`agent`, `shown`) of each question."""
        return zip(self.agent.tolist(), self.shown.tolist(), strict=True)


def everybody(asked: NDArray[np.bool_]) -> Delegation:
    """One question for each worker that is `asked` (N,)."""
    agents = np.flatnonzero(asked)
    return Delegation(agents, agents, np.where(asked, np.cumsum(asked) - 1, -1))


def delegate(archetype: IntArray, samples: int) -> Delegation:
    """Ask `samples` questions per archetype, or as many as it has members.

    `archetype` (N,): for each worker, the member of its archetype whose state is shown. Members are counted cyclically
    from that one. The first ones give their numbers to the samples, and each member uses the answer of its position
    modulo `samples`.

    >>> delegate(np.array([1, 1, 1, 3, 3, 1]), 2).agent
    array([1, 2, 3, 4])
    """
    order = np.argsort(archetype, kind="stable")
    first = np.flatnonzero(np.diff(archetype[order], prepend=-1))
    size = np.diff(first, append=len(order))
    home = np.repeat(np.arange(len(first)), size)
    speaker = np.flatnonzero(order == archetype[order]) - first
    rank = np.arange(len(order)) - first[home]
    sample = (rank - speaker[home]) % size[home] % samples
    lender = order[first[home] + (speaker[home] + sample) % size[home]]
    name = np.empty_like(order)
    name[order] = lender
    agents = np.unique(lender)
    return Delegation(agents, archetype[agents], np.searchsorted(agents, name), archetype)


def form(
    population: Population, memory: WorkerMemory, hours: Floats, *, economy: Economy, most: int, personas: bool
) -> IntArray:
    """Form at most `most` archetypes: for each worker (N,), the member whose state is shown for it.

    `hours` (N,): of the last year. `personas`: whether prompts describe the worker. If there are at least as many
    archetypes as workers, each worker is its own. Deterministic; groups do not depend on the order of workers.
    ValueError for fewer archetypes than utility types.
    """
    workers = np.arange(population.num_agents)
    if most >= len(workers):
        return workers
    traits = _traits(population, memory, hours, economy)
    archetype = np.empty_like(workers)
    for cell in partition(traits, _groups(population, most, personas=personas), most):
        archetype[cell] = cell[_middle(traits[cell])]
    return archetype


def _traits(population: Population, memory: WorkerMemory, hours: Floats, economy: Economy) -> Floats:
    """Traits (N, 3) by which workers are grouped, in hours a week: the converted wage, the last and the best hours.

    A log wage that is higher by one counts as `FULL_TIME * elasticity` hours, by the elasticity of labor supply.
    """
    best, value = hours.copy(), np.full(len(hours), -np.inf)
    for row in memory.rows():
        better = memory.value[row] > value
        np.copyto(best, memory.hours[row], where=better)
        np.copyto(value, memory.value[row], where=better)
    return np.column_stack([FULL_TIME * economy.elasticity * np.log(population.wage), hours, best])


def _groups(population: Population, most: int, *, personas: bool) -> IntArray:
    """A number (N,) for each worker's utility type and, with `personas` and enough archetypes, occupation group and
    sex."""
    kind = np.zeros(population.num_agents, dtype=np.int64)
    for number, name in enumerate(UTILITY_TYPES):
        kind[population.utility_type == name] = number
    if len(np.unique(kind)) > most:
        raise ValueError(f"{most} archetypes are too few for {len(np.unique(kind))} utility types")
    if not personas or population.occupation is None or population.sex is None:
        return kind
    names = occupation_groups()
    number_of = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
    job = np.array([number_of[names[occupation]] for occupation in population.occupation])
    for finer in (job, (population.sex == "Female").astype(np.int64)):
        told = kind * len(number_of) + finer
        if len(np.unique(told)) * PER_GROUP > most:
            break
        kind = told
    return kind


def partition(traits: Floats, group: IntArray, most: int) -> list[IntArray]:
    """Partition workers into at most `most` cells, none of which spans two of the groups (N,).

    Repeatedly, the cell with the highest members * range**2 is cut in the middle of its widest trait. As in an optimal
    quantizer, cells are narrow where there are many workers, and outliers get their own. Workers with the same `traits`
    (N, D) stay together. The result does not depend on the order of workers.
    """
    order = np.argsort(group, kind="stable")
    cells = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    heap = [_widest(traits, cell, number) for number, cell in enumerate(cells)]
    heapq.heapify(heap)
    while len(cells) < most and heap[0][0] < 0:
        _, number, trait, cut = heap[0]
        low = traits[cells[number], trait] <= cut
        cells.append(cells[number][~low])
        cells[number] = cells[number][low]
        heapq.heapreplace(heap, _widest(traits, cells[number], number))
        heapq.heappush(heap, _widest(traits, cells[-1], len(cells) - 1))
    return cells


def _widest(traits: Floats, cell: IntArray, number: int) -> tuple[float, int, int, float]:
    """The negative priority of cutting a cell, its number, the trait to cut, and the position of the cut."""
    here = traits[cell]
    low, high = here.min(axis=0), here.max(axis=0)
    trait = int(np.argmax(high - low))
    cut = min((low[trait] + high[trait]) / 2, np.nextafter(high[trait], low[trait]))
    return -len(cell) * float(high[trait] - low[trait]) ** 2, number, trait, float(cut)


def _middle(traits: Floats) -> int:
    """The member of a cell with traits (C, D) that is nearest to the medians of the traits; ties go to the first."""
    return int(np.argmin(((traits - np.median(traits, axis=0)) ** 2).sum(axis=1)))
