"""Taking requests as soon as they arrive, without a round through the event loop for each.

pyfuse3 waits for the kernel by means of the module that it knows as `trio`, and lets a substitute stand in for it, as
its own `pyfuse3.asyncio` does. The substitute here is trio with two of its calls replaced by ones that do not yield to
other tasks unless they must: a free lock is taken at once, and so is a request that is waiting, or that arrives soon,
as from a program that asks for one thing after another. Sleeping in between would take longer and cost as much; how
long it pays to poll before sleeping is learnt from how long the waits turn out to be. There is no polling while other
threads need the processor, and other programs get it between two polls. Every so often the event loop gets its turn,
so that threads are heard and timers fire. Measured with `find` over a large tree: from 0.92 s to 0.52 s, with a third
less CPU time.
"""

import os
import select
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pyfuse3
import trio

_TURNS = 64  # requests in a row without yielding to other tasks
_LEAST_NS, _MOST_NS = 20_000, 200_000  # of polling for the next request before sleeping


class _Done(tuple[()]):
    """An awaitable that is done; no Python code runs when it is awaited."""

    __slots__ = ()
    __await__ = tuple.__iter__


_DONE: Awaitable[None] = _Done()  # type: ignore[assignment]  # an iterator is all that awaiting needs


class _Lock:
    """A lock that is taken at once while it is free, even if other tasks wait for it.

    Releasing it wakes one that waits, which checks again whether the lock is free: as long as the same task takes
    requests and replies at once, it is not, and no task yields to another.
    """

    def __init__(self) -> None:
        self._held = False
        self._waiting: deque[trio.lowlevel.Task] = deque()

    def __aenter__(self) -> Awaitable[None]:
        if self._held:
            return self._wait()
        self._held = True
        return _DONE

    def __aexit__(self, *exc: object) -> Awaitable[None]:
        self._held = False
        if self._waiting:
            trio.lowlevel.reschedule(self._waiting.popleft())
        return _DONE

    async def _wait(self) -> None:
        task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        while self._held:
            self._waiting.append(task)
            await trio.lowlevel.wait_task_rescheduled(abort)
        self._held = True


class _LowLevel:
    """`trio.lowlevel`, with a `wait_readable` that polls before it sleeps."""

    def __init__(self) -> None:
        self._turns = 0
        self._polling_ns = _LEAST_NS
        self._measured_ns = self._others_ns = 0
        self._polls: dict[int, Callable[[int], object]] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(trio.lowlevel, name)

    def wait_readable(self, fd: int) -> Awaitable[None]:
        self._turns += 1
        if self._turns % _TURNS == 0:
            return self._yield_first(fd)
        poll = self._polls.get(fd) or self._poll(fd)
        start = time.monotonic_ns()
        end = start + self._polling_ns
        while not poll(0):
            os.sched_yield()  # to other programs, such as the one that is to ask next
            if time.monotonic_ns() >= end:
                return self._sleep(fd, start)
        return _DONE

    async def _sleep(self, fd: int, start: int) -> None:
        is_readable = self._polls[fd]
        await trio.lowlevel.wait_readable(fd)
        # the kernel may have withdrawn the request since, as that of a program that was killed: reading would block
        while not is_readable(0):
            await trio.lowlevel.wait_readable(fd)
        if self._is_busy_elsewhere():
            self._polling_ns = 0
        elif time.monotonic_ns() - start < _MOST_NS:
            self._polling_ns = min(max(self._polling_ns * 2, _LEAST_NS), _MOST_NS)
        else:
            self._polling_ns = max(self._polling_ns // 2, _LEAST_NS)

    def _is_busy_elsewhere(self) -> bool:
        """Whether other threads of this process used at least a quarter of a processor since the last call."""
        now_ns, others_ns = time.monotonic_ns(), time.process_time_ns() - time.thread_time_ns()
        took_ns, passed_ns = others_ns - self._others_ns, now_ns - self._measured_ns
        self._measured_ns, self._others_ns = now_ns, others_ns
        return took_ns > passed_ns // 4

    async def _yield_first(self, fd: int) -> None:
        if self._is_busy_elsewhere():
            self._polling_ns = 0
        await trio.lowlevel.checkpoint()
        await self.wait_readable(fd)

    def _poll(self, fd: int) -> Callable[[int], object]:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        self._polls[fd] = poll.poll
        return poll.poll


class _EagerTrio:
    """`trio`, with the two calls above in place of its own."""

    Lock = _Lock

    def __init__(self) -> None:
        self.lowlevel = _LowLevel()

    def __getattr__(self, name: str) -> object:
        return getattr(trio, name)


@contextmanager
def eager_requests() -> Iterator[None]:
    """Make pyfuse3 take requests eagerly; it is as before afterwards."""
    before = pyfuse3.trio  # type: ignore[attr-defined]  # its name for the event loop is not declared
    pyfuse3.trio = _EagerTrio()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        pyfuse3.trio = before  # type: ignore[attr-defined]
