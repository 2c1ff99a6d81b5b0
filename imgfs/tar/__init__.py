"""Tars: finding members and endings, and joining several into one."""

from imgfs.tar.branches import Branch, Leaf
from imgfs.tar.flat import FlatPlan, FlatTar
from imgfs.tar.joined import JoinedTar
from imgfs.tar.member import Member
from imgfs.tar.merge import Merger, merge_layers
from imgfs.tar.scan import Scanner, scan_blob, sound_members
from imgfs.tar.tar_blob import ScannedTar, TarBlob
from imgfs.tar.tree import NO_LAYER, Tree
from imgfs.tar.tree_file import dump_tree, load_tree

__all__ = [
    "NO_LAYER",
    "Branch",
    "FlatPlan",
    "FlatTar",
    "JoinedTar",
    "Leaf",
    "Member",
    "Merger",
    "ScannedTar",
    "Scanner",
    "TarBlob",
    "Tree",
    "dump_tree",
    "load_tree",
    "merge_layers",
    "scan_blob",
    "sound_members",
]
