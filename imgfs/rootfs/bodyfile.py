r"""Files as lines of a bodyfile of The Sleuth Kit, which mactime and plaso read.

Format: https://wiki.sleuthkit.org/index.php?title=Body_file (since version 3), and what `fls -m` writes:

    MD5|name|inode|mode_as_string|UID|GID|size|atime|mtime|ctime|crtime

Neither says how a name is quoted. fls writes `^` for control characters and leaves `|` as it is, on which mactime
splits; mactime decodes `%41`, and plaso stops at what is not UTF-8 and decodes `\x0a` and `\\`. So what one of
them would take for something else is written as `\xNN`, and a backslash twice. A note on a file stands behind its name
in parentheses, as fls has ` (deleted)`; before the target of a link, which plaso takes to be all behind ` -> `.
"""

import os
import re
import stat

from imgfs.rootfs.rootfs import Stat

_TYPES = {
    stat.S_IFREG: "r",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
    stat.S_IFIFO: "p",
}
_SPECIAL = re.compile(r"[\0-\x1f\x7f-\x9f|\udc80-\udcff]|%(?=[0-9A-Fa-f]{2})|\\")
_SECOND = 1_000_000_000


def bodyfile_line(path: str, found: Stat, inode: int, note: str, *, is_deleted: bool = False) -> str:
    """The line of a file, with its newline. The hash is 0, which stands for none, and so are times but that of content.

    `note` is what stands in parentheses behind the name, nothing if it is empty.
    """
    kind = _TYPES.get(stat.S_IFMT(found.mode), "-")
    name = _quoted(path) + (f" ({_quoted(note)})" if note else "")
    if kind == "l":
        name += f" -> {_quoted(found.target)}"
    if is_deleted:
        name += " (deleted)"
    size = len(os.fsencode(found.target)) if kind == "l" else found.size if kind == "r" else 0
    mode = f"{kind}/{kind}{stat.filemode(found.mode)[1:]}"
    modified = found.mtime_ns // _SECOND
    return f"0|{name}|{inode}|{mode}|{found.uid}|{found.gid}|{size}|0|{modified}|0|0\n"


def _quoted(text: str) -> str:
    return _SPECIAL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    return r"\\" if char == "\\" else f"\\x{ord(char) & 0xFF:02x}"
