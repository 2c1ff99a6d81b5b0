"""Taking turns in the order of asking."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from imgfs.codec.turns import Turns


def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    turns, order, go = Turns(), list[int](), Event()

    def use(number: int, place: object) -> None:
        with turns.taking(place):  # type: ignore[arg-type]
            go.wait(10)
            order.append(number)

    places = [turns.join() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        # those who come late to their own turn do not lose it
        running = [pool.submit(use, number, places[number]) for number in (3, 7, 1, 0, 6, 2, 5, 4)]
        go.set()
        for each in running:
            each.result(10)
    assert order == list(range(8))


def test_there_is_no_trying_while_somebody_has_it_or_waits() -> None:
    turns = Turns()
    first = turns.join()
    assert turns.try_join() is None
    with turns.taking(first):
        assert turns.try_join() is None
    again = turns.try_join()
    assert again is not None
    with turns.taking(again):
        pass


def test_a_turn_that_fails_is_over() -> None:
    turns = Turns()
    try:
        with turns.taking(turns.join()):
            raise ZeroDivisionError
    except ZeroDivisionError:
        assert turns.try_join() is not None
