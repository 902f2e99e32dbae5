"""What `inhouse up` tells the person in front of it: progress, the address, the first key.

All of it goes to standard output, and nothing else does: the operator's log is on standard error.
Where nobody reads it any more it is dropped, and the gateway goes on.
"""

import json
import logging
import os
import shlex
import socket
import sys
import time
from collections.abc import Collection
from pathlib import Path

from inhouse import __version__
from inhouse.config.schema import Config, Engine
from inhouse.domain import Task

log = logging.getLogger("inhouse")

QUESTION = "What is a load balancer?"


def _url(sock: socket.socket, scheme: str = "http") -> str:
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - read, not bound
    return f"{scheme}://{host}:{port}"


class Greeting:
    """Speaks to a person; or, with `json_line`, says everything in one line for a program."""

    def __init__(self, config: Config, *, json_line: bool) -> None:
        self._config = config
        self._json = json_line
        self._dropped = False
        self._began = time.monotonic()
        self._url = ""
        self._admin_url = ""
        self._say(f"Inhouse {__version__}, data in {config.data}")

    def listening(self, clients: socket.socket, admin: socket.socket) -> None:
        scheme = "https" if self._config.settings.tls.on else "http"
        self._url, self._admin_url = _url(clients, scheme), _url(admin)

    def loading(self, engine: Engine) -> None:
        assert engine.path is not None  # what is loaded is a file
        size_mb = engine.path.stat().st_size / 1e6
        self._say(f"  {engine.name} loading {size_mb:,.0f} MB ...")

    def loaded(self, name: str, took_s: float) -> None:
        self._say(f"  {name} loaded in {took_s:.1f} s")

    def ready(self, key: str | None, missing: dict[str, str], *, any_key: bool = True) -> None:
        """Everything that can answer does. `key` is the first key, for the one moment in which
        it is shown; `missing` are the models that do not answer, and why; `any_key` says whether
        there is a key at all."""
        if self._json:
            document = {
                "url": self._url,
                "admin_url": self._admin_url,
                "models": list(self._config.models),
                "missing": missing,
                "key": key,
            }
            self._print(json.dumps(document))
            self._told(key)
            return
        took_s = time.monotonic() - self._began
        if missing:
            names = ", ".join(missing)
            self._say(f"Serving after {took_s:.1f} s, without {names}; what comes up is used:")
            for reason in missing.values():
                self._say(f"  {reason}")
            self._say("")
        else:
            self._say(f"Ready in {took_s:.1f} s.\n")
        self._say(f"  Base URL   {self._url}/v1")
        self._say(f"  Models     {', '.join(self._config.models)}")
        self._say(f"  Operators  {self._admin_url}/readyz, {self._admin_url}/metrics")
        self._say(_with_key(key) if key else _without_key(any_key=any_key))
        if self._config.settings.tls.self_signed:
            self._say(trust(self._config.data / "tls"))
        self._say(self._examples(key or "YOUR-KEY", missing))
        self._say("Ctrl-C stops everything.")
        self._told(key)

    def stopping(self) -> None:
        limit_s = self._config.settings.gateway.shutdown_timeout_s
        self._say(
            f"Stopping; what runs may end, for {limit_s:g} s at most. Ctrl-C again ends it at once."
        )

    def stopped(self) -> None:
        self._say("Stopped.")

    def _examples(self, key: str, missing: Collection[str]) -> str:
        models = self._config.models.values()
        chats = [model.name for model in models if model.task is Task.CHAT]
        answering = [name for name in chats if name not in missing]
        model = next(iter([*answering, *chats, *self._config.models]), "MODEL")
        question = json.dumps({"model": model, "messages": [{"role": "user", "content": QUESTION}]})
        return f"""
Try it:

  curl{self._ca_option()} {self._url}/v1/chat/completions \\
    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
    -d '{question}'

  from openai import OpenAI    # pip install openai{self._ca_note()}
  client = OpenAI(base_url="{self._url}/v1", api_key="{key}")
  question = [{{"role": "user", "content": "{QUESTION}"}}]
  for chunk in client.chat.completions.create(model="{model}", messages=question, stream=True):
      print(chunk.choices[0].delta.content or "", end="", flush=True)
"""

    def _ca_option(self) -> str:
        if not self._config.settings.tls.self_signed:
            return ""
        return f" --cacert {shlex.quote(str(self._config.data / 'tls' / 'ca.pem'))}"

    def _ca_note(self) -> str:
        if not self._config.settings.tls.self_signed:
            return ""
        return f"; run with SSL_CERT_FILE={shlex.quote(str(self._config.data / 'tls' / 'ca.pem'))}"

    def _say(self, sentence: str) -> None:
        if not self._json:
            self._print(sentence)

    def _print(self, text: str) -> None:
        if self._dropped:
            return
        try:
            print(text, flush=True)
        except OSError as error:
            self._dropped = True
            log.warning("standard output takes no more: %s", error.strerror)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _told(self, key: str | None) -> None:
        if key is not None and self._dropped:
            log.warning("nobody has seen the first key; 'inhouse keys create NAME' makes another")


def trust(directory: Path) -> str:
    """How clients come to trust the local authority."""
    from inhouse.gateway import local_ca

    ca = local_ca.authority(directory)
    return f"""
Clients must trust the local authority {ca}
SHA-256 of the certificate, as 'openssl x509 -in ca.pem -noout -fingerprint -sha256' prints it:
{local_ca.fingerprint(ca)}

  curl        --cacert FILE
  Python      SSL_CERT_FILE=FILE in the environment of the program
  Node        NODE_EXTRA_CA_CERTS=FILE
  Debian      cp FILE /usr/local/share/ca-certificates/inhouse.crt && update-ca-certificates"""


def _with_key(key: str) -> str:
    shown = "shown this once; 'inhouse keys' makes, lists, revokes keys"
    return f"  API key    {key}\n             {shown}"


def _without_key(*, any_key: bool) -> str:
    if not any_key:
        return "  API key    none yet; make one: inhouse keys create NAME"
    return "  API key    the one you have; 'inhouse keys create NAME' makes another"
