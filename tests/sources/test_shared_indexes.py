"""Indexes of images in a registry: made on one machine, used on another, and trusted no further than they may be."""

import json
import random
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imgfs.cache import Cache
from imgfs.digest import Digest
from imgfs.errors import Corrupt, ImgfsError
from imgfs.layers import index_layer
from imgfs.layers.index_parts import _LENGTH, _MAGIC, read_map
from imgfs.layers.member_list import MemberPacker
from imgfs.registry import index_artifact
from imgfs.registry.client import RegistryClient, RemoteRepository
from imgfs.registry.configuration import Configuration
from imgfs.registry.credentials import CredentialStore
from imgfs.registry.index_artifact import IndexArtifact, StoredPart, own_tag
from imgfs.registry.reference import Repository
from imgfs.registry.registries_conf import RegistriesConf
from imgfs.registry.transport import Unreachable
from imgfs.rootfs import differences
from imgfs.saving.index_pushing import PushedImage, push_image_index, push_pinned
from imgfs.sources.chosen import ChosenImage
from imgfs.sources.index_use import IndexUse
from imgfs.sources.lookup import choose, image_meant
from imgfs.sources.opening import Opening
from imgfs.sources.registries import Registries
from imgfs.sources.shared_indexes import SharedIndexes, Subject
from tests.images import TestImage, layer_tar
from tests.registry.filling import put_images
from tests.registry.quirky import running_quirky
from tests.registry.serving import docker_registry

NOISE = random.Random(7)


def text(size: int) -> bytes:
    """Text that takes half its size when compressed, so that seek points have windows."""
    return NOISE.randbytes(size // 2).hex().encode()


BASE = layer_tar({f"usr/lib/{number}": text(800_000) for number in range(20)} | {"etc/name": b"x\n"})
TOP = layer_tar({"app/run": text(4_000_000), "app/.wh.gone": b"", "app/small": b"small\n"})
FILES = {"/etc/name": b"x\n", "/app/small": b"small\n"}


class Machine:
    """A machine with a cache of its own that reaches a registry without TLS."""

    def __init__(self, folder: Path, address: str, **options: Any) -> None:
        cache = Cache(str(folder), 1 << 30)
        self.registries = Registries(cache, lambda: Configuration.load(tls_verify=False), **options)
        self.opening = Opening(cache, registries=self.registries)
        self.address = address

    @contextmanager
    def image(self, name: str) -> Iterator[ChosenImage]:
        with choose(image_meant, [f"docker://{self.address}/{name}"], self.opening) as (chosen,):
            yield chosen

    def push(self, name: str, repository: str = "app", pin: str = "") -> Digest:
        """Index an image and push its index."""
        where = self.registries.client.repository(Repository(self.address, repository))
        with self.image(name) as chosen:
            indexes = []
            for chain_id in chosen.layers.chain_ids:
                layer = chosen.snapshot.source_of(chosen.image_id).layers.get(chain_id)
                made = index_layer(layer, lambda _: None, to_share=True)
                assert made is not None
                indexes.append(made)
            manifest = chosen.snapshot.source_of(chosen.image_id).manifest(chosen.image_id)
            assert manifest is not None
            image = PushedImage(manifest, indexes)
            digest = push_image_index(image, where, lambda _: None)
            if pin:
                push_pinned(image, digest, where, pin)
            return digest

    @property
    def layer_bytes(self) -> int:
        """How much was fetched of the layers of the image."""
        blobs: Any = self.registries.stats.as_dict()["blobs"]
        return sum(int(blobs.get(layer, {}).get("bytes", 0)) for layer in LAYERS)


LAYERS: list[str] = []


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with docker_registry(tmp_path / "registry") as address:
        put_images(address, tmp_path / "layout", [TestImage([BASE, TOP], ["app:1"])])
        manifests = [json.loads(each.read_bytes()) for each in (tmp_path / "layout/blobs/sha256").iterdir()
                     if each.read_bytes().startswith(b'{"schema')]  # fmt: skip
        LAYERS[:] = [layer["digest"] for each in manifests for layer in each["layers"]]
        assert len(LAYERS) == 2
        yield address


def listed(chosen: ChosenImage) -> int:
    with chosen.root_fs() as root:
        return len([path for path, _ in root.walk()])


def read(chosen: ChosenImage, path: str) -> bytes:
    with chosen.root_fs() as root, root.open(path) as file:
        return file.read()


def check(machine: Machine, name: str) -> None:
    """List and read an image, which is right."""
    with machine.image(name) as chosen:
        assert listed(chosen) == 27
        for path, data in FILES.items():
            assert read(chosen, path) == data


def test_another_machine_lists_without_a_byte_of_the_layers_and_reads_little(
    address: str, tmp_path: Path
) -> None:
    Machine(tmp_path / "one", address).push("app:1")
    two = Machine(tmp_path / "two", address)
    with two.image("app:1") as chosen:
        assert listed(chosen) == 27
        assert two.layer_bytes == 0
        assert read(chosen, "/etc/name") == b"x\n"
        assert 0 < two.layer_bytes < 1_500_000
        stats = two.registries.stats.as_dict()["total"]
        assert isinstance(stats, dict)
        assert stats["spans_verified"] == stats["spans_fetched"] == 1
    assert two.registries.stats.total("bytes") < 2_000_000
    again = Machine(tmp_path / "two", address)
    check(again, "app:1")
    assert again.layer_bytes < 2_500_000
    third = Machine(tmp_path / "two", address)
    check(third, "app:1")
    assert third.layer_bytes == 0


def test_an_index_that_was_found_is_refused_for_a_digest_unless_asked_for(
    address: str, tmp_path: Path
) -> None:
    one = Machine(tmp_path / "one", address)
    given = one.push("app:1")
    with one.image("app:1") as chosen:
        manifest = chosen.snapshot.source_of(chosen.image_id).manifest(chosen.image_id)
    assert manifest is not None
    name = f"app@{Digest.of(manifest)}"
    uses = {
        "refused": IndexUse(),
        "never": IndexUse(is_never=True),
        "asked": IndexUse(uses_found=True),
        "given": IndexUse(given=given),
    }
    for use in uses:
        machine = Machine(tmp_path / use, address, index_use=uses[use])
        with machine.image(name) as chosen:
            listed(chosen)
        assert bool(machine.layer_bytes) is (use in ("refused", "never")), use
    never = Machine(tmp_path / "other", address, index_use=IndexUse(is_never=True))
    check(never, "app:1")
    assert never.layer_bytes > 8_000_000


def test_a_manifest_that_pins_its_index_is_the_same_image(address: str, tmp_path: Path) -> None:
    one = Machine(tmp_path / "one", address)
    one.push("app:1", pin="pinned")
    two = Machine(tmp_path / "two", address)
    with one.image("app:1") as plain, two.image("app:pinned") as pinned:
        assert plain.image_id == pinned.image_id
        listed(pinned)
        assert two.layer_bytes == 0
        manifest = pinned.snapshot.source_of(pinned.image_id).manifest(pinned.image_id)
    assert manifest is not None
    three = Machine(tmp_path / "three", address)
    with three.image(f"app@{Digest.of(manifest)}") as chosen:
        assert listed(chosen) == 27
        assert three.layer_bytes == 0


def test_an_index_may_lie_in_another_repository(address: str, tmp_path: Path) -> None:
    Machine(tmp_path / "one", address).push("app:1", "indexes")
    plain = Machine(tmp_path / "two", address)
    with plain.image("app:1") as chosen:
        listed(chosen)
    assert plain.layer_bytes > 8_000_000
    elsewhere = Machine(tmp_path / "three", address, index_repository=Repository(address, "indexes"))
    check(elsewhere, "app:1")
    assert elsewhere.layer_bytes < 3_000_000


def sparse_file(name: str, data: bytes) -> bytes:
    """The members of a tar for a file of which only the end is stored."""
    says = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(len(data) + 4096)}
    says |= {"GNU.sparse.map": f"4096,{len(data)}", "GNU.sparse.numblocks": "1"}
    info = tarfile.TarInfo(name)
    info.size, info.pax_headers = len(data), says
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512)


def lines(machine: Machine, *names: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """What differs between two images, as `imgfs diff` finds it."""
    with machine.image(names[0]) as one, machine.image(names[1]) as other:
        with one.root_fs() as before, other.root_fs() as after:
            return [(each.path, each.change, tuple(each.differs)) for each in differences(before, after)]


def test_two_images_are_compared_without_a_byte_of_their_layers(address: str, tmp_path: Path) -> None:
    same, changed = text(60_000), text(60_000)
    before = {"same": same, "changed": changed, "empty": b"", "gone": b"", "longer": b"x"}
    after = {"empty": b"", "changed": changed[::-1], "same": same, "new": b"", "longer": b"xx"}
    holes = {"one": b"a" * 600, "two": b"b" * 600}
    folder = tmp_path / "compared"
    images = {
        "plain": [BASE, layer_tar(before)],
        "other": [BASE, layer_tar(after)],
        "sparse": [sparse_file("hole", holes["one"]) + layer_tar(before)],
        "holes": [sparse_file("hole", holes["two"]) + layer_tar(after)],
    }
    layout = [TestImage(layers, [f"app:{name}"]) for name, layers in images.items()]
    put_images(address, folder, layout)
    one, two = Machine(tmp_path / "one", address), Machine(tmp_path / "two", address)
    LAYERS[:] = [f"sha256:{each.name}" for each in (folder / "blobs/sha256").iterdir()
                 if not each.read_bytes().startswith(b"{")]  # fmt: skip
    for name in images:
        one.push(f"app:{name}")
    read_whole = Machine(tmp_path / "never", address, index_use=IndexUse(is_never=True))
    expected = [
        ("/changed", "changed", ("content",)),
        ("/gone", "removed", ()),
        ("/longer", "changed", ("content",)),
        ("/new", "added", ()),
    ]
    assert lines(two, "app:plain", "app:other") == lines(read_whole, "app:plain", "app:other") == expected
    assert two.layer_bytes == 0 < read_whole.layer_bytes
    # the content of a sparse file has no digest, and is read
    expected.insert(2, ("/hole", "changed", ("content",)))
    assert lines(two, "app:sparse", "app:holes") == lines(one, "app:sparse", "app:holes") == expected
    assert two.layer_bytes > 0


def blob_path(tmp_path: Path, digest: str) -> Path:
    return tmp_path / f"registry/storage/docker/registry/v2/blobs/sha256/{digest[7:9]}/{digest[7:]}/data"


def artifact(address: str, tmp_path: Path) -> dict[str, Any]:
    machine = Machine(tmp_path / "looking", address)
    with machine.image("app:1") as chosen:
        manifest = chosen.snapshot.source_of(chosen.image_id).manifest(chosen.image_id)
    assert manifest is not None
    repository = machine.registries.client.repository(Repository(address, "app"))
    found: dict[str, Any] = json.loads(repository.manifest(own_tag(Digest.of(manifest))).data)
    return found


@pytest.mark.parametrize("kind", ["map", "members", "windows", "layer"])
def test_a_flipped_byte_in_the_registry_is_never_a_wrong_byte(
    kind: str,
    address: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index_artifact, "_EMBEDDED", 0)
    Machine(tmp_path / "one", address).push("app:1")
    parts = [each for each in artifact(address, tmp_path)["layers"] if f"layer.{kind}." in each["mediaType"]]
    digests = LAYERS if kind == "layer" else [each["digest"] for each in parts]
    assert digests
    for digest in digests:
        stored = blob_path(tmp_path, digest)
        data = bytearray(stored.read_bytes())
        for position in range(40, len(data), max(1, len(data) // 40)):
            data[position] ^= 1
        stored.write_bytes(data)
    machine = Machine(tmp_path / "two", address)
    with machine.image("app:1") as chosen:
        for path, data_of_file in FILES.items():
            try:
                assert read(chosen, path) == data_of_file
            except ImgfsError as error:
                assert "\n" not in str(error)
            else:
                assert kind in ("map", "members")
                assert "its index is not used" in caplog.text or "is made again" in caplog.text


def forge(address: str, tmp_path: Path) -> Digest:
    """Push an index that fits itself and the layers' bytes, and calls a file by another name; the image's digest."""
    machine = Machine(tmp_path / "forging", address)
    with machine.image("app:1") as chosen:
        source = chosen.snapshot.source_of(chosen.image_id)
        manifest = source.manifest(chosen.image_id)
        assert manifest is not None
        indexes = [
            index_layer(source.layers.get(each), lambda _: None, to_share=True)
            for each in chosen.layers.chain_ids
        ]
        made = [index for index in indexes if index is not None]
        packer = MemberPacker()
        packer.add(
            msgspec.structs.replace(member, name=member.name.replace(b"etc/name", b"etc/evil"))
            for member in made[0].members()
        )
        packed, honest = packer.finish(), made[0]._read
        made[0]._read = lambda kind: packed if kind == "members" else honest(kind)
        where = machine.registries.client.repository(Repository(address, "app"))
        push_image_index(PushedImage(manifest, made), where, lambda _: None)
        return Digest.of(manifest)


def test_a_forged_index_is_refused_for_a_digest_and_only_found_for_a_tag(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    digest = forge(address, tmp_path)
    with Machine(tmp_path / "two", address).image(f"app@{digest}") as chosen:
        assert read(chosen, "/etc/name") == b"x\n"
    with caplog.at_level("INFO"), Machine(tmp_path / "three", address).image("app:1") as chosen:
        assert read(chosen, "/etc/evil") == b"x\n"
        lines = [each.getMessage() for each in caplog.records]
        (line,) = [each for each in lines if f"@{digest}: its index is " in each]
        assert line.endswith(", found")
        layers = chosen.snapshot.source_of(chosen.image_id).layers
        layer = layers.get(chosen.layers.chain_ids[0])
        with pytest.raises(Corrupt, match="index"):
            index_layer(layer, lambda _: None, to_share=True)


def test_an_index_found_in_one_repository_is_not_one_of_another(address: str, tmp_path: Path) -> None:
    put_images(address, tmp_path / "same", [TestImage([BASE, TOP], ["honest:1"])])
    forge(address, tmp_path)
    with Machine(tmp_path / "two", address).image("app:1") as chosen:
        assert read(chosen, "/etc/evil") == b"x\n"
    with Machine(tmp_path / "two", address).image("honest:1") as chosen:
        assert read(chosen, "/etc/name") == b"x\n"


class Elsewhere(RemoteRepository):
    """A repository whose registry is away; it counts what it is asked for."""

    def __init__(self) -> None:
        self.name = Repository("localhost:1", "indexes")
        self.asked: list[object] = []

    def referrers(self, digest: Digest, artifact_type: str) -> list[dict[str, Any]]:
        self.asked.append(digest)
        raise Unreachable("it is away")

    def read(self, digest: Digest, size: int) -> bytes:
        self.asked.append(digest)
        return b""


def test_a_registry_of_indexes_that_is_away_is_not_asked_for_each_layer(tmp_path: Path) -> None:
    repository, image = Elsewhere(), Subject(Digest.of(b"manifest"), None)
    indexes = SharedIndexes(repository, Cache(str(tmp_path), 1 << 30), IndexUse(), is_by_digest=False)
    layers = [Digest.of(bytes([number])) for number in range(9)]
    indexes._subjects = {layer: [image] for layer in layers}
    for layer in layers:
        with pytest.raises(Unreachable, match="it is away"):
            indexes.find(layer)
    assert len(repository.asked) == 1


def test_that_there_is_no_index_is_kept_for_a_while_and_does_not_hide_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(str(tmp_path), 1 << 30)
    known = Configuration(RegistriesConf(), CredentialStore([]), tls_verify=False)
    one, two = b'{"layers": [], "n": 1}', b'{"layers": [], "n": 2}'

    def look(data: bytes = one, use: IndexUse | None = None, *, is_offline: bool = False) -> tuple[bool, int]:
        """Whether an index is found, and how many requests that takes a process that looks twice."""
        quirky.take()
        indexes = SharedIndexes(here, cache, use or IndexUse(), is_by_digest=False, is_offline=is_offline)
        found = [indexes._artifact(Subject(Digest.of(data), None)) is not None for _ in range(2)]
        return found[1], len(quirky.take())

    with running_quirky() as quirky:
        here, there = (
            RegistryClient(known, cache=each).repository(Repository(quirky.address, "app"))
            for each in (cache, None)
        )
        list(here.tags())
        assert look() == look(two) == (False, 3)  # the list of referrers, its tag, and that of an index
        assert look() == (False, 0)
        assert look(use=IndexUse(uses_found=True)) == (False, 3)
        push_image_index(PushedImage(two, []), here, lambda _: None)
        assert look(two)[0]
        assert look(two) == (True, 0)
        push_image_index(PushedImage(one, []), there, lambda _: None)
        assert look() == (False, 0)
        monkeypatch.setattr("imgfs.sources.shared_indexes._ABSENCE", 0.0)
        assert look(is_offline=True) == (False, 0)
        assert look()[0]
        assert look() == (True, 0)


def test_a_process_that_goes_on_asks_again_for_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgfs.sources.shared_indexes._ABSENCE", 0.0)
    data = b'{"layers": []}'
    known = Configuration(RegistriesConf(), CredentialStore([]), tls_verify=False)
    with running_quirky() as quirky:
        repository = RegistryClient(known).repository(Repository(quirky.address, "app"))
        indexes = SharedIndexes(repository, Cache(str(tmp_path), 1 << 30), IndexUse(), is_by_digest=False)
        assert indexes._artifact(Subject(Digest.of(data), None)) is None
        push_image_index(PushedImage(data, []), repository, lambda _: None)
        assert indexes._artifact(Subject(Digest.of(data), None)) is not None


def test_parts_for_layers_of_no_image_are_not_fetched(tmp_path: Path) -> None:
    repository = Elsewhere()
    indexes = SharedIndexes(repository, Cache(str(tmp_path), 1 << 30), IndexUse(), is_by_digest=False)
    layer, other = Digest.of(b"layer"), Digest.of(b"other")
    indexes._subjects = {layer: [Subject(Digest.of(b"manifest"), None)]}
    parts = {each: {"map": StoredPart(Digest.of(each.encode()), 1)} for each in (layer, other)}
    indexes._fetch_ahead(IndexArtifact(repository, Digest.of(b"index"), b"", parts))
    assert repository.asked == [Digest.of(layer.encode())]


def test_the_map_is_read_as_it_was_written() -> None:
    with pytest.raises(Corrupt, match="no map"):
        read_map(b"x")
    with pytest.raises(Corrupt, match="layer map"):
        read_map(_MAGIC + _LENGTH.pack(4) + b"\x00\x00\x00\x00")
