"""Seek tables as they are after they were packed and parsed."""

from imgfs.codec import SeekTable
from imgfs.codec.span_map import pack_map, parse_map


def reloaded(table: SeekTable) -> SeekTable:
    """The same table."""
    packed = pack_map(table, None)
    loaded, _ = parse_map(packed, table.windows, table.stored_size, table.size, is_plain=False)
    assert loaded is not None
    return loaded
