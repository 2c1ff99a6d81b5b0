"""A merged tree as a SquashFS image, of which only the tables are made: the content of files is read from the layers.

Blocks of files begin at any byte, may be stored as they are, and are left out where they have nothing but zeros. So the
files come first, as they lie in the layers; then the tables. What the format cannot keep is left out: fractions of
seconds, times before 1970 and after 2106, and access control lists.
"""

import stat
import struct
from array import array
from itertools import accumulate, chain

from imgfs.erofs.inode import device_number
from imgfs.errors import InvalidImage
from imgfs.squashfs import records
from imgfs.squashfs.records import BLOCK, NONE, SUPERBLOCK_SIZE, Listing
from imgfs.squashfs.tables import Table, block_starts
from imgfs.tar.packed import PackedBytes
from imgfs.tree.assembly import Assembly
from imgfs.tree.sparse_chunks import add_chunk, chunks
from imgfs.tree.tree import Tree

_LAST_TIME = (1 << 32) - 1
_MOST_BLOCKS = 1 << 22  # of sparse files
_MOST_IDS = (1 << 16) - 1
_MULTIPLE = 4096  # bytes: the image is padded as mksquashfs pads it


class SquashfsPlan(Assembly):
    """What a SquashFS image of a tree is made of. With `links_inside`, absolute symbolic links are relative.

    Raises InvalidImage if the format has no room for the tree: for too many owners, or too large sparse files.
    """

    def __init__(self, tree: Tree, *, links_inside: bool = False) -> None:
        super().__init__()
        writer = _Writer(tree, links_inside=links_inside)
        writer.place_contents()
        superblock = writer.write(self.text)
        tables = self.text.size
        self.text.append(superblock)
        self.text.finish()
        self.add_text(tables, len(superblock))
        writer.add_contents(self)
        self.add_text(0, tables)
        self.add_zeros(-self.size % _MULTIPLE)


class _Writer:
    """Makes the tables: `place_contents` says where the content of files is, which `write` needs to know."""

    def __init__(self, tree: Tree, *, links_inside: bool) -> None:
        self._tree = tree
        self._links_inside = links_inside
        self._files: list[int] = []
        """Those that have content, as they lie in the layers."""
        self._starts = array("Q", bytes(8 * len(tree)))
        """Where the content of each entry begins in the image."""
        self._references = array("Q", bytes(8 * len(tree)))
        """Of the inode of each entry."""
        self._numbers = array("I", accumulate(entry not in tree.same for entry in range(len(tree))))
        """Of the inode of each entry that is the first name of a file."""
        self._blocks: dict[int, bytes] = {}
        """The blocks of sparse files."""
        self._holes: dict[int, int] = {}
        """How many bytes of sparse files are not there."""
        self._end = SUPERBLOCK_SIZE
        self._ids: dict[int, int] = {}
        self._xattr_sets: dict[bytes, int] = {}
        self._xattr_ids, self._xattrs = bytearray(), bytearray()
        self._xattr_table = Table(self._xattrs.extend)

    def place_contents(self) -> None:
        tree, left = self._tree, _MOST_BLOCKS
        self._files = [
            entry
            for entry, (mode, size) in enumerate(zip(tree.modes, tree.sizes, strict=True))
            if size and stat.S_ISREG(mode) and entry not in tree.same
        ]
        self._files.sort(key=lambda entry: (tree.layers[entry], tree.records[entry]))
        for entry in self._files:
            size = tree.sizes[entry]
            self._starts[entry] = self._end
            if entry in tree.sparse:
                left -= -(-size // BLOCK)
                if left < 0:
                    raise InvalidImage("sparse files that are too large together for SquashFS")
                sizes = [0 if of.is_hole else of.stop - of.start for of in chunks(tree, entry, BLOCK)]
                self._blocks[entry] = records.block_sizes(sizes)
                self._holes[entry] = size - sum(sizes)
                size = sum(sizes)
            self._end += size

    def add_contents(self, plan: Assembly) -> None:
        """Add the content of all files to what the image is made of."""
        tree = self._tree
        for entry in self._files:
            if entry not in tree.sparse:
                plan.add_layer(
                    tree.layers[entry], tree.records[entry] + tree.headers[entry], tree.sizes[entry]
                )
                continue
            for chunk in chunks(tree, entry, BLOCK):
                if not chunk.is_hole:
                    add_chunk(plan, tree, entry, chunk)

    def write(self, text: PackedBytes) -> bytes:
        """Write all tables, which lie behind the content of files; returns the superblock."""
        tree, names = self._tree, bytearray()
        inodes, directories = Table(text.append), Table(names.extend)
        # what is in a directory is written before it: first what may be in any, then all others
        linked = {*tree.same.values()}
        others = (entry for entry in range(len(tree) - 1, -1, -1) if entry not in linked)
        for entry in chain(sorted(linked), others):
            if entry not in tree.same:
                self._references[entry] = inodes.reference
                inodes.add(self._inode(entry, directories))
        for table in (inodes, directories, self._xattr_table):
            table.finish()
        start = self._end
        directory_table = start + text.size
        text.append(names)
        ids = self._kept(text, struct.pack(f"<{len(self._ids)}I", *self._ids))
        id_table = start + text.size
        text.append(block_starts(4 * len(self._ids), start + ids))
        xattr_table = self._write_xattrs(text)
        return records.superblock(
            inodes=self._numbers[-1],
            ids=len(self._ids),
            root=self._references[0],
            tables=(start, directory_table, id_table, xattr_table),
            size=start + text.size,
            has_xattrs=bool(self._xattr_sets),
        )

    def _write_xattrs(self, text: PackedBytes) -> int:
        """Write the attributes, if there are any; returns where their table is."""
        if not self._xattr_sets:
            return 0
        values = self._end + text.size
        text.append(self._xattrs)
        numbers = self._kept(text, self._xattr_ids)
        table = self._end + text.size
        text.append(struct.pack("<QII", values, len(self._xattr_sets), 0))
        text.append(block_starts(len(self._xattr_ids), self._end + numbers))
        return table

    def _kept(self, text: PackedBytes, data: bytes | bytearray) -> int:
        """Write records in metadata blocks; returns where."""
        start = text.size
        table = Table(text.append)
        table.add(data)
        table.finish()
        return start

    def _inode(self, entry: int, directories: Table) -> bytes:
        tree = self._tree
        mode, links, kind = tree.modes[entry], tree.links[entry], stat.S_IFMT(tree.modes[entry])
        xattrs = self._xattrs_of(entry)
        has_xattrs, is_long = xattrs != NONE, xattrs != NONE
        if kind == stat.S_IFDIR:
            listing = self._listing(entry, directories)
            is_long |= records.is_large_directory(len(listing.data))
            rest = records.directory(
                place=listing.place,
                links=links,
                size=len(listing.data),
                parent=self._numbers[tree.parents[entry]] if entry else self._numbers[-1] + 1,
                indexes=listing.indexes,
                xattrs=xattrs,
                is_long=is_long,
            )
        elif kind == stat.S_IFREG:
            start, size = self._starts[entry], tree.sizes[entry]
            is_long |= links > 1 or entry in tree.sparse or records.is_large_file(start, size)
            blocks = self._blocks.get(entry)
            rest = records.file(
                start=start,
                size=size,
                holes=self._holes.get(entry, 0),
                links=links,
                xattrs=xattrs,
                blocks=records.full_blocks(size) if blocks is None else blocks,
                is_long=is_long,
            )
        else:
            if kind == stat.S_IFLNK:
                target = tree.target_inside(entry) if self._links_inside else tree.target(entry)
                rest = records.link(links, target)
            elif entry in tree.devices:
                rest = struct.pack("<II", links, device_number(*tree.devices[entry]))
            else:
                rest = struct.pack("<I", links)
            rest += struct.pack("<I", xattrs) if has_xattrs else b""
        owner = self._id(tree.uids[entry]), self._id(tree.gids[entry])
        seconds = min(max(tree.mtimes[entry] // 1_000_000_000, 0), _LAST_TIME)
        return records.head(mode, owner, seconds, self._numbers[entry], is_long=is_long) + rest

    def _listing(self, entry: int, directories: Table) -> Listing:
        tree, children = self._tree, self._tree.children(entry)
        listing = Listing((directories.block, directories.offset))
        inodes = [tree.inode(child) for child in children]
        listing.add(
            tree.names(children),
            [self._references[inode] for inode in inodes],
            [self._numbers[inode] for inode in inodes],
            tree.modes[children.start : children.stop],
        )
        directories.add(listing.data)
        return listing

    def _id(self, number: int) -> int:
        """The index of an owner in the table of IDs."""
        index = self._ids.setdefault(number, len(self._ids))
        if index >= _MOST_IDS:
            raise InvalidImage(f"more than {_MOST_IDS} owners, for which SquashFS has no room")
        return index

    def _xattrs_of(self, entry: int) -> int:
        """The number of a file's attributes in the table of those, NONE if it has none."""
        count, data = records.attributes(self._tree.xattrs.get(entry, {}))
        if not count:
            return NONE
        number = self._xattr_sets.get(data)
        if number is None:
            number = self._xattr_sets[data] = len(self._xattr_sets)
            self._xattr_ids += struct.pack("<QII", self._xattr_table.reference, count, len(data))
            self._xattr_table.add(data)
        return number
