"""Tars of every dialect, read as Go's archive/tar reads them: the same members, and the same tars refused."""

import base64
import json
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from imgfs.errors import Corrupt
from imgfs.tar import Member, Scanner
from imgfs.tar.fields import BLOCK, possible_owner, possible_time
from imgfs.tar.member import BLOCK_DEVICE, CHARACTER_DEVICE, NO_DATA, OLD_REGULAR, REGULAR
from imgfs.tar.xattrs import possible
from tests.tar.archives import content
from tests.tar.generated import archives
from tests.tar.go_programs import compiled

Read = tuple[list[tuple[object, ...]], bool]
"""What is said of each member whose content is whole, and whether that is all and well."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that reads with Go, compiled."""
    return compiled("go_reader.go", tmp_path_factory.mktemp("go"))


def read_by_go(reader: Path, tars: Sequence[bytes]) -> list[Read]:
    framed = b"".join(len(data).to_bytes(4) + data for data in tars)
    done = subprocess.run([reader], input=framed, capture_output=True, check=True)
    return [_said(json.loads(line)) for line in done.stdout.splitlines()]


def _said(archive: Any) -> Read:
    members = [_facts(of) for of in archive["Members"] or [] if not of["Error"]]
    return members, not archive["Error"]


def _facts(of: Any) -> tuple[object, ...]:
    kind = bytes([of["Type"]])
    names, values = (map(base64.b64decode, of[key] or []) for key in ("Names", "Values"))
    is_device = kind in (CHARACTER_DEVICE, BLOCK_DEVICE)
    return (
        kind,
        *(base64.b64decode(of[key] or b"") for key in ("Name", "Link", "Uname", "Gname")),
        0 if kind in NO_DATA else of["Size"],
        of["Mode"] & 0o7777,
        possible_owner(of["Uid"]),
        possible_owner(of["Gid"]),
        possible_time(of["Seconds"] * 1_000_000_000 + of["Nanoseconds"]),
        (of["Major"], of["Minor"]) if is_device else (0, 0),
        possible(dict(zip(names, values, strict=True)), kind),
        of["Length"],
        of["Checksum"],
    )


def read_here(data: bytes) -> Read:
    members: list[tuple[object, ...]] = []
    scanner = Scanner()
    try:
        for member in scanner.feed(data):
            if member.data_offset + member.stored_size <= len(data):
                members.append(_described(member, data))
        scanner.finish()
    except Corrupt:
        return members, False
    # where Go wants two zero blocks, here one is the ending as well
    after = b"" if scanner.ending is None else data[scanner.ending + BLOCK :][:BLOCK]
    return members, after in (b"", bytes(BLOCK))


def _described(member: Member, data: bytes) -> tuple[object, ...]:
    return (
        REGULAR if member.type == OLD_REGULAR else member.type,
        *(member.name, member.linkname, member.uname, member.gname),
        *(member.size, member.mode, member.uid, member.gid, member.mtime_ns),
        (member.devmajor, member.devminor),
        member.xattrs or {},
        *_checked(member, data),
    )


def _checked(member: Member, data: bytes) -> tuple[int, int]:
    whole = content(data, member)
    return len(whole), zlib.crc32(whole)


@pytest.mark.parametrize("seed", range(4))
def test_members_and_faults_are_those_that_go_finds(reader: Path, seed: int) -> None:
    tars = archives(2500, seed)
    theirs = read_by_go(reader, tars)
    different = [data for data, read in zip(tars, theirs, strict=True) if read_here(data) != read]
    assert not different
    sound = sum(is_sound for _, is_sound in theirs)
    assert len(tars) / 4 < sound < len(tars) * 3 / 4, "there are enough of both"
    assert sum(len(members) for members, _ in theirs) > len(tars)
