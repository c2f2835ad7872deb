"""`run --otel`: send a run's spans to an OTLP receiver while it is played (extra `otel`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from evals.telemetry.asked_for import content_asked_for
from pipeline.printed_commands import command
from pipeline.simulation.lifecycle import OnYear
from pipeline.simulation.loop import Simulation
from pipeline.simulation.records import Year
from pipeline.store.shards import main_of
from pipeline.telemetry_addresses import ENVIRONMENT, traces_url
from programs.urls import shown

if TYPE_CHECKING:
    from evals.telemetry.sender import Sender

Tell = Callable[[str], None]
"""Shows the user a line of plain text."""


@contextmanager
def otel_log(simulation: Simulation, tell: Tell) -> Iterator[OnYear]:
    """Sends every stored year of the run, and the run when it has ended; does nothing without --otel.

    Whatever happens to the receiver, the run continues; `tell` gets one line at the end if something was not sent.
    """
    config = simulation.config
    if config.otel is None:
        yield lambda year: None
        return
    from evals.telemetry.receiver import Receiver
    from evals.telemetry.sender import Sender

    url = traces_url(config.otel, "--otel")
    receiver, sender = Receiver(url), None
    content = content_asked_for(config.trace_content)

    def begun() -> Sender:
        return Sender(receiver, simulation.store, simulation.run_id, simulation.start, content=content)

    def on_year(year: Year) -> None:
        nonlocal sender
        sender = sender or begun()
        sender.year_stored(year.year)

    try:
        yield on_year
    finally:
        if simulation.run_id:
            failure = (sender or begun()).finish()
            if failure is not None:
                tell(f"--otel {shown(url)}: {failure}; send them with: {_later(simulation, url)}")
        else:
            receiver.close()


def _later(simulation: Simulation, url: str) -> str:
    """The command that sends the run's spans again, without a key that the address may hold."""
    secret = simulation.config.otel == ENVIRONMENT or shown(url) != url
    run, db = stored_name(simulation)
    return command("export", run, "--to", "otlp" if secret else f"otlp{url.removeprefix('http')}", "--db", db)


def stored_name(simulation: Simulation) -> tuple[int | str, str]:
    """The number or name by which the run will be found, and its database; a merged run gets another number."""
    config, main = simulation.config, main_of(simulation.config.db)
    return simulation.run_id if config.db == main else config.name, main
