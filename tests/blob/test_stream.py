import io
import os
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.blob import BlobStream, MemoryBlob
from tests.blob.blobs import Shy
from tests.images import layer_tar

steps = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 30)),
        st.tuples(st.just("seek"), st.integers(0, 60)),
        st.tuples(st.just("skip"), st.integers(0, 20)),
        st.tuples(st.just("from end"), st.integers(-10, 10)),
        st.tuples(st.just("into"), st.integers(0, 30)),
    ),
    max_size=12,
)


def _do(stream: "io.RawIOBase | io.BytesIO", step: str, number: int) -> object:
    match step:
        case "read":
            return stream.read(number)
        case "seek":
            return stream.seek(number)
        case "skip":
            return stream.seek(number, os.SEEK_CUR)
        case "from end":
            return stream.seek(max(number, -len(DATA)), os.SEEK_END)
    buffer = bytearray(number)
    return stream.readinto(buffer), buffer


DATA = bytes(range(40))


@settings(max_examples=200, deadline=None)
@given(steps)
def test_it_does_what_a_stream_of_bytes_in_memory_does(todo: list[tuple[str, int]]) -> None:
    stream, expected = BlobStream(MemoryBlob(DATA)), io.BytesIO(DATA)
    for step, number in todo:
        assert _do(stream, step, number) == _do(expected, step, number)
        assert stream.tell() == expected.tell()


def test_a_place_before_the_beginning_or_relative_to_nothing_is_refused() -> None:
    stream = BlobStream(MemoryBlob(DATA))
    for offset, whence in ((-1, os.SEEK_SET), (-1, os.SEEK_CUR), (-41, os.SEEK_END), (0, 7)):
        with pytest.raises(ValueError, match="seek"):
            stream.seek(offset, whence)
    assert stream.tell() == 0


def test_closing_closes_the_blob_once_and_ends_reading() -> None:
    blob = Shy(DATA)
    stream = BlobStream(blob)
    with stream:
        assert stream.read(2) == DATA[:2]
    stream.close()
    assert blob.closed == 1
    for use in (lambda: stream.read(1), stream.tell, lambda: stream.seek(0)):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_it_can_be_read_and_not_written() -> None:
    stream = BlobStream(MemoryBlob(DATA))
    assert (stream.readable(), stream.seekable(), stream.writable()) == (True, True, False)


def test_libraries_read_it_as_a_file() -> None:
    data = layer_tar({"a": b"first", "b": b"second" * 1000})
    with io.BufferedReader(BlobStream(MemoryBlob(data))) as file, tarfile.open(fileobj=file) as archive:
        assert archive.getnames() == ["a", "b"]
