"""The overlay of layers' trees: the root file system of an image as the kernel's overlayfs shows it.

That is what Docker, containerd and Podman run. A directory on a directory merges with it, unless it is opaque
(`.wh..wh..opq` in it, or the attribute trusted.overlay.opaque); anything else replaces what is below; a whiteout
(`.wh.NAME`, or a character device 0/0) hides what lower layers have, by name. No link leads from one layer into
another: a directory on a symbolic link replaces it. A merged directory is what the topmost layer says of it, also if
that only implies it, and so has mode 0755 (tried with Docker 20.10 and Podman 4.3; containerd 1.6 gives it the mode
of the one below, also of what a link below leads to).

Where the image specification says something else, the kernel is followed: a whiteout and a directory of one name in
one layer leave what lower layers have in it (containerd and Podman refuse the directory before the whiteout), and an
opaque root hides nothing. What engines refuse to unpack is made the best of: a hard link whose file only a lower
layer has is another name of that.
"""

import stat
from collections.abc import Callable, Iterable

from imgfs.errors import InvalidImage, quoted
from imgfs.logs import SkipLog
from imgfs.tar.paths import components, steps
from imgfs.tree.build import MAX_ENTRIES, MAX_TEXT
from imgfs.tree.merged import MergedDir, merged_tree
from imgfs.tree.tree import NO_LAYER, Paths, Tree
from imgfs.tree.whiteouts import OverlaidLayer, Ref, place, ref

_MAX_LINKS, _MAX_STEPS = 40, 5_000_000  # symbolic links on the way to one path; components looked up in all


Watch = Callable[["MergedDir | Ref | None", "Ref | None"], None]


class Overlay:
    """Takes the trees of layers, bottom first, and returns the tree that they make. They must not change any more.

    `report` is called with a line for each hard link that leads nowhere, which is skipped. `watch` is called for each
    name that a layer has or hides: with what was there, and the entry that is there now, None for nothing.
    """

    def __init__(self, report: Callable[[str], None], watch: Watch | None = None) -> None:
        self._report = report
        self._watch = watch
        self.layers: list[OverlaidLayer] = []
        """The layers so far, bottom first."""
        self._root = MergedDir(0, {})
        self._entries = self._text = self._steps = 0

    def apply(self, tree: Tree) -> None:
        """Lay the next layer's tree over those so far. Raises InvalidImage if that takes absurdly much memory."""
        self._entries += len(tree)
        number = len(self.layers)
        if self._entries > MAX_ENTRIES:
            raise InvalidImage(f"layer {number}: more than {MAX_ENTRIES} entries with those below")
        self._text += len(tree.names_text) + len(tree.targets_text)
        if self._text > MAX_TEXT:
            raise InvalidImage(f"layer {number}: more than {MAX_TEXT >> 20} MiB of names with those below")
        layer = OverlaidLayer(tree, self._links(number, tree))
        self.layers.append(layer)
        self._merge(number, layer)

    def find(self, path: bytes) -> tuple[int, int] | None:
        """The layer that has what is at a path by now, and the entry there; of a hard link, that of its file.

        Symbolic links on the way are followed. Raises InvalidImage if that takes absurdly long.
        """
        try:
            found = self._resolve(components(path))
        except ValueError:
            return None
        if isinstance(found, MergedDir):
            return place(found.ref)
        return None if found is None else place(found)

    def tree(self) -> Tree:
        """The tree that all layers so far make."""
        if len(self.layers) == 1 and self.layers[0].is_itself:
            return self.layers[0].tree
        return merged_tree(self._root, self.layers)

    def _links(self, number: int, tree: Tree) -> dict[int, Ref | None]:
        """What the hard links of a layer to lower ones lead to."""
        links = {}
        paths = Paths(tree)
        for entry, target in tree.lower_links.items():
            links[entry] = found = self._file(target)
            if found is None:
                path = paths.of(entry)
                self._report(
                    f"layer {number}: {quoted(path)} is skipped: a hard link to {quoted(target)}, no file here"
                )
                continue
            below, of = place(found)
            self.layers[below].special.add(of)  # it has several names from now on
        return links

    def _merge(self, number: int, layer: OverlaidLayer) -> None:
        tree = layer.tree
        waiting = [(self._root, 0)]
        while waiting:
            node, directory = waiting.pop()
            if directory or tree.layers[0] != NO_LAYER:
                node.ref = ref(number, directory)
            for name in layer.hidden(directory):
                before = node.children.pop(name, None)
                if self._watch is not None:
                    self._watch(before, None)
            for name, entry in layer.visible(directory):
                if self._watch is not None:
                    self._watch(node.children.get(name), ref(number, entry))
                if tree.is_directory(entry) and not layer.is_opaque(entry):
                    merged = self._opened(node.children.get(name))
                    if merged is not None:
                        node.children[name] = merged
                        waiting.append((merged, entry))
                        continue
                node.children[name] = ref(number, entry)

    def _opened(self, node: MergedDir | Ref | None) -> MergedDir | None:
        """A directory as one that a layer can be merged into; None for anything else."""
        if node is None or isinstance(node, MergedDir):
            return node
        number, entry = place(node)
        layer = self.layers[number]
        if not layer.tree.is_directory(entry):
            return None
        return MergedDir(node, {name: ref(number, child) for name, child in layer.visible(entry)})

    def _file(self, path: bytes) -> Ref | None:
        """The file that is no directory at a path."""
        found = self._resolve(path.split(b"/"))
        if found is None or isinstance(found, MergedDir):
            return None
        number, entry = place(found)
        return None if self.layers[number].tree.is_directory(entry) else found

    def _resolve(self, parts: list[bytes]) -> MergedDir | Ref | None:
        """What is at a path, links on the way followed; of a file with several names, the first."""
        way: list[MergedDir | Ref] = [self._root]
        ahead = parts[::-1]
        links = 0
        while ahead:
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise InvalidImage("links that lead through too many directories")
            part = ahead.pop()
            if part == b"..":
                del way[max(1, len(way) - 1) :]
                continue
            node = self._child(way[-1], part)
            if node is None:
                return None
            if isinstance(node, MergedDir):
                way.append(node)
                continue
            number, entry = place(node)
            tree = self.layers[number].tree
            if tree.is_directory(entry):
                way.append(node)
                continue
            if not ahead:
                return node
            links += 1
            if not stat.S_ISLNK(tree.modes[entry]) or links > _MAX_LINKS:
                return None
            target = tree.target(entry)
            ahead += steps(target)[::-1]
            if target.startswith(b"/"):
                del way[1:]
        return way[-1]

    def _child(self, node: MergedDir | Ref, name: bytes) -> MergedDir | Ref | None:
        """What is in a directory by a name; of a file with several names, the first."""
        if isinstance(node, MergedDir):
            child = node.children.get(name)
            if child is None or isinstance(child, MergedDir):
                return child
            number, entry = place(child)
        else:
            number, directory = place(node)
            found = self.layers[number].child(directory, name)
            if found is None:
                return None
            entry = found
        layer = self.layers[number]
        inode = layer.tree.inode(entry)
        linked = layer.links.get(inode)
        return ref(number, inode) if linked is None else linked


def overlay_trees(trees: Iterable[Tree], name: str) -> Tree:
    """The tree that those of layers make, bottom first; what is skipped is logged with `name`.

    Raises InvalidImage, naming it so, if that takes absurdly much memory or time.
    """
    log = SkipLog(name, "links")
    overlay = Overlay(log.report)
    for tree in trees:
        try:
            overlay.apply(tree)
        except InvalidImage as error:
            raise InvalidImage(f"{name}: {error}") from None
    log.finish()
    return overlay.tree()
