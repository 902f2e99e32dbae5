"""Reads the one file: every problem at once, and where each value came from."""

import dataclasses
import ipaddress
import os
import re
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inhouse.config.decode import Decoder
from inhouse.config.problems import Problems
from inhouse.config.schema import Config, EngineSection, Model, ModelSection, Settings, TlsSection
from inhouse.config.sources import BUILTIN_TASKS, Sources, models_in
from inhouse.domain import Task
from inhouse.errors import ConfigurationError, Problem, UsageError

FILE_NAME = "inhouse.toml"
_OWN_VARIABLES = frozenset({"INHOUSE_CONFIG", "INHOUSE_DATA"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_MANY = ("models", "engines")  # sections of sections, by names of the user's own


def load_config(
    file: Path | None, data: Path | None, environ: Mapping[str, str] = os.environ
) -> Config:
    """The configuration of this process. Raises ConfigurationError with every problem."""
    file = _find(file, environ)
    document = _read(file) if file is not None else {}
    return _Loader(document, file, environ).load(_data_directory(data, environ))


def _find(file: Path | None, environ: Mapping[str, str]) -> Path | None:
    if file is not None:
        return file
    named = environ.get("INHOUSE_CONFIG")
    if named:
        return Path(named)
    here = Path(FILE_NAME)
    return here if here.exists() else None


def _data_directory(data: Path | None, environ: Mapping[str, str]) -> Path:
    if data is not None:
        return data.expanduser().absolute()
    if environ.get("INHOUSE_DATA"):
        return Path(environ["INHOUSE_DATA"]).expanduser().absolute()
    home = environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path("~/.local/share").expanduser()) / "inhouse"


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text: byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([Problem(str(file), "", f"is not valid TOML: {error}")]) from error


class _Loader:
    def __init__(
        self, document: dict[str, Any], file: Path | None, environ: Mapping[str, str]
    ) -> None:
        self._document = document
        self._file = file
        self._environ = environ
        self._problems = Problems()
        self._base = (file.parent if file is not None else Path()).absolute()
        self._origins: dict[str, str] = {}

    def load(self, data: Path) -> Config:
        self._override()
        decoder = Decoder(self._problems, self._environ, self._base)
        settings = self._settings(decoder)
        models = self._models(settings)
        self._check(settings)
        if self._problems.found:
            raise ConfigurationError(self._problems.found)
        return Config(
            settings=settings,
            models=models,
            data=data,
            file=self._file,
            origins=self._all_origins(settings),
        )

    # What the environment says

    def _override(self) -> None:
        """Put INHOUSE_<SECTION>_<KEY> into the document, as if it stood there."""
        sections = _sections()
        known = {
            f"INHOUSE_{section}_{name}".upper(): (section, name, hint)
            for section, kind in sections.items()
            for name, hint in typing.get_type_hints(kind).items()
        }
        for variable, text in self._environ.items():
            if not variable.startswith("INHOUSE_") or variable in _OWN_VARIABLES:
                continue
            if variable.startswith("INHOUSE_MODELS_"):
                self._override_model(variable, text)
            elif variable in known:
                section, name, hint = known[variable]
                self._put(section, name, _parsed(hint, text), variable)
            else:
                self._problems.unknown(variable, known)

    def _override_model(self, variable: str, text: str) -> None:
        name = variable.removeprefix("INHOUSE_MODELS_").lower()
        models = self._document.setdefault("models", {})
        if isinstance(models, dict):
            models[name] = text
            self._origins[f"models.{name}"] = variable

    def _put(self, section: str, name: str, value: object, variable: str) -> None:
        table = self._document.setdefault(section, {})
        if isinstance(table, dict):
            table[name] = value
            self._origins[f"{section}.{name}"] = variable

    # What the file says

    def _settings(self, decoder: Decoder) -> Settings:
        sections = _sections()
        values: dict[str, Any] = {}
        for name, table in self._document.items():
            if name in sections:
                values[name] = decoder.section(sections[name], name, table)
            elif name not in _MANY:
                self._problems.unknown(name, [*sections, *_MANY])
        values["engines"] = self._engine_sections(decoder)
        values["models"] = self._model_sections(decoder)
        return Settings(**values)

    def _engine_sections(self, decoder: Decoder) -> dict[str, EngineSection]:
        tables = self._document.get("engines", {})
        if not isinstance(tables, dict):
            self._problems.add("engines", tables, "must be tables: [engines.NAME]")
            return {}
        return {
            name: decoder.section(EngineSection, f"engines.{name}", table)
            for name, table in tables.items()
        }

    def _model_sections(self, decoder: Decoder) -> dict[str, ModelSection]:
        tables = self._document.get("models")
        if tables is None:
            return {
                name: ModelSection(engines=[f"builtin:{name}"], task=task)
                for name, task in BUILTIN_TASKS.items()
            }
        if isinstance(tables, str):
            return self._directory_of_models(tables)
        if not isinstance(tables, dict) or not tables:
            self._problems.add("models", tables, 'must name at least one model: NAME = "SOURCE"')
            return {}
        return {name: self._model_section(decoder, name, value) for name, value in tables.items()}

    def _model_section(self, decoder: Decoder, name: str, value: object) -> ModelSection:
        path = f"models.{name}"
        if not _NAME.fullmatch(name):
            self._problems.add(
                path, None, "a model's name is made of letters, digits and . _ : / -, up to 128"
            )
        if isinstance(value, str):
            return ModelSection(engines=[value])
        if isinstance(value, list):
            value = {"engines": value}
        section: ModelSection = decoder.section(ModelSection, path, value)
        if isinstance(value, dict) and not value.get("engines"):
            self._problems.add(
                f"{path}.engines", None, "names no engine; see inhouse check --sample"
            )
        return section

    def _directory_of_models(self, directory: str) -> dict[str, ModelSection]:
        found = self._base / Path(directory).expanduser()
        files = models_in(found) if found.is_dir() else []
        if not files:
            self._problems.add("models", directory, "must be a directory that holds .gguf files")
        return {
            re.sub(r"-00001-of-\d{5}$", "", file.stem): ModelSection(engines=[str(file)])
            for file in files
        }

    # What follows from both

    def _models(self, settings: Settings) -> dict[str, Model]:
        sources = Sources(settings.engines, self._base, self._problems)
        return {
            name: self._model(name, section, sources, settings)
            for name, section in settings.models.items()
        }

    def _model(
        self, name: str, section: ModelSection, sources: Sources, settings: Settings
    ) -> Model:
        many = len(section.engines) > 1
        resolved = [
            found
            for number, source in enumerate(section.engines)
            if (
                found := sources.resolve(
                    f"models.{name}" + (f"[{number}]" if many else ""), name, source, section.model
                )
            )
        ]
        tasks = {each.task for each in resolved if each.task is not None}
        if len(tasks) > 1:
            self._problems.add(f"models.{name}", None, "its engines are for different tasks")
        engines = tuple(each.engine for each in resolved)
        if len({engine.name for engine in engines}) < len(engines):
            self._problems.add(f"models.{name}", None, "names the same engine twice")
        return Model(
            name=name,
            task=Task.EMBEDDING if Task.EMBEDDING in tasks else section.task,
            engines=engines,
            max_output_tokens=section.max_output_tokens or settings.limits.max_output_tokens,
        )

    def _check(self, settings: Settings) -> None:
        gateway, admin = settings.gateway, settings.admin
        host, port = self._address("gateway.listen", gateway.listen)
        admin_host, admin_port = self._address("admin.listen", admin.listen)
        for proxy in gateway.trusted_proxies:
            try:
                ipaddress.ip_network(proxy, strict=False)
            except ValueError:
                self._problems.add(
                    "gateway.trusted_proxies", proxy, "must be an address or a network: 10.0.1.0/24"
                )
        if host and not _loopback(host) and not gateway.trusted_proxies and not settings.tls.on:
            self._problems.add(
                "gateway.listen",
                gateway.listen,
                "would send keys and prompts in plain text; listen on 127.0.0.1, give a "
                "certificate in [tls], or name the TLS proxy in front in gateway.trusted_proxies",
            )
        self._check_tls(settings.tls)
        if admin_host and not _loopback(admin_host):
            self._problems.add("admin.listen", admin.listen, "must be on loopback: 127.0.0.1:8081")
        if port and (host, port) == (admin_host, admin_port):
            self._problems.add("admin.listen", admin.listen, "is gateway.listen too; take another")

    def _check_tls(self, tls: TlsSection) -> None:
        if bool(tls.certificate) != bool(tls.key):
            missing = "key" if tls.certificate else "certificate"
            self._problems.add(f"tls.{missing}", "", "is needed beside the other of the two")
        elif tls.certificate and tls.self_signed:
            self._problems.add("tls.self_signed", True, "goes without tls.certificate")

    def _address(self, path: str, text: str) -> tuple[str, int]:
        host, _, port = text.rpartition(":")
        host = host.strip("[]")
        try:
            ipaddress.ip_address(host)
        except ValueError:
            host = "127.0.0.1" if host == "localhost" else ""
        if host and port.isascii() and port.isdigit() and int(port) < 65_536:
            return host, int(port)
        self._problems.add(path, text, "must be ADDRESS:PORT, as 127.0.0.1:8080")
        return "", 0

    def _all_origins(self, settings: Settings) -> dict[str, str]:
        """Where every key's value came from: the default, the file or a variable."""
        origins = {}
        file = str(self._file) if self._file is not None else FILE_NAME
        for section, kind in _sections().items():
            table = self._document.get(section, {})
            for field in dataclasses.fields(kind):
                path = f"{section}.{field.name}"
                origins[path] = file if field.name in table else "default"
        for section in _MANY:
            for name in getattr(settings, section):
                origins[f"{section}.{name}"] = file if section in self._document else "default"
        return origins | self._origins


def _sections() -> dict[str, type[Any]]:
    """The fixed sections, by name."""
    hints = typing.get_type_hints(Settings)
    return {name: kind for name, kind in hints.items() if name not in _MANY}


def _parsed(hint: Any, text: str) -> object:
    """A variable's text as TOML would have it; left as it is where it is none of that."""
    if typing.get_origin(hint) is list:
        return [item.strip() for item in text.split(",") if item.strip()]
    if hint is bool and text in ("true", "false"):
        return text == "true"
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            return text
    return text


def _loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback
