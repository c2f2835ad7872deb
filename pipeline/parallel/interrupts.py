"""Handle Ctrl-C, SIGTERM and SIGHUP in a run's main process and in its worker processes."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
POLITE = (signal.SIGTERM, signal.SIGHUP)
"""Signals that ask for an end, as Ctrl-C does: a scheduler or `kill` sends the first, a closed terminal the second."""

_received: set[int] = set()


def forget() -> None:
    """Reset the record of received signals at the start of a command."""
    _received.clear()


def exit_code() -> int:
    """The exit code of a command that a signal ended, as shells count: 143 after SIGTERM, 129 after SIGHUP or 130."""
    return next((128 + number for number in POLITE if number in _received), INTERRUPTED)


def as_interrupt(signum: int, frame: object) -> None:
    """A handler for `POLITE`: a polite end is an interrupt, which asyncio lets a run come to between two steps."""
    _received.add(signum)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell, where Ctrl-C is not for us
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def interrupt_by(signum: int) -> KeyboardInterrupt:
    """The exception to raise for a signal that another library's handler received."""
    _received.add(signum)
    return KeyboardInterrupt()


def in_main_thread() -> bool:
    """Whether Python lets this thread handle signals; in any other one, interrupts reach the main thread alone."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def polite_ends() -> Iterator[None]:
    """Meanwhile each signal of `POLITE` is an interrupt, unless this process ignores it, as under `nohup`, or this is
    not its main thread."""
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
    """Meanwhile `was_interrupted` knows of Ctrl-C, too; asyncio then leaves it to raise KeyboardInterrupt."""

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
    """Whether a signal asked this command to end, even if a library has made another error of the interrupt."""
    return bool(_received)


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """A process that begins meanwhile ignores Ctrl-C, until it says otherwise: that is for its parent to handle.

    Begun by another thread than the main one, it ignores Ctrl-C only once it says so itself.
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
    """In a process that was begun for another: Ctrl-C does not reach it, and `POLITE` are interrupts."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in POLITE:
        signal.signal(number, as_interrupt)


def run_async(main: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run`, but no coroutine is left half done, however many interrupts arrive.

    asyncio gives up cancelling at the second interrupt. What it leaves behind fails when Python collects it, and prints
    a traceback. Raises what `main` raises.

    Where a loop is running already, as in a notebook, `main` runs in a thread of its own, and this one waits for it.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with asyncio.Runner() as runner:
            return _run_on(runner, main, copy_context())
    return _run_in_a_thread(main)


def _run_on(runner: asyncio.Runner, main: Coroutine[Any, Any, Result], context: Context) -> Result:
    """What `main` returns; all that it began has ended."""
    try:
        return runner.run(main, context=context)
    except BaseException:
        _cancel_all(runner.get_loop())
        raise


def _run_in_a_thread(main: Coroutine[Any, Any, Result]) -> Result:
    """What `main` returns from a loop in a thread of its own. An interrupt of this thread cancels `main`, whose end is
    waited for, and is raised then."""
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
    with _interruptible_wait():
        threading.Thread(target=work, name="event loop").start()
        while not ended.is_set():
            try:
                ended.wait()
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


@contextmanager
def _interruptible_wait() -> Iterator[None]:
    """Meanwhile Ctrl-C interrupts the main thread at once: the handler of a loop that waits for us would do nothing."""
    if not in_main_thread() or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _cancel_tasks(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks of a loop until each has ended; give up where an interrupt comes and no task ends.

    An interrupt that a task raises ends that task, and the others are cancelled in another round.
    """
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        try:
            loop.run_until_complete(asyncio.wait(tasks))
        except KeyboardInterrupt:
            if not any(task.done() for task in tasks):
                raise
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()  # asyncio prints an exception that was never looked at
