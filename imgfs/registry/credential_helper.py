"""Asking a credential helper, the program `docker-credential-NAME`, for what is kept for a registry.

Format: docker-credential-helpers: the name of the server on standard input, a JSON document on standard output.
"""

import logging
import re
import subprocess

import msgspec

from imgfs.errors import InvalidImage
from imgfs.go_json import parse_json
from imgfs.registry.account import Credentials
from imgfs.registry.connections import time_left

logger = logging.getLogger("imgfs")

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TOKEN = "<token>"  # noqa: S105  # what helpers give as the name of a user for an identity token
_NOT_FOUND = "credentials not found"
_LARGEST = 1 << 20
_PATIENCE = 30.0  # seconds


class _Answer(msgspec.Struct):
    Username: str = ""
    Secret: str = ""


class CredentialHelper:
    """The helper called `name`. What it returns is not kept, as it may be good for a short time only."""

    def __init__(self, name: str, patience: float = _PATIENCE) -> None:
        self._name = name
        self._patience = patience
        self._is_bad = False

    def get(self, server: str) -> Credentials | None:
        """What it keeps for a server; None if it keeps nothing, or does not work, which is logged once."""
        try:
            return self._ask(server)
        except _Useless as error:
            if not self._is_bad:
                logger.warning("docker-credential-%s: %s; going on without it", self._name, error)
            self._is_bad = True
            return None

    def _ask(self, server: str) -> Credentials | None:
        if not _NAME.fullmatch(self._name):
            raise _Useless("not the name of a program")
        program = f"docker-credential-{self._name}"
        patience = max(0.0, min(self._patience, time_left()))
        try:
            ended = subprocess.run(
                [program, "get"],
                input=server.encode(),
                capture_output=True,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise _Useless(f"it does not end within {patience:.2g} s") from None
        except OSError as error:
            raise _Useless(error.strerror or "it cannot be run") from None
        output = ended.stdout[:_LARGEST]
        if ended.returncode:
            if _NOT_FOUND in output.decode(errors="replace"):
                return None
            raise _Useless(f"exit status {ended.returncode}")  # what it has written may be a secret
        try:
            answer = parse_json(output, _Answer, program)
        except InvalidImage:
            raise _Useless("what it writes is not JSON") from None
        if answer.Username == _TOKEN:
            return Credentials("", "", answer.Secret)
        return Credentials(answer.Username, answer.Secret) if answer.Username else None


class _Useless(Exception):
    """The helper does not work."""
