"""Compressed blobs: recognise the compression, decode in order, find seek points, read anywhere."""

from imgfs.codec.codec import Codec, DecodePass
from imgfs.codec.compression import Compression
from imgfs.codec.detect import begins_tar, describe_unread, detect
from imgfs.codec.forward import open_forward
from imgfs.codec.random_access import RandomBlob, open_random
from imgfs.codec.seek_table import SeekTable
from imgfs.codec.spans import SpanBlob, SpanCache, SpanDecoder, SpanStats, SpanTable

__all__ = [
    "Codec",
    "Compression",
    "DecodePass",
    "RandomBlob",
    "SeekTable",
    "SpanBlob",
    "SpanCache",
    "SpanDecoder",
    "SpanStats",
    "SpanTable",
    "begins_tar",
    "describe_unread",
    "detect",
    "open_forward",
    "open_random",
]
