"""What all connections of one listener share."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from inhouse.gateway.exchange import Exchange
from inhouse.gateway.http1 import Malformed

if TYPE_CHECKING:
    from inhouse.gateway.connection import Connection


class Listening:
    """What all connections of one listener share: its limits, its clock, who answers."""

    def __init__(
        self,
        answer: Callable[[Exchange], Awaitable[None]],
        malformed: Callable[["Connection", Malformed], bytes],
        *,
        handshake_timeout_s: float = 10.0,
        head_timeout_s: float = 10.0,
        body_timeout_s: float = 60.0,
        body_bytes_per_s: int = 1024,
        idle_timeout_s: float = 75.0,
        request_timeout_s: float = 600.0,
        write_timeout_s: float = 60.0,
        max_connections: int = 4096,
    ) -> None:
        self.answer = answer
        self.malformed = malformed
        self.handshake_timeout_s = handshake_timeout_s
        self.head_timeout_s = head_timeout_s
        self.body_timeout_s = body_timeout_s
        self.body_bytes_per_s = body_bytes_per_s
        self.idle_timeout_s = idle_timeout_s
        self.request_timeout_s = request_timeout_s
        self.write_timeout_s = write_timeout_s
        self.max_connections = max_connections
        self.fields = b""  # header lines of every answer here
        self.secure = False  # all of it is TLS
        self.connections: set[Connection] = set()
        self.handshakes: dict[asyncio.Task[None], None] = {}  # under way, the oldest first
        self.stopping = False
        self.loop = asyncio.get_running_loop()

    @property
    def open(self) -> int:
        """Connections, and what is about to become one."""
        return len(self.connections) + len(self.handshakes)

    @property
    def full(self) -> bool:
        return self.open >= self.max_connections
