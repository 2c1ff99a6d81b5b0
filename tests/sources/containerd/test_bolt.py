"""Bolt databases, sound, changing and hostile."""

import struct
import time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgfs.blob import FileBlob
from imgfs.errors import Corrupt, ImgfsError, InUse
from imgfs.sources.containerd.bolt import Bucket, read_bolt, read_state
from tests.sources.containerd.bolt_files import Tree, branch, bucket, database, database_of, description, leaf

SAMPLE: Tree = {
    b"v1": {
        b"default": {
            b"images": {b"name-%03d" % n: {b"target": {b"digest": b"%d" % n * 9}} for n in range(300)},
            b"large": {b"a": b"x" * 20_000, b"b": b"", b"": b"empty key"},
            b"empty": {},
        },
        b"version": b"\x06",
    }
}


def everything(bucket: Bucket, depth: int = 0) -> Tree:
    """All that is in a bucket; raises Corrupt."""
    found = {}
    assert depth < 20
    for key, (flags, value) in bucket._all().items():
        inside = bucket.bucket(key) if flags & 1 else None
        found[key] = value if inside is None else everything(inside, depth + 1)
    return found


def _written(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "test.db"
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("page_size", [1024, 4096, 16384, 65536])
def test_everything_is_found_whatever_a_pages_size(tmp_path: Path, page_size: int) -> None:
    path = _written(tmp_path, database_of(SAMPLE, page_size))
    assert read_bolt(partial(FileBlob, path), everything) == SAMPLE


def test_keys_lead_to_values_and_buckets(tmp_path: Path) -> None:
    def look(root: Bucket) -> None:
        top = root.bucket(b"v1")
        assert top is not None
        assert top.get(b"version") == b"\x06"
        assert top.get(b"default") is None
        assert top.get(b"nonesuch") is None
        assert top.bucket(b"version") is None
        assert top.bucket(b"default", b"nonesuch", b"more") is None
        images = root.bucket(b"v1", b"default", b"images")
        assert images is not None
        names = [name for name, _ in images.buckets()]
        assert names == sorted(names)
        assert len(names) == 300

    read_bolt(partial(FileBlob, _written(tmp_path, database_of(SAMPLE))), look)


def test_the_newer_of_two_valid_states_counts(tmp_path: Path) -> None:
    one, two = leaf(3, [(0, b"a", b"old")], 4096), leaf(4, [(0, b"a", b"new")], 4096)
    for order in (0, 1):
        head = [description(n, 3 + (n == order), 5, 5 + (n == order)) for n in (0, 1)]
        path = _written(tmp_path, b"".join([*head, bytes(4096), one, two]))
        assert read_bolt(partial(FileBlob, path), everything) == {b"a": b"new"}
        assert read_state(FileBlob(path)).transaction == 6


@pytest.mark.parametrize("damaged", [0, 1])
@pytest.mark.parametrize("page_size", [1024, 4096, 65536])
def test_a_state_half_written_is_passed_over(tmp_path: Path, damaged: int, page_size: int) -> None:
    data = bytearray(database_of(SAMPLE, page_size))
    data[damaged * page_size + 50] ^= 1
    assert read_bolt(partial(FileBlob, _written(tmp_path, bytes(data))), everything) == SAMPLE


@pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(1 << 20), b"\xed\x0c\xda\xed" * 5000])
def test_what_is_no_database_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = _written(tmp_path, content)
    with pytest.raises(Corrupt, match=f"{path}: not a bolt database"):
        read_bolt(partial(FileBlob, path), everything)


@pytest.mark.parametrize("small", [True, False])
def test_what_changes_while_it_is_read_is_seen_as_it_was_or_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    """Pages of the state being read are overwritten: it is read from a copy, or another time."""
    monkeypatch.setattr("imgfs.sources.containerd.bolt._SMALL", 16 << 20 if small else 0)
    path = _written(tmp_path, database_of(SAMPLE))
    other = {b"v1": {b"k%d" % n: b"v" * n for n in range(500)}}
    looks = 0

    def look(root: Bucket) -> Tree:
        nonlocal looks
        looks += 1
        if looks == 1:
            assert root.bucket(b"v1") is not None
            _written(tmp_path, database_of(other, transaction=20))
        return everything(root)

    assert read_bolt(partial(FileBlob, path), look) == (SAMPLE if small else other)
    assert looks == (1 if small else 2)


def test_what_never_holds_still_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.sources.containerd.bolt._PATIENCE", 0.1)
    monkeypatch.setattr("imgfs.sources.containerd.bolt._SMALL", 0)
    path = _written(tmp_path, database(leaf(3, [(0, b"a", b"b")], 4096)))
    transaction = 10

    def look(root: Bucket) -> None:
        nonlocal transaction
        transaction += 2
        _written(tmp_path, database(leaf(3, [(0, b"a", b"b")], 4096), transaction=transaction))

    with pytest.raises(InUse, match="changes faster"):
        read_bolt(partial(FileBlob, path), look)


HOSTILE = {
    "a branch that is its own child": [branch(3, [(b"a", 3)], 4096)],
    "branches in a ring": [branch(3, [(b"a", 4)], 4096), branch(4, [(b"a", 3)], 4096)],
    "a page used twice": [branch(3, [(b"a", 4), (b"b", 4)], 4096), leaf(4, [], 4096)],
    "a bucket that holds itself": [leaf(3, [(1, b"a", bucket(3))], 4096)],
    "a bucket whose page is a description": [leaf(3, [(1, b"a", bucket(1))], 4096)],
    "a bucket beyond the end": [leaf(3, [(1, b"a", bucket(2**60))], 4096)],
    "a bucket with a header cut off": [leaf(3, [(1, b"a", b"1234")], 4096)],
    "a bucket inside a leaf that is cut off": [leaf(3, [(1, b"a", bucket(0) + b"1234")], 4096)],
    "a page with another number": [leaf(4, [], 4096)],
    "a page that is none": [bytes(4096)],
    "a page of another kind": [struct.pack("=QHHI", 3, 0x10, 0, 0).ljust(4096, b"\0")],
    "more entries than fit": [struct.pack("=QHHI", 3, 2, 65535, 0).ljust(4096, b"\0")],
    "more children than fit": [struct.pack("=QHHI", 3, 1, 65535, 0).ljust(4096, b"\0")],
    "a page that runs on beyond the end": [struct.pack("=QHHI", 3, 2, 0, 2**32 - 1).ljust(4096, b"\0")],
    "an entry beyond its page": [
        (struct.pack("=QHHI", 3, 2, 1, 0) + struct.pack("=IIII", 0, 16, 2**31, 2**31)).ljust(4096, b"\0")
    ],
    "branches too deep": [branch(n, [(b"a", n + 1)], 4096) for n in range(3, 60)] + [leaf(60, [], 4096)],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_page_is_corrupt_and_named(tmp_path: Path, name: str) -> None:
    path = _written(tmp_path, database(*HOSTILE[name]))
    with pytest.raises(Corrupt, match=path):
        read_bolt(partial(FileBlob, path), everything)


def test_pages_said_to_be_there_in_a_file_with_holes_take_no_memory(tmp_path: Path) -> None:
    """A page that runs on for a terabyte of nothing."""
    page = struct.pack("=QHHI", 3, 2, 0, (1 << 28) - 1).ljust(4096, b"\0")
    path = _written(tmp_path, description(0, 3, 1 << 40, 1) + bytes(8192) + page)
    with Path(path).open("r+b") as file:
        file.truncate(1 << 41)
    with pytest.raises(Corrupt, match="page 3 is too large"):
        read_bolt(partial(FileBlob, path), everything)


def test_entries_that_share_their_bytes_do_not_add_up_without_end(tmp_path: Path) -> None:
    """Sixty thousand entries that all are the same megabyte."""
    count, size = 60_000, 1 << 20
    heads = b"".join(
        struct.pack("=IIII", 0, (count - n) * 16, 3 + n % 1000, size - 1003) for n in range(count)
    )
    more = (16 + len(heads) + size) // 4096
    page = struct.pack("=QHHI", 3, 2, count, more) + heads + bytes(size)
    with pytest.raises(Corrupt, match="page 3"):
        read_bolt(partial(FileBlob, _written(tmp_path, database(page))), everything)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_an_error_or_harmless_and_never_takes_long(tmp_path: Path, data: st.DataObject) -> None:
    sound = bytearray(database_of(SAMPLE, data.draw(st.sampled_from([1024, 4096]))))
    for _ in range(data.draw(st.integers(1, 4))):
        match data.draw(st.sampled_from(["flip", "number", "copy", "cut"])):
            case "flip":
                sound[data.draw(st.integers(0, len(sound) - 1))] ^= data.draw(st.integers(1, 255))
            case "number":
                place = data.draw(st.integers(0, len(sound) // 4 - 1)) * 4
                value = data.draw(st.sampled_from([0, 1, 2, 3, 7, 16, 255, 2**16, 2**31, 2**32 - 1]))
                sound[place : place + 4] = struct.pack("=I", value)
            case "copy":
                place, origin = (data.draw(st.integers(3, len(sound) // 1024 - 1)) * 1024 for _ in "12")
                sound[place : place + 1024] = sound[origin : origin + 1024].ljust(1024, b"\0")
            case "cut":
                del sound[data.draw(st.integers(8192, len(sound))) :]
    path = _written(tmp_path, bytes(sound))
    began = time.process_time()
    try:
        read_bolt(partial(FileBlob, path), everything)
    except ImgfsError as error:
        assert path in str(error)
    assert time.process_time() - began < 2
