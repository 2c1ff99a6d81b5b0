"""How a tree shows things, where there is a choice."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """`verbatim_tar` shows rootfs.tar as the plain concatenation of the layer tars, instead of joined."""

    verbatim_tar: bool = False
