from imgfs.blob import MemoryBlob, blob_chunks


def test_a_blob_comes_whole_and_in_order() -> None:
    assert list(blob_chunks(MemoryBlob(b"abcdefg"), 3)) == [b"abc", b"def", b"g"]
    assert list(blob_chunks(MemoryBlob(b""))) == []
