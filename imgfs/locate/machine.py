"""Which images and containers there are, and their layers, kept so that a search need not open their stores.

What is kept is a file in the cache, with the stamps of all that opening the stores depends on: it counts as long as
none differs. What is imported here is little, as that would take longer than a search.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence

import msgspec

from imgfs.blob.stamp import FileStamp
from imgfs.cache import Cache
from imgfs.decoders import msgpack_decoder
from imgfs.digest import Digest
from imgfs.version import __version__

logger = logging.getLogger("imgfs")

KIND = "machine"
"""The kind of files in the cache."""
_LARGEST = 256 << 20  # bytes
_VARIABLES = (
    *("HOME", "USER", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "CONTAINERS_STORAGE_CONF"),
    *("_CONTAINERS_USERNS_CONFIGURED", "_CONTAINERS_ROOTLESS_UID", "IMGFS_STORE"),
)

Stamps = dict[str, FileStamp | None]
"""The stamps of files and directories by their paths, None of what is not there."""


class Root(msgspec.Struct, array_like=True, frozen=True):
    """An image, or a container if it `is_container`: its ID, its names, and the number of its stack of layers."""

    id: str
    names: list[str]
    stack: int
    is_container: bool


class Machine(msgspec.Struct, array_like=True):
    """What was found in some stores.

    `layers` are the keys of layers, by which they are indexed, and `diff_ids` what is shown of each; `stacks` are of
    their numbers, bottom first. `writers` are the users who decide what is in the stores. `watched` and `known` are the
    stamps of what finding them depends on, and of segments whose bytes were compared. `notes` are the warnings that
    were logged; with `has_problems`, something that is broken is not among it.
    """

    layers: list[bytes]
    diff_ids: list[str]
    stacks: list[tuple[int, ...]]
    roots: list[Root]
    writers: list[int]
    watched: Stamps
    known: dict[str, FileStamp]
    notes: list[str] = []
    has_problems: bool = False

    @property
    def is_current(self) -> bool:
        """Whether all of it is still so."""
        return stamps_of(self.watched) == self.watched


def key_of(sources: Sequence[str], store: str | None) -> Digest:
    """What is asked for, where and by which user, as the name of a file in the cache."""
    said = [
        __version__,
        str(os.geteuid()),
        os.getcwd() if sources or store else "",
        *sources,
        f"store {store}",
    ]
    said += [f"{name} {os.environ.get(name)}" for name in _VARIABLES]
    return Digest.of("\0".join(said).encode("utf-8", "surrogateescape"))


def load_machine(cache: Cache, key: Digest) -> Machine | None:
    """What was kept, None if nothing is."""
    file = cache.open(key, KIND)
    if file is None:
        return None
    with file:
        data = file.pread(min(file.size, _LARGEST), 0)
    digest, packed = data[:32], data[32:]
    if hashlib.sha256(packed).digest() != digest:
        logger.info("stores are opened again: what is kept of them is damaged")
        return None
    try:
        return msgpack_decoder(Machine).decode(packed)
    except msgspec.MsgspecError as error:
        logger.info("stores are opened again: %s", error)
        return None


def keep_machine(cache: Cache, key: Digest, machine: Machine) -> None:
    """Keep what was found, unless what it depends on may have changed while it was read."""
    if any(stamp is not None and stamp.settles_in for stamp in machine.watched.values()):
        return
    packed = msgspec.msgpack.encode(machine)
    cache.keep(key, KIND, lambda file: file.write(hashlib.sha256(packed).digest() + packed))


def stamps_of(paths: Iterable[str]) -> Stamps:
    """The stamps of what is at some paths."""
    found: Stamps = {}
    for path in paths:
        try:
            found[path] = FileStamp.of(os.stat(path))
        except OSError:
            found[path] = None
    return found
