"""Garbage is searched for less often while a run is played, and as before when it has ended, however it ended."""

import gc

import pytest

from pipeline.simulation.gc_pause import RARELY, rarely_collected


def test_python_collects_as_before_once_a_run_has_ended() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with rarely_collected():
        assert gc.get_threshold() == RARELY
        assert gc.get_freeze_count() > frozen + 1000
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


def test_a_run_that_fails_leaves_no_trace_either() -> None:
    before = gc.get_threshold()
    with pytest.raises(RuntimeError), rarely_collected():
        raise RuntimeError("the model is gone")
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


def test_what_becomes_garbage_meanwhile_is_found() -> None:
    class Circle:
        alive = 0

        def __init__(self) -> None:
            Circle.alive += 1
            self.itself = self

        def __del__(self) -> None:
            Circle.alive -= 1

    with rarely_collected():
        for _ in range(RARELY[0] * 3):
            Circle()
        assert Circle.alive < RARELY[0] * 2
