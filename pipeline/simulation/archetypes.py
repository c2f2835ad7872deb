"""Who is asked in a year, and for whom each answers: everybody for themselves, or one of many workers for all of them.

An archetype is a set of workers who want the same, are of the same kind of people, earn about the same, and remember
about the same hours. One of them is asked, with their own wage and their own record, and the others do likewise.
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
"""Hours a week around which a difference in wages is told as one in hours."""

PER_GROUP = 4
"""Archetypes that a group of people must have on average before it is told apart: wages matter more than jobs."""


@dataclass(frozen=True, eq=False)
class Delegation:
    """The questions of a year to workers, and whose answers they are.

    `agent` (Q,), ascending: in whose name each is asked. `shown` (Q,): whose wage and record its prompt tells.
    `answer` (N,): the question whose answer each worker takes, -1 where nobody asks for it. `archetype` (N,): the
    worker whose state is told for each; None where everybody is asked for themselves.
    """

    agent: IntArray
    shown: IntArray
    answer: IntArray
    archetype: IntArray | None = None

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(`agent`, `shown`) of each question."""
        return zip(self.agent.tolist(), self.shown.tolist(), strict=True)


def everybody(asked: NDArray[np.bool_]) -> Delegation:
    """All who are `asked` (N,), each for themselves."""
    agents = np.flatnonzero(asked)
    return Delegation(agents, agents, np.where(asked, np.cumsum(asked) - 1, -1))


def delegate(archetype: IntArray, samples: int) -> Delegation:
    """Each archetype is asked `samples` times, or as often as it has members.

    `archetype` (N,): for each worker the one whose state is told, who is a member. Counted by number from that one on
    and around, the first members lend their names to the samples, and every member takes the sample of its place,
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
    """At most `most` archetypes: for each worker (N,) the member whose state is told for it.

    `hours` (N,): of the last year. `personas`: whether workers are told who they are. As many archetypes as workers, or
    more: everybody is their own. Deterministic, and which workers are together does not depend on their numbers.
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
    """What tells workers apart, in hours a week (N, 3): what the wage is worth, the last hours, the best remembered.

    At the elasticity of labor supply, a wage that is higher by one in logs is worth `FULL_TIME * elasticity` hours.
    """
    best, value = hours.copy(), np.full(len(hours), -np.inf)
    for row in memory.rows():
        better = memory.value[row] > value
        np.copyto(best, memory.hours[row], where=better)
        np.copyto(value, memory.value[row], where=better)
    return np.column_stack([FULL_TIME * economy.elasticity * np.log(population.wage), hours, best])


def _groups(population: Population, most: int, *, personas: bool) -> IntArray:
    """A number for each worker's utility type (N,) and, with `personas` and as far as `most` archetypes can tell,
    occupation group and sex."""
    kind = np.zeros(population.num_agents, dtype=np.int64)
    for number, name in enumerate(UTILITY_TYPES):
        kind[population.utility_type == name] = number
    if len(np.unique(kind)) > most:
        raise ValueError(f"{most} archetypes for {len(np.unique(kind))} utility types")
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
    """Cells of members, at most `most` and none across two of the groups (N,): widely scattered ones are cut first.

    The cell with the highest members * range**2 is halved in the middle of its widest trait, again and again: cells
    are narrow where many are, as in the best quantizer, and the few far out have cells of their own. Members with the
    same `traits` (N, D) stay together. Only comparisons decide, so that the order of the members does not.
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
    """Minus how much a cell needs to be cut, its number, and which trait to cut where."""
    here = traits[cell]
    low, high = here.min(axis=0), here.max(axis=0)
    trait = int(np.argmax(high - low))
    cut = min((low[trait] + high[trait]) / 2, np.nextafter(high[trait], low[trait]))
    return -len(cell) * float(high[trait] - low[trait]) ** 2, number, trait, float(cut)


def _middle(traits: Floats) -> int:
    """The member (of C, D) that is nearest to the median of each trait; of equals the first."""
    return int(np.argmin(((traits - np.median(traits, axis=0)) ** 2).sum(axis=1)))
