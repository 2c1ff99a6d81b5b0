"""A merged tree as an EROFS image, of which only the metadata is made: the content of files is read from the layers.

The image is its metadata, then the content of the files as they lie in the layers, each in whole blocks. Or behind the
metadata come the layers themselves, each up to the last file that is seen of it, and `erofs_content` lays out the rest:
blocks have 512 bytes, as tars have, so that a file is a run of blocks of its layer. The same addresses hold where the
metadata is a file of its own and the others are devices.

First come the inodes in the order of the tree's entries, each with its attributes, and with the end of its names or
target if that fits into the same block; then other blocks of names and targets; then attributes that several have.
"""

import hashlib
import stat
from array import array
from bisect import insort
from collections import Counter
from itertools import pairwise

from imgfs.erofs.directory import block, size_of_block, split
from imgfs.erofs.inode import LONGEST, SHORTEST, SLOT, Layout, device_number, fits_short, inode
from imgfs.erofs.superblock import (
    BLOCK,
    BLOCK_BITS,
    DEVICE_SIZE,
    SUPERBLOCK,
    SUPERBLOCK_SIZE,
    device,
    superblock,
)
from imgfs.erofs.xattrs import LARGEST
from imgfs.erofs.xattrs import body as xattr_body
from imgfs.erofs.xattrs import entry as xattr_entry
from imgfs.errors import InvalidImage, quoted
from imgfs.tar.fields import padded
from imgfs.tar.packed import PackedBytes
from imgfs.tree.assembly import Assembly
from imgfs.tree.erofs_content import Contents, Device
from imgfs.tree.tree import Tree

_MOST_BLOCKS = 0xFFFFFFFF
_HEAD = SUPERBLOCK + SUPERBLOCK_SIZE
_FLUSHED = 1 << 20  # bytes of metadata that are kept together
_MOST_SHARED = 255  # attributes of one file that others have, too
_MOST_XATTRS = 12 + 4 * 65_534  # bytes of those of one file
_SELF, _PARENT = b".", b".."


class ErofsPlan(Assembly):
    """What an EROFS image of a tree is made of; `with_layers` as whole tars, which also have what later layers hide.

    With `links_inside`, absolute symbolic links are relative. `devices` are the parts behind its metadata; `metadata`
    is what that is made of as a file of its own, which has a table of them. Raises InvalidImage if the format has no
    room for the tree: for more than 2 TiB, and for too many or too large attributes of a file.
    """

    def __init__(self, tree: Tree, *, with_layers: bool = False, links_inside: bool = False) -> None:
        super().__init__()
        writer = _Writer(tree, Contents(tree, with_layers=with_layers), links_inside=links_inside)
        writer.lay_out()
        self.devices: list[Device] = writer.contents.devices
        rest = writer.write(self.text)
        self.metadata = Assembly(self.text)
        for of, devices, blocks in (
            (self, 0, writer.contents.end),
            (self.metadata, len(self.devices), writer.first_block),
        ):
            head = writer.head(devices, blocks)
            of.add_text(self.text.size, len(head))
            self.text.append(head)
            of.add_text(0, rest)
        self.text.finish()
        writer.contents.assemble(self)


class _Writer:
    """Makes the metadata: `lay_out` finds the place of everything, `write` writes all but the head."""

    def __init__(self, tree: Tree, contents: Contents, *, links_inside: bool) -> None:
        self._tree = tree
        self._links_inside = links_inside
        self.contents = contents
        self.first_block = 0
        """The first block behind the metadata."""
        self._start = _HEAD + DEVICE_SIZE * self.contents.most_devices
        self._numbers = array("Q")
        """The number of each entry's inode."""
        self._blocks: dict[int, int] = {}
        """Of names and targets that do not all lie behind the inode: the first of their blocks, from `_first` on."""
        self._first = 0
        self._splits: dict[int, list[int]] = {}
        """How the names of directories are divided into blocks if there are several."""
        self._unfit = set[int]()
        """Entries of which the end of the names or target does not lie behind the inode."""
        self._inodes = 0
        self._shared, self._shared_entries = self._find_shared()
        self._shared_block = 0
        self._mtime_ns = Counter(tree.mtimes).most_common(1)[0][0]
        """The time that most files have, of which inodes are shorter."""
        self._digest = hashlib.sha256(repr(self._mtime_ns).encode())

    def lay_out(self) -> None:
        """Find the place of everything. Raises InvalidImage as `ErofsPlan` does."""
        tree = self._tree
        position, blocks = self._start, 0
        for entry, (mode, size) in enumerate(zip(tree.modes, tree.sizes, strict=True)):
            if entry in tree.same:
                self._numbers.append(self._numbers[tree.same[entry]])
                continue
            self._inodes += 1
            end, kind = 0, stat.S_IFMT(mode)
            room = SHORTEST if self._is_short(entry) else LONGEST
            if entry in tree.xattrs:
                room += len(self._attributes(entry))
            if kind == stat.S_IFREG:
                room += self.contents.add(entry) if size else 0
            elif kind in (stat.S_IFDIR, stat.S_IFLNK):
                size = len(self._target(entry)) if kind == stat.S_IFLNK else self._size_of_names(entry)
                end, whole = size % BLOCK, size >> BLOCK_BITS
                if end:
                    shift = _shift(position + room, end)
                    if shift is None:
                        self._unfit.add(entry)
                        end, whole = 0, whole + 1
                    else:
                        position += shift
                if whole:
                    self._blocks[entry] = blocks
                    blocks += whole
            self._numbers.append(position // SLOT)
            position += -(-(room + end) // SLOT) * SLOT
        self._first = padded(position) >> BLOCK_BITS
        self._shared_block = self._first + blocks
        self.first_block = self._shared_block + (padded(len(self._shared_entries)) >> BLOCK_BITS)
        self.contents.place(self.first_block)
        if self.contents.end > _MOST_BLOCKS:
            raise InvalidImage(f"an EROFS image of more than {_MOST_BLOCKS * BLOCK >> 30} GiB")

    def write(self, text: PackedBytes) -> int:
        """Write all that is behind the head; returns how many bytes those are."""
        tree, contents = self._tree, self.contents
        blocks = bytearray()
        done, out = _HEAD, self._device_table()
        columns = zip(
            self._numbers, tree.modes, tree.sizes, tree.uids, tree.gids, tree.mtimes, tree.links, strict=True
        )
        for entry, (number, mode, size, uid, gid, mtime_ns, links) in enumerate(columns):
            if entry in tree.same:
                continue
            attributes = self._attributes(entry) if entry in tree.xattrs else b""
            kind, value, layout, behind = stat.S_IFMT(mode), 0, Layout.FLAT, b""
            if kind == stat.S_IFREG:
                if size:
                    value, behind = contents.block(entry), contents.table(entry)
                    layout = Layout.CHUNKS if behind else layout
            elif kind in (stat.S_IFDIR, stat.S_IFLNK):
                content = self._target(entry) if kind == stat.S_IFLNK else self._names(entry)
                size, whole = len(content), len(content) & -BLOCK
                if size > whole and entry not in self._unfit:
                    layout, behind, content = Layout.INLINE, content[whole:], content[:whole]
                if content:
                    value = self._first + self._blocks[entry]
                    blocks += content.ljust(padded(len(content)), b"\0")
            else:
                size, value = 0, device_number(*tree.devices.get(entry, (0, 0)))
            out += bytes(number * SLOT - done - len(out))
            time = None if self._is_short(entry) else mtime_ns
            out += inode(layout, len(attributes), mode, size, value, entry + 1, (uid, gid), time, links)
            out += attributes
            out += behind
            if len(out) >= _FLUSHED:
                done += self._flush(out, text)
        out += bytes(self._first * BLOCK - done - len(out))
        out += blocks
        out += self._shared_entries.ljust(padded(len(self._shared_entries)), b"\0")
        return done + self._flush(out, text) - _HEAD

    def head(self, devices: int, blocks: int) -> bytes:
        """What comes before what `write` writes, with so many devices; the image has so many blocks besides them."""
        return bytes(SUPERBLOCK) + superblock(
            root=self._numbers[0],
            inodes=self._inodes,
            blocks=blocks,
            shared_xattrs=self._shared_block,
            mtime_ns=self._mtime_ns,
            uuid=self._digest.digest()[:16],
            devices=devices,
        )

    def _flush(self, out: bytearray, text: PackedBytes) -> int:
        """Keep what was written; returns how many bytes that was."""
        size = len(out)
        self._digest.update(out)
        text.append(out)
        out.clear()
        return size

    def _device_table(self) -> bytearray:
        return bytearray().join(
            device(b"files" if layer is None else b"layer %d" % layer, blocks, start)
            for layer, start, blocks in self.contents.devices
        )

    def _is_short(self, entry: int) -> bool:
        """Whether the inode of an entry has the shorter form."""
        tree = self._tree
        return tree.mtimes[entry] == self._mtime_ns and fits_short(
            tree.sizes[entry], (tree.uids[entry], tree.gids[entry]), tree.links[entry]
        )

    def _target(self, entry: int) -> bytes:
        return self._tree.target_inside(entry) if self._links_inside else self._tree.target(entry)

    def _size_of_names(self, entry: int) -> int:
        names = self._all_names(entry)
        size = size_of_block(names)
        if size > BLOCK:
            starts = self._splits[entry] = split(names)
            size = (len(starts) - 2) * BLOCK + size_of_block(names[starts[-2] :])
        return size

    def _all_names(self, entry: int) -> list[bytes]:
        """The names in a directory, with those of itself and its parent."""
        names = self._tree.names(self._tree.children(entry))
        insort(names, _SELF)
        insort(names, _PARENT)
        return names

    def _names(self, entry: int) -> bytes:
        """The blocks of a directory."""
        tree, children, names = self._tree, self._tree.children(entry), self._all_names(entry)
        numbers = self._numbers[children.start : children.stop]
        modes = tree.modes[children.start : children.stop]
        for name, other in ((_SELF, entry), (_PARENT, tree.parents[entry])):
            place = names.index(name)
            numbers.insert(place, self._numbers[other])
            modes.insert(place, stat.S_IFDIR)
        starts = self._splits.get(entry, [0, len(names)])
        blocks = [
            block(names[start:stop], numbers[start:stop], modes[start:stop])
            for start, stop in pairwise(starts)
        ]
        return b"".join([*(data.ljust(BLOCK, b"\0") for data in blocks[:-1]), blocks[-1]])

    def _find_shared(self) -> tuple[dict[tuple[bytes, bytes], int], bytes]:
        """The numbers of attributes that several files have, and what the image has of them."""
        counts = Counter(item for found in self._tree.xattrs.values() for item in found.items())
        numbers, entries = dict[tuple[bytes, bytes], int](), bytearray()
        for item, count in counts.items():
            packed = xattr_entry(*item)
            if count > 1 and packed is not None:
                numbers[item] = len(entries) // 4
                entries += packed
        return numbers, bytes(entries)

    def _attributes(self, entry: int) -> bytes:
        """The attributes of a file. Raises InvalidImage."""
        shared, own = list[int](), list[bytes]()
        for item in self._tree.xattrs[entry].items():
            packed, number = xattr_entry(*item), self._shared.get(item)
            if packed is None:
                raise InvalidImage(
                    f"{quoted(self._tree.path(entry))}: the attribute {quoted(item[0])} has {len(item[1])} bytes, "
                    f"EROFS has room for {LARGEST}"
                )
            if number is not None and len(shared) < _MOST_SHARED:
                shared.append(number)
            else:
                own.append(packed)
        body = xattr_body(shared, own)
        if len(body) > _MOST_XATTRS:
            raise InvalidImage(f"{quoted(self._tree.path(entry))}: too many attributes for EROFS")
        return body if shared or own else b""


def _shift(position: int, size: int) -> int | None:
    """How much further bytes that lie in one block must begin; None if a block of their own takes less room."""
    start = position % BLOCK
    if start + size <= BLOCK:
        return 0
    shift = -(-(BLOCK - start) // SLOT) * SLOT
    return shift if shift < BLOCK - size and (start + shift) % BLOCK + size <= BLOCK else None
