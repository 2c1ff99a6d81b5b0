"""Comparing an index that was found beside an image with the layer itself, once all of that has passed by.

Until then nothing but its own digests speaks for such an index, and what may push to the repository may have changed
both. Tried by the tests of `remote_layer`.
"""

import hashlib
from itertools import zip_longest

from imgfs.codec import SpanTable
from imgfs.errors import Corrupt
from imgfs.layers.index_file import IndexData, LayerIndex
from imgfs.layers.member_list import MemberList

_COMPARED = "compression", "stored_digest", "stored_size", "diff_id", "size", "ending"


class SpanComparison:
    """Takes the decoded bytes of the layer `name` in order, and compares them with the spans that its index has."""

    def __init__(self, spans: SpanTable, name: str) -> None:
        self._spans = spans
        self._name = name
        self._number = 0
        self._position = 0
        self._sha = hashlib.sha256()

    def update(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes. Raises Corrupt."""
        view, spans = memoryview(chunk), self._spans
        while view and self._number < len(spans):
            end = spans.start(self._number) + spans.length(self._number)
            part = view[: end - self._position]
            self._sha.update(part)
            self._position += len(part)
            view = view[len(part) :]
            if self._position == end:
                if spans.digest(self._number).hex != self._sha.hexdigest():
                    raise _other(self._name)
                self._sha = hashlib.sha256()
                self._number += 1


def compare_index(known: LayerIndex, data: IndexData, name: str) -> None:
    """Compare everything but the spans with what a pass found. Raises Corrupt, and what reading the index raises."""
    is_same = all(getattr(known.header, field) == getattr(data.header, field) for field in _COMPARED)
    if not is_same or bool(known.header.damage) != bool(data.header.damage):
        raise _other(name)
    members = zip_longest(known.members(), MemberList(data.sections["members"]))
    if any(member != found for member, found in members):
        raise _other(name)
    files = known.file_digests()
    if files and files != data.sections["files"]:
        raise _other(name)


def _other(name: str) -> Corrupt:
    return Corrupt(f"{name}: failed to verify, the index that was found for it is of other content")
