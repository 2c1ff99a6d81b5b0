"""What containerd's database says of images and containers, by namespace: their names, and what each leads to.

Format: containerd, metadata/buckets.go: buckets `v1/<namespace>/images/<name>/target`, which hold a descriptor
under `digest`, `mediatype` and `size`, and `labels` beside them. Docker's builder records an image's parent as a
label, `org.mobyproject.image.parent`. Containers are in `v1/<namespace>/containers`, see `container_records`.
Tried by the tests of the store, and with a containerd that runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imgfs.blob import FileBlob
from imgfs.errors import Corrupt
from imgfs.sources.containerd.bolt import Bucket, read_bolt
from imgfs.sources.containerd.container_records import ContainerRecord

_MAX_NAMES = 100_000
_MAX_CONTAINERS = 20_000
_PARENT = b"org.mobyproject.image.parent"


@dataclass(frozen=True, slots=True)
class Name:
    """An image's name in its namespace, and the digest, not validated yet, of its manifest or index.

    `parent` is that of the image that it was built on, where that is recorded.
    """

    namespace: str
    name: str
    digest: str
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """All that one look at the database yields: sorted by namespace, then by name or ID."""

    namespaces: Sequence[str]
    names: Sequence[Name]
    containers: Sequence[ContainerRecord]
    problems: Sequence[str]


def read_names(open_file: Callable[[], FileBlob], namespace: str | None) -> Names:
    """The names in one namespace, or in all; damaged ones are problems, and the others are there.

    Raises what `read_bolt` raises.
    """
    return read_bolt(open_file, lambda root: _names(root, namespace))


def _names(root: Bucket, wanted: str | None) -> Names:
    namespaces: list[str] = []
    names: list[Name] = []
    containers: list[ContainerRecord] = []
    problems: list[str] = []
    top = root.bucket(b"v1")
    for key, inside in top.buckets() if top is not None else ():
        namespace = _text(key)
        namespaces.append(namespace)
        if wanted not in (None, namespace):
            continue
        try:
            images = inside.bucket(b"images")
            for name, image in images.buckets() if images is not None else ():
                if len(names) >= _MAX_NAMES:
                    raise Corrupt(f"the database has more than {_MAX_NAMES} names")
                try:
                    names.append(Name(namespace, _text(name), _target(image), _parent(image)))
                except Corrupt as error:
                    problems.append(f"skipping image {_text(name)} of namespace {namespace}: {error}")
        except Corrupt as error:
            problems.append(f"skipping images of namespace {namespace}: {error}")
        try:
            found = inside.bucket(b"containers")
            for container_id, container in found.buckets() if found is not None else ():
                if len(containers) >= _MAX_CONTAINERS:
                    raise Corrupt(f"the database has more than {_MAX_CONTAINERS} containers")
                try:
                    containers.append(ContainerRecord.read(namespace, _text(container_id), container))
                except Corrupt as error:
                    problems.append(
                        f"skipping container {_text(container_id)[:80]} of namespace {namespace}: {error}"
                    )
        except Corrupt as error:
            problems.append(f"skipping containers of namespace {namespace}: {error}")
    return Names(namespaces, names, containers, problems)


def _target(image: Bucket) -> str:
    target = image.bucket(b"target")
    digest = target.get(b"digest") if target is not None else None
    if digest is None:
        raise Corrupt("it has no target")
    return _text(digest)


def _parent(image: Bucket) -> str | None:
    labels = image.bucket(b"labels")
    parent = labels.get(_PARENT) if labels is not None else None
    return _text(parent) if parent else None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
