"""Which compression a blob is stored in, recognised by its first bytes.

Media types and file names can be wrong; magic numbers are not. A tar may begin with any bytes, those of its first
member's name, so a valid tar header takes precedence.
"""

from imgfs.blob import Blob
from imgfs.codec.compression import Compression

_TAR_HEADER_SIZE = 512
_OTHER_COMPRESSIONS = {
    b"LZIP": "lzip",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x02\x21\x4c\x18": "lz4",  # of before its frame format
    b"\x5d\0\0": "lzma",
    b"\x1f\x9d": "compress",
    b"\x1f\xa0": "compress",
    b"\x89LZO\0": "lzop",
    b"\xff\x06\0\0sNaPpY": "snappy",
    b"bvx": "lzfse",
    b"RZIP": "rzip",
    b"LRZI": "lrzip",
}
_OTHER_FORMS = {
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "an empty zip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"MSCF": "a cabinet archive",
    b"xar!": "a xar archive",
    b"0707": "a cpio archive",
    b"!<arch>\n": "an ar archive, such as a Debian package",
    b"\xed\xab\xee\xdb": "an RPM package",
    b"hsqs": "a SquashFS image",
    b"QFI\xfb": "a QCOW2 disk image",
    b"KDMV": "a VMDK disk image",
    b"conectix": "a VHD disk image",
    b"vhdxfile": "a VHDX disk image",
    b"#!/usr/bin/env run-singularity": "a Singularity image",
    b"\x7fELF": "an ELF program",
    b"MZ": "a Windows program",
    b"#!": "a script",
    b"%PDF-": "a PDF document",
    b"SQLite format 3\0": "an SQLite database",
    b"version https://git-lfs": "a Git LFS pointer (git lfs pull gets the file)",
    b"-----BEGIN PGP": "encrypted by PGP",
    b"age-encryption.org": "encrypted by age",
    b"Salted__": "encrypted by openssl",
    b"<!doctype html": "HTML, such as the error page of a server",
    b"<html": "HTML, such as the error page of a server",
    b"<?xml": "XML",
    b"{": "JSON",
    b"[": "JSON",
}
_COMPRESSED = [compression for compression in Compression if compression is not Compression.PLAIN]


def detect(blob: Blob) -> Compression:
    """The compression of `blob`; PLAIN for an empty one and for what is not recognised.

    Raises what `pread` raises.
    """
    start = blob.pread(_TAR_HEADER_SIZE, 0)
    if not _is_tar_header(start):
        for compression in _COMPRESSED:
            if compression.codec.begins(start):
                return compression
    return Compression.PLAIN


def begins_tar(blob: Blob) -> bool:
    """Whether a tar could begin as `blob` does: with a header, or with the zeros that end an empty one."""
    start = blob.pread(_TAR_HEADER_SIZE, 0)
    return _is_tar_header(start) or not any(start)


def describe_unread(blob: Blob) -> str:
    """What a blob that is neither a tar nor compressed in a known way is, going by its start, in words for errors."""
    start = blob.pread(_TAR_HEADER_SIZE, 0)
    known = ", ".join(_COMPRESSED)
    for magic, name in _OTHER_COMPRESSIONS.items():
        if start.startswith(magic):
            return f"{name}-compressed; imgfs reads {known}"
    if not start:
        return "an empty file"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()  # without a byte order mark and white space
    for magic, name in _OTHER_FORMS.items():
        if start.startswith(magic) or text.startswith(magic):
            return f"{name}; imgfs reads tars, plain or as {known}"
    return f"neither a tar nor compressed as {known}"


def _is_tar_header(block: bytes) -> bool:
    """Whether the checksum that every tar dialect keeps at offset 148 is right."""
    if len(block) < _TAR_HEADER_SIZE:
        return False
    try:
        recorded = int(block[148:156].strip(b" \0"), 8)
    except ValueError:
        return False
    # historic tars summed signed bytes, so both sums are right
    others = block[:148] + b" " * 8 + block[156:]
    return recorded in (sum(others), sum(others) - 256 * sum(byte > 127 for byte in others))
