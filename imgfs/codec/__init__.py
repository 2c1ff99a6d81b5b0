"""Compressed blobs read at random: which compression, decoding in order, seek points, reading from them."""

from imgfs.codec.decoding import Decoding, decode
from imgfs.codec.detect import Compression, begins_tar, detect
from imgfs.codec.forward import open_forward
from imgfs.codec.random_access import open_random
from imgfs.codec.seek_table import SeekTable

__all__ = [
    "Compression",
    "Decoding",
    "SeekTable",
    "begins_tar",
    "decode",
    "detect",
    "open_forward",
    "open_random",
]
