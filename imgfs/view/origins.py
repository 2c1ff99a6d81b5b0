"""Where a path of an image comes from: what each layer did to it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imgfs.tar import NO_LAYER, Branch, Leaf, Member, Merger
from imgfs.tar.merge import OPAQUE, WHITEOUT
from imgfs.tar.paths import components


@dataclass(frozen=True, slots=True)
class Event:
    """What a layer, counted from the bottom, did to a path.

    `member` is what it has for it, if anything; `what` says which and by what. `gone` says that it took the path away.
    """

    layer: int
    what: str
    member: Member | None = None
    gone: bool = False


def origins(path: bytes, layers: Iterable[Sequence[Member]]) -> list[Event]:
    """What each layer did to a path, bottom first; nothing for layers that left it as it was.

    Directories on the way to the path may be symbolic links, as they are once the layer is applied.
    """
    merger = Merger(lambda problem: None)
    events: list[Event] = []
    before: Leaf | Branch | None = None
    before_member: Member | None = None
    for number, members in enumerate(layers):
        merger.apply(members)
        after = merger.find(path)
        member = after.member if after is not None else None
        if after is not before or member is not before_member:
            events.append(_event(number, path, members, before, after))
        before, before_member = after, member
    return events


def _event(
    number: int,
    path: bytes,
    members: Sequence[Member],
    before: Leaf | Branch | None,
    after: Leaf | Branch | None,
) -> Event:
    if after is None:
        return Event(number, f"removed by {_remover(components(path), members)}", gone=True)
    if isinstance(after, Branch) and after.layer == NO_LAYER:
        return Event(number, "made for what is in it")
    if after.layer != number:
        return Event(number, "hard link to a file of a lower layer", after.member)
    if before is after:
        return Event(number, "listed again", after.member)
    return Event(number, "added" if before is None else "replaced", after.member)


def _remover(parts: list[bytes], members: Sequence[Member]) -> str:
    """What in a layer took a path away."""
    whiteouts = {b"/".join([*parts[:depth], WHITEOUT + parts[depth]]) for depth in range(len(parts))}
    opaque = {b"/".join([*parts[:depth], OPAQUE]) for depth in range(len(parts))}
    for member in members:
        try:
            name = b"/".join(components(member.name))
        except ValueError:
            continue
        if name in whiteouts:
            return f"the whiteout {name.decode(errors='backslashreplace')}"
        if name in opaque:
            return f"the opaque directory {name.rpartition(b'/')[0].decode(errors='backslashreplace') or '/'}"
    return "what took the place of a directory above it"
