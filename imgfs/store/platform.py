"""Which machines an image is for.

Format: `os[/architecture[/variant]]` in Go's names, as the OCI image specification's config.md lists them.
"""

import platform
from typing import Self

import msgspec

from imgfs.errors import InvalidImage

# by what machines call themselves; all others Go calls the same
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class Platform(msgspec.Struct, frozen=True):
    """An operating system, architecture and variant; an empty one leaves it open."""

    os: str
    architecture: str = ""
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The platform written as `linux/arm/v7`. Raises InvalidImage for what is not written so."""
        parts = text.split("/")
        if not 1 <= len(parts) <= 3 or not all(parts):
            raise InvalidImage(f"invalid platform {text!r}: not OS[/ARCHITECTURE[/VARIANT]]")
        return cls(*parts)

    def accepts(self, other: "Platform") -> bool:
        """Whether nothing that both say differs."""
        pairs = (
            (self.os, other.os),
            (self.architecture, other.architecture),
            (self.variant, other.variant),
        )
        return all(mine == theirs or not mine or not theirs for mine, theirs in pairs)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def this_architecture() -> str:
    """The architecture of this machine, in Go's names."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)
