"""A real Jupyter kernel, in which an event loop is running: play a run, look at it, interrupt one and resume it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode, v4
from support.command_line import CommandLine

import llm_economist as le

PLAY = """le.simulate(
    llm="rules", num_agents={agents}, max_timesteps={years}, two_timescale=2, name="notebook", db="a.duckdb"
)"""
FIRST = "import asyncio\n\nassert asyncio.get_running_loop().is_running()\nimport llm_economist as le\n\n"
PATIENCE = 120
YEARS = 100
"""Of the run that is interrupted."""


def played(*cells: str, meanwhile: Callable[[NotebookClient, NotebookNode], Any] | None = None) -> list[NotebookNode]:
    """The cells with their outputs, from a kernel of their own; `meanwhile` runs during the first cell."""
    notebook = v4.new_notebook(cells=[v4.new_code_cell(code) for code in cells])
    client = NotebookClient(
        notebook, timeout=PATIENCE, km=AsyncKernelManager(kernel_name="python3", transport="ipc"), allow_errors=True
    )

    async def play() -> None:
        async with client.async_setup_kernel(cleanup_kc=True):
            first = asyncio.create_task(client.async_execute_cell(notebook.cells[0], 0))
            if meanwhile is not None:
                await asyncio.wait_for(meanwhile(client, notebook.cells[0]), PATIENCE)
            await first
            for number, cell in enumerate(notebook.cells[1:], 1):
                await client.async_execute_cell(cell, number)

    try:
        asyncio.run(play())
    except CellExecutionError as error:
        raise AssertionError(str(error)) from error
    return list(notebook.cells)


def shown(cell: NotebookNode) -> dict[str, str]:
    """The value of a cell by its form, or why it failed."""
    errors = [output for output in cell.outputs if output.output_type == "error"]
    assert not errors, errors
    (value,) = (output.data for output in cell.outputs if output.output_type == "execute_result")
    return dict(value)


def printed(cells: list[NotebookNode]) -> list[str]:
    return [output.text for cell in cells for output in cell.outputs if output.output_type == "stream"]


def test_a_notebook_plays_a_run_and_shows_it() -> None:
    first, relations = played(
        f"{FIRST}run = {PLAY.format(agents=4, years=4)}\nrun",
        "len(run.decisions), run.years.select('year').limit(1).fetchall(), run.sql('select 7').fetchall()",
    )
    assert "<th>schedule</th>" in shown(first)["text/html"]
    assert "finished, 4 of 4 years" in shown(first)["text/plain"]
    assert shown(relations)["text/plain"] == "(16, [(0,)], [(7,)])"
    assert printed([first, relations]) == []
    bars = [output.data["text/html"] for output in first.outputs if output.output_type == "display_data"]
    assert bars == [""], "the bar is there while the run is played, and gone when it has ended"


@pytest.mark.slow
def test_a_notebook_compares_and_shows_the_tables_once() -> None:
    settings = "seeds=2, num_agents=2, max_timesteps=2, two_timescale=1, llm='rules', db='b.duckdb'"
    first, last = played(f"{FIRST}found = le.compare('worker=io', 'worker=cot', {settings})", "found")
    assert [output.name for output in first.outputs] == ["stderr"] * len(first.outputs)
    assert "4/4 runs" in "".join(printed([first]))
    assert "2 arms on the same people" not in "".join(printed([first]))
    assert "2 arms on the same people" in shown(last)["text/html"]


@pytest.mark.slow
def test_an_interrupted_cell_leaves_a_run_that_can_be_looked_at_and_resumed(cli: CommandLine) -> None:
    seen: list[str] = []

    async def interrupt(client: NotebookClient, cell: NotebookNode) -> None:
        while not any(f"year 3 of {YEARS}" in text for text in seen):
            seen.extend(output.data["text/html"] for output in cell.outputs if output.output_type == "display_data")
            assert not any(output.output_type == "error" for output in cell.outputs), cell.outputs
            await asyncio.sleep(0.001)
        assert client.km is not None
        await client.km.interrupt_kernel()

    code = f"{FIRST}run = {PLAY.format(agents=20, years=YEARS)}"
    again = "run = le.open('a.duckdb').run('notebook')\nrun.status"
    cell, after, chart, oracle = played(
        code, again, "run.figure('schedule')", "run.oracle.schedule.rates", meanwhile=interrupt
    )
    (error,) = (output for output in cell.outputs if output.output_type == "error")
    assert error.ename == "KeyboardInterrupt"
    assert "run 1 is interrupted, and all replies are stored; resume it with: " in error.evalue
    assert shown(after)["text/plain"] == "'interrupted'"
    assert {"text/html", "application/vnd.vegalite.v6+json"} & shown(chart).keys()
    run = le.open("a.duckdb").run(1)
    assert shown(oracle)["text/plain"] == str(run.oracle.schedule.rates)
    before = len(run.years)
    assert 1 <= before < YEARS
    assert cli("resume", "1", "--db", "a.duckdb").code == 0
    assert (run.status, len(run.years)) == ("finished", YEARS)
