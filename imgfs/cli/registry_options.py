"""Options that say how registries are reached, spelled as skopeo has them.

Tried by the tests of `imgfs copy`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

import click

from imgfs.registry.configuration import Configuration

T = TypeVar("T")

_TLS_VERIFY = "tls-verify"


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """What a command was told of registries, None where nothing. Format of the options: skopeo-copy(1)."""

    tls_verify: bool | None = None
    creds: str | None = field(default=None, repr=False)
    authfile: str | None = None
    cert_dir: str | None = None

    def configuration(self) -> Configuration:
        """With what files say. Raises StoreError if one cannot be read."""
        return Configuration.load(
            authfile=self.authfile, tls_verify=self.tls_verify, cert_dir=self.cert_dir, creds=self.creds
        )


_OPTIONS = {
    _TLS_VERIFY: ("BOOL", "Require HTTPS and verify certificates (default: true)."),
    "creds": ("USER[:PASSWORD]", "Log in so, rather than as files say."),
    "authfile": ("FILE", "Read credentials from FILE, and from nowhere else."),
    "cert-dir": ("DIRECTORY", "Use the certificates in DIRECTORY (*.crt, *.cert, *.key)."),
}


class RegistryCommand(click.Command):
    """A command whose `--…-tls-verify` may stand alone or have a value behind `=`, as of skopeo."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        alone = {
            option for parameter in self.params for option in parameter.opts if option.endswith(_TLS_VERIFY)
        }
        return super().parse_args(ctx, [f"{word}=true" if word in alone else word for word in args])


def registry_options(prefix: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Adds the options that begin with `--PREFIX-` to a command, which takes them as one argument called PREFIX."""

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        @wraps(command)
        def run(*arguments: Any, **options: Any) -> T:
            given = {name: options.pop(f"{prefix}_{name}") for name in map(_variable, _OPTIONS)}
            return command(*arguments, **options, **{prefix: RegistryOptions(**given)})

        for name, (metavar, text) in reversed(_OPTIONS.items()):
            kind = bool if name == _TLS_VERIFY else str
            run = click.option(f"--{prefix}-{name}", type=kind, metavar=metavar, help=text)(run)
        return run

    return decorate


def _variable(option: str) -> str:
    return option.replace("-", "_")
