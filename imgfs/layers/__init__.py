"""Layers: what one is, who provides them, and the arithmetic of diff IDs and chain IDs."""

from imgfs.cache.cache import Cache, CacheEntry
from imgfs.layers.blob_layer import BlobLayer
from imgfs.layers.chain import chain_id, chain_ids
from imgfs.layers.choice import LayerChoice, copies_of, file_digests, is_remote, verified_first
from imgfs.layers.compressed_file import CompressedFile
from imgfs.layers.digest_map import DigestMap
from imgfs.layers.directory_layer import DirectoryLayer, DirectoryPlace
from imgfs.layers.directory_scan import prefix_of
from imgfs.layers.erofs_place import ErofsPlace
from imgfs.layers.indexer import Indexer
from imgfs.layers.layer import Layer, LayerMetadata, LayerProvider
from imgfs.layers.overlay_members import TRUSTED, USER
from imgfs.layers.owner_map import IDRange, OwnerMap
from imgfs.layers.provider import LayerRegistry
from imgfs.layers.rebuilt_layer import RebuiltLayer
from imgfs.layers.split_layer import SplitLayer, SplitPlace, Splits
from imgfs.layers.toc_layer import TocLayer, TocUse
from imgfs.layers.toc_pin import TocPin, pin_of
from imgfs.layers.verification import check_stored, index_layer, stored_size, verify_layer

StoredLayer = BlobLayer
"""The name that BlobLayer had before, for programs that use it."""

__all__ = [
    "TRUSTED",
    "USER",
    "BlobLayer",
    "Cache",
    "CacheEntry",
    "CompressedFile",
    "DigestMap",
    "DirectoryLayer",
    "DirectoryPlace",
    "ErofsPlace",
    "IDRange",
    "Indexer",
    "Layer",
    "LayerChoice",
    "LayerMetadata",
    "LayerProvider",
    "LayerRegistry",
    "OwnerMap",
    "RebuiltLayer",
    "SplitLayer",
    "SplitPlace",
    "Splits",
    "StoredLayer",
    "TocLayer",
    "TocPin",
    "TocUse",
    "chain_id",
    "chain_ids",
    "check_stored",
    "copies_of",
    "file_digests",
    "index_layer",
    "is_remote",
    "pin_of",
    "prefix_of",
    "stored_size",
    "verified_first",
    "verify_layer",
]
