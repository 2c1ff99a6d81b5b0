import pyfuse3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.mount import inodes as module
from imgfs.mount.inodes import Inodes
from imgfs.view import Node, NodeTable
from tests.mount.trees import Folder, Text


def node(key: str) -> Text:
    return Text(key, b"")


def key_of(inodes: Inodes, number: int) -> str:
    return inodes[number].key


class Table(NodeTable):
    """A table of files numbered by their keys, loaded or not."""

    def __init__(self, key: str, *, loaded: bool = True) -> None:
        self.key = key
        self.loaded = loaded

    def node(self, number: int) -> Node | None:
        if not self.loaded:
            return None
        node = Text(f"{number}", b"")
        node.table, node.number = self, number
        return node

    def load(self) -> None:
        self.loaded = True

    def top(self) -> Folder:
        return Folder(self.key, {})


@pytest.fixture
def inodes() -> Inodes:
    return Inodes(Folder("/", {}))


def test_the_root_has_its_number_and_is_never_forgotten(inodes: Inodes) -> None:
    assert inodes.remember(Folder("/", {})) == pyfuse3.ROOT_INODE
    inodes.forget(pyfuse3.ROOT_INODE, 5)
    assert key_of(inodes, pyfuse3.ROOT_INODE) == "/"


def test_a_number_is_the_same_for_the_same_key_even_after_it_was_forgotten(inodes: Inodes) -> None:
    number = inodes.remember(node("/a"))
    assert inodes.number(node("/a")) == inodes.remember(node("/a")) == number
    inodes.forget(number, 2)
    assert len(inodes) == 1
    assert inodes.remember(node("/a")) == number
    assert Inodes(Folder("/", {})).number(node("/a")) == number


def test_a_node_stays_until_it_is_forgotten_as_often_as_it_was_remembered(inodes: Inodes) -> None:
    number = {inodes.remember(node("/a")) for _ in range(3)}.pop()
    inodes.forget(number, 2)
    assert key_of(inodes, number) == "/a"
    inodes.forget(number, 1)
    with pytest.raises(KeyError):
        inodes[number]
    inodes.forget(number, 1)


def test_asking_for_a_number_remembers_nothing(inodes: Inodes) -> None:
    with pytest.raises(KeyError):
        inodes[inodes.number(node("/a"))]


def test_the_newest_node_of_a_key_is_the_one_that_answers(inodes: Inodes) -> None:
    old, new = node("/a"), node("/a")
    number = inodes.remember(old)
    inodes.remember(new)
    assert inodes[number] is new


def test_keys_with_the_same_hash_get_different_numbers(
    inodes: Inodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also at the end of all numbers, where counting on begins anew behind the root's."""
    monkeypatch.setattr(module, "_hash", lambda key: (1 << 62) - 2)
    numbers = [inodes.remember(node(f"/{n}")) for n in range(5)]
    assert numbers == [(1 << 62) - 2, (1 << 62) - 1, 2, 3, 4]
    assert [key_of(inodes, number) for number in numbers] == [f"/{n}" for n in range(5)]
    assert [inodes.remember(node(f"/{n}")) for n in range(5)] == numbers


def test_names_that_are_no_text_have_numbers(inodes: Inodes) -> None:
    key = b"/\xff\xfe".decode("utf-8", "surrogateescape")
    assert key_of(inodes, inodes.remember(node(key))) == key


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
                inodes.remember(node(key))
            held[which] += times
        elif held[which] >= times:  # the kernel never forgets more than it holds
            inodes.forget(inodes.number(node(key)), times)
            held[which] -= times
    assert len(inodes) == 1 + sum(count > 0 for count in held.values())
    for which, count in held.items():
        if count:
            assert key_of(inodes, inodes.number(node(f"/{which}"))) == f"/{which}"


def test_nodes_of_a_table_are_found_by_number_and_cost_nothing_each(inodes: Inodes) -> None:
    table = Table("/t")
    numbers = [inodes.remember(found) for n in range(1000) if (found := table.node(n)) is not None]
    assert len(set(numbers)) == 1000
    assert len(inodes) == 2
    assert [key_of(inodes, number) for number in numbers] == [str(n) for n in range(1000)]


def test_a_table_goes_when_the_last_of_its_nodes_is_forgotten(inodes: Inodes) -> None:
    table = Table("/t")
    one, other = (inodes.remember(found) for n in (1, 2) if (found := table.node(n)) is not None)
    inodes.forget(one, 1)
    assert key_of(inodes, one) == "1"
    inodes.forget(other, 1)
    assert len(inodes) == 1
    with pytest.raises(KeyError):
        inodes[one]
    inodes.forget(one, 1)


def test_a_table_that_is_not_loaded_answers_for_its_nodes(inodes: Inodes) -> None:
    table = Table("/t")
    found = table.node(7)
    assert found is not None
    number = inodes.remember(found)
    table.loaded = False
    assert inodes[number] is table


def test_tables_with_the_same_hash_get_different_numbers(
    inodes: Inodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_table_hash", lambda key: (1 << 31) - 1)
    tables = [Table(f"/{n}") for n in range(3)]
    numbers = [inodes.remember(found) for table in tables if (found := table.node(5)) is not None]
    assert len(set(numbers)) == 3
    assert all(number >> 62 == 1 for number in numbers)
    for number, table in zip(numbers, tables, strict=True):
        assert inodes[number].table is table  # type: ignore[union-attr]
