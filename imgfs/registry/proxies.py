"""Which proxy a request goes through: HTTPS_PROXY, HTTP_PROXY and NO_PROXY in the environment.

As programs written in Go have it, and so skopeo and podman: this machine is asked directly, and NO_PROXY may have
networks, `10.0.0.0/8`.
"""

import urllib.request
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from imgfs.errors import StoreError


def proxy_for(url: str) -> str | None:
    """The URL of the proxy for a URL, None if there is none. Raises StoreError if it is of no known kind."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme)
    if not proxy or parts.hostname is None or _is_direct(parts.hostname, parts.port, proxies.get("no", "")):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    kind = urlsplit(proxy).scheme
    if kind not in ("http", "https"):
        # the rest of it may have a password
        raise StoreError(
            f"{parts.scheme.upper()}_PROXY: {kind}:// is not supported, but http:// and https://"
        )
    return proxy


def _is_direct(host: str, port: int | None, exceptions: str) -> bool:
    address: IPv4Address | IPv6Address | None = None
    with suppress(ValueError):
        address = ip_address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    if urllib.request.proxy_bypass(host if port is None else f"{host}:{port}"):
        return True
    return address is not None and any(_is_in(address, each.strip()) for each in exceptions.split(","))


def _is_in(address: IPv4Address | IPv6Address, network: str) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:  # a name
        return False
