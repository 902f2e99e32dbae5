"""A provider's two documents on a loopback port, with faults: late, large, moved, wrong."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DISCOVERY = "/.well-known/openid-configuration"


class Documents:
    """What the provider answers, path by path; to be changed while it runs."""

    def __init__(self, keys: list[dict[str, Any]]) -> None:
        self.issuer = ""
        self.keys = keys
        self.discovery: dict[str, Any] = {}
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body: bytes | None = None  # of the keys, in place of those above
        self.wait = threading.Event()  # answers come once it is set
        self.wait.set()
        self.drip_s = 0.0  # between two bytes of the keys
        self.asked: list[str] = []
        self.ended = threading.Event()

    def answer(self, path: str) -> bytes | None:
        if path == DISCOVERY:
            document = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks"}
            return json.dumps(document | self.discovery).encode()
        if path == "/jwks":
            return json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        return None

    @property
    def fetches(self) -> int:
        return self.asked.count("/jwks")


class _Handler(BaseHTTPRequestHandler):
    documents: Documents

    def do_GET(self) -> None:
        documents = self.documents
        documents.asked.append(self.path)
        documents.wait.wait(10)
        body = documents.answer(self.path)
        is_keys = self.path == "/jwks"
        self.send_response(404 if body is None else documents.status if is_keys else 200)
        for name, value in documents.headers.items() if is_keys else ():
            self.send_header(name, value)
        self.end_headers()
        body = body or b""
        step = 1 if is_keys and documents.drip_s else len(body) or 1
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            if documents.ended.wait(documents.drip_s if is_keys else 0):
                return

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base's
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients that leave are the point of it."""


@contextmanager
def serving(documents: Documents, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The provider, and its address, which is its issuer too."""
    handler = type("Handler", (_Handler,), {"documents": documents})
    server = _Server(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    scheme = "http" if tls is None else "https"
    documents.issuer = documents.issuer or f"{scheme}://127.0.0.1:{server.server_port}"
    try:
        yield f"{scheme}://127.0.0.1:{server.server_port}"
    finally:
        documents.ended.set()
        documents.wait.set()
        server.shutdown()
        thread.join()
        server.server_close()
