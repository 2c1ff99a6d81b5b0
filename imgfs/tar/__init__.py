"""Tars: finding their members and endings, writing headers, joining several into one."""

from imgfs.tar.joined import JoinedTar
from imgfs.tar.member import Member
from imgfs.tar.scanner import FOLLOWED, Scanner, scan_blob
from imgfs.tar.tar_blob import ScannedTar, TarBlob

__all__ = [
    "FOLLOWED",
    "JoinedTar",
    "Member",
    "ScannedTar",
    "Scanner",
    "TarBlob",
    "scan_blob",
]
