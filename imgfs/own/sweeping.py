"""Sweeping our own store: what no image refers to any more is removed, and what killed writers left.

A writer that is killed leaves its staging folder, unlocked; so while there is no such folder, there is nothing to sweep
but what the caller knows of.
Tried by the tests of the writer, and by those that kill it.
"""

import fcntl
import logging
import os
from contextlib import suppress

from imgfs.blob import Folder
from imgfs.digest import Digest
from imgfs.errors import ImgfsError, LayerNotFound, describe
from imgfs.layers import chain_ids
from imgfs.sources.own.layout import BLOBS, LAYERS, STAGING, Layout
from imgfs.store import Image, StoreBackend

logger = logging.getLogger("imgfs")

_DUE = "sweep-due"
"""The name of a folder that no writer locks: it stands for what a sweep could not remove."""


def sweep(layout: Layout, images: StoreBackend, *, always: bool) -> None:
    """Remove layers that none of `images` has, blobs that no layer has, and what dead writers left.

    Does nothing if no writer has died, unless `always`. While an image or a layer of one cannot be read, every layer
    and blob stays until a later sweep. Called with the store's lock held, which writers take to make their folders.
    """
    with layout.files.folder(STAGING) as staging:
        dead = [entry.name for entry in staging.scan() if _is_dead(staging, entry)]
        if not dead and not always:
            return
        try:
            layers, blobs = _in_use(layout, images)
        except (ImgfsError, OSError) as error:
            logger.warning(
                "%s: layers that may not be needed any more are kept: %s", layout.root, describe(error)
            )
            staging.folder(_DUE, make=True).close()
            dead = [name for name in dead if name != _DUE]
        else:
            for folder, names in ((LAYERS, layers), (BLOBS, blobs)):
                with layout.files.folder(folder) as opened:
                    _keep_only(opened, names)
        for name in dead:
            staging.remove(name)


def _in_use(layout: Layout, images: StoreBackend) -> tuple[set[str], set[str]]:
    """The names of the layers that the images have, and of their blobs.

    Raises ImgfsError or OSError unless all of them can be read.
    """
    configs = (Image.from_config(images.get(image_id)) for image_id in images.walk())
    layers = {chain_id for image in configs for chain_id in chain_ids(image.diff_ids)}
    blobs = set()
    for chain_id in layers:
        with suppress(LayerNotFound):  # nothing to keep for it
            blobs.add(Digest(layout.read_record(chain_id).blob).hex)
    return {chain_id.hex for chain_id in layers}, blobs


def _keep_only(folder: Folder, names: set[str]) -> None:
    for entry in folder.scan():
        if entry.name not in names:
            folder.remove(entry.name)


def _is_dead(staging: Folder, entry: os.DirEntry[str]) -> bool:
    """Whether no living writer has it: it is a folder that is not locked, or a file, written with the lock held."""
    if not entry.is_dir(follow_symlinks=False):
        return True
    try:
        with staging.folder(entry.name) as folder:
            fcntl.flock(folder.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):  # its writer lives, or has just ended
        return False
    return True
