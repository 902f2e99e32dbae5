"""How many refusals one source may cause in a minute, before it is told to wait.

Only refusals cost: whoever has a right credential is never kept out by somebody else's guessing.
A secret has 256 bits; what is bounded is the noise in the log and the work.
"""

import ipaddress
from collections import OrderedDict

SOURCES = 4096


class Budget:
    """Token buckets by source, of which the least recently used are forgotten."""

    def __init__(self, per_minute: int, sources: int = SOURCES) -> None:
        self._per_minute = float(per_minute)
        self._most = sources
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # level, at
        self.withheld = 0  # refusals that were not there any more, of any source

    def __len__(self) -> int:
        return len(self._levels)

    def spend(self, source: str, now: float) -> float:
        """Take one refusal's worth. 0.0 where it was there, else the seconds until it will be.
        `now` is monotonic."""
        level, at = self._levels.pop(source, (self._per_minute, now))
        rate = self._per_minute / 60
        level = min(self._per_minute, level + (now - at) * rate)
        wait_s = 0.0 if level >= 1 else (1 - level) / rate
        self._levels[source] = (level if wait_s else level - 1, now)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)
        self.withheld += bool(wait_s)
        return wait_s


def source_of(address: str) -> str:
    """Whose budget an address draws on: loopback is one machine, and an IPv6 network one site."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if ip.is_loopback:
        return "loopback"
    if ip.version == 6:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
