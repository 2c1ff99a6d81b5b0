"""Which indexes of a registry are used. Tried by the tests of `shared_indexes`."""

from typing import Self

import msgspec

from imgfs.digest import Digest
from imgfs.errors import InvalidDigest


class IndexUse(msgspec.Struct, frozen=True):
    """Which indexes of a registry are used.

    None if `is_never`; those that are only found, also for images named by a digest, if it `uses_found`; the one with
    the digest `given` in place of others.
    """

    is_never: bool = False
    uses_found: bool = False
    given: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `never`, `found` or a digest means. Raises ValueError for anything else."""
        if text in ("never", "found"):
            return cls(text == "never", text == "found")
        try:
            return cls(given=Digest(text))
        except InvalidDigest:
            raise ValueError(f"{text!r} is neither never, nor found, nor the digest of an index") from None
