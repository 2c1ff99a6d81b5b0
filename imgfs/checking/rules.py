"""The rules that an image is checked against, made of named values as options and files give them."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from imgfs.errors import InvalidRules
from imgfs.sizes import parse_size

_OFF = ("", "disabled", "off", "false")


@dataclass(frozen=True, slots=True)
class Rules:
    """What an image must be like; None and empty lists are no rules. Sizes in bytes, shares from 0 to 1.

    Wasted bytes, their share and the efficiency are as in `tree.Efficiency`; the size is that of the files of all
    layers. Patterns are as `RootFS.find` takes them. `allow_setuid` has those of files that may be privileged; if it
    is not None, no other may be.
    """

    lowest_efficiency: float | None = None
    highest_wasted_bytes: int | None = None
    highest_user_wasted_percent: float | None = None
    highest_size: int | None = None
    must_exist: Sequence[str] = ()
    must_not_exist: Sequence[str] = ()
    must_not_hide: Sequence[str] = ()
    allow_setuid: Sequence[str] | None = None


def share(value: object) -> float | None:
    """A share from 0 to 1, which may be given in percent; None if it is disabled. Raises ValueError."""
    if _is_off(value):
        return None
    text = str(value).strip()
    try:
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        found = -1.0
    if isinstance(value, bool) or not 0 <= found <= 1:
        raise ValueError(f"{value!r} is neither between 0 and 1 nor a percentage such as '95%'")
    return found


def size(value: object) -> int | None:
    """A size in bytes; None if it is disabled. Raises ValueError."""
    if _is_off(value):
        return None
    return parse_size(str(value))


def patterns(value: object) -> Sequence[str]:
    """Patterns of paths. Raises ValueError."""
    if not isinstance(value, list | tuple) or not all(
        isinstance(pattern, str) and pattern for pattern in value
    ):
        raise ValueError(f"{value!r} is not a list of paths or patterns")
    return list(value)


def _is_off(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() in _OFF


_PARSERS: Mapping[str, Callable[[object], object]] = {
    "lowest-efficiency": share,
    "highest-wasted-bytes": size,
    "highest-user-wasted-percent": share,
    "highest-size": size,
    "must-exist": patterns,
    "must-not-exist": patterns,
    "must-not-hide": patterns,
    "allow-setuid": patterns,
}


def rules_of(values: Mapping[str, object], where: str) -> Rules:
    """The rules with some values by name; `where` is what errors call their place. Raises InvalidRules."""
    parsed = {}
    for key, value in values.items():
        if key not in _PARSERS:
            raise InvalidRules(f"{where}: unknown key {key!r}{meant(key, _PARSERS)}")
        try:
            parsed[key.replace("-", "_")] = _PARSERS[key](value)
        except ValueError as error:
            raise InvalidRules(f"{where}: {key}: {error}") from None
    return Rules(**parsed)  # type: ignore[arg-type]


def meant(key: str, known: Mapping[str, object]) -> str:
    """What may be meant by an unknown key, as the end of an error."""
    near = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


DIVE_DEFAULTS: Mapping[str, object] = {"lowest-efficiency": "0.9", "highest-user-wasted-percent": "0.1"}
"""The values that dive uses where nothing else is given."""
