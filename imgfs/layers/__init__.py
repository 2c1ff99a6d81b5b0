"""Layers: what one is, who provides them, and the arithmetic of diff IDs and chain IDs."""

from typing import TYPE_CHECKING

from imgfs.cache.cache import Cache as Cache
from imgfs.cache.cache import CacheEntry as CacheEntry
from imgfs.lazy import importing

if TYPE_CHECKING:
    from imgfs.layers.blob_layer import BlobLayer as BlobLayer
    from imgfs.layers.blob_layer import StoredLayer as StoredLayer
    from imgfs.layers.chain import chain_id as chain_id
    from imgfs.layers.chain import chain_ids as chain_ids
    from imgfs.layers.choice import LayerChoice as LayerChoice
    from imgfs.layers.choice import copies_of as copies_of
    from imgfs.layers.choice import file_digests as file_digests
    from imgfs.layers.choice import is_remote as is_remote
    from imgfs.layers.choice import verified_first as verified_first
    from imgfs.layers.compressed_file import CompressedFile as CompressedFile
    from imgfs.layers.digest_map import DigestMap as DigestMap
    from imgfs.layers.directory_layer import DirectoryLayer as DirectoryLayer
    from imgfs.layers.directory_layer import DirectoryPlace as DirectoryPlace
    from imgfs.layers.directory_scan import prefix_of as prefix_of
    from imgfs.layers.erofs_place import ErofsPlace as ErofsPlace
    from imgfs.layers.indexer import Indexer as Indexer
    from imgfs.layers.layer import Layer as Layer
    from imgfs.layers.layer import LayerMetadata as LayerMetadata
    from imgfs.layers.layer import LayerProvider as LayerProvider
    from imgfs.layers.overlay_members import TRUSTED as TRUSTED
    from imgfs.layers.overlay_members import USER as USER
    from imgfs.layers.owner_map import IDRange as IDRange
    from imgfs.layers.owner_map import OwnerMap as OwnerMap
    from imgfs.layers.provider import LayerRegistry as LayerRegistry
    from imgfs.layers.rebuilt_layer import RebuiltLayer as RebuiltLayer
    from imgfs.layers.split_layer import SplitLayer as SplitLayer
    from imgfs.layers.split_layer import SplitPlace as SplitPlace
    from imgfs.layers.split_layer import Splits as Splits
    from imgfs.layers.toc_layer import TocLayer as TocLayer
    from imgfs.layers.toc_layer import TocUse as TocUse
    from imgfs.layers.toc_pin import TocPin as TocPin
    from imgfs.layers.toc_pin import pin_of as pin_of
    from imgfs.layers.verification import check_stored as check_stored
    from imgfs.layers.verification import index_layer as index_layer
    from imgfs.layers.verification import stored_size as stored_size
    from imgfs.layers.verification import verify_layer as verify_layer

__getattr__ = importing(
    __name__,
    {
        "blob_layer": ["BlobLayer", "StoredLayer"],
        "chain": ["chain_id", "chain_ids"],
        "choice": ["LayerChoice", "copies_of", "file_digests", "is_remote", "verified_first"],
        "compressed_file": ["CompressedFile"],
        "digest_map": ["DigestMap"],
        "directory_layer": ["DirectoryLayer", "DirectoryPlace"],
        "directory_scan": ["prefix_of"],
        "erofs_place": ["ErofsPlace"],
        "indexer": ["Indexer"],
        "layer": ["Layer", "LayerMetadata", "LayerProvider"],
        "overlay_members": ["TRUSTED", "USER"],
        "owner_map": ["IDRange", "OwnerMap"],
        "provider": ["LayerRegistry"],
        "rebuilt_layer": ["RebuiltLayer"],
        "split_layer": ["SplitLayer", "SplitPlace", "Splits"],
        "toc_layer": ["TocLayer", "TocUse"],
        "toc_pin": ["TocPin", "pin_of"],
        "verification": ["check_stored", "index_layer", "stored_size", "verify_layer"],
    },
)
