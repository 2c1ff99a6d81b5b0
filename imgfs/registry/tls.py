"""TLS with registries: which certificates are trusted, and which one is shown.

Format: containers/image, containers-certs.d(5), and Docker's documentation of /etc/docker/certs.d: a folder a host, in
which `*.crt` are trusted, and `NAME.cert` with `NAME.key` is a certificate of one's own.
"""

import logging
import os
import ssl
from collections.abc import Callable, Mapping
from functools import partial

from imgfs.errors import StoreError

logger = logging.getLogger("imgfs")


def tls_context(folder: str | None, *, is_insecure: bool) -> ssl.SSLContext:
    """How TLS is spoken: with the certificates that the system trusts, and those in `folder` if it is given.

    Raises StoreError naming a file that cannot be used.
    """
    if is_insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without what the system trusts, slow to read
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = ssl.create_default_context()
        # Python 3.13 refuses certificates of one's own authority that every other client takes
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
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


def usual_folder(host: str, environment: Mapping[str, str] = os.environ, system: str = "/etc") -> str | None:
    """The folder of a host, written as `HOST[:PORT]`, the first that is there; None if none is.

    One that this user may not read is passed over, as podman does; `system` is the folder of the machine's.
    """
    # podman does not look at XDG_CONFIG_HOME here
    home = environment.get("HOME") or os.path.expanduser("~")
    tops = (f"{home}/.config/containers", f"{system}/containers", f"{system}/docker")
    folders = (os.path.join(top, "certs.d", host) for top in tops)
    folder = next((folder for folder in folders if os.path.isdir(folder)), None)
    if folder is not None and not os.access(folder, os.R_OK | os.X_OK):
        logger.info("%s is passed over: it may not be read", folder)
        return None
    return folder


def _no_password() -> str:
    """Stands for a question on the terminal, which a daemon has none of."""
    raise StoreError("the key has a password")


def _load(load: Callable[[], object], path: str) -> None:
    try:
        load()
    except (ssl.SSLError, OSError, StoreError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise StoreError(f"{path}: cannot be used as a certificate: {why}") from None
