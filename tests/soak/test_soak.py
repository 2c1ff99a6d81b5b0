"""The soak in short: all kinds that take no engine, a few readers, a few seconds, a cache that is always full."""

from pathlib import Path

from tests.soak.soak import soak
from tests.soak.sources import PLAIN


def test_many_readers_find_every_byte_right_and_leave_no_descriptor_behind(tmp_path: Path) -> None:
    result = soak(tmp_path, PLAIN, count=15, readers=8, seconds=4, cache_size="3M")
    assert result.wrong == []
    assert result.log == ""
    assert result.operations > 100
    assert result.compared > 1_000_000
    assert result.usage[2].descriptors < 200  # a few for each layer in use
