"""Headers of every dialect, numbers in every notation, as GNU tar lists them; where it differs, Go is followed."""

import datetime
import os
import re
import subprocess

from imgfs.blob import MemoryBlob
from imgfs.tar import Member, scan_blob
from tests.tar.archives import ENDING, padded
from tests.tar.generated import Dice, header
from tests.tools import require_tool

COUNT = 3000
_LINE = re.compile(
    rb'(\S)\S{9} (\d+)/(\d+) +(\d+|\d+,\d+) (\S+ \S+) "(\w+)"(?: link to "(.*)"| -> "(.*)")?'
).fullmatch
_KINDS = {b"0": b"-", b"1": b"h", b"2": b"l", b"3": b"c", b"4": b"b", b"5": b"d", b"6": b"p"}


def _listed(line: bytes) -> tuple[object, ...]:
    found = _LINE(line)
    assert found, line
    kind, uid, gid, size, time, name = found.groups()[:6]
    seconds = datetime.datetime.fromisoformat(time.decode() + "+00:00").timestamp()
    return kind, int(uid), int(gid), size, int(seconds), name


def _facts(member: Member) -> tuple[object, ...]:
    size = b"%d,%d" % (member.devmajor, member.devminor) if member.type in b"34" else b"%d" % member.size
    seconds = member.mtime_ns // 1_000_000_000
    return _KINDS[member.type], member.uid, member.gid, size, seconds, member.name


def test_members_are_those_that_gnu_tar_lists() -> None:
    dice = Dice(1)
    dice.oddness = 0.0
    data = bytearray()
    while len(data) < COUNT * 1024:
        kind = dice.choice(b"0000123456").to_bytes(1)
        size = dice.choice((0, 1, 511, 512, 513, 5000)) if kind == b"0" else 0
        block = header(dice, kind, size, name=b"name%d" % len(data))
        # what else is there, GNU tar takes for a prefix
        if block[345:346] == b"\0" and block[508:] != b"tar\0":
            data += block + padded(bytes(size))
    ours = [_facts(member) for member in scan_blob(MemoryBlob(bytes(data) + ENDING))]
    command = [require_tool("tar"), "-tvf", "-", "--quoting-style=c", "--numeric-owner", "--full-time"]
    environment = os.environ | {"TZ": "UTC", "LC_ALL": "C"}
    done = subprocess.run(
        command, input=bytes(data) + ENDING, capture_output=True, check=False, env=environment
    )
    assert ours == [_listed(line) for line in done.stdout.splitlines()]
    assert len(ours) > COUNT / 2
