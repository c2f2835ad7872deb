"""Send what a run has stored from a thread of its own, which can neither slow the run down nor stop it.

The database is the queue: the thread reads each year after its commit, so nothing piles up in memory while a receiver
is slow, and what was not sent can be sent later from the stored run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from evals.telemetry.receiver import Receiver
from evals.telemetry.run_rows import RunRows
from evals.telemetry.spans import Batch, RunSpans
from pipeline.store.columns import Columns, Reader

GRACE = 5.0
"""Seconds that a run's end waits for a receiver that answers."""

GRACE_FAILING = 0.5
"""Seconds that it waits for one whose last answer was a failure."""

LATE: set[str] = set()
"""Receivers for which an earlier run of this process waited in vain: the runs of a comparison do not wait again."""

LONGEST_WAIT = 30.0
REFUSALS = 3
"""After so many refused batches in a row nothing more is sent."""


class _GivenUp(Exception):
    """The run has ended or the receiver does not want these spans."""


class Sender:
    """Sends the years of the run `run_id` in order. `year_stored` and `finish` are called by the run's own thread."""

    def __init__(self, receiver: Receiver, reader: Reader, run_id: int, start: int, *, content: bool) -> None:
        self.receiver, self.content = receiver, content
        self._reader, self._run_id = reader, run_id
        self._next, self._stored = start, start
        self._unsent: set[int] = set()
        self._refusals = 0
        self._ending = False
        self._left = False
        self._changed = threading.Condition()
        self._reading = threading.Lock()
        self._error: str | None = None
        self._whole = False
        self._thread = threading.Thread(target=self._work, name="otel", daemon=True)
        self._thread.start()

    def year_stored(self, year: int) -> None:
        with self._changed:
            self._stored = year + 1
            self._changed.notify()

    def finish(self) -> str | None:
        """Send the rest, for as long as the receiver deserves; what was not sent and why, None if everything was."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        begun = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.02)
            hopeless = self.receiver.failure is not None or self.receiver.url in LATE
            if time.monotonic() - begun > (GRACE_FAILING if hopeless else GRACE):
                LATE.add(self.receiver.url)
                break
        else:
            LATE.discard(self.receiver.url)
        with self._reading:  # from here on the thread reads no more: the database may be closed
            self._left = True
        self.receiver.close()
        if self._whole:
            return None
        unsent = len(self._unsent) + max(self._stored - self._next, 0)
        what = f"{unsent} of {self._stored} years were" if unsent else "the run's own span was"
        return f"{what} not sent: {self._error or self.receiver.failure or 'it is too slow'}"

    def _work(self) -> None:
        try:
            spans = RunSpans(RunRows(self._guarded(), self._run_id, content=self.content))
            while (year := self._year_to_send()) is not None:
                self._send_year(spans, year)
            self._send_rest(spans)
        except _GivenUp:  # the command has ended and told how much was not sent
            return
        except Exception as error:  # whatever it is, the run continues
            self._error = f"{type(error).__name__} in this program"

    def _guarded(self) -> Reader:
        return _Guarded(self._reader, self)

    def _year_to_send(self) -> int | None:
        """The next stored year, when there is one; None when the run has ended and all of them are sent."""
        with self._changed:
            self._changed.wait_for(lambda: self._ending or self._next < self._stored)
            return self._next if self._next < self._stored else None

    def _send_year(self, spans: RunSpans, year: int) -> None:
        for batch in spans.year(year):
            if not self._deliver(batch):
                self._unsent.add(year)
        self._next = year + 1

    def _send_rest(self, spans: RunSpans) -> None:
        """A year that was begun but not completed, and the run itself."""
        for year in spans.rows.years():
            if year >= self._next:
                for batch in spans.year(year):
                    self._deliver(batch)
        self._whole = self._deliver([spans.run()]) and not self._unsent

    def _deliver(self, batch: Batch) -> bool:
        """Whether the receiver took the batch. Repeats it while the run continues, if that makes sense."""
        wait, last = 1.0, False
        while not self.receiver.send(batch):
            if not self.receiver.again:
                self._refusals += 1
                if self._refusals >= REFUSALS:
                    raise _GivenUp
                return False
            if last:
                raise _GivenUp
            with self._changed:
                last = self._changed.wait_for(lambda: self._ending, wait)
            wait = min(2 * wait, LONGEST_WAIT)
        self._refusals = 0
        return True

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._reading:
            if self._left:
                raise _GivenUp
            yield


class _Guarded:
    """The run's database, for as long as the run waits for the sender."""

    def __init__(self, reader: Reader, sender: Sender) -> None:
        self.path, self._reader, self._sender = reader.path, reader, sender

    def rows(self, query: str, parameters: Iterable[Any] = ()) -> list[dict[str, Any]]:
        with self._sender.reading():
            return self._reader.rows(query, parameters)

    def columns(self, query: str, parameters: Iterable[Any] = ()) -> Columns:
        with self._sender.reading():
            return self._reader.columns(query, parameters)
