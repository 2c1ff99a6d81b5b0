"""The options of `-o`, written as mount(8) and sshfs take them."""

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from imgfs.errors import InvalidImage, InvalidOption
from imgfs.layers.toc_layer import TocUse
from imgfs.store.platform import Platform

_NO_ID = 0xFFFF_FFFF  # chown(2) takes it as "unchanged", so it is no user or group
_ALWAYS = ("ro", "nosuid", "nodev")
# Options that mount(8) passes along from fstab, without effect here.
_ACCEPTED = (
    *("defaults", "default_permissions", "noatime", "relatime", "nofail", "auto", "noauto"),
    *("user", "users", "nouser", "_netdev"),
)


@dataclass(frozen=True, slots=True)
class MountOptions:
    """How the tree is shown. `umask` removes permissions; `lazy_size` shows a size as 0 while it is unknown, None if
    nothing is said of that; with `no_xattrs` no file has extended attributes, which saves the kernel from asking. With
    `by_kernel` the kernel shows root file systems itself. If it `is_indexed`, layers are indexed for `imgfs locate`
    beside it.

    `authfile`, `cert_dir`, `tls_verify`, `platform`, `is_offline` and `toc` are how registries are
    reached.

    `uid` and `gid` own everything. Without them, files of images have the owners recorded in the image, and all else
    belongs to the user who mounts. `fsname` is the source that mount(8) and df(1) show, any text.
    """

    allow_other: bool = False
    noexec: bool = False
    uid: int | None = None
    gid: int | None = None
    umask: int = 0
    fsname: str = ""
    verbatim_tar: bool = False
    lazy_size: bool | None = None
    no_xattrs: bool = False
    by_kernel: bool = False
    links_inside: bool = False
    is_indexed: bool = False
    authfile: str | None = None
    cert_dir: str | None = None
    tls_verify: bool | None = None
    platform: Platform | None = None
    is_offline: bool = False
    toc: TocUse | None = None

    @property
    def changes_attributes(self) -> bool:
        """Whether files are shown with other attributes than those recorded in the image."""
        return self.no_xattrs or bool(self.umask) or (self.uid, self.gid) != (None, None)

    @property
    def for_kernel(self) -> set[str]:
        """The options as libfuse takes them."""
        options = {*_ALWAYS, "subtype=imgfs", f"fsname={_escaped(self.fsname or 'imgfs')}"}
        if self.allow_other:
            # other users are subject to file permissions; the user who mounts can read the images anyway
            options.add("default_permissions")
        return options | {name for name in ("allow_other", "noexec") if getattr(self, name)}


def parse_options(text: str) -> MountOptions:
    """The options in a list with commas, later ones winning. Raises InvalidOption naming what is wrong."""
    chosen: dict[str, object] = {}
    for option in filter(None, text.split(",")):
        name, equals, value = option.partition("=")
        if name in _VALUES:
            try:
                key, convert = _VALUES[name]
                chosen[key] = convert(value)
            except (ValueError, KeyError, InvalidImage):
                known = f" ({name} is {' or '.join(_WORDS[name])})" if name in _WORDS else ""
                raise InvalidOption(f"invalid value for option {name}: {value!r}{known}") from None
        elif name in _FLAGS and not equals:
            chosen[_FLAGS[name]] = True
        elif option in ("rw", "suid", "dev"):
            raise InvalidOption(
                f"option {option} is not possible: images are shown read-only, nosuid and nodev"
            )
        elif name == "remount":
            raise InvalidOption("options cannot be changed while it is mounted: unmount it first")
        elif option not in (*_ALWAYS, *_ACCEPTED, "exec") and not option.startswith("x-"):
            raise InvalidOption(f"unknown option: {option!r}{_suggestion(option)}")
    return MountOptions(**chosen)  # type: ignore[arg-type]  # each is converted to its field's type


def _suggestion(option: str) -> str:
    """The option that was probably meant."""
    known = [*_FLAGS, *_ACCEPTED, *(f"{name}=" for name in _VALUES if name not in _WORDS)]
    known += [f"{name}={word}" for name, words in _WORDS.items() for word in words]
    near = difflib.get_close_matches(option.lower(), known, 1)
    near = near or difflib.get_close_matches(option.partition("=")[0].lower() + "=", known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def option_names() -> list[str]:
    """The options that have an effect, with the values that they may have or `=` where those are free."""
    free = [f"{name}=" for name in _VALUES if name not in _WORDS]
    return [*_FLAGS, *free, *(f"{name}={value}" for name, values in _WORDS.items() for value in values)]


def _escaped(text: str) -> str:
    """Text as the value of an option of libfuse, which pyfuse3 takes in ASCII only."""
    shown = text.encode("utf-8", "surrogateescape").decode("ascii", "backslashreplace")
    return shown.replace("\\", "\\\\").replace(",", "\\,")


def _number(text: str) -> int:
    value = int(text) if text.isdecimal() else -1
    if not 0 <= value < _NO_ID:
        raise ValueError(text)
    return value


def _octal(text: str) -> int:
    value = int(text, 8)
    if not 0 <= value <= 0o777:
        raise ValueError(text)
    return value


_FLAGS = {
    "allow_other": "allow_other",
    "noexec": "noexec",
    "noxattr": "no_xattrs",
    "locate": "is_indexed",
    "kernel": "by_kernel",
    "offline": "is_offline",
}
_WORDS: dict[str, dict[str, Any]] = {
    "tar": {"joined": False, "verbatim": True},
    "size": {"exact": False, "lazy": True},
    "symlinks": {"asis": False, "inside": True},
    "tls-verify": {"true": True, "false": False},
    "toc": {str(use): use for use in TocUse},
}
_VALUES: dict[str, tuple[str, Callable[[str], object]]] = {
    "uid": ("uid", _number),
    "gid": ("gid", _number),
    "umask": ("umask", _octal),
    "fsname": ("fsname", str),
    "tar": ("verbatim_tar", _WORDS["tar"].__getitem__),
    "size": ("lazy_size", _WORDS["size"].__getitem__),
    "symlinks": ("links_inside", _WORDS["symlinks"].__getitem__),
    "tls-verify": ("tls_verify", _WORDS["tls-verify"].__getitem__),
    "toc": ("toc", TocUse),
    "authfile": ("authfile", os.path.abspath),
    "cert-dir": ("cert_dir", os.path.abspath),
    "platform": ("platform", Platform.parse),
}
