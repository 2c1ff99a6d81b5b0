"""Turns, which one that is stuck does not keep."""

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from imgfs.layers.turn import Turn
from tests.conftest import eventually


def test_one_has_the_turn_at_a_time() -> None:
    turn = Turn(patience=10)
    with turn.take():
        assert turn.try_take() is None
    ticket = turn.try_take()
    assert ticket is not None
    ticket.leave()
    ticket.leave()
    assert turn.try_take() is not None


def test_the_next_comes_when_the_turn_ends() -> None:
    turn = Turn(patience=10)
    first = turn.take()
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(turn.take)
        time.sleep(0.05)
        assert not second.done()
        first.leave()
        assert second.result(5) is not first


def test_who_gets_on_keeps_the_turn_and_who_does_not_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("imgfs.layers.turn.time", SimpleNamespace(monotonic=lambda: now))
    turn = Turn(patience=0.05)
    first = turn.take()
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(turn.take)
        for _ in range(5):
            now += 0.04
            first.advance()
            time.sleep(0.06)  # the second looks again
        assert not second.done()
        now += 0.06
        assert eventually(second.done)
        first.leave()  # which ends nothing, as it was not its turn any more
        assert turn.try_take() is None
