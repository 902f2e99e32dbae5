"""What a model's source line means: a file, a built-in, the address of an engine, a name."""

import difflib
import ipaddress
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from inhouse.config import gguf
from inhouse.config.paths import resolved
from inhouse.config.problems import Problems, without_userinfo
from inhouse.config.schema import Engine, EngineSection, dotted
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
_HOST = re.compile(r"(?=.{1,253}\Z)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+")
_NUMBER = re.compile(r"(\d+|0[xX][0-9A-Fa-f]*)\.?")
_EXAMPLE = "'vllm://HOST:8000/MODEL', 'ollama://HOST:11434/MODEL' or 'llamacpp://HOST:8080'"


def builtin_directory() -> Path:
    """Where the models that come with the product are installed."""
    return Path(sys.prefix) / "share" / "inhouse" / "models"


@dataclass(frozen=True, slots=True)
class Resolved:
    """An engine; and the task that its model file is for, and the context that it was trained
    for, where the file says so."""

    engine: Engine
    task: Task | None = None
    trained_tokens: int = 0


class Sources:
    """Resolves source lines. `base` is what relative paths are relative to; `given` are the keys
    of the document, as far as they are not at their default."""

    def __init__(
        self,
        engines: dict[str, EngineSection],
        base: Path,
        problems: Problems,
        given: Collection[str],
    ) -> None:
        self._engines = engines
        self._base = base
        self._problems = problems
        self._given = given
        self._used: set[str] = set()

    def check_unused(self) -> None:
        """The [engines] sections that no model names must be right too."""
        for name in self._engines.keys() - self._used:
            where = dotted("engines", name)
            if not self._problems.within(where):
                self._named(where, name, name, name)

    def resolve(self, path: str, model: str, source: str, model_there: str) -> Resolved | None:
        """One source of the model named `model`; None where it is wrong, and that is noted."""
        if source in self._engines:
            return self._named(path, model, source, model_there or model)
        if source.startswith("builtin:"):
            return self._builtin(path, model, source)
        if "://" in source:
            return self._address(path, model, source, model_there)
        if self._may_be_a_file(source):
            return self._file(path, model, source, EngineSection(kind=EngineKind.EMBEDDED))
        near = difflib.get_close_matches(source, self._engines, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        self._problems.add(
            path,
            source,
            "is no file here, no address (vllm://HOST:PORT/MODEL) and not the name of an "
            f"[engines] section{hint}",
        )
        return None

    def _may_be_a_file(self, source: str) -> bool:
        try:
            return (
                "/" in source
                or source.startswith("~")
                or source.endswith(".gguf")
                or resolved(self._base, source).exists()
            )
        except (OSError, ValueError):
            return True  # and what is wrong with it is told where it is read

    def _named(self, path: str, model: str, name: str, model_there: str) -> Resolved | None:
        self._used.add(name)
        section = self._engines[name]
        where = dotted("engines", name)
        if section.kind is EngineKind.EMBEDDED:
            if section.path:
                found = self._file(f"{where}.path", model, section.path, section)
                return self._within_training(f"{where}.context_tokens", section, found)
            self._problems.add(f"{where}.path", None, "an embedded engine needs a model file")
            return None
        if not section.url and self._problems.within(where):
            return None  # a problem with its kind or address is told already
        url = self._url(f"{where}.url", section.url)
        if not _fits_a_header(section.api_key.reveal()):
            sentence = "must be printable Latin-1 characters on one line"
            self._problems.add(f"{where}.api_key", section.api_key, sentence)
        if url is None:
            return None
        engine = _engine(section.kind, f"{model}@{name}", model_there, url)
        return Resolved(_with(engine, api_key=section.api_key, concurrency=section.concurrency))

    def _within_training(
        self, path: str, section: EngineSection, found: Resolved | None
    ) -> Resolved | None:
        most = found.trained_tokens if found is not None else 0
        if path in self._given and most and section.context_tokens > most:
            self._problems.add(
                path, section.context_tokens, f"is more than the model was trained for: {most}"
            )
        return found

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
        if not rest.isprintable() or re.search(r"[?#\s]", rest):
            sentence = "must be an address and a model's name alone, without '?', '#' or blanks"
            self._problems.add(path, source, sentence)
            return None
        kind = next((each for each in PORTS if each.value == name), None)
        if kind is None or (plus and transport not in ("http", "https")):
            near = difflib.get_close_matches(name, [each.value for each in PORTS], n=1)
            hint = f"did you mean '{near[0]}{plus}{transport}://'?" if near else ""
            if kind is not None or not hint:
                hint = f"write {_EXAMPLE}"
            sentence = f"does not say what engine it is; {hint}"
            self._problems.add(path, source, sentence)
            return None
        authority, _, there = rest.partition("/")
        there = there or model_there
        if not there and kind is not EngineKind.LLAMACPP:
            example = without_userinfo(source.rstrip("/"))
            self._problems.add(path, source, f"names no model; write '{example}/MODEL'")
            return None
        if there.startswith("v1/") and kind is not EngineKind.LLAMACPP:
            self._problems.notes.append(
                f"{path} asks for a model named '{there}'; an address is written without /v1"
            )
        if not re.search(r":\d+$", authority):
            authority += f":{PORTS[kind]}"
        url = self._url(path, f"{transport or 'http'}://{authority}", source)
        return (
            None
            if url is None
            else Resolved(_engine(kind, f"{model}@{authority}", there or model, url))
        )

    def _url(self, path: str, url: str, written: str = "") -> str | None:
        """`scheme://host:port` of an address inside the building, `written` as it was."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        host = parts.hostname or ""
        if (
            parts.scheme not in ("http", "https")
            or not _is_host(host)
            or port == 0
            or parts.path not in ("", "/")
        ):
            self._problems.add(
                path,
                written or url,
                "must be http://HOST:PORT or https://HOST:PORT, the port from 1 to 65535",
            )
            return None
        if parts.username is not None or parts.query or parts.fragment:
            self._problems.add(
                path, None, "must be http://HOST:PORT, without user, query or fragment"
            )
            return None
        if _public(host):
            self._problems.add(
                path, url, "is a public address; prompts stay inside: use a private one"
            )
            return None
        host = f"[{host}]" if ":" in host else host
        default = 443 if parts.scheme == "https" else 80
        return f"{parts.scheme}://{host}:{port or default}"

    def _file(self, path: str, model: str, source: str, section: EngineSection) -> Resolved | None:
        try:
            file = resolved(self._base, source)
            if file.is_dir():
                found = self._in_directory(path, file)
                if found is None:
                    return None
                file = found
            header = gguf.read(file)
        except OSError as error:
            self._problems.add(path, source, f"cannot be read: {error.strerror}")
            return None
        except (gguf.NotAModel, ValueError) as error:
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
        task = Task.EMBEDDING if header.embeds else Task.CHAT
        return Resolved(engine, task, header.trained_tokens)

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


def _is_host(host: str) -> bool:
    """Whether it is an address or the name of a machine; 134744072 is neither."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        last = host.removesuffix(".").rpartition(".")[2]
        return _HOST.fullmatch(host) is not None and _NUMBER.fullmatch(last) is None
    return True


def _fits_a_header(text: str) -> bool:
    return all(" " <= char <= "~" or "\xa0" <= char <= "\xff" for char in text)
