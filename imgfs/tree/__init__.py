"""File system trees in columns: that of one layer, the overlay of several, and one as a flat tar.

A tree says where the content of its files lies; it knows nothing of how layers are stored.
"""

from imgfs.tree.assembly import AssembledBlob, Assembly
from imgfs.tree.build import TreeBuilder, build_tree
from imgfs.tree.efficiency import Efficiency, Repeated, efficiency_of
from imgfs.tree.erofs_plan import ErofsPlan
from imgfs.tree.flat import FlatPlan
from imgfs.tree.origins import Event, origins
from imgfs.tree.overlay import Overlay, overlay_trees
from imgfs.tree.squashfs_plan import SquashfsPlan
from imgfs.tree.tree import NO_LAYER, Paths, Tree
from imgfs.tree.tree_file import dump_tree, load_tree
from imgfs.tree.usage import LayerUsage, layer_usage

__all__ = [
    "NO_LAYER",
    "AssembledBlob",
    "Assembly",
    "Efficiency",
    "ErofsPlan",
    "Event",
    "FlatPlan",
    "LayerUsage",
    "Overlay",
    "Paths",
    "Repeated",
    "SquashfsPlan",
    "Tree",
    "TreeBuilder",
    "build_tree",
    "dump_tree",
    "efficiency_of",
    "layer_usage",
    "load_tree",
    "origins",
    "overlay_trees",
]
