"""Origin: from where a request came, as far as that can be believed.

The address of the connection, unless that is a proxy which the configuration names. Then it is
the right-most address in `X-Forwarded-For` that is no such proxy: what stands left of it, anybody
can have written.
"""

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The addresses and networks of the proxies in front."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def plain(address: str) -> str:
    """An address as it is written nowhere twice: an IPv4 one within IPv6 as itself."""
    return _address(address) or address


def origin(peer: str, forwarded: bytes | None, trusted: tuple[Network, ...]) -> str:
    """The client's address; the nearest one that is believed where the field is not sound.

    `peer` is the connection's, made `plain` once for all of its requests.
    """
    if not trusted or forwarded is None or not _among(peer, trusted):
        return peer
    nearest = peer
    for text in reversed(forwarded.split(b",")):
        address = _address(text.strip(b" \t").decode("ascii", "replace"))
        if address is None:
            return nearest
        nearest = address
        if not _among(address, trusted):
            return address
    return nearest


def _among(address: str, trusted: tuple[Network, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)


def _address(text: str) -> str | None:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    if getattr(parsed, "scope_id", None) is not None:
        return None  # a zone means something on one machine only, and may be any text
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
