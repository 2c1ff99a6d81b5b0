"""What shells complete: names of images and containers, and paths in them, kept so that a key press need not wait.

They are files of the cache, each with a line of JSON, the stamps of what it was made of, by path; it is made again if
one of them differs.
What is imported at the top is little, as that takes most of the time; what makes a file may take long the first time.
Tried by the tests of completion.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from imgfs.cli.complete import STORES

if TYPE_CHECKING:
    from imgfs.cache import Cache
    from imgfs.rootfs import RootFS
    from imgfs.sources.opening import Opening

Stamps = dict[str, int]

NAMES = "names"
"""The kind of files in the cache."""

_CONTAINER = "container "  # before the ID of one, where images have theirs

_WATCHED = {
    "imgfs": ("", "repositories.json", "imagedb/content/sha256"),
    "docker": (
        "",
        "containers",
        *(f"image/{driver}/repositories.json" for driver in ("overlay2", "fuse-overlayfs", "vfs")),
        *(f"image/{driver}/imagedb/content/sha256" for driver in ("overlay2", "fuse-overlayfs", "vfs")),
        "containerd/daemon/io.containerd.metadata.v1.bolt/meta.db",
        "io.containerd.metadata.v1.bolt/meta.db",
    ),
    "containers-storage": (
        "",
        *(
            f"{driver}-{what}/{what}.json"
            for driver in ("overlay", "vfs")
            for what in ("images", "containers")
        ),
    ),
    "containerd": ("", "io.containerd.metadata.v1.bolt/meta.db"),
}
"""What changes with the images and the containers of a store, below its root."""


def names_of(scheme: str | None) -> Iterator[tuple[str, str]]:
    """The names and IDs of images in a store at its usual place, or in all; a name is empty where there is none."""
    return ((name, of) for name, of in _names_of(scheme) if not of.startswith(_CONTAINER))


def containers_of(scheme: str | None) -> Iterator[tuple[str, str]]:
    """The same of containers. A new name of one is not noticed until another is made or removed."""
    of_containers = ((name, of) for name, of in _names_of(scheme) if of.startswith(_CONTAINER))
    return ((name, of.removeprefix(_CONTAINER)) for name, of in of_containers)


def _names_of(scheme: str | None) -> Iterator[tuple[str, str]]:
    for line in _kept("stores", _usual_stamps(), _make_store_names).splitlines():
        store, name, of = line.split("\t")
        if scheme in (None, store):
            yield name, of


def names_in(source: str) -> list[str]:
    """The names in a layout or an archive, written as `SCHEME:PATH` or `PATH`."""
    from_path = source.partition(":")[2] or source

    def make() -> tuple[str, Stamps]:
        from imgfs.sources.lookup import open_sources

        with open_sources([source], _opening()) as union:
            alone = (alias for alias in union.snapshot.aliases if "@" not in alias)
            return "\n".join(filter(str.isprintable, (*union.snapshot.tags, *alone))), {}

    key = f"source {source.removesuffix(from_path)}{os.path.abspath(from_path)}"
    return _kept(key, _path_stamps(from_path), make).splitlines()


def entries_of(image: str, directory: str) -> list[str]:
    """What is in a directory, which is absolute and ends in a slash; directories in it end in one, too.

    Of a container, that is as it was when its store last changed.
    """
    known = _image_id(image)
    place = image.partition(":")[2] if image.startswith(("oci", "docker-archive")) else image

    def make() -> tuple[str, Stamps]:
        from imgfs.sources.lookup import choose, root_meant

        with choose(root_meant, [image], _opening(), ["imgfs:"]) as (chosen,), chosen.root_fs() as root:
            return "\n".join(_directories(root)), {}

    stamps = {} if known else _path_stamps(place) | _usual_stamps()
    text = _kept(f"paths {known or os.path.abspath(place)} {'' if known else image}", stamps, make)
    for _ in range(2):  # a link leads to the directory itself
        found = text.find(f"\n{directory}\t")
        if found < 0:
            return []
        line = text[found + 1 :].partition("\n")[0].split("\t")
        if line[1:2] != ["->"]:
            break
        directory = line[2]
    return line[1:]


def _directories(root: "RootFS") -> Iterator[str]:
    """A line for each directory: its path and its entries, or `->` and the directory that it is a link to."""
    tree = root.tree
    yield ""
    for entry in chain((0,), tree.walk()):
        path = f"/{os.fsdecode(tree.path(entry))}"
        if stat.S_ISLNK(tree.modes[entry]):
            with suppress(OSError):
                target = root.lookup(path, follow=True)
                if tree.is_directory(target):
                    yield f"{path}/\t->\t/{os.fsdecode(tree.path(target))}/".replace("//", "/")
        elif tree.is_directory(entry):
            children = []
            for child in tree.children(entry):
                name = os.fsdecode(tree.name(child))
                children.append(f"{name}/" if _leads_to_directory(root, child) else name)
            yield "\t".join([f"{path}/".replace("//", "/"), *filter(str.isprintable, children)])


def _leads_to_directory(root: "RootFS", entry: int) -> bool:
    tree = root.tree
    if not stat.S_ISLNK(tree.modes[entry]):
        return bool(tree.is_directory(entry))
    try:
        return bool(tree.is_directory(root.lookup(f"/{os.fsdecode(tree.path(entry))}", follow=True)))
    except OSError:
        return False


def _image_id(image: str) -> str | None:
    """The ID of the image that has a name in the usual stores, as far as that is sure."""
    scheme, colon, name = image.partition(":")
    is_in = scheme if colon and scheme in STORES else None
    wanted = {familiar(name if is_in else image), f"{familiar(name if is_in else image)}:latest"}
    found = {image_id for known, image_id in names_of(is_in) if known and familiar(known) in wanted}
    return found.pop() if len(found) == 1 else None


def familiar(name: str) -> str:
    """A name without what engines put before it."""
    for prefix in ("docker.io/library/", "docker.io/", "localhost/"):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _make_store_names() -> tuple[str, Stamps]:
    from imgfs.sources import default_sources
    from imgfs.sources.open_union import open_union

    lines, folders = [], dict[str, Sequence[str]]()
    with open_union((), _opening(), also=default_sources(), unreadable=[]) as union:
        for source in union.sources:
            store = source.reference.partition(":")[0]
            folders[store] = source.folders
            named = set(source.tags.values())
            rows = [
                *source.tags.items(),
                *(("", other) for other in source.store.map() if other not in named),
                *((found.container.name, _CONTAINER + known) for known, found in source.containers.items()),
            ]
            lines += [f"{store}\t{name}\t{image_id}" for name, image_id in rows if name.isprintable()]
    return "\n".join(lines), _usual_stamps(folders)


def _usual_stamps(folders: Mapping[str, Sequence[str]] = {}) -> Stamps:
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    usual = {
        "imgfs": [f"{data}/imgfs"],
        "docker": ["/var/lib/docker"],
        "containers-storage": ["/var/lib/containers/storage", f"{data}/containers/storage"],
        "containerd": ["/var/lib/containerd"],
    }
    stamps: Stamps = {}
    for store, roots in usual.items():
        for root in dict.fromkeys([*roots, *folders.get(store, ())]):
            for name in _WATCHED[store]:
                stamps |= _stamp(os.path.join(root, name) if name else root, exists_only=not name)
    return stamps


def _path_stamps(path: str) -> Stamps:
    """Those of a source whose path may be followed by the name of an image."""
    while path and not os.path.lexists(path):
        path = path.rpartition(":")[0]
    path = os.path.abspath(path)
    return _stamp(os.path.join(path, "index.json")) | _stamp(path)


def _stamp(path: str, *, exists_only: bool = False) -> Stamps:
    try:
        status = os.stat(path)
    except OSError:
        return {path: 0}
    return {path: 1 if exists_only else status.st_mtime_ns}


def _kept(key: str, stamps: Stamps, make: Callable[[], tuple[str, Stamps]]) -> str:
    """What `make` made last, or makes now if one of the `stamps` differs, or of those that it returns."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    folder = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "imgfs", "1")
    found = _read(f"{folder}/sha256-{digest}.{NAMES}")
    if found is not None:
        line, _, text = found.partition("\n")
        with suppress(ValueError, AttributeError):  # what is damaged is made again
            known = json.loads(line).items()
            if known >= stamps.items() and all(_stamp_as(path, of) == of for path, of in known):
                return text
    from imgfs.digest import Digest

    text, more = make()
    line = json.dumps(more | stamps)  # as they were before
    _cache().keep(
        Digest(f"sha256:{digest}"),
        NAMES,
        lambda file: file.write(f"{line}\n{text}".encode("utf-8", "surrogateescape")),
    )
    return text


def _stamp_as(path: str, of: int) -> int:
    return _stamp(path, exists_only=of == 1)[path]


def _read(path: str) -> str | None:
    """A file that this user alone can write to, None if there is none."""
    try:
        above = os.stat(os.path.dirname(path))
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(fd, encoding="utf-8", errors="surrogateescape") as file:
        for status in (above, os.fstat(fd)):
            if status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o022:
                return None
        return file.read()


def _cache() -> "Cache":
    from imgfs.cache import DEFAULT_LIMIT, Cache, default_folder

    return Cache(default_folder(), DEFAULT_LIMIT)


def _opening() -> "Opening":
    from imgfs.sources.opening import Opening
    from imgfs.sources.registries import Registries

    cache = _cache()
    return Opening(cache, registries=Registries(cache, is_offline=True))  # a key press asks no registry
