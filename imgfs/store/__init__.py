"""The image store: images, their parents and children, and the layers they hold."""

from imgfs.store.backend import StoreBackend
from imgfs.store.digest_index import DigestIndex
from imgfs.store.fs_backend import FSBackend
from imgfs.store.image import MAX_CONFIG_SIZE, HistoryEntry, Image, RunConfig
from imgfs.store.image_store import ImageStore
from imgfs.store.joined_backend import JoinedBackend
from imgfs.store.kept_document import DocumentPacker, KeptDocument
from imgfs.store.layer_stack import LayerStack
from imgfs.store.memory_backend import MemoryBackend
from imgfs.store.platform import Platform, this_architecture
from imgfs.store.problems import Problem, Problems

__all__ = [
    "MAX_CONFIG_SIZE",
    "DigestIndex",
    "DocumentPacker",
    "FSBackend",
    "HistoryEntry",
    "Image",
    "ImageStore",
    "JoinedBackend",
    "KeptDocument",
    "LayerStack",
    "MemoryBackend",
    "Platform",
    "Problem",
    "Problems",
    "RunConfig",
    "StoreBackend",
    "this_architecture",
]
