"""What the log says of requests that were refused, on a whole gateway."""

import asyncio
from pathlib import Path

import httpx
import pytest
from tests.gateway.harness import MESSAGES, gateway

from inhouse.__main__ import run
from inhouse.audit.fingerprint import Fingerprinter
from inhouse.audit.read import records
from inhouse.audit.record import Denial
from inhouse.audit.secrets import chain_key_path, mark_path
from inhouse.audit.verify import verify
from inhouse.config.keyfile import read_existing
from inhouse.config.schema import Config
from inhouse.upstream.fake_engine import FakeEngine


def denials(directory: Path) -> list[Denial]:
    return [record for record in records(directory) if isinstance(record, Denial)]


async def test_a_denied_prompt_is_found_by_its_text(tmp_path: Path) -> None:
    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        answer = await talk.post("/v1/chat/completions", model="other", messages=MESSAGES)
        assert answer.status_code == 404
        key = read_existing(talk.config.secrets_directory / "fingerprint.key")
        denial = denials(talk.config.audit_directory)[-1]
        assert denial.code == "no_such_model"
        assert denial.fingerprint_last == Fingerprinter(key).of_text("hi")
        assert denial.fingerprint == Fingerprinter(key).of(["hi"])
        assert denial.claimed_key is None


async def test_a_refused_key_is_named_by_its_id(tmp_path: Path) -> None:
    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        key_id = talk.key.split("_")[1]
        forged = f"ihk_{key_id}_{'A' * 43}_{'A' * 6}"
        async with httpx.AsyncClient(base_url=talk.client.base_url) as client:
            for presented in (forged, "no-key-at-all"):
                headers = {"authorization": f"Bearer {presented}"}
                assert (await client.get("/v1/models", headers=headers)).status_code == 401
            assert (await client.get("/v1/models")).status_code == 401
        found = [denial.claimed_key for denial in denials(talk.config.audit_directory)]
        assert found[-3:] == [key_id, None, None]


def test_a_gateway_writes_its_mark_and_does_not_start_without_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def once() -> Config:
        async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
            await talk.post("/v1/chat/completions")
            return talk.config

    config = asyncio.run(once())
    key = chain_key_path(config)
    report = verify(config.audit_directory, read_existing(key), mark_path(config))
    assert (report.findings, report.notes) == ([], [])
    key.unlink()
    toml = tmp_path / "again.toml"
    toml.write_text(
        '[gateway]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"\n'
        '[models.m]\nengines = ["openai://127.0.0.1:9/m"]\n'
    )
    assert run(["up", "--config", str(toml), "--data", str(config.data)]) == 2
    assert "audit.key is missing; restore it from backup" in capsys.readouterr().err
    assert not key.exists()
