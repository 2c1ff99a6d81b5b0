"""Documents of images and engines, names, and the database of containerd."""

import functools
import json
import os
import tempfile
from collections.abc import Callable

from imgfs.blob import FileBlob
from imgfs.digest import Digest
from imgfs.sources.containerd.bolt import Bucket, read_bolt
from imgfs.sources.containers_storage.graph_driver import ImageRecord, LayerRecord
from imgfs.sources.containers_storage.storage_conf import default_storage
from imgfs.sources.docker_archive import _Item
from imgfs.sources.documents import parse_document
from imgfs.sources.imagedb import parse_repositories
from imgfs.sources.manifests import Document
from imgfs.sources.reference import familiar_name, full_name, split_tag
from imgfs.store import Image
from tests.fuzz.target import Target
from tests.images import TestImage, digest, layer_tar
from tests.sources.containerd.bolt_files import database_of

_ID = digest(b"")
_IMAGE = TestImage([layer_tar({"a": b""})], ["x:1"])
_MANIFEST = {
    "schemaVersion": 2,
    "config": {"digest": _ID, "size": 2, "mediaType": "application/vnd.oci.image.config.v1+json"},
    "layers": [{"digest": _ID, "size": 3, "annotations": {"a": "b"}}],
    "manifests": [{"digest": _ID, "size": 4, "platform": {"os": "linux", "architecture": "amd64"}}],
}
_ITEMS = [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l.tar"]}]
_IMAGES = [{"id": "a" * 64, "layer": "b", "names": ["x"], "big-data-digests": {"manifest": _ID}}]
_LAYERS = [{"id": "a", "parent": "", "diff-digest": _ID, "diff-size": 5}]
_CONF = b'[storage]\ngraphroot="$HOME/s"\n[storage.options]\nadditionalimagestores=["/a", "b"]\n'


def _report(text: str, **about: object) -> None:
    assert text


def _in_file(use: Callable[[str], object], data: bytes) -> None:
    with tempfile.NamedTemporaryFile(prefix="imgfs-fuzz-") as file:
        file.write(data)
        file.flush()
        use(file.name)


def _bolt(path: str) -> None:
    def look(bucket: Bucket, depth: int = 0) -> int:
        inside = [look(child, depth + 1) for _, child in bucket.buckets()] if depth < 20 else []
        return sum(inside) + (bucket.get(b"key") is not None)

    read_bolt(lambda: FileBlob(path), look)


def _storage_conf(path: str) -> None:
    os.environ["CONTAINERS_STORAGE_CONF"] = path
    try:
        default_storage()
    finally:
        del os.environ["CONTAINERS_STORAGE_CONF"]


def _names(data: bytes) -> None:
    text = os.fsdecode(data).replace("\0", "")
    split_tag(text)
    familiar_name(full_name(text))


def _document(name: str, kind: type, sound: object) -> Target:
    return Target(name, lambda data: parse_document(data, kind, "fuzz"), [json.dumps(sound).encode()])


TARGETS = [
    Target("config", Image.from_config, [_IMAGE.config]),
    Target(
        "repositories",
        lambda data: parse_repositories(data, "fuzz", _report),
        [json.dumps({"Repositories": {"x": {"x:1": _ID, f"x@{_ID}": _ID}}}).encode()],
    ),
    _document("manifest", Document, _MANIFEST),
    _document("manifest.json", list[_Item], _ITEMS),
    _document("images.json", list[ImageRecord], _IMAGES),
    _document("layers.json", list[LayerRecord], _LAYERS),
    Target(
        "bolt",
        functools.partial(_in_file, _bolt),
        [database_of({b"v1": {b"key": b"x", b"in": {b"k": b"v"}}})],
    ),
    Target("storage.conf", functools.partial(_in_file, _storage_conf), [_CONF]),
    Target("names", _names, [b"docker.io/library/x:1", b"/a:b", b"localhost:5000/a/b-c__d:v1.2"]),
    Target("digest", lambda data: Digest(data.decode("latin-1")), [_ID.encode(), b"sha512:" + b"a" * 128]),
]
