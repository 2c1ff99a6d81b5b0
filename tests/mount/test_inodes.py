import pyfuse3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.mount import inodes as module
from imgfs.mount.inodes import Inodes
from tests.mount.trees import Folder, Table, Text


def node(key: str) -> Text:
    return Text(key, b"")


@pytest.fixture
def inodes() -> Inodes:
    return Inodes(Folder("/", {}))


def test_the_root_has_its_number_and_is_never_forgotten(inodes: Inodes) -> None:
    assert inodes.add_reference(Folder("/", {})) == pyfuse3.ROOT_INODE
    inodes.forget(pyfuse3.ROOT_INODE, 5)
    assert inodes[pyfuse3.ROOT_INODE].key == "/"


def test_a_number_is_the_same_for_the_same_key_even_after_it_was_forgotten(inodes: Inodes) -> None:
    number = inodes.add_reference(node("/a"))
    assert inodes.number(node("/a")) == inodes.add_reference(node("/a")) == number
    inodes.forget(number, 2)
    assert len(inodes) == 1
    assert inodes.add_reference(node("/a")) == number
    assert Inodes(Folder("/", {})).number(node("/a")) == number


def test_a_node_stays_until_it_is_forgotten_as_often_as_it_was_remembered(inodes: Inodes) -> None:
    number = {inodes.add_reference(node("/a")) for _ in range(3)}.pop()
    inodes.forget(number, 2)
    assert inodes[number].key == "/a"
    inodes.forget(number, 1)
    with pytest.raises(KeyError):
        inodes[number]
    inodes.forget(number, 1)


def test_asking_for_a_number_remembers_nothing(inodes: Inodes) -> None:
    with pytest.raises(KeyError):
        inodes[inodes.number(node("/a"))]


def test_the_newest_node_of_a_key_is_the_one_returned(inodes: Inodes) -> None:
    old, new = node("/a"), node("/a")
    number = inodes.add_reference(old)
    inodes.add_reference(new)
    assert inodes[number] is new


def test_keys_with_the_same_hash_get_different_numbers(
    inodes: Inodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also at the end of all numbers, after which counting goes on behind the root's."""
    monkeypatch.setattr(module, "_hash", lambda key: (1 << 62) - 2)
    numbers = [inodes.add_reference(node(f"/{n}")) for n in range(5)]
    assert numbers == [(1 << 62) - 2, (1 << 62) - 1, 2, 3, 4]
    assert [inodes[number].key for number in numbers] == [f"/{n}" for n in range(5)]
    assert [inodes.add_reference(node(f"/{n}")) for n in range(5)] == numbers


def test_the_nodes_of_a_table_are_found_by_their_place_in_it(inodes: Inodes) -> None:
    table = Table("/table", 1000)
    table.load()
    numbers = [inodes.add_reference(table.nodes[place]) for place in (0, 1, 999)]
    assert len(set(numbers)) == 3
    assert [inodes[number] for number in numbers] == [table.nodes[place] for place in (0, 1, 999)]
    assert len(inodes) == 2
    again = Inodes(Folder("/", {}))
    assert [again.number(table.nodes[place]) for place in (0, 1, 999)] == numbers


def test_a_table_stays_until_all_its_nodes_are_forgotten(inodes: Inodes) -> None:
    table = Table("/table", 10)
    table.load()
    first, second = (inodes.add_reference(table.nodes[place]) for place in (1, 2))
    inodes.add_reference(table.nodes[2])
    inodes.forget(first, 1)
    inodes.forget(second, 1)
    assert inodes[second] is table.nodes[2]
    inodes.forget(second, 1)
    inodes.forget(second, 1)
    assert len(inodes) == 1


def test_for_a_node_of_a_table_that_is_not_loaded_any_more_the_table_stands(inodes: Inodes) -> None:
    table = Table("/table", 10)
    table.load()
    number = inodes.add_reference(table.nodes[5])
    table.nodes = []
    assert inodes[number] is table
    table.load()
    assert inodes[number] is table.nodes[5]


def test_tables_with_the_same_hash_get_different_numbers(
    inodes: Inodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_table_hash", lambda key: (1 << 31) - 1)
    tables = [Table(f"/{number}", 3) for number in range(3)]
    for table in tables:
        table.load()
    numbers = [inodes.add_reference(table.nodes[2]) for table in tables]
    assert len(set(numbers)) == 3
    assert [inodes[number] for number in numbers] == [table.nodes[2] for table in tables]


def test_names_that_are_no_text_have_numbers(inodes: Inodes) -> None:
    key = b"/\xff\xfe".decode("utf-8", "surrogateescape")
    assert inodes[inodes.add_reference(node(key))].key == key


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(1, 3))))
def test_what_is_known_is_what_was_remembered_more_often_than_forgotten(
    steps: list[tuple[bool, int, int]],
) -> None:
    inodes, held = Inodes(Folder("/", {})), dict.fromkeys(range(6), 0)
    for remembers, which, times in steps:
        key = f"/{which}"
        if remembers:
            for _ in range(times):
                inodes.add_reference(node(key))
            held[which] += times
        elif held[which] >= times:  # the kernel never forgets more than it holds
            inodes.forget(inodes.number(node(key)), times)
            held[which] -= times
    assert len(inodes) == 1 + sum(count > 0 for count in held.values())
    for which, count in held.items():
        if count:
            assert inodes[inodes.number(node(f"/{which}"))].key == f"/{which}"
