"""Extended attributes as a file on Linux can have them; a tar can say of others, at which programs would stumble.

What unpacks layers drops those that the kernel refuses: of other systems, and users' own on what is no file or folder.
"""

from collections.abc import Mapping

from imgfs.tar.member import DIRECTORY, FILES, HARDLINK, SYMLINK

_MAX_NAME, _MAX_VALUE, _MAX_LIST = (
    255,
    64 << 10,
    64 << 10,
)  # bytes; XATTR_NAME_MAX, XATTR_SIZE_MAX, XATTR_LIST_MAX
CAPABILITY = b"security.capability"
_NAMESPACES = (b"user.", b"trusted.", b"security.")
_ACCESS, _DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"
"""All that file systems of Linux keep of the namespace "system."."""


def possible(xattrs: Mapping[bytes, bytes], kind: bytes) -> dict[bytes, bytes]:
    """Those of some attributes that a member of a type can have, leaving out what is too much to be listed."""
    namespaces = _NAMESPACES if kind in FILES or kind in (DIRECTORY, HARDLINK) else _NAMESPACES[1:]
    lists = () if kind == SYMLINK else (_ACCESS, _DEFAULT) if kind == DIRECTORY else (_ACCESS,)
    kept, left = dict[bytes, bytes](), _MAX_LIST
    for name, value in xattrs.items():
        if (
            ((name.startswith(namespaces) and name not in _NAMESPACES) or name in lists)
            and len(name) <= min(_MAX_NAME, left - 1)
            and b"\0" not in name
            and len(value) <= _MAX_VALUE
        ):
            kept[name] = value
            left -= len(name) + 1
    return kept
