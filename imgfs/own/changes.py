"""Changes to an image's configuration, written as Dockerfile instructions, as `docker import --change` takes them.

Format: Dockerfile reference, the instructions CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and
WORKDIR. The configuration they change is OCI image specification, config.md, "config".
"""

import posixpath
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from imgfs.decoders import json_decoder
from imgfs.errors import InvalidImage

Config = dict[str, Any]  # as it lies in JSON; what we do not know of it is kept


def apply_change(config: Config, instruction: str) -> None:
    """Change a configuration in place by one instruction, such as `CMD ["sh"]`.

    Raises InvalidImage naming the instruction if it is not one of ours or does not parse.
    """
    keyword, _, rest = instruction.strip().partition(" ")
    apply = _INSTRUCTIONS.get(keyword.upper())
    if apply is None:
        raise InvalidImage(
            f"{instruction!r}: not an instruction that import accepts ({', '.join(_INSTRUCTIONS)})"
        )
    rest = rest.strip()
    if not rest:
        raise InvalidImage(f"{instruction!r}: nothing follows the instruction")
    try:
        apply(config, rest)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidImage(f"{instruction!r}: {error}") from None


def _cmd(config: Config, rest: str) -> None:
    config["Cmd"] = _command(rest)


def _entrypoint(config: Config, rest: str) -> None:
    config["Entrypoint"] = _command(rest)
    config.pop("Cmd", None)  # a command meant for another entry point; docker drops it too


def _env(config: Config, rest: str) -> None:
    pairs = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    config["Env"] = [f"{key}={value}" for key, value in (pairs | _pairs(rest)).items()]


def _label(config: Config, rest: str) -> None:
    config["Labels"] = (config.get("Labels") or {}) | _pairs(rest)


def _workdir(config: Config, rest: str) -> None:
    config["WorkingDir"] = posixpath.normpath(posixpath.join("/", config.get("WorkingDir") or "", rest))


def _user(config: Config, rest: str) -> None:
    config["User"] = rest


def _stop_signal(config: Config, rest: str) -> None:
    config["StopSignal"] = rest


def _expose(config: Config, rest: str) -> None:
    ports = (port if "/" in port else f"{port}/tcp" for port in rest.split())
    config["ExposedPorts"] = (config.get("ExposedPorts") or {}) | {port: {} for port in ports}


def _volume(config: Config, rest: str) -> None:
    paths = _json_list(rest) or shlex.split(rest)
    config["Volumes"] = (config.get("Volumes") or {}) | {path: {} for path in paths}


_INSTRUCTIONS: Mapping[str, Callable[[Config, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": _label,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}


def _command(rest: str) -> list[str]:
    """A command in exec form (a JSON list) or in shell form."""
    return _json_list(rest) or ["/bin/sh", "-c", rest]


def _json_list(rest: str) -> list[str] | None:
    if not rest.startswith("["):
        return None
    try:
        return json_decoder(list[str]).decode(rest)
    except msgspec.MsgspecError:
        return None  # not in exec form, so docker takes it as a shell's line


def _pairs(rest: str) -> dict[str, str]:
    words = shlex.split(rest)
    if "=" not in words[0]:
        key, _, value = rest.partition(" ")
        if not value:
            raise ValueError(f"{key} has no value")
        return {key: value.strip()}
    pairs = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise ValueError(f"{word!r} is not KEY=VALUE")
        pairs[key] = value
    return pairs
