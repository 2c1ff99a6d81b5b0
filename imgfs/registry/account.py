"""The credentials that a registry is sent.

Tried by the tests of credentials.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password, or an identity token, which stands for both. Only the name is ever shown."""

    username: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)
