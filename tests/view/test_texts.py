"""Small files in memory."""

from imgfs.view.texts import LiveText, TextFile


def test_a_text_is_the_same_for_good() -> None:
    file = TextFile("/key", b"text\n", 7)
    assert (file.key, file.mtime_ns, file.mutable) == ("/key", 7, False)
    assert file.known_size == file.find_size() == 5
    with file.try_open() as blob, file.open() as again:
        assert blob.pread(99, 0) == again.pread(99, 0) == b"text\n"


def test_a_live_text_is_what_it_is_when_it_is_opened() -> None:
    texts = ["one"]
    file = LiveText("/key", lambda: texts[-1].encode(), 0)
    assert file.mutable
    before = file.try_open()
    assert before is not None
    texts.append("another")
    assert file.known_size == file.find_size() == len("another")
    with file.open() as blob:
        assert (before.pread(99, 0), blob.pread(99, 0)) == (b"one", b"another")
