"""Tars of every dialect, right and wrong in all the ways that are known of, made of dice.

Each has a few members; most of their fields are ordinary, some are not. What it is good for is to have the same bytes
read by several programs, and what they say of them compared.
"""

import random
import struct
from collections.abc import Sequence

from tests.tar.archives import BLOCK, padded, record

_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12s")
_MAGICS = [
    *[(b"ustar\0", b"00")] * 5,
    *[(b"ustar ", b" \0")] * 4,
    *[(b"\0" * 6, b"\0\0")] * 2,
    *((b"ustar\0", version) for version in (b"  ", b"\0\0", b" \0", b"0 ", b"xx")),
    *((b"ustar ", version) for version in (b"00", b"  ", b"\0\0")),
    *((magic, b"00") for magic in (b"USTAR\0", b"ustar\1", b"ustar0", b"      ")),
]
_NUMBERS = [
    *(0, 0, 1, 7, 0o644, 0o755, 0o4755, 0o177777, 1000, 65534, (1 << 18) - 1, 1_500_000_000, 1_600_000_000),
    *((1 << 31) - 1, 1 << 31, (1 << 32) - 2, (1 << 32) - 1, 1 << 32, (1 << 33) - 1, 8**7 - 1, 8**11 - 1),
    *(9_223_372_036, 9_223_372_037, (1 << 61) + 5, (1 << 63) - 1),
]
_TEXTS = [b"a", b"dir/", b"./b", b"/c", b"../d", b"x/../y", b"a//b", b"\xff\xfe", b"n\xc3\xbc", b"", b"./"]
_TEXTS += [b"n" * 99, b"n" * 100, b"d/" * 49 + b"e", b"blank ", b" x", b"new\nline"]
_DECIMALS = [b"0", b"5", b"007", b"+7", b"-7", b"-0", b"0" * 25 + b"7", b"4294967295", b"9223372036854775807"]
_NO_DECIMALS = [b"9223372036854775808", b"x", b"1_0", b" 5", b"5 ", b"0x5", b"-", b"5.0", b"1e3"]
_TIMES = [
    b"1500000000.123456789",
    b"1.5",
    b"1.",
    b"-1.5",
    b"-0.5",
    b"1.1234567891",
    b"+2.25",
    b"9" * 18,
    b"0.000000001",
]
_TIMES += [b"9223372036.854775807", b"9223372036.9", b"-62135596800", *_DECIMALS]
_NO_TIMES = [b".5", b"1.x", b"1.-5", b"1.5.5", b".", b"--1", *_NO_DECIMALS]
_VALUES = [b"", b"v", b"\0", b"a\0b", b"=", b"a=b", b"\xff", b"\n", b"l" * 300, *_TEXTS]
_OTHER_KEYS = [
    b"comment",
    b"hdrcharset",
    b"charset",
    b"SCHILY.dev",
    b"SCHILY.ino",
    b"VENDOR.x",
    b"RHT.security.selinux",
]
_XATTRS = [
    b"user.a",
    b"user.b",
    b"trusted.c",
    b"security.capability",
    b"system.d",
    b"com.apple.x",
    b"user.\xff",
    b"",
]
_TYPES = b"0000000\0\0\0\0" + b"1122334455556677SSDVMANZ"


class Dice(random.Random):
    """What is drawn of everything; `oddness` is the share of what is not ordinary."""

    oddness = 0.1

    def odd(self) -> bool:
        return self.random() < self.oddness

    def octal(self, value: int, width: int) -> bytes:
        """A number of 0 or more as a field in one of the usual ways."""
        digits = b"%o" % value
        ways = [
            digits.rjust(width - 1, b"0") + b"\0",
            digits.rjust(width - 1, b"0") + b" ",
            digits.rjust(width - 2, b"0") + b" \0",
            digits.rjust(width - 1, b" ") + b"\0",
            digits.ljust(width, b"\0"),
            digits.rjust(width, b"0"),
            b"\0" + digits.ljust(width - 1, b" "),
        ]
        fitting = [way for way in ways if len(way) == width]
        return self.choice(fitting[:1] * 3 + fitting) if fitting else self.binary(value, width)

    def binary(self, value: int, width: int) -> bytes:
        """A number in base 256, or nothing if that is too short for it."""
        if not -1 << 8 * width - 2 <= value < 1 << 8 * width - 2:
            return bytes(width)
        field = bytearray(value.to_bytes(width, "big", signed=True))
        field[0] |= 0x80
        return bytes(field)

    def number(self, value: int, width: int) -> bytes:
        """A field for a number; an odd one says something else, or nothing that is a number."""
        if not self.odd():
            return self.octal(value, width)
        other = self.choice(_NUMBERS)
        odd = [
            self.octal(other, width),
            self.binary(other, width),
            self.binary(-other, width),
            b"\x80" + self.randbytes(width - 1),
            b"\xff" + self.randbytes(width - 1),
            bytes([0x80 | self.randrange(128)]) + bytes(width - 2) + b"\5",
            *(b"\0" * width, b" " * width, (b"%o\0junk" % value)[:width], (b"%o \0005" % value)[:width]),
            *(b"%o" % value + b"8", b"-1", b"+1", b"abc", b"0x1", b"1_0", b"\0 \0007", b"7\xff"),
        ]
        return self.choice(odd)[:width].ljust(width, b"\0")

    def text(self) -> bytes:
        return self.choice(_TEXTS)


def header(
    dice: Dice, kind: bytes, size: int, *, name: bytes | None = None, tail: bytes | None = None
) -> bytes:
    """One header block that says that `size` bytes follow; `tail` goes over what is from its prefix on."""
    magic, version = dice.choice(_MAGICS) if tail is None else (b"ustar ", b" \0")
    if tail is not None and dice.odd():
        magic, version = dice.choice(_MAGICS)
    prefix = b""
    if dice.random() < 0.3:
        times = dice.number(5, 12) + dice.number(1_500_000_000, 12)
        prefix = dice.choice(
            [b"some/folder", b"p\xff", b"p" * 155, times, times + b"more", b"p" * 131 + times]
        )
    fields = (
        dice.text() if name is None else name,
        dice.number(dice.choice((0o644, 0o755, 0o4755)), 8),
        dice.number(dice.choice((0, 1000)), 8),
        dice.number(dice.choice((0, 1000)), 8),
        dice.number(size, 12),
        dice.number(dice.choice((0, 1_500_000_000)), 12),
        b" " * 8,
        kind,
        dice.text() if kind in b"12" or dice.odd() else b"",
        *(magic, version),
        dice.choice((b"", b"root", b"u" * 32, b"\xff")),
        dice.choice((b"", b"wheel", b"g" * 32, b"a\0b")),
        *(dice.number(5, 8), dice.number(1, 8)),
        prefix,
        dice.choice((bytes(12), bytes(12), bytes(8) + b"tar\0", b"\xff" * 12)),
    )
    block = _FIELDS.pack(*fields)
    if tail is not None:
        block = block[: BLOCK - len(tail)] + tail
    return _with_checksum(dice, block)


def _with_checksum(dice: Dice, block: bytes) -> bytes:
    total = sum(block)
    if dice.random() < 0.3:
        total -= 256 * sum(byte > 127 for byte in block)
    ways = [b"%06o\0 ", b"%06o\0 ", b"%06o \0", b"%07o\0", b"%o\0", b" %o ", b"%08o"]
    field = (dice.choice(ways) % max(total, 0))[:8].ljust(8, b"\0")
    if dice.odd() and dice.odd():
        field = dice.choice([b"%06o\0 " % (total + 1), b"\x80" + total.to_bytes(7), b"garbage!", bytes(8)])
    return block[:148] + field + block[156:]


def records(dice: Dice, size: int) -> list[tuple[bytes, bytes]]:
    """Pax records, one of which may say the size."""
    found = []
    for _ in range(dice.choice((0, 1, 1, 2, 4))):
        keys = [
            b"path",
            b"linkpath",
            b"uname",
            b"gname",
            b"uid",
            b"gid",
            b"mtime",
            b"atime",
            b"ctime",
            b"size",
        ]
        keys += [
            b"SCHILY.xattr." + dice.choice(_XATTRS),
            b"LIBARCHIVE.xattr.user.a",
            dice.choice(_OTHER_KEYS),
        ]
        key, odd = dice.choice(keys), dice.odd()
        value = dice.choice(_VALUES if odd else [*_TEXTS, b"v"])
        if key in (b"uid", b"gid"):
            value = dice.choice(_NO_DECIMALS if odd else _DECIMALS)
        elif key in (b"mtime", b"atime", b"ctime"):
            value = dice.choice(_NO_TIMES if odd else _TIMES)
        elif key == b"size":
            value = dice.choice(_NO_DECIMALS if odd else [b"%d" % size, b"+%d" % size, b"%030d" % size, b""])
        found.append((key, value))
    return found


def payload(dice: Dice, pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Records as they are stored; an odd one is not what a record should be."""
    texts = []
    for key, value in pairs:
        text = record(key, value)
        if dice.odd() and dice.odd():
            text = dice.choice(
                [
                    text[1:],
                    text[:-1],
                    b"0" + text,
                    b"+" + text,
                    text.replace(b"=", b"\0=", 1),
                    text.replace(b"=", b"", 1),
                    text.replace(b" ", b"", 1),
                    text + b"\0",
                    record(b"", value),
                    b"%030d%s" % (len(text) + 30 - len(text.split(b" ")[0]), text[text.index(b" ") :]),
                ]
            )
        texts.append(text)
    return b"".join(texts)


def extension(dice: Dice, kind: bytes, data: bytes) -> bytes:
    """A header of type x, g, L or K, and its data."""
    return header(dice, kind, len(data), name=b"extension") + padded(data)


def extensions(dice: Dice, size: int) -> bytes:
    """What goes before a member."""
    found = []
    for _ in range(dice.choice((0, 0, 0, 1, 1, 2, 3))):
        kind = dice.choice(b"xxxxgLLK").to_bytes(1)
        if kind in b"xg":
            found.append(extension(dice, kind, payload(dice, records(dice, size))))
        else:
            found.append(extension(dice, kind, dice.text() * 3 + dice.choice((b"\0", b"\0", b"", b"\0junk"))))
    return b"".join(found)


def member(dice: Dice) -> bytes:
    """A member with all that goes before it and its data."""
    if dice.random() < 0.2:
        return dice.choice((old_sparse, pax_sparse, pax_sparse))(dice)
    kind = dice.choice(_TYPES).to_bytes(1)
    size = dice.choice((0, 0, 1, 511, 512, 513, 1300))
    says = size if dice.odd() or kind not in b"123456" else 0
    data = b"" if kind in b"123456" else dice.randbytes(size)
    after = dice.randbytes(-size % BLOCK) if dice.odd() else bytes(-size % BLOCK)
    return extensions(dice, size) + header(dice, kind, says) + data + (after if data else b"")


def _parts(dice: Dice) -> tuple[list[int], int, bytes]:
    """Offsets and lengths, the size of the file, and what is stored of it; odd ones are out of order or do not fit."""
    numbers, end, data = list[int](), 0, b""
    for _ in range(dice.choice((0, 1, 2, 5, 30))):
        offset, length = end + dice.choice((0, 0, 512, 1000)), dice.choice((0, 1, 512, 700))
        numbers += [offset, length]
        end = offset + length
        data += dice.randbytes(length)
    size = end + dice.choice((0, 0, 1000))
    if dice.odd():
        data = dice.choice([data + b"x", data[:-1], data + bytes(512)])
    if dice.odd():
        size = dice.choice([end - 1, -1, 0, end + 70_000])
    if numbers and dice.odd():
        place = dice.randrange(len(numbers))
        numbers[place] = dice.choice([-1, 0, numbers[place] + 1, (1 << 63) - 1])
    return numbers, size, data


def old_sparse(dice: Dice) -> bytes:
    """A member of type S, its map going on in further blocks if need be."""
    numbers, size, data = _parts(dice)
    fields = [dice.number(number, 12) if number >= 0 else dice.binary(number, 12) for number in numbers]
    pairs = [b"".join(fields[place : place + 2]) for place in range(0, len(fields), 2)]
    first, rest = pairs[:4], pairs[4:]
    flag = b"\1" if rest or dice.odd() else b"\0"
    tail = b"".join(first).ljust(96, b"\0") + flag + dice.number(max(size, 0), 12) + bytes(17)
    blocks = b""
    while flag == b"\1":
        some, rest = rest[:21], rest[21:]
        flag = b"\1" if rest else b"\0"
        blocks += (b"".join(some).ljust(504, b"\0") + flag).ljust(BLOCK, b"\0")
    return extensions(dice, len(data)) + header(dice, b"S", len(data), tail=tail) + blocks + padded(data)


def pax_sparse(dice: Dice) -> bytes:
    """A sparse member in one of the three formats with pax records, odd ones with records too few or too many."""
    numbers, size, data = _parts(dice)
    version = dice.choice(("0.0", "0.1", "1.0"))
    texts = [dice.choice([b"%d", b"%d", b"%d", b"%025d", b"%+d"]) % number for number in numbers]
    count = b"%d" % (len(numbers) // 2)
    says = [(b"GNU.sparse.size" if version == "0.0" else b"GNU.sparse.realsize", b"%d" % size)]
    if version != "0.0" or dice.odd():
        says += [(b"GNU.sparse.major", version[:1].encode()), (b"GNU.sparse.minor", version[2:].encode())]
        says.append((b"GNU.sparse.name", dice.text()))
    if version == "1.0":
        data = padded(b"\n".join([count, *texts]) + b"\n") + data
    else:
        says.append((b"GNU.sparse.numblocks", count))
    if version == "0.0":
        keys = [b"GNU.sparse.offset", b"GNU.sparse.numbytes"] * len(texts)
        says += zip(keys, texts, strict=False)
    elif version == "0.1":
        says.append((b"GNU.sparse.map", b",".join(texts)))
    if dice.odd():
        place = dice.randrange(len(says))
        key, value = says.pop(place)
        replaced = [[], [(key, value)] * 2, [(key, b"")], [(key, b"2")], [(key, b"x")], [(b"path", b"p")]]
        says[place:place] = dice.choice(replaced)
    kind = dice.choice(_TYPES).to_bytes(1) if dice.odd() else b"0"
    before = extension(dice, b"x", payload(dice, [*records(dice, len(data)), *says]))
    return before + header(dice, kind, len(data)) + padded(data)


def archive(dice: Dice) -> bytes:
    """A few members and an ending; an odd one has another ending or none, or is cut."""
    dice.oddness = dice.choice((0.0, 0.02, 0.1))
    data = b"".join(member(dice) for _ in range(dice.choice((1, 1, 2, 3))))
    data += extensions(dice, 0) if dice.odd() else b""
    if dice.random() < 0.8:
        return data + bytes(2 * BLOCK)
    return dice.choice(
        [
            data,
            data + bytes(BLOCK),
            data[: dice.randrange(len(data))],
            data[: len(data) - dice.randrange(BLOCK)],
        ]
    )


def archives(count: int, seed: int) -> list[bytes]:
    """So many of them."""
    dice = Dice(seed)
    return [archive(dice) for _ in range(count)]
