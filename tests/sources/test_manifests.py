"""From descriptors down to images; what was found once is not read again."""

import gzip
import json

import pytest

from imgfs.blob import Blob, MemoryBlob
from imgfs.digest import Digest
from imgfs.sources.finder import Artifact, FoundImage
from imgfs.sources.manifests import Descriptor, ManifestWalk, this_platform_first
from imgfs.store import this_architecture
from tests.images import TestImage, layer_tar


class _Blobs:
    """Blobs by digest; counts how often each is opened."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.opened: list[str] = []
        self.reported: list[str] = []

    def put(self, data: bytes) -> str:
        self.data[Digest.of(data)] = data
        return Digest.of(data)

    def put_image(self, image: TestImage) -> str:
        kind = "application/vnd.oci.image.layer.v1.tar+gzip"
        layers = [
            {"digest": self.put(gzip.compress(layer, mtime=0)), "mediaType": kind} for layer in image.layers
        ]
        return self.put_json({"config": {"digest": self.put(image.config)}, "layers": layers})

    def put_json(self, document: object) -> str:
        return self.put(json.dumps(document).encode())

    def open(self, descriptor: Descriptor) -> Blob:
        digest = Digest(descriptor.digest)
        self.opened.append(digest)
        if digest not in self.data:
            raise FileNotFoundError(digest)
        return MemoryBlob(self.data[digest])

    def report(self, text: str, **_: object) -> None:
        self.reported.append(text)


ONE, TWO = (TestImage([layer_tar({name: b""})]) for name in ("one", "two"))


@pytest.fixture
def blobs() -> _Blobs:
    return _Blobs()


@pytest.fixture
def walk(blobs: _Blobs) -> ManifestWalk:
    walk = ManifestWalk(blobs.open, "place")
    walk.begin(blobs.report, set)
    return walk


def test_an_index_leads_to_its_images_the_first_of_which_has_the_names(
    blobs: _Blobs, walk: ManifestWalk
) -> None:
    one, two = blobs.put_image(ONE), blobs.put_image(TWO)
    index = blobs.put_json({"manifests": [{"digest": one}, {"digest": two}]})
    found = list(walk.images(Descriptor(index), ["a:1"]))
    assert [(each.image.id, each.tags) for each in found if isinstance(each, FoundImage)] == [
        (ONE.id, ["a:1"]),
        (TWO.id, ()),
    ]
    assert blobs.reported == []


def test_a_second_look_reads_only_what_is_new(blobs: _Blobs, walk: ManifestWalk) -> None:
    one, two = blobs.put_image(ONE), blobs.put_image(TWO)
    (first,) = walk.images(Descriptor(one), ["a:1"])
    blobs.opened.clear()
    walk.begin(blobs.report, blobs.data.keys)
    (again,) = walk.images(Descriptor(one), ["b:1"])
    assert isinstance(first, FoundImage)
    assert isinstance(again, FoundImage)
    assert (blobs.opened, again.image, again.tags) == ([], first.image, ["b:1"])
    assert again.layers is first.layers
    list(walk.images(Descriptor(two), []))
    assert set(blobs.opened) == {two, TWO.id}


@pytest.mark.parametrize("gone", ["manifest", "config"])
def test_what_has_gone_since_is_not_found_again(blobs: _Blobs, walk: ManifestWalk, gone: str) -> None:
    one = blobs.put_image(ONE)
    list(walk.images(Descriptor(one), ["a:1"]))
    del blobs.data[{"manifest": one, "config": ONE.id}[gone]]
    walk.begin(blobs.report, blobs.data.keys)
    assert list(walk.images(Descriptor(one), ["a:1"])) == []
    assert len(blobs.reported) == 1


def test_what_is_no_image_is_an_artifact(blobs: _Blobs, walk: ManifestWalk) -> None:
    chart = {"config": {"digest": blobs.put(b"{}"), "mediaType": "application/vnd.cncf.helm.config.v1+json"}}
    (found,) = walk.images(Descriptor(blobs.put_json(chart)), ["chart:1"])
    assert isinstance(found, Artifact)
    assert found.type == "application/vnd.cncf.helm.config.v1+json"


def test_a_descriptor_that_leads_nowhere_is_reported(blobs: _Blobs, walk: ManifestWalk) -> None:
    assert list(walk.images(Descriptor(Digest.of(b"absent")), ["a:1"])) == []
    (line,) = blobs.reported
    assert "it is not there" in line


def test_the_image_for_this_machine_comes_first() -> None:
    def described(architecture: str) -> Descriptor:
        platform = Descriptor.__annotations__["platform"].__args__[0]("linux", architecture)
        return Descriptor(architecture, platform=platform)

    order = [described("other"), Descriptor("any"), described(this_architecture())]
    assert [each.digest for each in this_platform_first(order)] == ["any", this_architecture(), "other"]
