"""Making an image from a tar: its layer on top of an optional parent, and the config that says so.

Tried by the tests of `imgfs import`.
"""

import datetime
import os
from collections.abc import Sequence
from typing import Any

import msgspec

from imgfs.digest import DiffID, ImageID
from imgfs.errors import InvalidImage
from imgfs.layers import chain_ids
from imgfs.own.changes import apply_change
from imgfs.own.writer import StagedLayer, Writer
from imgfs.sources.documents import parse_document
from imgfs.store import Image, this_architecture


def import_image(
    writer: Writer,
    layers: Sequence[tuple[StagedLayer, str]],
    parent: Image | None,
    changes: Sequence[str],
    tags: Sequence[str],
) -> ImageID:
    """Commit an image of `layers`, bottom first, each with a comment for the history, on top of `parent`.

    `changes` are Dockerfile instructions. Raises InvalidImage for one that does not parse or a layer that is damaged,
    and what `Writer.stage_known` raises if a layer of the parent is missing or damaged.
    """
    for layer, _ in layers:
        if layer.damage:
            raise InvalidImage(layer.damage)
    below = [writer.stage_known(chain_id) for chain_id in chain_ids(parent.diff_ids if parent else ())]
    added = [(layer.diff_id, comment) for layer, comment in layers]
    config = new_config(parent.raw_config if parent else None, added, changes)
    staged = [*below, *(layer for layer, _ in layers)]
    return writer.commit(config, staged, parent.id if parent else None, tags)


def new_config(parent: bytes | None, layers: Sequence[tuple[DiffID, str]], changes: Sequence[str]) -> bytes:
    """The config of an image with more layers than `parent`, each given by diff ID and comment.

    Format: OCI image specification, config.md. Raises InvalidImage.
    """
    config = parse_document(parent, dict[str, Any], "parent") if parent else _empty_config()
    created = _now()
    try:
        config["created"] = created
        config["rootfs"]["diff_ids"].extend(diff_id for diff_id, _ in layers)
        history = [{"created": created, "comment": comment} for _, comment in layers]
        config["history"] = [*(config.get("history") or []), *history]
        config["config"] = config.get("config") or {}
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidImage(f"the parent's config cannot be built upon: {error!r}") from None
    for change in changes:
        apply_change(config["config"], change)
    return msgspec.json.encode(config, enc_hook=str)


def _empty_config() -> dict[str, Any]:
    return {
        "architecture": this_architecture(),
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [],
    }


def _now() -> str:
    """The time in RFC 3339; SOURCE_DATE_EPOCH, where set, makes imports reproducible."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        now = (
            datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
            if epoch
            else datetime.datetime.now(datetime.UTC)
        )
    except (ValueError, OverflowError, OSError):
        raise InvalidImage(f"SOURCE_DATE_EPOCH={epoch!r} is not a time") from None
    return now.isoformat().replace("+00:00", "Z")
