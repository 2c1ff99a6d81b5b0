"""Digests as a type, validated once where they are parsed.

Format: `algorithm:hex`, OCI image specification, descriptor.md, "Digests". A `Digest` is a `str`, so it
compares, hashes, sorts and prints as the text people know. `ImageID`, `DiffID` and `ChainID` are what a
digest is the digest of; type checkers keep them apart.
"""

import hashlib
import re
from typing import Self

from imgfs.errors import InvalidDigest

ALGORITHMS = ("sha256", "sha384", "sha512")
"""Those that digests may have."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")


def is_digest(text: str) -> bool:
    """Whether a text is a digest."""
    return _DIGEST.fullmatch(text) is not None


class Digest(str):
    """A validated digest, `sha256:<64 lowercase hex>` (sha384 and sha512 are accepted too).

    Raises InvalidDigest for anything else.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if type(text) is cls:
            return text
        if _DIGEST.fullmatch(text) is None:
            raise InvalidDigest(f"invalid digest: {text[:160]!r}")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The sha256 digest of some bytes."""
        return super().__new__(cls, "sha256:" + hashlib.sha256(data).hexdigest())

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """The sha256 digest with these 64 hex digits."""
        return cls("sha256:" + text)

    def is_of(self, data: bytes) -> bool:
        """Whether it is the digest of some bytes."""
        if self.startswith("sha256:"):  # faster than by its name
            return hashlib.sha256(data).hexdigest() == self[7:]
        return hashlib.new(self.algorithm, data).hexdigest() == self.hex

    @property
    def algorithm(self) -> str:
        """The part before the colon, also the name `hashlib` knows it by."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The part after the colon."""
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first 12 hex digits, as docker shows IDs."""
        return self.hex[:12]


class ImageID(Digest):
    """The digest of an image's config."""

    __slots__ = ()


class DiffID(Digest):
    """The digest of a layer's uncompressed tar."""

    __slots__ = ()


class ChainID(Digest):
    """The digest of a stack of diff IDs; see `imgfs.layers.chain`."""

    __slots__ = ()
