import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from imgfs.registry.transport import RegistryError
from imgfs.single_flight import SingleFlight

THREADS = 8


class Calls:
    """Calls that wait until all threads have come."""

    def __init__(self) -> None:
        self.count = 0
        self.may_end = Event()
        self.flight: SingleFlight[str, int] = SingleFlight()

    def run(self, make: Callable[[], int]) -> list[int | BaseException]:
        """Have all threads call for one key at once; what each gets."""
        barrier = Barrier(THREADS + 1)

        def counted() -> int:
            self.count += 1
            assert self.may_end.wait(10)
            return make()

        def call() -> int:
            barrier.wait()
            return self.flight.call("key", counted)

        with ThreadPoolExecutor(THREADS) as pool:
            futures = [pool.submit(call) for _ in range(THREADS)]
            barrier.wait()
            self.flight.call("other", lambda: 1)  # which waits for nothing
            time.sleep(0.2)  # until they wait
            self.may_end.set()
            return [future.exception() or future.result() for future in futures]


def test_one_calls_and_all_get_what_is_returned() -> None:
    calls = Calls()
    assert calls.run(lambda: 7) == [7] * THREADS
    assert calls.count < THREADS


def test_all_fail_together_each_with_an_error_of_its_own() -> None:
    def fail() -> int:
        raise RegistryError("it is not there", 404)

    calls = Calls()
    errors = calls.run(fail)
    assert {(type(error), str(error), getattr(error, "status", 0)) for error in errors} == {
        (RegistryError, "it is not there", 404)
    }
    assert len({id(error) for error in errors}) == THREADS
    assert calls.count < THREADS


def test_nothing_is_kept() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    with pytest.raises(ZeroDivisionError):
        flight.call("key", lambda: 1 // 0)
    assert [flight.call("key", lambda number=number: number) for number in (1, 2)] == [1, 2]  # type: ignore[misc]
