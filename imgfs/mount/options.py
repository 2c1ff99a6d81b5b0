"""The options of `-o`, written as mount(8) and sshfs take them."""

from collections.abc import Callable
from dataclasses import dataclass

from imgfs.errors import MountError

_NOBODY = 0xFFFF_FFFF  # as a user or group: none, so no number of one
_ALWAYS = ("ro", "nosuid", "nodev")
# What mount(8) passes along from fstab and what changes nothing here.
_ACCEPTED = (
    *("defaults", "default_permissions", "noatime", "relatime", "nofail", "auto", "noauto"),
    *("user", "users", "nouser", "_netdev"),
)


@dataclass(frozen=True, slots=True)
class MountOptions:
    """How the tree is shown. `umask` takes permissions away; `lazy_size` answers 0 while a size is unknown.

    `uid` and `gid` own everything; without them, whoever mounts owns all but what images say the owners of.
    """

    allow_other: bool = False
    noexec: bool = False
    uid: int | None = None
    gid: int | None = None
    umask: int = 0
    fsname: str = "imgfs"
    verbatim_tar: bool = False
    lazy_size: bool = False

    @property
    def for_kernel(self) -> set[str]:
        """The options as libfuse takes them."""
        options = {*_ALWAYS, "subtype=imgfs", f"fsname={self.fsname}"}
        if self.allow_other:
            # whoever mounts can read the images anyway; others see what the modes in the tree let them
            options.add("default_permissions")
        return options | {name for name in ("allow_other", "noexec") if getattr(self, name)}


def parse_options(text: str) -> MountOptions:
    """The options in a list with commas, later ones winning. Raises MountError naming what is wrong."""
    chosen: dict[str, object] = {}
    for option in filter(None, text.split(",")):
        name, equals, value = option.partition("=")
        if name in _VALUES:
            try:
                key, convert = _VALUES[name]
                chosen[key] = convert(value)
            except (ValueError, KeyError):
                raise MountError(f"invalid value for option {name}: {value!r}") from None
        elif name in ("allow_other", "noexec") and not equals:
            chosen[name] = True
        elif option in ("rw", "suid", "dev"):
            raise MountError(f"option {option} is not possible: images are shown read-only, nosuid and nodev")
        elif option not in (*_ALWAYS, *_ACCEPTED, "exec") and not option.startswith("x-"):
            raise MountError(f"unknown option: {option!r}")
    return MountOptions(**chosen)  # type: ignore[arg-type]  # each is converted to its field's type


def _number(text: str) -> int:
    value = int(text) if text.isdecimal() else -1
    if not 0 <= value < _NOBODY:
        raise ValueError(text)
    return value


def _octal(text: str) -> int:
    value = int(text, 8)
    if not 0 <= value <= 0o777:
        raise ValueError(text)
    return value


_VALUES: dict[str, tuple[str, Callable[[str], object]]] = {
    "uid": ("uid", _number),
    "gid": ("gid", _number),
    "umask": ("umask", _octal),
    "fsname": ("fsname", str),
    "tar": ("verbatim_tar", {"joined": False, "verbatim": True}.__getitem__),
    "size": ("lazy_size", {"exact": False, "lazy": True}.__getitem__),
}
