"""Bounded mappings."""

from concurrent.futures import ThreadPoolExecutor

from imgfs.lru import LRU


def test_what_was_used_least_recently_is_dropped_and_returned() -> None:
    values: LRU[str, int] = LRU(2)
    assert values.put("a", 1) == values.put("b", 2) == []
    assert values.get("a") == 1
    assert values.put("c", 3) == [2]
    assert [values.get(key) for key in "abc"] == [1, None, 3]


def test_a_value_replaces_that_of_its_key_which_is_returned() -> None:
    values: LRU[str, int] = LRU(2)
    values.put("a", 1)
    assert values.put("a", 2) == [1]
    assert (len(values), values.get("a")) == (1, 2)


def test_values_weigh_what_is_said_of_them_and_one_may_weigh_too_much() -> None:
    values: LRU[str, bytes] = LRU(10, weigh=len)
    values.put("a", bytes(4))
    values.put("b", bytes(6))
    assert values.put("c", bytes(1)) == [bytes(4)]
    assert values.put("d", bytes(50)) == [bytes(6), bytes(1)]
    assert values.get("d") == bytes(50)
    assert values.put("e", b"") == [bytes(50)]
    values.put("f", bytes(10))
    assert len(values) == 2, "what was dropped weighs nothing any more"


def test_values_can_be_dropped_by_key() -> None:
    values: LRU[int, str] = LRU(9)
    for number in range(4):
        values.put(number, str(number))
    assert values.pop(1) == "1"
    assert values.pop(1) is None
    assert values.pop_all(lambda key: key > 2) == ["3"]
    assert values.pop_all() == ["0", "2"]
    assert len(values) == 0


def test_many_threads_keep_to_the_limit() -> None:
    values: LRU[int, int] = LRU(5)

    def use(seed: int) -> None:
        for step in range(2000):
            key = seed * step % 11
            if values.get(key) is None:
                values.put(key, key)
            assert len(values) <= 5

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(1, 9)))
