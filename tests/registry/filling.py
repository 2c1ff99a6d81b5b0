"""Putting what layouts have into registries for tests, and telling imgfs that these registries have no TLS."""

import json
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.images import TestImage, digest, oci_layout

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def insecure(folder: Path, *addresses: str) -> Path:
    """A registries.conf for `CONTAINERS_REGISTRIES_CONF`, by which these registries may be without TLS."""
    path = folder / "registries.conf"
    path.write_text(
        "".join(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n' for address in addresses)
    )
    return path


def send(
    method: str, url: str, data: bytes = b"", kind: str = "application/octet-stream"
) -> Mapping[str, str]:
    """Send a request to a registry; the headers of the response."""
    request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
    with urllib.request.urlopen(request) as response:
        return dict(response.headers)


def put_manifest(address: str, repository: str, reference: str, data: bytes, kind: str = MANIFEST) -> None:
    send("PUT", f"http://{address}/v2/{repository}/manifests/{reference}", data, kind)


def put_blob(address: str, repository: str, data: bytes) -> None:
    place = send("POST", f"http://{address}/v2/{repository}/blobs/uploads/")["Location"]
    send("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest(data)}", data)


def put_layout(address: str, repository: str, layout: Path, tags: Mapping[str, str]) -> None:
    """Put all that a layout has into a repository; `tags` lead to digests of its manifests."""
    blobs = {
        digest(data): data for data in (each.read_bytes() for each in (layout / "blobs/sha256").iterdir())
    }
    documents = {name: document for name, data in blobs.items() if (document := _manifest(data)) is not None}
    for data in blobs.values():
        put_blob(address, repository, data)
    for name in sorted(documents, key=lambda each: "manifests" in documents[each]):
        kind = INDEX if "manifests" in documents[name] else MANIFEST
        for reference in (name, *(tag for tag, leads_to in tags.items() if leads_to == name)):
            put_manifest(address, repository, reference, blobs[name], kind)


def put_images(address: str, folder: Path, images: Sequence[TestImage], compression: str = "gzip") -> None:
    """Put images into the repositories that their tags name."""
    layout = oci_layout(folder, images, compression)
    entries = json.loads((layout / "index.json").read_text())["manifests"]
    repositories: dict[str, dict[str, str]] = {}
    for entry in entries:
        repository, _, tag = entry["annotations"]["org.opencontainers.image.ref.name"].rpartition(":")
        repositories.setdefault(repository, {})[tag] = entry["digest"]
    for repository, tags in repositories.items():
        put_layout(address, repository, layout, tags)


def _manifest(data: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(data)
    except ValueError:
        return None
    is_one = isinstance(document, dict) and ("manifests" in document or "layers" in document)
    return document if is_one else None
