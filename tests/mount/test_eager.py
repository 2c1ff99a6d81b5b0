"""The substitutes for trio's lock and its waiting for files."""

import os
import select
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

import pyfuse3
import pytest
import trio
import trio.testing

from imgfs.mount import eager
from imgfs.mount.eager import _Lock, _LowLevel


def test_one_task_takes_the_lock_again_and_again_without_yielding() -> None:
    async def main() -> None:
        lock = _Lock()
        async with trio.open_nursery() as nursery:
            taken: list[str] = []

            async def other() -> None:
                async with lock:
                    taken.append("other")

            async with lock:
                nursery.start_soon(other)
                await trio.testing.wait_all_tasks_blocked()
            for _ in range(100):
                async with lock:
                    taken.append("first")
        assert taken == ["first"] * 100 + ["other"]

    _run(main)


def test_never_two_tasks_hold_the_lock_and_all_get_it() -> None:
    async def main() -> None:
        lock, inside, got = _Lock(), 0, [0] * 5

        async def worker(number: int) -> None:
            nonlocal inside
            for turn in range(50):
                async with lock:
                    inside += 1
                    assert inside == 1
                    await trio.lowlevel.checkpoint()
                    inside -= 1
                got[number] += 1
                if (turn + number) % 3 == 0:
                    await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(worker, number)
        assert got == [50] * 5

    _run(main)


def test_a_task_that_waits_for_the_lock_can_be_cancelled_and_no_other_waits_forever() -> None:
    async def main() -> None:
        lock = _Lock()
        got: list[int] = []

        async def waiter(number: int, scope: trio.CancelScope) -> None:
            with scope:
                async with lock:
                    got.append(number)

        scopes = [trio.CancelScope() for _ in range(3)]
        async with trio.open_nursery() as nursery:
            async with lock:
                for number, scope in enumerate(scopes):
                    nursery.start_soon(waiter, number, scope)
                    await trio.testing.wait_all_tasks_blocked()
                scopes[0].cancel()
            scopes[1].cancel()  # it was woken by now
        assert got == [1, 2]

    _run(main)


def test_a_holder_that_fails_lets_go() -> None:
    async def main() -> None:
        lock = _Lock()
        with suppress(ValueError):
            async with lock:
                raise ValueError
        async with lock:
            pass

    _run(main)


def test_other_tasks_are_heard_while_there_is_always_something_to_read() -> None:
    async def main(low_level: _LowLevel, reading: int, writing: int) -> None:
        os.write(writing, b"x")
        async with trio.open_nursery() as nursery:
            heard = trio.Event()
            nursery.start_soon(_set, heard)
            turns = 0
            while not heard.is_set():
                await low_level.wait_readable(reading)
                turns += 1
            assert 1 < turns <= 2 * eager._TURNS, "two tasks that may run do so in either order"

    _with_pipe(main)


def test_what_is_waited_for_comes_however_late() -> None:
    async def main(low_level: _LowLevel, reading: int, writing: int) -> None:
        for delay in (0.0, 0.0001, 0.01):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_write_later, writing, delay)
                with trio.fail_after(5):
                    await low_level.wait_readable(reading)
            assert os.read(reading, 10) == b"x"

    _with_pipe(main)


@pytest.mark.parametrize(("most", "factor"), [(1_000_000_000, 2), (1_000_000, 0.5)])
def test_polling_lasts_longer_if_it_would_have_paid_and_less_long_if_not(
    monkeypatch: pytest.MonkeyPatch, most: int, factor: float
) -> None:
    async def main(low_level: _LowLevel, reading: int, writing: int) -> None:
        before = low_level._polling_ns = 4 * eager._LEAST_NS
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write_later, writing, 0.05)
            await low_level.wait_readable(reading)
        assert low_level._polling_ns == before * factor

    monkeypatch.setattr(eager, "_MOST_NS", most)
    _with_pipe(main)


def test_what_has_been_taken_away_since_is_waited_for_again() -> None:
    """As a request of a program that is killed: pyfuse3 would block the event loop reading what is not there."""

    async def take_away(reading: int) -> None:
        await trio.lowlevel.wait_readable(reading)
        os.read(reading, 1)

    async def main(low_level: _LowLevel, reading: int, writing: int) -> None:
        for _ in range(30):  # which task is run first is left to chance
            low_level._polling_ns = 0
            other = os.dup(reading)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(take_away, other)
                nursery.start_soon(_write_later, writing, 0.001)
                nursery.start_soon(_write_later, writing, 0.01)
                await low_level.wait_readable(reading)
                assert select.select([reading], [], [], 0)[0]
            os.read(reading, 1)
            os.close(other)

    _with_pipe(main)


def test_there_is_no_polling_while_other_threads_work() -> None:
    async def main(low_level: _LowLevel, reading: int, writing: int) -> None:
        stop = Event()
        working = Thread(target=_work, args=(stop,))
        working.start()
        try:
            for _ in range(20):  # a busy machine may give the thread no processor for a while
                low_level._polling_ns = eager._LEAST_NS
                async with trio.open_nursery() as nursery:
                    low_level._is_busy_elsewhere()
                    nursery.start_soon(_write_later, writing, 0.05)
                    await low_level.wait_readable(reading)
                os.read(reading, 1)
                if low_level._polling_ns == 0:
                    break
        finally:
            stop.set()
            working.join()
        assert low_level._polling_ns == 0

    _with_pipe(main)


def test_pyfuse3_has_its_own_event_loop_again_afterwards() -> None:
    before = pyfuse3.trio  # type: ignore[attr-defined]
    with suppress(ValueError), eager.eager_requests():
        assert isinstance(pyfuse3.trio.Lock(), _Lock)  # type: ignore[attr-defined]
        assert pyfuse3.trio.open_nursery is trio.open_nursery  # type: ignore[attr-defined]
        raise ValueError
    assert pyfuse3.trio is before  # type: ignore[attr-defined]


def _work(stop: Event) -> None:
    while not stop.is_set():
        pass


async def _set(event: trio.Event) -> None:
    event.set()


async def _write_later(descriptor: int, delay: float) -> None:
    if delay:
        await trio.sleep(delay)
    os.write(descriptor, b"x")


def _with_pipe(main: Callable[..., object]) -> None:
    reading, writing = os.pipe()
    try:
        _run(main, _LowLevel(), reading, writing)
    finally:
        os.close(reading)
        os.close(writing)


def _run(main: Callable[..., object], *arguments: object) -> None:
    async def within() -> None:
        with trio.fail_after(10):
            await main(*arguments)  # type: ignore[misc]

    trio.run(within)
