"""Whose files a store's are, as the files of its machine say."""

import os
from pathlib import Path

import pytest

from imgfs.blob import Root
from imgfs.layers import IDRange, OwnerMap
from imgfs.sources.subordinate_ids import remapped_owners, rootless_owners
from tests.tools import require_root

USER, GROUP = 4321, 4322


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A user's store on a disk."""
    require_root()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"root:x:0:0::/:/bin/sh\nu:x:{USER}:{GROUP}::/home:/bin/sh\n")
    made = tmp_path / "home/store"
    made.mkdir(parents=True)
    os.chown(made, USER, GROUP)
    return made


def write(store: Path, uids: str, gids: str) -> None:
    etc = store.parents[1] / "etc"
    (etc / "subuid").write_text(uids)
    (etc / "subgid").write_text(gids)


def test_a_users_engine_has_the_user_as_root_and_then_all_ranges_by_their_first_ids(store: Path) -> None:
    write(store, "u:300000:10\nother:1:2\nwrong\nu:200000:x\n4321:200000:5\n", "u:100000:65536\n")
    expected = OwnerMap(
        (IDRange(0, USER, 1), IDRange(1, 200_000, 5), IDRange(6, 300_000, 10)),
        (IDRange(0, GROUP, 1), IDRange(1, 100_000, 65536)),
    )
    assert rootless_owners(Root(store)) == (expected,)


def test_without_ranges_it_is_said_that_owners_are_those_on_disk(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(store, "other:200000:5\n", "u:200000:5\n")
    assert rootless_owners(Root(store)) == ()
    assert "owners in containers are shown as on disk" in caplog.text


def test_the_store_of_root_is_as_it_is_on_disk(store: Path) -> None:
    os.chown(store, 0, 0)
    assert rootless_owners(Root(store)) == ()


def test_the_range_of_mapped_users_is_the_one_that_begins_with_their_root(store: Path) -> None:
    write(store, "d:100000:7\nd:200000:8\n", "other:5:6\n")
    expected = OwnerMap((IDRange(0, 100_000, 7), IDRange(7, 200_000, 8)), (IDRange(0, 200_000, 65536),))
    assert remapped_owners(Root(store), 100_000, 200_000) == expected
