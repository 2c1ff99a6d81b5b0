"""Names in a tar as paths below a root, none of which leads outside.

As in moby and umoci, a name is cleaned as text, as if the root were `/`, before it is looked up.
"""

MAX_PATH = 4096
"""The longest path in bytes that Linux accepts (PATH_MAX)."""
MAX_NAME = 255
"""The longest component of a path in bytes that Linux accepts (NAME_MAX)."""


def components(name: bytes) -> list[bytes]:
    """The components of a cleaned path: without empty ones, `.` and `..`; empty for the root itself.

    Raises ValueError for what no file system accepts: too long a path or component, or a NUL.
    """
    if len(name) > MAX_PATH:
        raise ValueError(f"a path of {len(name)} bytes")
    parts = name.strip(b"/").split(b"/")
    if b"" in parts or b"." in parts or b".." in parts:
        parts = _cleaned(parts)
    if b"\0" in name:
        raise ValueError("a path with a NUL")
    if len(name) > MAX_NAME and any(len(part) > MAX_NAME for part in parts):
        raise ValueError(f"a name of more than {MAX_NAME} bytes")
    return parts


def cleaned(name: bytes) -> bytes:
    """A cleaned path, its components joined; empty for the root itself.

    Raises ValueError for too long a path and for a NUL; a component may be of any length.
    """
    if len(name) > MAX_PATH:
        raise ValueError(f"a path of {len(name)} bytes")
    if b"\0" in name:
        raise ValueError("a path with a NUL")
    path = name.removeprefix(b"./").strip(b"/")
    if path.startswith(b".") or b"/." in path or b"//" in path:
        return b"/".join(_cleaned(path.split(b"/")))
    return path


def steps(target: bytes) -> list[bytes]:
    """The components of a symbolic link's target, to be followed one by one: `..` stays, as it depends on the place."""
    return [part for part in target.split(b"/") if part not in (b"", b".")]


def _cleaned(parts: list[bytes]) -> list[bytes]:
    clean: list[bytes] = []
    for part in parts:
        if part == b"..":
            del clean[-1:]
        elif part not in (b"", b"."):
            clean.append(part)
    return clean
