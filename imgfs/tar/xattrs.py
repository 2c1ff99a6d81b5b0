"""Extended attributes as a file on Linux can have them; a tar can say of others, at which programs would stumble."""

_MAX_NAME, _MAX_VALUE, _MAX_LIST = (
    255,
    64 << 10,
    64 << 10,
)  # bytes; XATTR_NAME_MAX, XATTR_SIZE_MAX, XATTR_LIST_MAX


def possible(xattrs: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Those of some attributes that a file can have, leaving out what is too much to be listed."""
    kept, left = {}, _MAX_LIST
    for name, value in xattrs.items():
        if 0 < len(name) <= min(_MAX_NAME, left - 1) and b"\0" not in name and len(value) <= _MAX_VALUE:
            kept[name] = value
            left -= len(name) + 1
    return kept
