"""Verifying in the background: one after another, in a thread that stops soon when it is closed."""

from threading import Event

from imgfs.errors import Corrupt
from imgfs.layers.background import BackgroundVerifier, Take
from tests.conftest import eventually


def test_what_is_added_is_verified_one_after_another_whatever_fails() -> None:
    verifier, seen = BackgroundVerifier(), list[int]()

    def verify(number: int) -> None:
        seen.append(number)
        raise Corrupt(f"layer {number}")

    for number in range(2):
        verifier.add(lambda take, number=number: verify(number))  # type: ignore[misc]
    assert eventually(lambda: seen == [0, 1])
    verifier.close()


def test_closing_stops_it_between_two_chunks_and_nothing_begins_after() -> None:
    verifier, running, ended, next_one = BackgroundVerifier(), Event(), Event(), Event()

    def verify_without_end(take: Take) -> None:
        try:
            while True:
                take(b"chunk")
                running.set()
        finally:
            ended.set()

    verifier.add(verify_without_end)
    verifier.add(lambda take: next_one.set())
    assert running.wait(10)
    verifier.close()
    assert ended.wait(5)
    verifier.add(lambda take: next_one.set())
    assert not next_one.wait(1)
