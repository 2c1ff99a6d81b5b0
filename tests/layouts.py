"""Image layouts made by hand: images, indexes, and what else is kept in them."""

import gzip
import json
from pathlib import Path
from typing import Any

from tests.images import TestImage, digest, layer_tar

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Layout:
    """A layout built by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "blobs/sha256").mkdir(parents=True)

    def blob(self, data: bytes, **more: object) -> dict[str, object]:
        (self.path / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
        return {"mediaType": MANIFEST, "digest": digest(data), "size": len(data)} | more

    def image(self, name: str, architecture: str = "amd64", **more: object) -> tuple[str, dict[str, object]]:
        """An image of one layer holding the file `name`; its ID and its manifest's descriptor."""
        layer = layer_tar({name: b""})
        image = TestImage([layer], extra={"architecture": architecture})
        config = self.blob(image.config) | {"mediaType": "application/vnd.oci.image.config.v1+json"}
        manifest = {"schemaVersion": 2, "config": config, "layers": [self.blob(layer, mediaType=LAYER)]}
        return image.id, self.blob(json.dumps(manifest).encode(), **more)

    def index(self, *manifests: dict[str, object], **more: object) -> dict[str, object]:
        data = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
        return self.blob(data, **more) | {"mediaType": INDEX}

    def finish(self, *manifests: dict[str, object]) -> str:
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
        return f"oci:{self.path}"


def tagged(tag: str) -> dict[str, Any]:
    return {"annotations": {"org.opencontainers.image.ref.name": tag}}


def artifacts(layout: Layout) -> dict[str, dict[str, object]]:
    """What is kept in layouts besides images, each as it is really made, as descriptors."""
    image_config = "application/vnd.oci.image.config.v1+json"
    empty = layout.blob(b"{}", mediaType="application/vnd.oci.empty.v1+json")
    payload = b'{"critical": {}}'
    signed = layout.blob(TestImage([payload]).config, mediaType=image_config)

    def manifest(config: dict[str, object], *layers: dict[str, object], **more: object) -> dict[str, object]:
        document = {"schemaVersion": 2, "config": config, "layers": layers, **more}
        return layout.blob(json.dumps(document).encode())

    def typed(data: bytes, media_type: str) -> dict[str, object]:
        return layout.blob(data, mediaType=media_type)

    _, plain = layout.image("attested")
    cache = typed(b"{}", "application/vnd.buildkit.cacheconfig.v0")
    layer = typed(gzip.compress(layer_tar({"cached": b""})), "application/vnd.oci.image.layer.v1.tar+gzip")
    artifact = {
        "mediaType": "application/vnd.oci.artifact.manifest.v1+json",
        "artifactType": "x/y",
        "blobs": [],
    }
    unnamed = layout.blob(payload)
    del unnamed["mediaType"]
    return {
        "attestation": plain | {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
        "attestation by its platform": plain | {"platform": {"os": "unknown", "architecture": "unknown"}},
        "in-toto": manifest(signed, typed(payload, "application/vnd.in-toto+json")),
        "cosign": manifest(signed, typed(payload, "application/vnd.dev.cosign.simplesigning.v1+json")),
        "cosign without media types": manifest(signed, unnamed),
        "helm": manifest(
            typed(b"{}", "application/vnd.cncf.helm.config.v1+json"),
            typed(b"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
        ),
        "plugin": manifest(typed(b"{}", "application/vnd.docker.plugin.v1+json"), layer),
        "sbom": manifest(
            empty, typed(payload, "application/spdx+json"), artifactType="application/spdx+json"
        ),
        "oras": manifest(typed(b"{}", image_config), typed(b"stuff", "text/plain")),
        "oras of a folder": manifest(typed(b"{}", image_config), layer),
        "artifact manifest": layout.blob(json.dumps(artifact).encode()),
        "build cache": layout.index(layer, cache),
    }
