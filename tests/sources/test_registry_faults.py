"""Layers of random content in a registry that does what it should not: reads are those of local files, or errors."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imgfs.cache import Cache
from imgfs.errors import ImgfsError
from imgfs.layers import index_layer
from imgfs.registry.account import Credentials
from imgfs.registry.client import MANIFEST_TYPES
from imgfs.registry.configuration import Configuration
from imgfs.registry.credentials import CredentialStore
from imgfs.registry.registries_conf import RegistriesConf
from imgfs.registry.transport import Limits
from imgfs.sources.lookup import choose, image_meant
from imgfs.sources.opening import Opening
from imgfs.sources.registries import Registries
from tests.codec.encoders import texture
from tests.images import TestImage, digest, layer_tar
from tests.layers.stored_layers import ENCODERS
from tests.registry.quirky import SECRET, Faults, Quirky, running_quirky

LIMITS = Limits(connect=2, idle=2, pause=0.01, wait=1, patience=5)
STEP = 700_000
KIND = "application/vnd.oci.image.layer.v1.tar"
CODECS = ["plain", "gzip", "gzip members", "zstd frames", "zstd frame"]
FAULTS = st.builds(
    Faults,
    whole=st.integers(0, 2),
    shifted=st.integers(0, 2),
    cut=st.integers(0, 3),
    flipped=st.integers(0, 4),
    redirect=st.sampled_from(["", "storage"]),
    url_uses=st.sampled_from([-1, 1, 3]),
    auth=st.sampled_from(["", "basic", "bearer"]),
    token_uses=st.sampled_from([-1, 2]),
)
READS = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 300_000)), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def quirky() -> Iterator[Quirky]:
    with running_quirky() as registry:
        yield registry


def put(quirky: Quirky, tar: bytes, codec: str) -> str:
    """Put an image of one layer into the registry; the digest of its stored bytes."""
    stored, image = ENCODERS[codec](tar), TestImage([tar])
    quirky.faults = Faults()
    config = {"digest": quirky.blob(image.config), "size": len(image.config)}
    layer = {"mediaType": KIND, "digest": quirky.blob(stored), "size": len(stored)}
    of_config = {"mediaType": "application/vnd.oci.image.config.v1+json"} | config
    manifest = json.dumps({"schemaVersion": 2, "config": of_config, "layers": [layer]}).encode()
    quirky.manifests.clear()
    quirky.manifest("app", "1", manifest, MANIFEST_TYPES[1])
    return digest(stored)


def opening(folder: str) -> Opening:
    cache = Cache(folder, 1 << 28)
    known = Configuration(
        RegistriesConf({}), CredentialStore([]), tls_verify=False, creds=Credentials("me", SECRET)
    )
    registries = Registries(cache, lambda: known)
    registries.client.limits = registries.client._transport.limits = LIMITS
    return Opening(cache, registries=registries)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 9),
    size=st.sampled_from([50_000, 2_000_000, 4_000_000]),
    codec=st.sampled_from(CODECS),
    faults=FAULTS,
    reads=READS,
    is_indexed=st.booleans(),
)
@example(seed=1, size=4_000_000, codec="plain", faults=Faults(flipped=3), reads=[(0.5, 9)], is_indexed=True)
def test_reads_are_those_of_a_local_file_or_errors(
    quirky: Quirky,
    seed: int,
    size: int,
    codec: str,
    faults: Faults,
    reads: list[tuple[float, int]],
    is_indexed: bool,
) -> None:
    kinds = ("words", "noise", "zeros")
    tar = layer_tar(
        {f"file-{number}": texture(kinds[(seed + number) % 3], size // 4, seed) for number in range(4)}
    )
    put(quirky, tar, codec)
    with TemporaryDirectory() as folder:
        for is_second in (False, True):
            with choose(image_meant, [f"docker://{quirky.address}/app:1"], opening(folder)) as (chosen,):
                if is_indexed and not is_second:
                    source = chosen.snapshot.source_of(chosen.image_id)
                    index_layer(source.layers.get(chosen.layers.chain_ids[0]), lambda _: None)
                quirky.faults = faults
                with suppress(ImgfsError), chosen.layers.open_one(0) as blob:
                    places = [(int(place * len(tar)), length) for place, length in reads]
                    for offset, length in (*places, *((start, STEP) for start in range(0, len(tar), STEP))):
                        with suppress(ImgfsError):
                            assert blob.pread(length, offset) == tar[offset : offset + length]
            quirky.faults = Faults()
        with choose(image_meant, [f"docker://{quirky.address}/app:1"], opening(folder)) as (chosen,):
            with chosen.layers.open_one(0) as blob:
                assert blob.pread(len(tar), 0) == tar
    assert not any(seen.has_credentials for seen in quirky.take() if seen.port == 1)


def test_the_path_is_real(tmp_path: Path, quirky: Quirky) -> None:
    """What the test above reads is fetched from the registry."""
    tar = layer_tar({"file": texture("words", 3_000_000, 1)})
    stored = put(quirky, tar, "gzip")
    quirky.take()
    reach = opening(str(tmp_path / "cache"))
    with choose(image_meant, [f"docker://{quirky.address}/app:1"], reach) as (chosen,):
        with chosen.layers.open_one(0) as blob:
            assert blob.pread(1000, 1_000_000) == tar[1_000_000:1_001_000]
    assert any(stored in seen.path for seen in quirky.take())
