"""How a command reaches registries: options that every command takes which opens images, and what they were given.

They are spelled as skopeo and podman have them, and are not in the help of each command, but in that of registries.
Tried by the tests of registries on the command line.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from imgfs.cache import Cache
from imgfs.errors import InvalidImage
from imgfs.layers.toc_layer import TocUse
from imgfs.sources.registries import Registries
from imgfs.store.platform import Platform

if TYPE_CHECKING:  # importing it takes long, and most commands reach none
    from imgfs.registry.configuration import Configuration

_GIVEN = "imgfs.registries.given"
_TLS_VERIFY = ("--tls-verify", "--src-tls-verify")


def _take(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None:
        give(context, {str(parameter.name): value})


def _take_flag(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    _take(context, parameter, value or None)


def _take_path(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    _take(
        context, parameter, value and os.path.abspath(value)
    )  # it is read later, maybe from another directory


def _take_platform(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        try:
            give(context, {"platform": Platform.parse(value)})
        except InvalidImage as error:
            raise click.BadParameter(str(error)) from None


def _options(prefixes: Sequence[str]) -> Iterator[click.Option]:
    """The options; those that skopeo has for each side of a copy also with these prefixes."""
    for name, take in (
        ("tls-verify", _take),
        ("creds", _take),
        ("authfile", _take_path),
        ("cert-dir", _take_path),
        ("platform", _take_platform),
    ):
        names = [name.replace("-", "_"), *(f"--{prefix}{name}" for prefix in prefixes)]
        kind = bool if name == "tls-verify" else str
        yield click.Option(names, type=kind, expose_value=False, callback=take, hidden=True)
    choice = click.Choice(list(TocUse))
    yield click.Option(["--toc"], type=choice, expose_value=False, callback=_take, hidden=True)
    yield click.Option(["--offline"], is_flag=True, expose_value=False, callback=_take_flag, hidden=True)


def add_registry_options(command: click.Command, *, is_copy: bool = False) -> None:
    """Make a command take the options, unless it does; where it copies, they are those of its source."""
    if not any(option.name == "tls_verify" for option in command.params):
        command.params += _options(["", "src-"] if is_copy else [""])


def with_values(arguments: Sequence[str]) -> list[str]:
    """Arguments in which `--tls-verify` stands alone, as of skopeo, with the value that this means."""
    return [f"{word}=true" if word in _TLS_VERIFY else word for word in arguments]


def give(context: click.Context, options: Mapping[str, object]) -> None:
    """Note what options were given, by their names with `_`."""
    context.meta.setdefault(_GIVEN, {}).update(options)


def registries_given(context: click.Context, cache: Cache) -> Registries:
    """How the command that runs reaches registries."""
    given = dict(context.meta.get(_GIVEN, {}))
    platform, is_offline = given.pop("platform", None), given.pop("offline", False)
    toc = TocUse(given.pop("toc", TocUse.ANY))
    return Registries(cache, partial(_load, given), platform=platform, is_offline=is_offline, toc=toc)


def _load(given: Mapping[str, Any]) -> "Configuration":
    from imgfs.registry.configuration import Configuration

    return Configuration.load(**given)
