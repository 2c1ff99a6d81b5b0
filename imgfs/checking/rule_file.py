"""Files of rules: `.imgfs-check.toml`, and the `.dive-ci` of dive (github.com/wagoodman/dive), in YAML.

What a `.dive-ci` means is what dive reads in it: KB and MB are powers of 1000, and what it does not give has dive's
default.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

from imgfs.checking.rules import DIVE_DEFAULTS, meant, rules_of, size
from imgfs.errors import InvalidRules

if TYPE_CHECKING:
    import yaml

FILE, DIVE_FILE = ".imgfs-check.toml", ".dive-ci"
_LARGEST = 1 << 20  # bytes of a file
_DIVE_KEYS = {
    "lowestEfficiency": "lowest-efficiency",
    "highestWastedBytes": "highest-wasted-bytes",
    "highestUserWastedPercent": "highest-user-wasted-percent",
}
_DIVE_SIZE = re.compile(r"(\d[\d,]*(?:\.\d+)?)\s*([kmgtpe]?)(i?)b?", re.IGNORECASE | re.ASCII)
"""As github.com/dustin/go-humanize, bytes.go, has it."""


def find_rule_file() -> str | None:
    """The file of rules of the current directory, ours if there are both kinds."""
    return next((name for name in (FILE, DIVE_FILE) if os.path.lexists(name)), None)


def read_rule_values(path: str) -> Mapping[str, object]:
    """The values in a file, as `rules_of` takes them: in TOML if it is called so. Raises InvalidRules and OSError."""
    with open(path, "rb") as file:
        data = file.read(_LARGEST + 1)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InvalidRules(f"{path}: not a text in UTF-8") from None
    if len(data) > _LARGEST:
        raise InvalidRules(f"{path}: more than {_LARGEST >> 20}M")
    if not path.endswith(".toml"):
        return {**DIVE_DEFAULTS, **dict(_dive_values(text, path))}
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRules(f"{path}: {error}") from None


def _dive_values(text: str, path: str) -> Iterator[tuple[str, object]]:
    """What a `.dive-ci` gives, by our names."""
    import yaml  # here, as it is seldom needed

    try:
        document = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}: line {mark.line + 1}" if mark else path
        raise InvalidRules(f"{where}: {getattr(error, 'problem', None) or error}") from None
    for key, rules in _items(document, path):
        if key.value != "rules":
            raise InvalidRules(
                f"{_place(path, key)}: unknown key {key.value!r}{meant(key.value, {'rules': 0})}"
            )
        for name, value in _items(rules, path):
            ours = _DIVE_KEYS.get(name.value)
            if ours is None:
                raise InvalidRules(
                    f"{_place(path, name)}: unknown key {name.value!r}{meant(name.value, _DIVE_KEYS)}"
                )
            if not isinstance(value.value, str):
                raise InvalidRules(f"{_place(path, value)}: {name.value} is not one value")
            if value.tag != "tag:yaml.org,2002:null":
                try:
                    found = _dive_size(value.value) if ours == "highest-wasted-bytes" else value.value
                    rules_of({ours: found}, "")
                except (ValueError, InvalidRules) as error:
                    why = str(error).removeprefix(f": {ours}: ")
                    raise InvalidRules(f"{_place(path, value)}: {name.value}: {why}") from None
                yield ours, found


def _items(node: "yaml.Node | None", path: str) -> "Iterator[tuple[yaml.Node, yaml.Node]]":
    """The keys and values of a mapping, none of which may come twice; nothing is an empty one."""
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return
    if node.id != "mapping":
        raise InvalidRules(f"{_place(path, node)}: keys and values are expected")
    seen = set()
    for key, value in node.value:
        if not isinstance(key.value, str) or key.value in seen:
            raise InvalidRules(f"{_place(path, key)}: {key.value!r} is there twice, or is no key")
        seen.add(key.value)
        yield key, value


def _place(path: str, node: "yaml.Node") -> str:
    return f"{path}: line {node.start_mark.line + 1}"


def _dive_size(text: str) -> int | str:
    match = _DIVE_SIZE.fullmatch(text.strip())
    if match is None:
        size(text)  # an error, unless it is disabled
        return text
    number, letter, is_binary = match[1].replace(",", ""), match[2].lower(), match[3]
    power = " kmgtpe".index(letter or " ")
    return int(Fraction(number) * (1024 if is_binary else 1000) ** power)
