"""Reads the one file: every problem at once, and where each value came from."""

import contextlib
import dataclasses
import os
import re
import typing
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inhouse.config.decode import Decoder
from inhouse.config.listeners import check_listeners
from inhouse.config.login import check_login
from inhouse.config.oidc import check_oidc
from inhouse.config.paths import opened, resolved
from inhouse.config.place import place_of
from inhouse.config.problems import Problems
from inhouse.config.reading import read
from inhouse.config.schema import (
    Config,
    EngineSection,
    Model,
    ModelSection,
    Settings,
    dotted,
)
from inhouse.config.sources import BUILTIN_TASKS, Sources, models_in
from inhouse.domain import Task
from inhouse.errors import ConfigurationError, UsageError

FILE_NAME = "inhouse.toml"
_OWN_VARIABLES = frozenset(
    {"INHOUSE_CONFIG", "INHOUSE_DATA", "INHOUSE_ISSUER", "INHOUSE_CLIENT_ID"}
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_MANY = ("models", "engines")  # sections of sections, by names of the user's own


def load_config(
    file: Path | None,
    data: Path | None,
    environ: Mapping[str, str] = os.environ,
    *,
    tls: bool = False,
) -> Config:
    """The configuration of this process. Raises ConfigurationError with every problem.

    With `tls`, for whoever is to listen: the certificate and its key must be fit for use, too.
    """
    file = _find(file, environ)
    document = read(file) if file is not None else {}
    return _Loader(document, file, environ).load(_data_directory(data, environ), tls=tls)


def _find(file: Path | None, environ: Mapping[str, str]) -> Path | None:
    if file is not None:
        return file
    named = environ.get("INHOUSE_CONFIG")
    if named:
        return Path(named)
    here = Path(FILE_NAME)
    return here if here.exists() else None


def _data_directory(data: Path | None, environ: Mapping[str, str]) -> Path:
    named = str(data) if data is not None else environ.get("INHOUSE_DATA")
    home = environ.get("XDG_DATA_HOME", "")
    if not named and Path(home).is_absolute():  # a relative one counts as none, says its standard
        return Path(home) / "inhouse"
    try:
        return resolved(Path.cwd(), named or "~/.local/share/inhouse")
    except ValueError as error:
        what = f"the data directory {named}" if named else "there is no place for data: its path"
        raise UsageError(f"{what} {error}; choose one with --data") from error


class _Loader:
    def __init__(
        self, document: dict[str, Any], file: Path | None, environ: Mapping[str, str]
    ) -> None:
        self._document = document
        self._file = file
        self._environ = environ
        self._problems = Problems()
        self._base = (file.parent if file is not None else Path()).absolute()
        self._variables: dict[str, str] = {}  # key -> the variable that set it
        self._origins: dict[str, str] = {}  # key -> the file or the variable that gives it

    def load(self, data: Path, *, tls: bool = False) -> Config:
        self._override()
        decoder = Decoder(self._problems, self._environ, self._base)
        settings = self._settings(decoder)
        self._given()
        models = self._models(settings)
        check_listeners(settings, self._problems)
        check_oidc(settings.oidc, self._problems)
        check_login(settings, self._problems)
        audit_directory = self._directory_of_the_log(settings) or data / "audit"
        database = place_of(settings.store, self._base, data, self._problems)
        tls_files = self._tls_files(settings)
        if tls and tls_files is not None:
            self._examine(*tls_files)
        oidc_ca = self._readable("oidc.ca_file", settings.oidc.ca_file)
        if self._problems.found or database is None:
            raise ConfigurationError(self._problems.found)
        return Config(
            settings=settings,
            models=models,
            data=data,
            file=self._file,
            origins=self._all_origins(settings),
            audit_directory=audit_directory,
            database=database,
            secret_variables=frozenset(decoder.variables),
            tls_files=tls_files,
            oidc_ca=oidc_ca,
            notes=tuple(self._problems.notes),
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
                self._problems.unknown_variable(variable, known)

    def _override_model(self, variable: str, text: str) -> None:
        name = variable.removeprefix("INHOUSE_MODELS_").lower()
        models = self._document.setdefault("models", {})
        if isinstance(models, dict):
            models[name] = text
            self._variables[dotted("models", name, "engines")] = variable
        else:
            self._problems.add(variable, None, "cannot be added to a directory of models")

    def _put(self, section: str, name: str, value: object, variable: str) -> None:
        table = self._document.setdefault(section, {})
        if isinstance(table, dict):
            table[name] = value
            self._variables[dotted(section, name)] = variable

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
            self._problems.add("engines", None, "must be tables: [engines.NAME]")
            return {}
        return {
            name: decoder.section(EngineSection, dotted("engines", name), table)
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
        path = dotted("models", name)
        self._check_name(path, name)
        if value == "":
            self._problems.add(path, value, "names nothing; see inhouse check --sample")
            return ModelSection()
        if isinstance(value, str):
            return ModelSection(engines=[value])
        if isinstance(value, list):
            value = {"engines": value}
        if not isinstance(value, dict):
            self._problems.add(path, value, f'must be what answers to it: {name} = "SOURCE"')
            return ModelSection()
        section: ModelSection = decoder.section(ModelSection, path, value)
        unknown = value.keys() - {field.name for field in dataclasses.fields(ModelSection)}
        if not value.get("engines") and not unknown:  # one of which may be meant for it
            self._problems.add(
                f"{path}.engines", None, "names no engine; see inhouse check --sample"
            )
        return section

    def _check_name(self, path: str, name: str) -> None:
        if not _NAME.fullmatch(name):
            self._problems.add(
                path, None, "a model's name is made of letters, digits and . _ : / -, up to 128"
            )

    def _directory_of_models(self, directory: str) -> dict[str, ModelSection]:
        files: list[Path] = []
        with contextlib.suppress(OSError, ValueError):
            files = models_in(resolved(self._base, directory))
        if not files:
            self._problems.add("models", directory, "must be a directory that holds .gguf files")
        names = {re.sub(r"-00001-of-\d{5}$", "", file.stem): file for file in files}
        for name in names:
            self._check_name(dotted("models", name), name)
        return {name: ModelSection(engines=[str(file)]) for name, file in names.items()}

    # What follows from both

    def _models(self, settings: Settings) -> dict[str, Model]:
        sources = Sources(settings.engines, self._base, self._problems, self._origins.keys())
        models = {
            name: self._model(name, section, sources, settings)
            for name, section in settings.models.items()
        }
        sources.check_unused()
        self._note_files_of_several(models)
        return models

    def _note_files_of_several(self, models: dict[str, Model]) -> None:
        found: dict[Path, tuple[Path, list[str]]] = {}  # by what links lead to
        for name, model in models.items():
            for file in (engine.path for engine in model.engines if engine.path is not None):
                found.setdefault(file.resolve(), (file, []))[1].append(name)
        self._problems.notes += [
            f"{file} is loaded {len(names)} times, for {', '.join(names)}"
            for file, names in found.values()
            if len(names) > 1
        ]

    def _model(
        self, name: str, section: ModelSection, sources: Sources, settings: Settings
    ) -> Model:
        path = dotted("models", name)
        found = [
            each
            for number, source in enumerate(section.engines)
            if (
                each := sources.resolve(
                    self._where(name, number, len(section.engines)), name, source, section.model
                )
            )
        ]
        tasks = {each.task for each in found if each.task is not None}
        if len(tasks) > 1:
            self._problems.add(path, None, "its engines are for different tasks")
        elif f"{path}.task" in self._origins and Task.EMBEDDING in tasks - {section.task}:
            self._problems.add(f"{path}.task", section.task.value, "its model is for 'embedding'")
        engines = tuple(each.engine for each in found)
        if len({engine.name for engine in engines}) < len(engines):
            self._problems.add(path, None, "names the same engine twice")
        return Model(
            name=name,
            task=Task.EMBEDDING if Task.EMBEDDING in tasks else section.task,
            engines=engines,
            max_output_tokens=section.max_output_tokens or settings.limits.max_output_tokens,
        )

    def _where(self, name: str, number: int, count: int) -> str:
        """The key that a source line stands in, as it is written in the file."""
        models = self._document.get("models")
        in_full = isinstance(models, dict) and isinstance(models.get(name), dict)
        path = dotted("models", name, "engines") if in_full else dotted("models", name)
        return f"{path}[{number}]" if count > 1 else path

    def _directory_of_the_log(self, settings: Settings) -> Path | None:
        text = settings.audit.directory
        return self._path("audit.directory", text, text) if text else None

    def _tls_files(self, settings: Settings) -> tuple[Path, Path] | None:
        """Certificate and key. They are there and can be read."""
        certificate = self._readable("tls.certificate", settings.tls.certificate)
        key = self._readable("tls.key", settings.tls.key)
        return (certificate, key) if certificate and key else None

    def _examine(self, certificate: Path, key: Path) -> None:
        from inhouse.config.certificates import examined  # which most commands do not need

        found = examined(certificate, key, datetime.now(UTC))
        paths = {"tls.certificate": certificate, "tls.key": key}
        for fault in found.faults:
            self._problems.add(fault.key, str(paths[fault.key]), fault.sentence)
        self._problems.notes += found.notes

    def _readable(self, key: str, text: str) -> Path | None:
        path = self._path(key, text, text) if text else None
        if path is not None:
            try:
                opened(path).close()
            except OSError as error:
                self._problems.add(key, text, f"cannot be read: {error.strerror}")
        return path

    def _path(self, key: str, value: object, text: str) -> Path | None:
        try:
            return resolved(self._base, text)
        except ValueError as error:
            self._problems.add(key, value, str(error))
            return None

    def _given(self) -> None:
        """Note where each key that is given comes from: the file or a variable."""
        file = str(self._file) if self._file is not None else FILE_NAME
        for section, table in self._document.items():
            for name, value in table.items() if isinstance(table, dict) else ():
                if section not in _MANY:
                    self._origins[dotted(section, name)] = file
                elif isinstance(value, dict):
                    self._origins |= {dotted(section, name, key): file for key in value}
                else:
                    self._origins[dotted(section, name, "engines")] = file
        self._origins |= self._variables

    def _all_origins(self, settings: Settings) -> dict[str, str]:
        """Where every key's value came from: the default, the file or a variable."""
        origins = {key: self._origins.get(key, "default") for key, _ in every_value(settings)}
        if isinstance(self._document.get("models"), str):
            file = str(self._file) if self._file is not None else FILE_NAME
            origins |= {dotted("models", name, "engines"): file for name in settings.models}
        return origins


def every_value(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Every key as TOML writes it, and its value."""
    for section in dataclasses.fields(settings):
        held = getattr(settings, section.name)
        if not isinstance(held, dict):
            for field in dataclasses.fields(held):
                yield dotted(section.name, field.name), getattr(held, field.name)
            continue
        for name, each in held.items():
            for field in dataclasses.fields(each):
                yield dotted(section.name, name, field.name), getattr(each, field.name)


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
