"""TLS with registries: which certificates are trusted, and which one is shown.

Format: containers/image, containers-certs.d(5), and Docker's documentation of /etc/docker/certs.d: a folder a host, in
which `*.crt` are trusted, and `NAME.cert` with `NAME.key` is a certificate of one's own.
Tried by the tests of the configuration.
"""

import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from imgfs.errors import StoreError


def tls_context(folder: str | None, *, is_insecure: bool) -> ssl.SSLContext:
    """How TLS is spoken: with the certificates that the system trusts, and those in `folder` if it is given.

    Raises StoreError naming a file that cannot be used.
    """
    context = ssl.create_default_context()
    if is_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if folder is None:
        return context
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}") from None
    for name in names:
        path = os.path.join(folder, name)
        stem, dot, kind = name.rpartition(".")
        if kind == "crt" and dot:
            _load(partial(context.load_verify_locations, path), path)
        elif kind == "cert" and dot:
            if f"{stem}.key" not in names:
                raise StoreError(f"{path}: its key {stem}.key is missing")
            key = os.path.join(folder, f"{stem}.key")
            _load(partial(context.load_cert_chain, path, key, _no_password), path)
        elif kind == "key" and dot and f"{stem}.cert" not in names:
            raise StoreError(f"{path}: its certificate {stem}.cert is missing")
    return context


def usual_folder(host: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The folder of a host, written as `HOST[:PORT]`, the first that is there; None if none is."""
    home = environment.get("HOME") or os.path.expanduser("~")
    user = environment.get("XDG_CONFIG_HOME") or f"{home}/.config"
    tops: Sequence[str] = (f"{user}/containers/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d")
    folders = (os.path.join(top, host) for top in tops)
    return next((folder for folder in folders if os.path.isdir(folder)), None)


def _no_password() -> str:
    """Stands for a question on the terminal, which nobody may be there to answer."""
    raise StoreError("the key has a password")


def _load(load: Callable[[], object], path: str) -> None:
    try:
        load()
    except (ssl.SSLError, OSError, StoreError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise StoreError(f"{path}: cannot be used as a certificate: {why}") from None
