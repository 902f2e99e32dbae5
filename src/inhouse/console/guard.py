"""Keeps web pages out. A page in a browser on this machine can send requests to loopback: under a
name of its own that it lets point here, or straight, with the browser's word on where it is from.

Programs send neither `Origin` nor `Sec-Fetch-Site`; a browser cannot be made to leave them out.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping

from inhouse.errors import Code, Refusal

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
_OWN = (b"same-origin", b"none")  # our own page, or typed by the person in front


class Guard:
    """The names under which this listener may be spoken to."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(name.lower() for name in names)

    def check_host(self, fields: Mapping[bytes, bytes]) -> None:
        """Refuse a Host that is neither loopback nor a configured name. The port is any: a tunnel
        has one of its own. HTTP/1.0 has no Host; a browser always sends one."""
        host = fields.get(b"host")
        if host is not None and not self._ours(host):
            raise Refusal(
                Code.WRONG_HOST,
                421,
                "this listener is spoken to as 'localhost', by a loopback address, or by a name in "
                f"admin.names, not as '{host.decode('latin-1')}'",
            )

    def check_site(self, fields: Mapping[bytes, bytes]) -> None:
        """Refuse what a web page of another origin sent. 'same-site' is another origin, too: any
        port of this machine."""
        site = fields.get(b"sec-fetch-site")
        origin = fields.get(b"origin")
        host = fields.get(b"host", b"").lower()
        own = (b"http://" + host, b"https://" + host)
        if (site is not None and site.lower() not in _OWN) or (
            origin is not None and (not host or origin.lower() not in own)
        ):
            raise Refusal(
                Code.CROSS_SITE, 403, "a web page of another origin may not call the admin API"
            )

    def _ours(self, host: bytes) -> bool:
        match = _AUTHORITY.fullmatch(host.decode("latin-1").lower())
        if match is None:
            return False
        name = match.group(1)
        if name == "localhost" or name in self._names:
            return True
        try:
            return ipaddress.ip_address(name.strip("[]")).is_loopback
        except ValueError:
            return False
