"""Every section and key of inhouse.toml, with its default and its meaning.

This file is the manual: the sample, the reference page and `inhouse check` are generated from it.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from inhouse.config.key import key
from inhouse.config.people import (
    AccessSection,
    LoginSection,
    OidcSection,
    ProxyLoginSection,
    ScimSection,
)
from inhouse.config.place import SSL_MODES, Place
from inhouse.config.secrets import Secret
from inhouse.domain import EngineKind, Task

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dotted(*names: str) -> str:
    """The key of a value as TOML writes it: models."qwen2.5:7b".engines."""
    return ".".join(name if _BARE.fullmatch(name) else json.dumps(name) for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySection:
    """Where clients connect, and how long and how large a request may be."""

    listen: str = key("127.0.0.1:8080", "address and port for clients; port 0 takes a free one")
    trusted_proxies: list[str] = key(
        [],
        "addresses or networks of the proxies in front, which may say who the client is; "
        "required to listen beyond loopback without [tls]",
    )
    max_connections: int = key(4096, "open client connections", least=1, most=100_000)
    max_body_bytes: int = key(8_388_608, "largest request body", least=1024, most=268_435_456)
    max_answer_bytes: int = key(
        33_554_432, "largest answer that is not streamed", least=1024, most=1_073_741_824
    )
    head_timeout_s: float = key(10.0, "for the request line and headers", least=0.1, most=300)
    body_timeout_s: float = key(60.0, "for the body to arrive", least=0.1, most=3600)
    body_bytes_per_s: int = key(
        1024,
        "slowest rate at which a body may arrive, after its first seconds; 0 for any",
        least=0,
        most=1_000_000_000,
    )
    idle_timeout_s: float = key(75.0, "for a kept connection with no request", least=1, most=3600)
    request_timeout_s: float = key(
        600.0, "for a whole request, queue and answer included", least=1, most=86_400
    )
    write_timeout_s: float = key(
        60.0, "for a client that has stopped reading its answer", least=1, most=3600
    )
    shutdown_timeout_s: float = key(
        20.0, "for running requests to end when the gateway stops", least=0, most=3600
    )
    extra_fields: list[str] = key(
        [], "names of further top-level request fields that are passed on to the engine"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSection:
    """TLS 1.3 at the clients' listener. New files are used as soon as they are there."""

    self_signed: bool = key(
        False, "make a local authority and a certificate in DATA/tls, where there is none"
    )
    names: list[str] = key(
        [], "further names and addresses that the self-signed certificate is for"
    )
    certificate: str = key("", "PEM file of the certificate, with those between it and the root")
    key: str = key("", "PEM file of its private key")

    @property
    def on(self) -> bool:
        return self.self_signed or bool(self.certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSection:
    """Where operators and Prometheus connect."""

    listen: str = key(
        "127.0.0.1:8081", "address and port for /healthz, /readyz, /metrics and /admin/v1/"
    )
    names: list[str] = key(
        [], "names by which a proxy or browser on this machine may speak to it, beside localhost"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSection:
    """One name that clients may use, and what is behind it."""

    engines: list[str] = key(
        [],
        "what answers to this name: a GGUF file or a directory holding one, "
        "'builtin:NAME', 'vllm://HOST:PORT/MODEL', 'ollama://HOST:PORT/MODEL', "
        "'llamacpp://HOST:PORT', 'openai://HOST:PORT/MODEL' ('vllm+https://...' for TLS), "
        "or the name of an [engines] section",
    )
    model: str = key("", "the model's name at the engines of [engines]; as here when empty")
    task: Task = key(Task.CHAT, "what it is for: 'chat' or 'embedding'")
    max_output_tokens: int = key(
        0, "most tokens in one answer of this model; 0 takes limits.max_output_tokens", least=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSection:
    """One engine by name, for what does not fit into one line."""

    kind: EngineKind = key(EngineKind.VLLM, "embedded, llamacpp, vllm, ollama or openai")
    url: str = key("", "http://HOST:PORT or https://HOST:PORT of a running engine")
    path: str = key("", "for kind 'embedded': a GGUF file, or a directory holding one")
    api_key: Secret = key(Secret(""), "what the engine wants as bearer token, if anything")
    concurrency: int = key(
        0, "requests that it serves at once; 0 takes the kind's default", least=0, most=4096
    )
    context_tokens: int = key(
        4096,
        "for kind 'embedded': context of each slot, no more than the model was trained for",
        least=256,
        most=1_048_576,
    )
    threads: int = key(0, "for kind 'embedded': CPU threads; 0 takes all cores", least=0, most=512)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSection:
    """How engines are reached and judged."""

    connect_timeout_s: float = key(2.0, "for a connection to an engine", least=0.05, most=60)
    first_byte_timeout_s: float = key(
        120.0, "for an engine to begin its answer", least=0.1, most=3600
    )
    stall_timeout_s: float = key(60.0, "between two pieces of an answer", least=0.1, most=3600)
    probe_interval_s: float = key(
        10.0,
        "between two probes of an engine (a real one-token answer); a request that it began to "
        "answer meanwhile saves the probe",
        least=0.1,
        most=3600,
    )
    probe_timeout_s: float = key(30.0, "for a probe to be answered", least=0.1, most=3600)
    fall: int = key(
        3,
        "failures in a row that take an engine out: probes without a proper answer, and requests "
        "that found no connection; an error or a broken answer to a request is none",
        least=1,
        most=100,
    )
    rise: int = key(2, "probes in a row, answered properly, that bring it back", least=1, most=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSection:
    """What one key, and one request, may take."""

    requests_per_minute: int = key(600, "per key; 0 for no limit", least=0, most=10_000_000)
    concurrent_requests: int = key(64, "per key at once; 0 for no limit", least=0, most=100_000)
    max_output_tokens: int = key(4096, "most tokens in one answer", least=1, most=10_000_000)
    max_choices: int = key(4, "most answers to one request (n, best_of)", least=1, most=128)
    max_stop_sequences: int = key(16, "most stop sequences", least=0, most=1024)
    max_logprobs: int = key(20, "most log probabilities per token", least=0, most=1000)
    max_messages: int = key(2048, "most messages in one conversation", least=1, most=100_000)
    max_embedding_inputs: int = key(
        512, "most texts in one embedding request", least=1, most=65_536
    )
    queue_length: int = key(
        256, "requests that may wait for an engine, per model", least=0, most=100_000
    )
    queue_timeout_s: float = key(30.0, "for a request to wait for an engine", least=0, most=3600)
    max_tools: int = key(128, "most tools in one request", least=0, most=10_000)
    max_schema_bytes: int = key(
        65_536,
        "size of the JSON schemas of all tools and of the answer's format together",
        least=0,
        most=16_777_216,
    )
    max_schema_depth: int = key(32, "levels of nesting in one schema", least=1, most=64)
    max_images: int = key(16, "most images in one request", least=0, most=10_000)
    max_image_bytes: int = key(16_777_216, "size of one image", least=0, most=268_435_456)
    max_logit_bias: int = key(1024, "most entries in logit_bias", least=0, most=1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class DlpSection:
    """What happens to sensitive data: nothing, a note in the audit log, or a refusal."""

    prompt: str = key("log", "in what clients send", choices=("off", "log", "block"))
    answer: str = key("off", "in what engines answer", choices=("off", "log", "block"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSection:
    """The log of every request."""

    directory: str = key("", "where it is kept, relative to this file; DATA/audit when empty")
    segment_bytes: int = key(
        67_108_864, "size at which a new file is begun", least=65_536, most=1_073_741_824
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysSection:
    """API keys."""

    expire_days: int = key(90, "life of a new key, unless told otherwise", least=1, most=3650)
    overlap_hours: int = key(
        24, "how long the old secret works after a rotation", least=0, most=8760
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSection:
    """Where keys are kept: docs/state.md."""

    url: Secret = key(
        Secret(""),
        "sqlite:///PATH, relative to this file, or postgresql://USER@HOST:PORT/NAME; "
        "DATA/inhouse.db when empty",
    )
    password: Secret = key(Secret(""), "the user's password at PostgreSQL")
    sslmode: str = key(
        "auto",
        "TLS to PostgreSQL; 'auto' is verify-full, and what the server offers on this machine",
        choices=SSL_MODES,
    )
    ca: str = key("", "PEM file of the authority behind PostgreSQL's certificate")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSection:
    """The operator's log, on standard error. It never holds a prompt, an answer or a secret."""

    level: str = key(
        "info", "least severity that is written", choices=("debug", "info", "warning", "error")
    )
    format: str = key(
        "text", "lines for people, or one JSON object per line", choices=("text", "json")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole file."""

    gateway: GatewaySection = field(default_factory=GatewaySection)
    tls: TlsSection = field(default_factory=TlsSection)
    admin: AdminSection = field(default_factory=AdminSection)
    models: dict[str, ModelSection] = field(default_factory=dict)
    engines: dict[str, EngineSection] = field(default_factory=dict)
    upstream: UpstreamSection = field(default_factory=UpstreamSection)
    limits: LimitsSection = field(default_factory=LimitsSection)
    dlp: DlpSection = field(default_factory=DlpSection)
    audit: AuditSection = field(default_factory=AuditSection)
    keys: KeysSection = field(default_factory=KeysSection)
    access: AccessSection = field(default_factory=AccessSection)
    oidc: OidcSection = field(default_factory=OidcSection)
    scim: ScimSection = field(default_factory=ScimSection)
    login: LoginSection = field(default_factory=LoginSection)
    proxy_login: ProxyLoginSection = field(default_factory=ProxyLoginSection)
    store: StoreSection = field(default_factory=StoreSection)
    log: LogSection = field(default_factory=LogSection)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine serving one model, worked out from a source line or an [engines] section."""

    name: str  # unique: "chat@10.0.3.11:8000", "chat@embedded"
    kind: EngineKind
    model: str  # the model's name at the engine
    url: str = ""  # scheme://host:port, no path; empty for EMBEDDED until it is started
    path: Path | None = None  # EMBEDDED: the GGUF file (first shard)
    api_key: Secret = field(default_factory=lambda: Secret(""))
    concurrency: int = 4
    context_tokens: int = 4096
    threads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One name that clients use, its task, and the engines behind it."""

    name: str
    task: Task
    engines: tuple[Engine, ...]
    max_output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a process runs on: the settings, what was worked out from them, and their origins."""

    settings: Settings
    models: dict[str, Model]
    data: Path  # the data directory, absolute
    file: Path | None  # the file read, if any
    origins: dict[str, str]  # dotted key -> "default", "inhouse.toml", "INHOUSE_GATEWAY_LISTEN"
    audit_directory: Path
    database: Place
    secret_variables: frozenset[str]  # of the environment, that { env = "NAME" } named
    tls_files: tuple[Path, Path] | None = None  # certificate and key, where they are given
    oidc_ca: Path | None = None  # of the provider's certificate, where it is given
    notes: tuple[str, ...] = ()  # what is worth knowing and is not wrong

    @property
    def secrets_directory(self) -> Path:
        return self.data / "secrets"
