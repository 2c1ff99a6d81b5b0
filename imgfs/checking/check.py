"""Whether an image keeps to rules. Everything is measured once, and only what a rule asks for."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from itertools import takewhile

import msgspec

from imgfs.checking.rules import Rules
from imgfs.rootfs import RootFS
from imgfs.rootfs.hidden import hidden_paths
from imgfs.sizes import human_size
from imgfs.sources.chosen import ChosenImage
from imgfs.tar.xattrs import CAPABILITY
from imgfs.tree import Paths, Repeated, efficiency_of

_WILDCARD = re.compile(r"[*?[]")
_PRIVILEGED = stat.S_ISUID | stat.S_ISGID


class Result(msgspec.Struct, frozen=True):
    """Whether one rule holds: `limit` and `found` in words, and what breaks it."""

    rule: str
    limit: str
    found: str
    holds: bool
    details: Sequence[str] = ()


def check_image(image: ChosenImage, rules: Rules) -> list[Result]:
    """What becomes of each rule. Raises what reading the layers raises."""
    results = [*_measured(image, rules)]
    with image.root_fs() as root:
        for pattern in rules.must_exist:
            there = any(matching_paths(root, pattern))
            results.append(Result("must-exist", pattern, "there" if there else "nothing", there))
        for pattern in rules.must_not_exist:
            results.append(_none("must-not-exist", pattern, list(matching_paths(root, pattern))))
        if rules.must_not_hide:
            hidden: dict[str, list[str]] = {pattern: [] for pattern in rules.must_not_hide}
            diff_ids = image.image.diff_ids
            for number, pattern, path in hidden_paths(root, image.layer_trees(), rules.must_not_hide):
                hidden[pattern].append(f"{number:02}-{diff_ids[number].short}  {path}")
            results += [_none("must-not-hide", pattern, found) for pattern, found in hidden.items()]
        if rules.allow_setuid is not None:
            allowed = {
                root.lookup(path, follow=False)
                for pattern in rules.allow_setuid
                for path in matching_paths(root, pattern)
            }
            found = [f"{path} ({why})" for entry, path, why in _privileged(root) if entry not in allowed]
            results.append(_none("allow-setuid", ", ".join(rules.allow_setuid) or "none", found))
    return results


def _measured(image: ChosenImage, rules: Rules) -> Iterator[Result]:
    lowest, wasted = rules.lowest_efficiency, rules.highest_wasted_bytes
    share, size = rules.highest_user_wasted_percent, rules.highest_size
    if lowest is wasted is share is size is None:
        return
    efficiency = efficiency_of(image.trees())
    if lowest is not None:
        holds = efficiency.score >= lowest
        limit, found = _distinct(lowest, efficiency.score)
        details = [] if holds else _repeated(efficiency.repeated)
        yield Result("lowest-efficiency", f"at least {limit}", found, holds, details)
    if wasted is not None:
        yield _at_most("highest-wasted-bytes", wasted, efficiency.wasted, efficiency.repeated)
    if share is not None:
        yield _at_most("highest-user-wasted-percent", share, efficiency.wasted_share, efficiency.repeated)
    if size is not None:
        yield _at_most("highest-size", size, efficiency.size)


def _at_most(rule: str, limit: float, found: float, repeated: Sequence[Repeated] = ()) -> Result:
    texts = _distinct(limit, found)
    holds = found <= limit
    return Result(rule, f"at most {texts[0]}", texts[1], holds, [] if holds else _repeated(repeated))


def _distinct(limit: float, found: float) -> tuple[str, str]:
    """Both as people write them, with so many digits that they differ if they do."""
    if isinstance(limit, int):
        short = human_size(limit), human_size(int(found))
        return short if short[0] != short[1] or limit == found else (f"{limit} bytes", f"{found} bytes")
    short = f"{limit:.1%}", f"{found:.1%}"
    return short if short[0] != short[1] or limit == found else (f"{limit:.6%}", f"{found:.6%}")


def _repeated(paths: Sequence[Repeated]) -> list[str]:
    return [f"/{os.fsdecode(of.path)} ({human_size(of.size)} in {of.count} layers)" for of in paths]


def _none(rule: str, limit: str, found: Sequence[str]) -> Result:
    count = f"{len(found)} path{'s' * (len(found) != 1)}" if found else "nothing"
    return Result(rule, limit, count, not found, found)


def matching_paths(root: RootFS, pattern: str) -> Iterator[str]:
    """The paths that match a pattern; symbolic links before its first wildcard are followed, as by a shell."""
    if "/" not in pattern:
        yield from root.find(pattern)
        return
    parts = [part for part in pattern.split("/") if part]
    plain = list(takewhile(lambda part: not _WILDCARD.search(part), parts))
    tree = root.tree  # which raises if the layers cannot be read
    try:
        entry = root.lookup("/".join(plain), follow=len(plain) < len(parts))
    except OSError:  # there is nothing
        return
    start = f"/{os.fsdecode(tree.path(entry))}"
    if plain == parts:
        yield start
    else:
        yield from root.find("/".join([_WILDCARD.sub(r"[\g<0>]", start).rstrip("/"), *parts[len(plain) :]]))


def _privileged(root: RootFS) -> Iterator[tuple[int, str, str]]:
    """The files that run with more rights than their caller's: entry, path, and why."""
    tree, paths = root.tree, Paths(root.tree)
    for name in tree.walk():
        entry = tree.inode(name)
        mode = tree.modes[entry]
        is_capable = CAPABILITY in tree.xattrs.get(entry, ())
        if stat.S_ISREG(mode) and (mode & _PRIVILEGED or is_capable):
            kinds = [
                (mode & stat.S_ISUID, "setuid"),
                (mode & stat.S_ISGID, "setgid"),
                (is_capable, "capabilities"),
            ]
            yield entry, f"/{os.fsdecode(paths.of(name))}", ", ".join(kind for has, kind in kinds if has)
