"""Digests as a type."""

import hashlib

import pytest

from imgfs.digest import ChainID, DiffID, Digest, ImageID
from imgfs.errors import InvalidDigest

HEX = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX.upper()}",
        f"sha256:{HEX}\n",
        f" sha256:{HEX}",
        f"sha512:{HEX}",
        f"md5:{HEX[:32]}",
        "sha256:" + "g" * 64,
        "sha256:../" + "a" * 61,
    ],
)
def test_anything_else_is_invalid(text: str) -> None:
    with pytest.raises(InvalidDigest, match="invalid digest"):
        Digest(text)


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_its_parts_are_those_of_its_text(algorithm: str) -> None:
    text = f"{algorithm}:{hashlib.new(algorithm, b'').hexdigest()}"
    digest = Digest(text)
    assert digest == text
    assert f"{digest.algorithm}:{digest.hex}" == text
    assert digest.short == digest.hex[:12]


def test_it_is_made_of_bytes_or_hex() -> None:
    assert Digest.of(b"") == Digest.from_hex(HEX) == f"sha256:{HEX}"
    assert type(ImageID.of(b"")) is ImageID
    for kind in (ImageID, DiffID, ChainID):
        assert kind(Digest.of(b"")) == Digest.of(b"")


def test_an_error_does_not_repeat_a_text_of_any_length() -> None:
    with pytest.raises(InvalidDigest) as caught:
        Digest("x" * 10_000)
    assert len(str(caught.value)) < 200
