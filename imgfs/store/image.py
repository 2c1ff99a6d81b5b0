"""What an image's config says.

Format: OCI image specification, config.md, and moby's image/spec, which share their fields. Parsing follows
moby where the two leave a choice. Only what imgfs shows is kept besides the exact bytes.
Tried by the tests of the image store.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

import msgspec

from imgfs.digest import ChainID, DiffID, ImageID
from imgfs.errors import InvalidDigest, InvalidImage
from imgfs.go_json import parse_json
from imgfs.layers import chain_id
from imgfs.store.kept_document import KeptDocument
from imgfs.store.platform import Platform
from imgfs.store.timestamp import parse_time

T = TypeVar("T")

# Other readers of images have this limit for configs too. Parsing takes a multiple of it in memory.
MAX_CONFIG_SIZE = 4 << 20

MAX_LAYERS = 1000
"""Overlay file systems take at most 500, engines less."""
MAX_HISTORY = 10_000


class RunConfig(msgspec.Struct, rename="pascal", frozen=True):
    """What to run in a container of the image; None where the config does not say.

    Old configs give commands as one string instead of a list of words.
    """

    user: str | None = None
    env: list[str] | None = None
    entrypoint: list[str] | str | None = None
    cmd: list[str] | str | None = None
    working_dir: str | None = None
    labels: dict[str, str | None] | None = None


class HistoryEntry(msgspec.Struct, frozen=True):
    """One step of how the image was made; those not `empty_layer` stand for one diff ID each, in order."""

    recorded_time: object = msgspec.field(default=None, name="created")
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None

    @property
    def created(self) -> datetime | None:
        """When, in UTC; None if that is not recorded or no time."""
        return parse_time(self.recorded_time)


class _RootFS(msgspec.Struct):
    diff_ids: list[str] | msgspec.UnsetType | None = msgspec.UNSET


class _Outline(msgspec.Struct):
    """What is wanted of every image; the rest of a config, of hardly any."""

    rootfs: _RootFS | msgspec.UnsetType | None = msgspec.UNSET
    created: object = None
    history: msgspec.Raw = msgspec.Raw()


class _Config(msgspec.Struct):
    rootfs: _RootFS | msgspec.UnsetType | None = msgspec.UNSET
    os: str | None = None
    architecture: str | None = None
    variant: str | None = None
    created: object = None
    author: str | None = None
    comment: str | None = None
    config: RunConfig | None = None
    history: list[HistoryEntry] | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """An image's config; strings are empty where it does not say.

    `id` is the digest of its exact bytes; `parent` is the recorded parent, which the config does not hold; `diff_ids`
    lie bottom first; `created` is in UTC.
    """

    id: ImageID
    document: KeptDocument = field(repr=False, compare=False)
    parent: ImageID | None
    created: datetime | None
    diff_ids: tuple[DiffID, ...]

    @classmethod
    def from_config(
        cls,
        data: bytes,
        parent: ImageID | None = None,
        keep: Callable[[bytes], KeptDocument] = KeptDocument.alone,
    ) -> "Image":
        """The image whose config is `data`, which `keep` keeps.

        Raises InvalidImage if that is not a JSON object of at most MAX_CONFIG_SIZE bytes, if it has no rootfs,
        if a diff ID is no digest, or if it has more layers or steps than any image has. Other fields that are
        not of the types that the formats say are as if they were not there.
        """
        image_id = ImageID.of(data)
        outline = _parse(data, _Outline, image_id)
        if not outline.rootfs:
            raise InvalidImage(f"image {image_id}: invalid image JSON, no RootFS key")
        diff_ids = _diff_ids(outline.rootfs.diff_ids or (), image_id)
        image = cls(image_id, keep(data), parent, parse_time(outline.created), diff_ids)
        # each step is an object, so only a config of many is read further for their number
        may_have_many = bytes(outline.history).count(b"{") > MAX_HISTORY
        if len(diff_ids) > MAX_LAYERS or (may_have_many and len(image.history) > MAX_HISTORY):
            raise InvalidImage(f"image {image_id}: more layers or steps than any image has")
        return image

    def check_history(self) -> None:
        """Raises InvalidImage if the history has more steps that make a layer than there are diff IDs."""
        if sum(not entry.empty_layer for entry in self.history) > len(self.diff_ids):
            raise InvalidImage(f"image {self.id}: too many non-empty layers in History section")

    @property
    def raw_config(self) -> bytes:
        """The exact bytes of the config."""
        return self.document.read()

    @property
    def layer_steps(self) -> list[str]:
        """The step that made each layer, bottom first, as it is recorded; empty where that is not known."""
        steps = [entry.created_by or entry.comment or "" for entry in self.history if not entry.empty_layer]
        return [*steps, *[""] * len(self.diff_ids)][: len(self.diff_ids)]

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        config = self._config
        return Platform(config.os or "", config.architecture or "", config.variant or "")

    @property
    def author(self) -> str:
        return self._config.author or ""

    @property
    def comment(self) -> str:
        return self._config.comment or ""

    @property
    def history(self) -> list[HistoryEntry]:
        """How it was made, the first step first."""
        return self._config.history or []

    @property
    def config(self) -> RunConfig:
        """What to run in a container."""
        return self._config.config or RunConfig()

    @property
    def _config(self) -> "_Config":
        return _parse(self.raw_config, _Config, self.id)

    @property
    def os(self) -> str:
        return self.platform.os

    @property
    def architecture(self) -> str:
        return self.platform.architecture

    @property
    def variant(self) -> str:
        return self.platform.variant

    @property
    def chain_id(self) -> ChainID | None:
        """The chain ID of the whole stack of layers; None if there are none."""
        return chain_id(self.diff_ids)


def _parse(data: bytes, kind: type[T], image_id: ImageID) -> T:
    if len(data) > MAX_CONFIG_SIZE:
        raise InvalidImage(f"image {image_id}: {len(data)} bytes are too many for a config")
    return parse_json(data, kind, f"config of image {image_id}")


def _diff_ids(texts: Sequence[str], image_id: ImageID) -> tuple[DiffID, ...]:
    try:
        return tuple(map(_diff_id, texts))
    except InvalidDigest as error:
        raise InvalidImage(f"image {image_id}: diff ID: {error}") from None


@lru_cache(1 << 10)  # images share layers, and so the text of their diff IDs
def _diff_id(text: str) -> DiffID:
    """A diff ID, which moby takes without its algorithm too."""
    return DiffID(text) if ":" in text else DiffID.from_hex(text)
