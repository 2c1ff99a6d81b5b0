"""The JSON that commands print with `--json`; `imgfs help json` documents its fields.

One object a line where a command prints results as it finds them, else one document. Tried by the test that compares
what each command prints with the documentation.
"""

import base64
import os
import stat
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import msgspec

from imgfs.cli.messages import utf8

if TYPE_CHECKING:  # it takes longer to load than some commands to run
    from imgfs.rootfs import Difference, Stat

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON (see imgfs help json).")
json_lines_option = click.option(
    "--json", "as_json", is_flag=True, help="Print a line of JSON for each result (see imgfs help json)."
)

_TYPES = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "pipe",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


def print_json(value: object, indent: int = 2) -> None:
    """Print a document."""
    text = msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=indent)
    sys.stdout.write(text.decode() + "\n")


def print_json_line(value: object) -> None:
    """Print an object on a line."""
    sys.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")


def path_fields(path: str) -> dict[str, object]:
    """A path, with its exact bytes where they are not UTF-8."""
    text, data = utf8(path), os.fsencode(path)
    exact = {} if text.encode() == data else {"path_base64": base64.b64encode(data).decode()}
    return {"path": text, **exact}


def file_fields(found: "Stat") -> dict[str, object]:
    """What is known of a file or directory but its time."""
    target = {"target": utf8(found.target)} if stat.S_ISLNK(found.mode) else {}
    mode = f"{stat.S_IMODE(found.mode):04o}"
    return {
        "type": file_type(found.mode),
        "mode": mode,
        "uid": found.uid,
        "gid": found.gid,
        "size": found.size,
        **target,
    }


def modified_time(found: "Stat") -> str:
    """When the content of a file was last changed, in UTC, as ISO 8601 has it to the second."""
    return datetime.fromtimestamp(found.mtime_ns // 1_000_000_000, UTC).isoformat()


def difference_fields(of: "Difference") -> dict[str, object]:
    """A path that differs, and what is known of it on both sides."""
    before, after = (None if state is None else file_fields(state) for state in (of.before, of.after))
    differs = {"differs": of.differs} if of.differs else {}
    return path_fields(of.path) | {"change": of.change.value, "before": before, "after": after} | differs


def file_type(mode: int) -> str:
    """The type in a mode of stat(2), in words."""
    return _TYPES.get(stat.S_IFMT(mode), "unknown")
