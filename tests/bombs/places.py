"""Layouts, archives and stores whose documents take very much to read, keep or show."""

import base64
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import zstandard

from imgfs.digest import ChainID, DiffID
from imgfs.layers.chain import stacked
from tests.bombs.material import LAYER, Layout, archive, config, header, packed
from tests.images import TestImage, digest, docker_archive

Make = Callable[[Path, float], str]
MIB = 1 << 20
GOOD = config([digest(LAYER)])


def _layout(fill: Callable[[Layout, float], None]) -> Make:
    def make(path: Path, scale: float) -> str:
        layout = Layout(path)
        fill(layout, scale)
        return layout.finish()

    return make


def _images(layout: Layout, scale: float) -> None:
    for number in range(int(10_000 * scale)):
        layout.image(f"i{number}", [digest(LAYER)], [layout.layer], n=number)


def _tags(layout: Layout, scale: float) -> None:
    described = layout.manifest(config([digest(LAYER)], n=1), [layout.layer])
    for number in range(int(100_000 * scale)):
        layout.name(described, f"t{number}")


def _long_tags(layout: Layout, scale: float) -> None:
    described = layout.manifest(config([digest(LAYER)], n=1), [layout.layer])
    layout.name(described, "n" * int(4 * MIB * scale))
    for number in range(int(20_000 * scale)):
        layout.name(described, f"t{number}")


def _slashes(layout: Layout, scale: float) -> None:
    described = layout.manifest(config([digest(LAYER)], n=1), [layout.layer])
    for number in range(int(2000 * scale)):
        layout.name(described, f"{number}" + "/a" * 127)
        layout.name(described, f"{number}" + "/a" * 2000)
    layout.name(described, "b/" * int(1_000_000 * scale) + "c")


def _labels(layout: Layout, scale: float) -> None:
    for number in range(int(60 * scale)):
        labels = dict.fromkeys((f"{key:x}" for key in range(300_000)), "")
        layout.image(f"i{number}", [digest(LAYER)], [layout.layer], n=number, config={"Labels": labels})


def _history(layout: Layout, scale: float) -> None:
    for number in range(int(20 * scale)):
        layout.image(f"i{number}", [digest(LAYER)], [layout.layer], n=number, history=[{}] * 1_000_000)


def _stacks(layout: Layout, scale: float) -> None:
    for number in range(int(700 * scale)):
        ids = [f"sha256:{number * 1000 + layer + 1:064x}" for layer in range(1000)]
        layout.image(f"i{number}", ids, [{"digest": of} for of in ids])


def _repeated(layout: Layout, scale: float) -> None:
    for number in range(int(40 * scale)):
        layout.image(f"i{number}", [digest(LAYER)] * 1000, [layout.layer] * 1000, n=number)
    layout.image("many", [digest(LAYER)] * 40_000, [layout.layer] * 40_000)


def _nested_indexes(layout: Layout, scale: float) -> None:
    described = layout.manifest(config([digest(LAYER)], n=1), [layout.layer])
    for _ in range(int(9000 * scale)):
        described = layout.blob(json.dumps({"manifests": [described] * 3}).encode())
    layout.name(described, "deep")


def _wide_indexes(layout: Layout, scale: float) -> None:
    missing = [{"digest": f"sha256:{number:064x}"} for number in range(40_000)]
    for number in range(int(20 * scale)):
        layout.name(layout.blob(json.dumps({"manifests": missing, "n": number}).encode()), f"wide{number}")


def _one_config(layout: Layout, scale: float) -> None:
    """Manifests without end that share a config which takes long to parse."""
    described = layout.blob(config([digest(LAYER)], history=[{"created_by": "x"}] * 150_000))
    for number in range(int(5000 * scale)):
        document = {"config": described, "layers": [], "n": number}
        layout.name(layout.blob(json.dumps(document).encode()), f"i{number}")


def _nested_config(layout: Layout, scale: float) -> None:
    for number, depth in enumerate((900, 1000, 100_000, 1_000_000)):
        text = '{"rootfs":{"diff_ids":[]},"x":' + "[" * depth + "]" * depth + "}"
        layout.name(layout.manifest(text.encode(), []), f"bomb{number}" if number else "bomb")


def _numbers(layout: Layout, scale: float) -> None:
    for number, text in enumerate(("9" * 1_000_000, "1e" + "9" * 1_000_000, "0." + "1" * 1_000_000)):
        layout.name(
            layout.manifest(b'{"rootfs":{"diff_ids":[]},"created":%s}' % text.encode(), []), f"n{number}"
        )


def _escapes(layout: Layout, scale: float) -> None:
    for number in range(int(10 * scale)):
        text = "\\u0041" * 600_000
        data = f'{{"rootfs":{{"diff_ids":[]}},"n":{number},"author":"{text}"}}'
        layout.name(layout.manifest(data.encode(), []), f"e{number}")


def _big_index(path: Path, scale: float) -> str:
    layout = Layout(path)
    reference = layout.finish()
    os.truncate(path / "index.json", int(500 * MIB * scale))
    return reference


def _bad_index(text: Callable[[float], str]) -> Make:
    def make(path: Path, scale: float) -> str:
        reference = Layout(path).finish()
        (path / "index.json").write_text(text(scale))
        return reference

    return make


def _fifos(path: Path, scale: float) -> str:
    layout = Layout(path)
    for number in range(10):
        described = layout.manifest(config([digest(LAYER)], n=number), [layout.layer])
        layout.name(described, f"i{number}")
        place = layout.blobs / str(described["digest"])[7:]
        place.unlink()
        if number % 3 == 0:
            os.mkfifo(place)
        elif number % 3 == 1:
            place.mkdir()
        else:
            place.symlink_to("/dev/zero")
    return layout.finish()


def _archive_members(path: Path, scale: float) -> str:
    """Members without end, all but a few of no use."""
    path.mkdir()
    good = docker_archive(path / "good.tar", [TestImage([LAYER], ["good:1"])])
    with gzip.open(path / "x.tar.gz", "wb") as file:
        for number in range(int(1_500_000 * scale)):
            file.write(header(b"f%d" % number))
        file.write(good.read_bytes())
    return str(path / "x.tar.gz")


def _archive_names(path: Path, scale: float) -> str:
    """Members whose names are long."""
    names = ((f"{number}" + "n" * 1_000_000, b"") for number in range(int(2500 * scale)))
    return packed(path / "x.tar.gz", chain(_documents(), names))


def _documents(tags: list[str] | None = None) -> list[tuple[str, bytes]]:
    manifest = [{"Config": "c.json", "Layers": ["l.tar"], "RepoTags": tags or ["good:1"]}]
    return [("c.json", GOOD), ("l.tar", LAYER), ("manifest.json", json.dumps(manifest).encode())]


def _archive_tags(path: Path, scale: float) -> str:
    return archive(path / "x.tar", _documents([f"repo/x:{number}" for number in range(int(100_000 * scale))]))


def _archive_configs(path: Path, scale: float) -> str:
    """Large configs that compress to nothing."""
    count = int(400 * scale)
    configs = [
        (f"c{number}.json", config([digest(LAYER)], n=number, comment="x" * (4 * MIB - 4096)))
        for number in range(count)
    ]
    items = [{"Config": name, "Layers": ["l.tar"], "RepoTags": [f"{name}:1"]} for name, _ in configs]
    return packed(
        path / "x.tar.gz", [("l.tar", LAYER), *configs, ("manifest.json", json.dumps(items).encode())]
    )


def _archive_zeros(path: Path, scale: float) -> str:
    path.mkdir()
    with gzip.open(path / "x.tar.gz", "wb", 1) as file:
        piece = bytes(MIB)
        file.write(header(b"zeros", size=int(8000 * scale) * MIB))
        for _ in range(int(8000 * scale)):
            file.write(piece)
    return str(path / "x.tar.gz")


def _archive_terabyte(path: Path, scale: float) -> str:
    """7.5 MB of zstd whose blocks are each one byte, repeated 128 Ki times (RFC 8878, 3.1.1.2)."""
    path.mkdir()
    block = ((128 << 10) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    frame = b"\x28\xb5\x2f\xfd\x00\x38" + block * int(1_900_000 * scale) + b"\x01\0\0"
    (path / "x.tar.zst").write_bytes(zstandard.compress(header(b"zeros", size=1 << 40)) + frame)
    return str(path / "x.tar.zst")


def _graph_root(path: Path, images: list[dict[str, object]], layers: list[dict[str, object]]) -> Path:
    for name in ("overlay-images", "overlay-layers", "overlay"):
        (path / name).mkdir(parents=True)
    (path / "overlay-images/images.json").write_text(json.dumps(images))
    (path / "overlay-layers/layers.json").write_text(json.dumps(layers))
    return path


def _split_line(kind: int, **fields: object) -> bytes:
    return json.dumps({"type": kind, **fields}, separators=(",", ":")).encode() + b"\n"


def _tar_split(lines: Callable[[float], Iterator[bytes]]) -> Make:
    """A store of podman with an image whose layer has this tar-split."""

    def make(path: Path, scale: float) -> str:
        layer: dict[str, object] = {"id": "a" * 64, "diff-digest": digest(LAYER)}
        name = digest(GOOD)
        image: dict[str, object] = {
            "id": name[7:],
            "names": ["localhost/bomb:latest"],
            "layer": "a" * 64,
            "big-data-names": [name],
        }
        root = _graph_root(path, [image], [layer])
        folder = root / "overlay-images" / name[7:]
        folder.mkdir()
        (folder / ("=" + base64.b64encode(name.encode()).decode())).write_bytes(GOOD)
        (root / "overlay" / ("a" * 64) / "diff").mkdir(parents=True)
        with gzip.open(root / "overlay-layers" / f"{'a' * 64}.tar-split.gz", "wb", 6) as file:
            for line in lines(scale):
                file.write(line)
        return f"containers-storage:{path}"

    return make


def _literal_members(scale: float) -> Iterator[bytes]:
    for start in range(0, int(4_000_000 * scale), 64):
        headers = b"".join(header(b"f%d" % number) for number in range(start, start + 64))
        yield _split_line(2, payload=base64.b64encode(headers).decode())


def _small_lines(scale: float) -> Iterator[bytes]:
    piece = b'{"type":1}\n' * 10_000
    for _ in range(int(1000 * scale)):
        yield piece


def _named_lines(scale: float) -> Iterator[bytes]:
    crc = base64.b64encode(bytes(8)).decode()
    for number in range(int(2_000_000 * scale)):
        yield b'{"type":1,"name":"f%d","size":1,"payload":"%s"}\n' % (number, crc.encode())


def _long_line(scale: float) -> Iterator[bytes]:
    yield b'{"type":2,"payload":"'
    for _ in range(int(2000 * scale)):
        yield b"AAAA" * (MIB // 4)
    yield b'"}\n'


def _nested_line(scale: float) -> Iterator[bytes]:
    yield b'{"type":2,"x":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}\n"


def _storage_layers(path: Path, scale: float) -> str:
    layers: list[dict[str, object]] = [{"id": f"{n:064x}"} for n in range(int(100_000 * scale))]
    return f"containers-storage:{_graph_root(path, [], layers)}"


def _storage_chain(path: Path, scale: float) -> str:
    """Images that each stand on the same long line of layers."""
    count = int(9000 * scale)
    layers: list[dict[str, object]] = [
        {"id": f"{n:064x}", "parent": f"{n - 1:064x}" if n else ""} for n in range(count)
    ]
    images: list[dict[str, object]] = [
        {
            "id": f"{n:064x}",
            "names": [f"x:{n}"],
            "layer": f"{count - 1:064x}",
            "big-data-names": [digest(GOOD)],
        }
        for n in range(count)
    ]
    root = _graph_root(path, images, layers)
    file = "=" + base64.b64encode(digest(GOOD).encode()).decode()
    for image in images[:1000]:
        (root / "overlay-images" / str(image["id"])).mkdir()
        (root / "overlay-images" / str(image["id"]) / file).write_bytes(GOOD)
    return f"containers-storage:{path}"


def _docker_root(path: Path, configs: Iterator[bytes], names: dict[str, str]) -> Path:
    store = path / "image/overlay2"
    (store / "imagedb/content/sha256").mkdir(parents=True)
    (store / "imagedb/metadata/sha256").mkdir(parents=True)
    for data in configs:
        (store / "imagedb/content/sha256" / digest(data)[7:]).write_bytes(data)
    (store / "repositories.json").write_text(json.dumps({"Repositories": {"x": names}}))
    return path


def _docker_names(path: Path, scale: float) -> str:
    names = {f"x:{number}": digest(GOOD) for number in range(int(100_000 * scale))}
    return f"docker:{_docker_root(path, iter([GOOD]), names)}"


def _docker_labels(path: Path, scale: float) -> str:
    labels = dict.fromkeys((f"{key:x}" for key in range(300_000)), "")
    configs = (config([], n=number, config={"Labels": labels}) for number in range(int(60 * scale)))
    return f"docker:{_docker_root(path, configs, {})}"


def _docker_stacks(path: Path, scale: float) -> str:
    """Images of many layers, each of which has its record."""
    diff_id = DiffID(digest(LAYER))
    below: ChainID | None = None
    layerdb = path / "image/overlay2/layerdb/sha256"
    for _ in range(int(900 * scale)):
        chain_id = stacked(below, diff_id)
        (layerdb / chain_id.hex).mkdir(parents=True)
        (layerdb / chain_id.hex / "diff").write_text(diff_id)
        if below:
            (layerdb / chain_id.hex / "parent").write_text(below)
        below = chain_id
    configs = (config([diff_id] * int(900 * scale), n=number) for number in range(int(700 * scale)))
    return f"docker:{_docker_root(path, configs, {})}"


def _own_names(path: Path, scale: float) -> str:
    for folder in ("layers/sha256", "blobs/sha256", "tmp", "imagedb/content/sha256"):
        (path / folder).mkdir(parents=True)
    (path / "imgfs-store").write_text("1\n")
    for number in range(int(200 * scale)):
        data = config([], n=number)
        (path / "imagedb/content/sha256" / hashlib.sha256(data).hexdigest()).write_bytes(data)
    names = {f"x:{number}": digest(data) for number in range(int(100_000 * scale))}
    (path / "repositories.json").write_text(json.dumps({"Repositories": {"x": names}}))
    return f"imgfs:{path}"


PLACES: dict[str, Make] = {
    "images": _layout(_images),
    "tags": _layout(_tags),
    "a tag of 4 MB": _layout(_long_tags),
    "tags of many parts": _layout(_slashes),
    "configs of 4 MB": _layout(_labels),
    "histories": _layout(_history),
    "stacks of 1,000 layers": _layout(_stacks),
    "one layer 1,000 times": _layout(_repeated),
    "nested indexes": _layout(_nested_indexes),
    "wide indexes": _layout(_wide_indexes),
    "one config, many manifests": _layout(_one_config),
    "nested configs": _layout(_nested_config),
    "numbers": _layout(_numbers),
    "escapes": _layout(_escapes),
    "index of 500 MB": _big_index,
    "index of values": _bad_index(
        lambda scale: '{"manifests":[' + '{"digest":""},' * int(600_000 * scale) + "{}]}"
    ),
    "index nested": _bad_index(lambda scale: '{"manifests":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "pipes and devices": _fifos,
    "archive members": _archive_members,
    "archive names": _archive_names,
    "archive tags": _archive_tags,
    "archive configs": _archive_configs,
    "archive of zeros": _archive_zeros,
    "archive of a terabyte": _archive_terabyte,
    "tar-split members": _tar_split(_literal_members),
    "tar-split lines": _tar_split(_small_lines),
    "tar-split files": _tar_split(_named_lines),
    "tar-split line of 2 GB": _tar_split(_long_line),
    "tar-split nested": _tar_split(_nested_line),
    "podman's layers": _storage_layers,
    "podman's stacks": _storage_chain,
    "docker's names": _docker_names,
    "docker's labels": _docker_labels,
    "docker's stacks": _docker_stacks,
    "own names": _own_names,
}
