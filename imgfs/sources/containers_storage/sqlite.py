"""Reading an SQLite database while its owner writes to it: a copy in memory is, and nothing beside the file is made.

Format: https://www.sqlite.org/fileformat2.html. A transaction first writes what it will overwrite to a rollback
journal, then changes the file and a counter in it, and last removes the journal. So what was read while there was no
journal and the counter stayed the same is of one state. Neither a journal that stays, of a process that was killed, is
rolled back nor a write-ahead log read: then the database cannot be read.
"""

import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing

from imgfs.blob import Root
from imgfs.errors import Corrupt, ImgfsError, InUse, StoreError

_MAGIC, _JOURNAL_MAGIC = b"SQLite format 3\0", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
_HEADER = 100  # bytes, with the counter
_VERSIONS, _ROLLBACK = slice(18, 20), b"\1\1"  # how it is written to, and that this is by rollback journals
_MAX_SIZE = 256 << 20  # bytes
_MAX_STEPS = 20_000_000  # of SQLite's virtual machine for one query
_STEPS = 1000  # of it between two calls
_PATIENCE = 1.0  # seconds to try for a state that holds still


def read_rows(root: Root, name: str, query: str) -> list[Sequence[object]]:
    """What a query of tables yields from the database `name` of `root`; texts are bytes.

    Raises Corrupt if it is damaged, InUse if it changes all the time, or was being changed when its owner ended,
    StoreError if it is too large, OSError if it cannot be read.
    """
    data = bytearray(_settled(root, name))
    data[_VERSIONS] = _ROLLBACK  # a write-ahead log has nothing, or there would be no data
    steps = 0

    def is_too_long() -> bool:
        nonlocal steps
        steps += _STEPS
        return steps > _MAX_STEPS

    with closing(sqlite3.connect(":memory:")) as database:
        try:
            database.deserialize(bytes(data))
            database.text_factory = bytes
            database.set_authorizer(_allow)
            database.set_progress_handler(is_too_long, _STEPS)
            return database.execute(query).fetchall()
        except (sqlite3.Error, MemoryError) as error:
            raise Corrupt(f"{root.path_of(name)}: {error}") from None


def _allow(action: int, *names: object) -> int:
    """Tables are read and nothing else; a hostile database may have views that run for ever, or triggers."""
    is_harmless = action in (sqlite3.SQLITE_READ, sqlite3.SQLITE_SELECT)
    return sqlite3.SQLITE_OK if is_harmless else sqlite3.SQLITE_DENY


def _settled(root: Root, name: str) -> bytes:
    """The bytes of a database between two transactions."""
    until = time.monotonic() + _PATIENCE
    why = "changes faster than it can be read"
    while time.monotonic() < until:
        why = _unfinished(root, name) or why
        with root.open(name) as file:
            if file.size > _MAX_SIZE:
                raise StoreError(f"{file.path}: larger than {_MAX_SIZE} bytes")
            data = file.pread(file.size, 0)
            if not data.startswith(_MAGIC) or len(data) < _HEADER:
                raise Corrupt(f"{file.path}: not an SQLite database")
            is_same = os.pread(file.fileno(), _HEADER, 0) == data[:_HEADER]
        if is_same and not _unfinished(root, name):
            return data
        time.sleep(0.01)
    raise InUse(f"{root.path_of(name)}: {why}")


def _unfinished(root: Root, name: str) -> str:
    """What a transaction that has not ended, or whose changes are not in the file yet, has left; empty if nothing."""
    for suffix, start in (("-journal", _JOURNAL_MAGIC), ("-wal", b"")):
        try:
            with root.open(f"{name}{suffix}") as file:
                head = file.pread(len(_JOURNAL_MAGIC), 0)
        except (FileNotFoundError, ImgfsError):
            continue
        if head and head.startswith(start):
            return f"its {suffix.removeprefix('-')} has changes that are not in it"
    return ""
