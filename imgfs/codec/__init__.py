"""Compressed blobs read at random: which compression, decoding in order, seek points, reading from them."""

from imgfs.codec.codec import Codec, Decoding
from imgfs.codec.compression import Compression
from imgfs.codec.detect import begins_tar, describe_unread, detect
from imgfs.codec.forward import open_forward
from imgfs.codec.random_access import open_random
from imgfs.codec.seek_table import SeekTable
from imgfs.codec.table import CODECS

__all__ = [
    "CODECS",
    "Codec",
    "Compression",
    "Decoding",
    "SeekTable",
    "begins_tar",
    "describe_unread",
    "detect",
    "open_forward",
    "open_random",
]
