"""Layers as engines keep them, made from tars in code: a tar-split, and a directory of the files it names."""

import base64
import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from fastcrc.crc64 import go_iso

from imgfs.blob import MemoryBlob
from imgfs.tar import scan_blob
from tests.images import TestImage, digest
from tests.tar.archives import BLOCK, content


def literal(data: bytes) -> dict[str, object]:
    """The line of literal bytes."""
    return {"type": 2, "payload": base64.b64encode(data).decode()}


def file_line(name: str | bytes, content: bytes) -> dict[str, object]:
    """The line that stands for a member's bytes."""
    line: dict[str, object] = {"type": 1, "payload": None}
    try:
        line["name"] = name if isinstance(name, str) else name.decode()
    except UnicodeDecodeError:
        line["name_raw"] = base64.b64encode(bytes(name)).decode()  # type: ignore[arg-type]  # bytes by now
    if content:
        line["size"] = len(content)
        line["payload"] = base64.b64encode(go_iso(content).to_bytes(8, "big")).decode()
    return line


def tar_split(lines: Iterable[dict[str, object]]) -> bytes:
    """Lines as they are stored."""
    numbered = (line | {"position": number} for number, line in enumerate(lines))
    return gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in numbered))


def split_layer(tar: bytes, files: Path) -> bytes:
    """The tar-split of a tar whose files are written below `files`."""
    files.mkdir(parents=True, exist_ok=True)
    lines, position = [], 0
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            lines.append(literal(tar[position : member.offset_data]))
            position = member.offset_data
            data = tar[position : position + member.size] if member.isreg() else b""
            lines.append(file_line(member.name, data))
            position += len(data)
            path = files / member.name.lstrip("/")
            if member.isdir():
                path.mkdir(exist_ok=True, parents=True)
            elif member.isreg():
                path.parent.mkdir(exist_ok=True, parents=True)
                path.write_bytes(data)
    lines.append(literal(tar[position:]))
    return tar_split(lines)


def engines_split(tar: bytes) -> bytes:
    """The tar-split that the engines' library makes of a tar, sparse files of pax among them taken whole."""
    lines, position = [], 0
    for member in scan_blob(MemoryBlob(tar)):
        # without a map that lies behind it
        lines.append(literal(tar[position : member.header_offset + BLOCK]))
        lines.append(file_line(member.name, content(tar, member) if member.is_file else b""))
        position = member.data_offset + member.stored_size
    return tar_split([*lines, literal(tar[position:])])


def docker_root(root: Path, images: Sequence[TestImage], driver: str = "overlay2") -> Path:
    """A data root of Docker with these images."""
    folder = root / "image" / driver
    configs, parents = folder / "imagedb/content/sha256", folder / "imagedb/metadata/sha256"
    configs.mkdir(parents=True, exist_ok=True)
    parents.mkdir(parents=True, exist_ok=True)
    names: dict[str, dict[str, str]] = {}
    done = set[str]()
    for image in images:
        chain = ""
        for tar in image.layers:
            below, chain = chain, digest(f"{chain} {digest(tar)}".encode()) if chain else digest(tar)
            if chain in done:
                continue
            done.add(chain)
            layer = folder / "layerdb/sha256" / chain[7:]
            layer.mkdir(parents=True, exist_ok=True)
            cache_id = f"cache{chain[7:20]}"
            files = root / {"vfs": f"vfs/dir/{cache_id}"}.get(driver, f"{driver}/{cache_id}/diff")
            (layer / "tar-split.json.gz").write_bytes(split_layer(tar, files))
            (layer / "diff").write_text(digest(tar))
            (layer / "cache-id").write_text(cache_id)
            if below:
                (layer / "parent").write_text(below)
        (configs / image.id[7:]).write_bytes(image.config)
        if image.parent:
            (parents / image.id[7:]).mkdir(exist_ok=True)
            (parents / image.id[7:] / "parent").write_text(image.parent.id)
        for tag in image.tags:
            names.setdefault(tag.rpartition(":")[0], {})[tag] = image.id
    (folder / "repositories.json").write_text(json.dumps({"Repositories": names}))
    return root


def graph_root(root: Path, images: Sequence[TestImage], driver: str = "overlay") -> Path:
    """A store of containers/storage with these images."""
    listed, layers = [], {}
    (root / f"{driver}-layers").mkdir(parents=True, exist_ok=True)
    for image in images:
        chain = ""
        for tar in image.layers:
            below, chain = chain, digest(f"{chain} {digest(tar)}".encode()) if chain else digest(tar)
            if chain in layers:
                continue
            files = root / (f"vfs/dir/{chain[7:]}" if driver == "vfs" else f"{driver}/{chain[7:]}/diff")
            (root / f"{driver}-layers/{chain[7:]}.tar-split.gz").write_bytes(split_layer(tar, files))
            layer: dict[str, object] = {"id": chain[7:], "diff-digest": digest(tar), "diff-size": len(tar)}
            layers[chain] = layer | ({"parent": below[7:]} if below else {})
        documents = root / f"{driver}-images" / image.id[7:]
        documents.mkdir(parents=True, exist_ok=True)
        (documents / ("=" + base64.b64encode(image.id.encode()).decode())).write_bytes(image.config)
        record = {
            "id": image.id[7:],
            "layer": chain[7:],
            "names": list(image.tags),
            "big-data-names": [image.id],
        }
        listed.append(record)
    (root / f"{driver}-images" / "images.json").write_text(json.dumps(listed))
    (root / f"{driver}-layers" / "layers.json").write_text(json.dumps(list(layers.values())))
    return root


def use_composefs(root: Path) -> None:
    """Make the layers of a store of containers/storage what they are where that uses composefs."""
    for layer in (root / "overlay").iterdir():
        entries: list[dict[str, object]] = []
        for path in sorted(path for path in (layer / "diff").rglob("*") if path.is_file()):
            name, of = str(path.relative_to(layer / "diff")), digest(path.read_bytes())
            entries.append({"type": "reg", "name": name, "size": path.stat().st_size, "digest": of})
            # the first entry stands for all of the file, these for its parts
            entries.append({"type": "chunk", "name": name, "offset": 5, "digest": digest(b"part")})
            stored = layer / "objects" / of[7:9] / of[9:]
            stored.parent.mkdir(parents=True, exist_ok=True)
            path.rename(stored)
        shutil.rmtree(layer / "diff")
        (layer / "objects").mkdir(exist_ok=True)
        (layer / "objects").rename(layer / "diff")
        (layer / "composefs-data").mkdir()
        (layer / "composefs-data/composefs.blob").touch()
        documents = root / "overlay-layers" / layer.name
        documents.mkdir()
        name = "=" + base64.b64encode(b"zstd-chunked-manifest").decode()
        (documents / name).write_text(json.dumps({"version": 1, "entries": entries}))
