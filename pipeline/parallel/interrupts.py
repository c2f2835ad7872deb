"""Handle Ctrl-C, SIGTERM and SIGHUP in a run's main process and in its worker processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from types import FrameType
from typing import Any, NoReturn, TypeVar

from programs.interruptible import in_main_thread, interruptible_wait

Result = TypeVar("Result")

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
POLITE = (signal.SIGTERM, signal.SIGHUP)
"""Signals that ask the process to end, as Ctrl-C does: a scheduler or `kill` sends the first, a closed terminal the
second."""

_received: set[int] = set()


def forget() -> None:
    """Reset the record of received signals at the start of a command."""
    _received.clear()


def exit_code() -> int:
    """The exit code of a command that a signal ended, as in shells: 143 after SIGTERM, 129 after SIGHUP, otherwise
    130."""
    return next((128 + number for number in POLITE if number in _received), INTERRUPTED)


def as_interrupt(signum: int, frame: object) -> None:
    """A handler for the signals in `POLITE`: it raises an interrupt, which asyncio delivers between two steps of a
    run."""
    _received.add(signum)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell, Ctrl-C is for others
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def interrupt_by(signum: int) -> KeyboardInterrupt:
    """The exception to raise for a signal that another library's handler received."""
    _received.add(signum)
    return KeyboardInterrupt()


@contextmanager
def polite_ends() -> Iterator[None]:
    """Within the block, each signal in `POLITE` is an interrupt, unless this process ignores it (as under `nohup`), or
    this is not its main thread."""
    if not in_main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in POLITE}
    heard = {number: handler for number, handler in previous.items() if handler is not signal.SIG_IGN}
    for number in heard:
        signal.signal(number, as_interrupt)
    try:
        yield
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)


@contextmanager
def noted_interrupts() -> Iterator[None]:
    """Within the block, `was_interrupted` also covers Ctrl-C; asyncio then leaves it to raise KeyboardInterrupt."""

    def note(signum: int, frame: FrameType | None) -> None:
        _received.add(signum)
        signal.default_int_handler(signum, frame)

    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.default_int_handler:
        signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def was_interrupted() -> bool:
    """Whether a signal asked this command to end, even if a library has turned the interrupt into another error."""
    return bool(_received)


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """A process that is started within the block ignores Ctrl-C until it sets its own handler: the parent handles it.

    If a thread other than the main one starts it, it ignores Ctrl-C only after it sets its own handler.
    """
    if not in_main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def work_for_another() -> None:
    """Set up a child process: it ignores Ctrl-C, and the signals in `POLITE` are interrupts."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in POLITE:
        signal.signal(number, as_interrupt)


LAST_THREADS = 5.0
"""Seconds for which an interrupted process waits for its threads before it exits without them."""


def leave(code: int) -> NoReturn:
    """Exit with `code`, after an interrupt even if threads of a library never end.

    An interrupt within `concurrent.futures.wait` can leave locks that no thread releases. Call this when all is stored.
    """
    if was_interrupted():
        deadline = time.monotonic() + LAST_THREADS
        others = [one for one in threading.enumerate() if one is not threading.current_thread() and not one.daemon]
        for thread in others:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in others):
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    sys.exit(code)


AGAIN = 0.5
"""Seconds after which tasks that have not ended are cancelled again."""


def run_async(main: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run` that leaves no coroutine unfinished, however many interrupts arrive.

    asyncio stops cancelling at the second interrupt. The remaining tasks then fail when Python collects them, and print
    a traceback. Raises what `main` raises.

    If a loop is already running, as in a notebook, `main` runs in a separate thread, and this one waits for it.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with asyncio.Runner() as runner:
            return _run_on(runner, main, copy_context())
    return _run_in_a_thread(main)


def _run_on(runner: asyncio.Runner, main: Coroutine[Any, Any, Result], context: Context) -> Result:
    """The result of `main`, after all tasks that it started have ended."""
    try:
        return runner.run(main, context=context)
    except BaseException:
        _cancel_all(runner.get_loop())
        raise


def _run_in_a_thread(main: Coroutine[Any, Any, Result]) -> Result:
    """The result of `main`, run by a loop in a separate thread. An interrupt of this thread cancels `main`, waits for
    its end, and is then raised."""
    context, result, ended = copy_context(), Future[Result](), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    def work() -> None:
        try:
            with asyncio.Runner() as runner:
                loops.append(runner.get_loop())
                result.set_result(_run_on(runner, main, context))
        except BaseException as error:
            result.set_exception(error)
        finally:
            ended.set()

    interrupted = False
    with interruptible_wait():
        threading.Thread(target=work, name="event loop").start()
        while not ended.is_set():
            try:
                if ended.wait(AGAIN if interrupted else None):
                    break
            except KeyboardInterrupt:
                interrupted = True
            for loop in loops:
                with suppress(RuntimeError):  # it has just been closed
                    loop.call_soon_threadsafe(_cancel_tasks, loop)
    try:
        return result.result()
    except (CancelledError, asyncio.CancelledError):
        if interrupted:
            raise KeyboardInterrupt from None
        raise


def _cancel_tasks(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks of a loop until all have ended; stop if an interrupt arrives and no task ends.

    An interrupt that a task raises ends that task, and the others are cancelled in another round. So are tasks that
    continue after a cancellation: `asyncio.wait_for` loses one that arrives together with its result.
    """
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        try:
            loop.run_until_complete(asyncio.wait(tasks, timeout=AGAIN))
        except KeyboardInterrupt:
            if not any(task.done() for task in tasks):
                raise
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()  # asyncio would print an exception that is never retrieved
