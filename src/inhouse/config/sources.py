"""What a model's source line means: a file, a built-in, the address of an engine, a name."""

import ipaddress
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from inhouse.config import gguf
from inhouse.config.problems import Problems
from inhouse.config.schema import Engine, EngineSection
from inhouse.config.secrets import Secret
from inhouse.domain import EngineKind, Task

PORTS = {
    EngineKind.VLLM: 8000,
    EngineKind.OLLAMA: 11434,
    EngineKind.LLAMACPP: 8080,
    EngineKind.OPENAI: 8000,
}
CONCURRENCY = {
    EngineKind.EMBEDDED: 4,
    EngineKind.LLAMACPP: 4,
    EngineKind.OLLAMA: 4,
    EngineKind.VLLM: 64,
    EngineKind.OPENAI: 64,
}
BUILTIN_TASKS = {"smollm2-135m": Task.CHAT, "all-minilm-l6-v2": Task.EMBEDDING}
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
_EXAMPLE = "'vllm://HOST:8000/MODEL', 'ollama://HOST:11434/MODEL' or 'llamacpp://HOST:8080'"


def builtin_directory() -> Path:
    """Where the models that come with the product are installed."""
    return Path(sys.prefix) / "share" / "inhouse" / "models"


@dataclass(frozen=True, slots=True)
class Resolved:
    """An engine, and the task that its model file is for where the file says so."""

    engine: Engine
    task: Task | None = None


class Sources:
    """Resolves source lines. `base` is what relative paths are relative to."""

    def __init__(self, engines: dict[str, EngineSection], base: Path, problems: Problems) -> None:
        self._engines = engines
        self._base = base
        self._problems = problems

    def resolve(self, path: str, model: str, source: str, model_there: str) -> Resolved | None:
        """One source of the model named `model`; None where it is wrong, and that is noted."""
        if source in self._engines:
            return self._named(path, model, source, model_there or model)
        if source.startswith("builtin:"):
            return self._builtin(path, model, source)
        if "://" in source:
            return self._address(path, model, source, model_there)
        return self._file(path, model, source, EngineSection(kind=EngineKind.EMBEDDED))

    def _named(self, path: str, model: str, name: str, model_there: str) -> Resolved | None:
        section = self._engines[name]
        if section.kind is EngineKind.EMBEDDED:
            if section.path:
                return self._file(f"engines.{name}.path", model, section.path, section)
            self._problems.add(
                f"engines.{name}.path", None, "an embedded engine needs a model file"
            )
            return None
        url = self._url(f"engines.{name}.url", section.url)
        if url is None:
            return None
        engine = _engine(section.kind, f"{model}@{name}", model_there, url)
        return Resolved(_with(engine, api_key=section.api_key, concurrency=section.concurrency))

    def _builtin(self, path: str, model: str, source: str) -> Resolved | None:
        name = source.removeprefix("builtin:")
        if name not in BUILTIN_TASKS:
            self._problems.add(path, source, "there is " + " and ".join(sorted(BUILTIN_TASKS)))
            return None
        file = builtin_directory() / f"{name}.gguf"
        if not file.exists():
            self._problems.add(path, source, "is not installed; run: make models")
            return None
        return self._file(path, model, str(file), EngineSection(kind=EngineKind.EMBEDDED))

    def _address(self, path: str, model: str, source: str, model_there: str) -> Resolved | None:
        scheme, _, rest = source.partition("://")
        name, plus, transport = scheme.partition("+")
        kind = next((each for each in PORTS if each.value == name), None)
        if kind is None or (plus and transport not in ("http", "https")):
            sentence = f"does not say what engine it is; write {_EXAMPLE}"
            self._problems.add(path, source, sentence)
            return None
        authority, _, there = rest.partition("/")
        there = there or model_there
        if not there and kind is not EngineKind.LLAMACPP:
            self._problems.add(path, source, f"names no model; write '{source.rstrip('/')}/MODEL'")
            return None
        if not re.search(r":\d+$", authority):
            authority += f":{PORTS[kind]}"
        url = self._url(path, f"{transport or 'http'}://{authority}")
        return (
            None
            if url is None
            else Resolved(_engine(kind, f"{model}@{authority}", there or model, url))
        )

    def _url(self, path: str, url: str) -> str | None:
        """`scheme://host:port` of an address inside the building."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.path not in ("", "/")
        ):
            self._problems.add(path, url, "must be http://HOST:PORT or https://HOST:PORT")
            return None
        if parts.username is not None or parts.query or parts.fragment:
            self._problems.add(
                path, None, "must be http://HOST:PORT, without user, query or fragment"
            )
            return None
        if _public(parts.hostname):
            self._problems.add(
                path, url, "is a public address; prompts stay inside: use a private one"
            )
            return None
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        default = 443 if parts.scheme == "https" else 80
        return f"{parts.scheme}://{host}:{port or default}"

    def _file(self, path: str, model: str, source: str, section: EngineSection) -> Resolved | None:
        file = self._base / Path(source).expanduser()
        try:
            if file.is_dir():
                found = self._in_directory(path, file)
                if found is None:
                    return None
                file = found
            header = gguf.read(file)
        except OSError as error:
            self._problems.add(path, source, f"cannot be read: {error.strerror}")
            return None
        except gguf.NotAModel as error:
            self._problems.add(path, source, str(error))
            return None
        if not self._shards_present(path, source, file):
            return None
        engine = Engine(
            name=f"{model}@embedded",
            kind=EngineKind.EMBEDDED,
            model=model,
            path=file,
            concurrency=section.concurrency or CONCURRENCY[EngineKind.EMBEDDED],
            context_tokens=section.context_tokens,
            threads=section.threads,
        )
        return Resolved(engine, Task.EMBEDDING if header.embeds else Task.CHAT)

    def _in_directory(self, path: str, directory: Path) -> Path | None:
        files = models_in(directory)
        if len(files) == 1:
            return files[0]
        names = ", ".join(file.name for file in files)
        sentence = f"holds several models: {names}; name one" if files else "holds no .gguf file"
        self._problems.add(path, str(directory), sentence)
        return None

    def _shards_present(self, path: str, source: str, file: Path) -> bool:
        match = _SHARD.fullmatch(file.name)
        if match is None:
            return True
        stem, _, total = match.groups()
        missing = [
            name
            for number in range(1, int(total) + 1)
            if not (file.parent / (name := f"{stem}-{number:05}-of-{total}.gguf")).exists()
        ]
        if missing:
            self._problems.add(path, source, f"is not complete: {', '.join(missing)} is missing")
        return not missing


def models_in(directory: Path) -> list[Path]:
    """The model files of a directory; of a model in shards, the first."""
    files = sorted(directory.glob("*.gguf"))
    return [file for file in files if not _later_shard(file)]


def _later_shard(file: Path) -> bool:
    match = _SHARD.fullmatch(file.name)
    return match is not None and match.group(2) != "00001"


def _engine(kind: EngineKind, name: str, model: str, url: str) -> Engine:
    return Engine(name=name, kind=kind, model=model, url=url, concurrency=CONCURRENCY[kind])


def _with(engine: Engine, *, api_key: Secret, concurrency: int) -> Engine:
    return Engine(
        name=engine.name,
        kind=engine.kind,
        model=engine.model,
        url=engine.url,
        api_key=api_key,
        concurrency=concurrency or engine.concurrency,
    )


def _public(host: str) -> bool:
    """Whether a literal address is outside. A name says nothing until it is connected to."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return False
