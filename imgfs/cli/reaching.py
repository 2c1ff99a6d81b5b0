"""How a command reaches registries: options that every command takes which opens images, and what they were given.

They are spelled as skopeo and podman have them, and are not in the help of each command, but in that of registries.
Tried by the tests of registries on the command line.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from imgfs.cache import Cache
from imgfs.errors import InvalidImage, StoreError
from imgfs.layers.progress import Progress
from imgfs.layers.toc_layer import TocUse
from imgfs.registry.reference import PREFIX, Repository, parse_registry_reference
from imgfs.sources.index_use import IndexUse
from imgfs.sources.registries import Registries
from imgfs.store.platform import Platform

if TYPE_CHECKING:  # importing it takes long, and most commands reach none
    from imgfs.registry.configuration import Configuration

_GIVEN = "imgfs.registries.given"
_TLS_VERIFY = ("--tls-verify", "--src-tls-verify", "--dest-tls-verify")


def _take(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None:
        give(context, {str(parameter.name): value})


def _take_flag(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    _take(context, parameter, value or None)


def _take_path(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    # it is read later, maybe from another directory
    _take(context, parameter, value and os.path.abspath(value))


def _parsed(
    parse: Callable[[str], object],
) -> Callable[[click.Context, click.Parameter, str | None], None]:
    """Takes what `parse` makes of a value."""

    def take(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        try:
            _take(context, parameter, None if value is None else parse(value))
        except (InvalidImage, StoreError, ValueError) as error:
            raise click.BadParameter(str(error)) from None

    return take


def _repository(text: str) -> Repository:
    return parse_registry_reference(PREFIX + text.removeprefix(PREFIX)).repository


def _options(*, is_copy: bool) -> Iterator[click.Option]:
    """The options. A copy has those for its source and for its destination, and some for both, as of skopeo."""
    for name, take, metavar, text in _OPTIONS:
        variable, kind = name.replace("-", "_"), bool if name == "tls-verify" else str
        names = [variable, f"--{name}"]
        if is_copy and name in _OF_BOTH:
            both = [f"{_BOTH}{variable}", f"--{name}"]
            yield click.Option(both, type=kind, expose_value=False, callback=take, hidden=True)
            names = [variable]
        names += [f"--src-{name}"] if is_copy else []
        yield click.Option(names, type=kind, expose_value=False, callback=take, hidden=True)
        if is_copy and text:
            of_destination = [f"{_DESTINATION}{variable}", f"--dest-{name}"]
            yield click.Option(
                of_destination, type=kind, metavar=metavar, expose_value=False, callback=take, help=text
            )
    choice = click.Choice([str(use) for use in TocUse])
    yield click.Option(["--toc"], type=choice, expose_value=False, callback=_take, hidden=True)
    yield click.Option(["--offline"], is_flag=True, expose_value=False, callback=_take_flag, hidden=True)


_OPTIONS = (
    ("tls-verify", _take, "BOOL", "Require HTTPS and verify certificates (default: true)."),
    ("creds", _take, "USER[:PASSWORD]", "Log in so, rather than as files say."),
    ("authfile", _take_path, "FILE", "Read credentials from FILE only."),
    ("cert-dir", _take_path, "DIRECTORY", "Use the certificates in DIRECTORY (*.crt, *.cert, *.key)."),
    ("platform", _parsed(Platform.parse), "", ""),
    ("index", _parsed(IndexUse.parse), "", ""),
    ("index-repo", _parsed(_repository), "", ""),
)
"""Names, what takes values, and what the help of a copy says of those for its destination."""

_OF_BOTH = ("tls-verify", "authfile")
_BOTH, _DESTINATION = "both_", "dest_"


def add_registry_options(command: click.Command, *, is_copy: bool = False) -> None:
    """Make a command take the options, unless it does."""
    if not any(option.name == "tls_verify" for option in command.params):
        command.params += _options(is_copy=is_copy)


def with_values(arguments: Sequence[str]) -> list[str]:
    """Arguments in which `--tls-verify` stands alone, as of skopeo, with the value that this means."""
    return [f"{word}=true" if word in _TLS_VERIFY else word for word in arguments]


def give(context: click.Context, options: Mapping[str, object]) -> None:
    """Note what options were given, by their names with `_`."""
    context.meta.setdefault(_GIVEN, {}).update(options)


def registries_given(context: click.Context, cache: Cache, fetching: Progress) -> Registries:
    """How the command that runs reaches registries; a copy, that of its source. `fetching` as of `Registries`."""
    given = _given(context, "")
    platform, is_offline = given.pop("platform", None), given.pop("offline", False)
    toc = TocUse(given.pop("toc", TocUse.ANY))
    index_use, index_repository = given.pop("index", IndexUse()), given.pop("index_repo", None)
    return Registries(
        cache,
        partial(_load, given),
        platform=platform,
        is_offline=is_offline,
        toc=toc,
        index_use=index_use,
        index_repository=index_repository,
        fetching=fetching,
    )


def destination_configuration(context: click.Context) -> "Configuration":
    """How a copy reaches the registry of its destination. Raises StoreError if a file cannot be read."""
    return _load(_given(context, _DESTINATION))


def _given(context: click.Context, side: str) -> dict[str, Any]:
    """What was given for one side of a copy, else for both."""
    given: Mapping[str, Any] = context.meta.get(_GIVEN, {})
    both, destination = (
        {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}
        for prefix in (_BOTH, _DESTINATION)
    )
    source = {name: value for name, value in given.items() if not name.startswith((_BOTH, _DESTINATION))}
    return {**both, **(destination if side else source)}


def _load(given: Mapping[str, Any]) -> "Configuration":
    from imgfs.registry.configuration import Configuration

    return Configuration.load(**given)
