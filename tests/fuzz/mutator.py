"""A small mutator, for the short form and where atheris is not installed."""

import random
from collections.abc import Iterator, Sequence

_PIECES = [b"\0", b"\xff", b"\x7f" * 4, b"\xff" * 8, b"\x80" + bytes(7) + b"\x01", b"0" * 12, b"9" * 20]
_PIECES += [b"-1", b"null", b"[]", b"{}", b'""', b"../", b"/", b"\n", b"=", b" ", b"\xc3(", b"[" * 3000]


def mutations(corpus: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Inputs without end, the same for the same seed: the corpus first, then changes of it, several at a time."""
    yield from corpus
    dice = random.Random(seed)
    while True:
        data = bytearray(dice.choice(corpus))
        for _ in range(dice.choice((1, 1, 1, 2, 4, 8))):
            _change(data, dice, corpus)
        yield bytes(data)


def _change(data: bytearray, dice: random.Random, corpus: Sequence[bytes]) -> None:
    at = dice.randrange(len(data) + 1)
    size = min(dice.choice((1, 1, 2, 4, 8, 60, 512)), len(data) - at)
    match dice.randrange(6):
        case 0 if size:
            data[at] ^= 1 << dice.randrange(8)
        case 1:
            data[at : at + size] = dice.randbytes(size)
        case 2:
            del data[at : at + size]
        case 3:
            data[at:at] = data[at : at + size]
        case 4:
            piece = dice.choice(_PIECES)
            data[at : at + (len(piece) if dice.random() < 0.7 else 0)] = piece
        case _:
            other = dice.choice(corpus)
            start = dice.randrange(len(other) + 1)
            data[at : at + size] = other[start : start + dice.choice((8, 64, 512))]
