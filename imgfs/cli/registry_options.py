"""Options that say how registries are reached, spelled as skopeo has them.

Tried by the tests of `imgfs copy`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import click

from imgfs.registry.configuration import Configuration

P = ParamSpec("P")
T = TypeVar("T")

_TLS_VERIFY = "tls-verify"


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """What a command was told of a registry."""

    tls_verify: bool | None = None

    def configuration(self) -> Configuration:
        """With what files say. Raises StoreError if one cannot be read."""
        return Configuration.load(tls_verify=self.tls_verify)


class RegistryCommand(click.Command):
    """A command whose `--…-tls-verify` may stand alone or have a value behind `=`, as of skopeo."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        alone = {
            option for parameter in self.params for option in parameter.opts if option.endswith(_TLS_VERIFY)
        }
        return super().parse_args(ctx, [f"{word}=true" if word in alone else word for word in args])


def registry_options(prefix: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Adds the options that begin with `--PREFIX-` to a command; it takes them as one argument called PREFIX."""

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        @click.option(
            f"--{prefix}-{_TLS_VERIFY}",
            "tls_verify",
            type=bool,
            metavar="BOOL",
            help="Require HTTPS and verify certificates (default: true).",
        )
        @wraps(command)
        def run(*arguments: Any, tls_verify: bool | None, **options: Any) -> T:
            return command(*arguments, **options, **{prefix: RegistryOptions(tls_verify)})

        return run

    return decorate
