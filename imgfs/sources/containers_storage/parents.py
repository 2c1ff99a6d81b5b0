"""Parents as podman derives them: its builders of today record none.

An image is another's parent if its top layer is the other's or the one below that, if its diff IDs are the first of
the other's, and if the other has the same history and one step more. Of several, those with the same top layer come
first, then the order of the list counts. Images without layers are compared with each other.

Format: containers/common, `libimage/layer_tree.go` (`parent`) and `libimage/oci.go` (`areParentAndChild`). Each image
is looked up by digests of these, so that the time taken is linear in what there is to read.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from imgfs.digest import ChainID, ImageID
from imgfs.layers import chain_ids
from imgfs.store import HistoryEntry, Image

_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):(\d\d))")
_DIGEST_SIZE = 16  # bytes; an image has two of them in memory
_EPOCH = datetime(1, 1, 1)  # zones are subtracted, which could lead out of the years that there are


@dataclass(frozen=True, slots=True)
class HistoryDigests:
    """Digests of a history, `whole`, and of all but its last step, None if it has no step."""

    whole: bytes
    all_but_last: bytes | None

    @classmethod
    def of(cls, history: Sequence[HistoryEntry]) -> "HistoryDigests | None":
        """Those of a history in which podman can compare each step; None for any other."""
        digest, before = hashlib.blake2b(digest_size=_DIGEST_SIZE), None
        try:
            for step in history:
                before = digest.digest()
                digest.update(msgspec.json.encode(_compared(step)))
        except ValueError:
            return None
        return cls(digest.digest(), before)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image with the IDs of its top layer and of the one below, empty where there is none.

    `history` returns the digests of its history, None if podman cannot compare that.
    """

    image: Image
    history: Callable[[], HistoryDigests | None]
    top: str
    below: str


def derive_parents(images: Iterable[Candidate]) -> dict[ImageID, ImageID]:
    """The parent of each image that has one among `images`, which are in the order of the engine's list."""
    images = list(images)
    tops, belows = Counter(each.top for each in images), {each.below for each in images if each.below}
    # histories of the others, which may be thousands, need not be read
    related = [
        each
        for each in images
        if tops[each.top] > 1 or each.top in belows or (each.below and each.below in tops)
    ]
    compared = [(each, history) for each in related if (history := each.history()) is not None]
    # of those with the same of everything compared, only the first can be chosen
    known: dict[tuple[str, bytes], dict[ChainID | None, int]] = {}
    for number, (each, history) in enumerate(compared):
        alike = known.setdefault((each.top, history.whole), {})
        alike.setdefault(each.image.chain_id, number)
    found: dict[ImageID, ImageID] = {}
    for each, history in compared:
        if history.all_but_last is None:
            continue
        for layer in dict.fromkeys((each.top, each.below or each.top)):
            parent = _first(known.get((layer, history.all_but_last), {}), each.image)
            if parent is not None:
                found.setdefault(each.image.id, compared[parent][0].image.id)
                break
    return found


def _first(alike: Mapping[ChainID | None, int], child: Image) -> int | None:
    """The first of some images, by their chain IDs, whose diff IDs are the first of `child`."""
    if not alike:
        return None
    stacks = (None, *chain_ids(child.diff_ids))
    return min((alike[stack] for stack in stacks if stack in alike), default=None)


def _compared(step: HistoryEntry) -> Sequence[object]:
    """What podman compares of a step. Raises ValueError if its time is none, which podman does not read."""
    created = None if step.recorded_time is None else _nanoseconds(step.recorded_time)
    return created, step.created_by or "", step.author or "", step.comment or "", bool(step.empty_layer)


def _nanoseconds(recorded: object) -> tuple[int, str]:
    """A time in UTC, as whole seconds and the digits after the point. Raises ValueError."""
    match = _RFC_3339.fullmatch(recorded) if isinstance(recorded, str) else None
    if match is None:
        raise ValueError(f"{recorded!r} is no time")
    moment, fraction, sign, hours, minutes = match.groups()
    seconds = (datetime.fromisoformat(moment) - _EPOCH) // timedelta(seconds=1)
    offset = (int(hours) * 60 + int(minutes)) * 60 if sign else 0
    return seconds + (offset if sign == "-" else -offset), (fraction or "")[:9].rstrip("0")
