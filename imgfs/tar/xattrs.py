"""Extended attributes that a file on Linux can have. A tar can record others, which programs do not expect.

Engines that unpack layers drop those that the kernel rejects: of other systems, and user attributes of anything but
files and directories.
"""

from collections.abc import Mapping

from imgfs.tar.member import DIRECTORY, FILES, HARDLINK, SYMLINK

_MAX_NAME, _MAX_VALUE, _MAX_LIST = 255, 64 << 10, 64 << 10  # bytes; XATTR_{NAME,SIZE,LIST}_MAX
CAPABILITY = b"security.capability"
_NAMESPACES = (b"user.", b"trusted.", b"security.")
_ACCESS, _DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"
"""The only attributes of the namespace "system." that file systems of Linux store."""


def possible(xattrs: Mapping[bytes, bytes], kind: bytes) -> dict[bytes, bytes]:
    """The attributes that a member of a type can have, without those that exceed the limits."""
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
