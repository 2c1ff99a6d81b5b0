"""What a registry asks for before it allows a request: the challenges in `WWW-Authenticate`.

Format: RFC 9110, section 11.3; the distribution project's token authentication specification for the parameters.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]*)(?:\s+|\s*$)")
_PARAMETER = re.compile(
    r"\s*,?\s*([A-Za-z_][A-Za-z0-9_-]*)\s*=\s*(?:\"((?:[^\"\\]|\\.){0,4096})\"|([^\s,\"]{0,4096}))"
)
_ESCAPE = re.compile(r"\\(.)")
_LONGEST = 16 << 10


class Challenge(msgspec.Struct, frozen=True):
    """A challenge; `scheme` and the names of `parameters` are in lower case."""

    scheme: str
    parameters: Mapping[str, str]

    def get(self, name: str) -> str:
        """A parameter, empty where there is none."""
        return self.parameters.get(name, "")


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of some header lines, in order; what does not parse ends its line."""
    found = []
    for header in headers:
        text, position = header[:_LONGEST], 0
        while scheme := _SCHEME.match(text, position):
            position = scheme.end()
            parameters: dict[str, str] = {}
            while parameter := _PARAMETER.match(text, position):
                position = parameter.end()
                name, quoted, token = parameter.groups()
                value = token if quoted is None else _ESCAPE.sub(r"\1", quoted)
                parameters.setdefault(name.lower(), value)
            found.append(Challenge(scheme[1].lower(), parameters))
    return found
