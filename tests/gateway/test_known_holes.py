"""Holes that gateways of this field had, each tried on this one, over HTTP. Those that have a test
elsewhere are in the table of SECURITY.md."""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.gateway.harness import BODIES, Talk, gateway

from inhouse.audit.read import records
from inhouse.identity.keys import Keys
from inhouse.identity.token import new_id, new_token
from inhouse.upstream.fake_engine import FakeEngine, Faults

CHAT = "/v1/chat/completions"


@asynccontextmanager
async def talking(directory: Path) -> AsyncIterator[Talk]:
    async with FakeEngine(Faults(tokens=1, rate=0)) as engine, gateway(directory, engine) as talk:
        yield talk


async def ask(talk: Talk, credential: str | bytes, **headers: str) -> httpx.Response:
    given = credential.encode("latin-1") if isinstance(credential, str) else credential
    fields = {b"authorization": b"Bearer " + given}
    fields |= {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return await talk.client.post(CHAT, json=BODIES[CHAT], headers=fields)


async def test_what_is_stored_of_a_key_is_no_key(tmp_path: Path) -> None:
    """Elsewhere the digest in the database was taken for the key itself."""
    async with talking(tmp_path) as talk:
        assert (await ask(talk, talk.key)).status_code == 200
        (key,) = await asyncio.to_thread(Keys(talk.config).list)
        (secret,) = key.secrets
        plain = talk.key.encode()
        stored = [secret.digest, secret.digest.hex().encode(), base64.b64encode(secret.digest)]
        stored += [hashlib.sha256(plain).hexdigest().encode(), key.id.encode()]
        stored += [plain[:20], plain[:-1], plain[:14], plain.rpartition(b"_")[0]]
        stored += [f"ihk_{key.id}_{secret.digest.hex()[:43]}_000000".encode()]
        for each in stored:
            presented = each.translate(None, b"\r\n\0")
            assert (await ask(talk, presented)).status_code in (400, 401), each


async def test_keys_that_share_a_beginning_are_two(tmp_path: Path) -> None:
    """Elsewhere what a check had found was kept under a credential's first twenty characters."""
    async with talking(tmp_path) as talk:
        assert (await ask(talk, talk.key)).status_code == 200
        for shared in range(14, len(talk.key)):
            last = "a" if talk.key[shared] not in "a_" else "b"
            other = talk.key[:shared] + last + talk.key[shared + 1 :]
            assert (await ask(talk, other)).status_code == 401, shared
        assert (await ask(talk, talk.key)).status_code == 200


DEFAULTS = [
    "sk-1234", "sk-proj-1234", "sk-test", "admin", "password", "changeme", "master", "root", "test",
    "default", "ollama", "EMPTY", "none", "null", "undefined", "anything", "no-key", "token-abc123",
    "ihk_", "ihk_0000000000_0000000000000000000000000000000000000000000_000000",
]  # fmt: skip


async def test_no_key_comes_with_the_product(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        for credential in DEFAULTS:
            assert (await ask(talk, credential)).status_code == 401, credential


INJECTED = [
    "' OR 1=1--", "' OR '1'='1", "x'; DROP TABLE keys;--", '" OR ""="', "1) OR (1=1", "%' --",
    "ihk_' OR 1=1--_x_y", "ihk_%_%_%", "ihk_*", "ihk_..........", "${jndi:ldap://x/a}", "{{7*7}}",
    "`id`", "$(id)", "../../etc/passwd", "a" * 7000, "\xff\xfe", "ihk_" + "\xe9" * 10,
]  # fmt: skip


async def test_a_credential_is_compared_and_nothing_else(tmp_path: Path) -> None:
    """No statement, path, template or command is made of it, before or after it is refused."""
    async with talking(tmp_path) as talk:
        for credential in INJECTED:
            value = credential.encode("latin-1")
            fields = [{b"authorization": b"Bearer " + value}]
            fields += [{b"authorization": b"", b"x-api-key": value}]
            for each in fields:
                answer = await talk.client.post(CHAT, json=BODIES[CHAT], headers=each)
                assert answer.status_code == 401, credential
                assert len(credential) < 8 or credential not in answer.text
        assert (await ask(talk, talk.key)).status_code == 200


async def test_every_refused_key_is_refused_in_the_same_words(tmp_path: Path) -> None:
    """Whoever guesses does not learn which keys there were, or whose."""
    async with talking(tmp_path) as talk:
        keys = Keys(talk.config)

        def made() -> list[str]:
            revoked, rotated = keys.create("one"), keys.create("two")
            keys.revoke(revoked.key.id)
            keys.rotate(rotated.key.id, overlap_s=0)
            known = talk.key[:20] + ("a" if talk.key[20] != "a" else "b") + talk.key[21:]
            secrets = [each.token.secret.reveal() for each in (revoked, rotated)]
            return [*secrets, known, new_token(new_id()).secret.reveal(), "nothing of the kind"]

        answers = [await ask(talk, each) for each in await asyncio.to_thread(made)]
        said = {re.sub(r"req_\w+", "", answer.text) for answer in answers}
        assert {answer.status_code for answer in answers} == {401}
        assert len(said) == 1, said


OVERRIDES = {
    "x-http-method-override": "DELETE",
    "x-http-method": "PUT",
    "x-method-override": "GET",
    "x-original-url": "/admin/v1/keys",
    "x-rewrite-url": "/",
    "x-forwarded-prefix": "/admin",
    "x-forwarded-for": "127.0.0.1",
    "x-real-ip": "127.0.0.1",
    "x-forwarded-host": "localhost",
    "forwarded": "for=127.0.0.1;host=localhost",
    "x-forwarded-user": "root",
    "x-user-role": "admin",
    "x-inhouse-role": "admin",
    "x-inhouse-user": "admin",
    "x-litellm-user-role": "proxy_admin",
    "x-portkey-custom-host": "http://evil.test",
    "x-upstream-url": "http://evil.test",
    "x-debug": "1",
    "cookie": "role=admin",
}


async def test_no_header_overrides_what_a_request_is(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        bare = {"authorization": ""}
        for name, value in OVERRIDES.items():
            answer = await talk.client.post(CHAT, json=BODIES[CHAT], headers={name: value})
            assert answer.status_code == 200, name
            assert "evil" not in answer.text
            for path in (CHAT, "/v1/models", "/admin/v1/keys"):
                method = "POST" if path == CHAT else "GET"
                answer = await talk.client.request(method, path, headers=bare | {name: value})
                assert answer.status_code == (404 if "admin" in path else 401), (name, path)
        row = await talk.audited_last()
        assert row.address == "127.0.0.1"


CALLERS: dict[str, Any] = {
    "api_base": "http://evil.test",
    "base_url": "http://evil.test",
    "api_key": "sk-x",
    "custom_llm_provider": "openai",
    "litellm_metadata": {"user_role": "proxy_admin"},
    "extra_headers": {"authorization": "Bearer x"},
    "extra_body": {"x": 1},
    "headers": {"host": "evil"},
    "user_role": "admin",
    "role": "admin",
    "mock_response": "hi",
    "fallbacks": ["other"],
    "api_version": "1",
    "hf_template": "{{7*7}}",
    "chat_template": "{{7*7}}",
    "lora_request": {"path": "/etc/passwd"},
    "kv_transfer_params": {"remote_host": "evil"},
}


async def test_no_field_of_a_body_says_where_to_go_or_who_asks(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        assert (await talk.post(CHAT)).status_code == 200
        for field, value in CALLERS.items():
            answer = await talk.post(CHAT, **{field: value})
            assert (answer.status_code, field in answer.text) == (400, True), field


async def test_a_key_in_the_address_is_none_and_is_kept_nowhere(tmp_path: Path) -> None:
    """Proxies, browsers and histories keep addresses."""
    async with talking(tmp_path) as talk:
        for name in ("key", "api_key", "access_token", "authorization", "token", "x-api-key"):
            path = f"{CHAT}?{name}={talk.key}"
            answer = await talk.client.post(path, json=BODIES[CHAT], headers={"authorization": ""})
            assert answer.status_code == 401
            assert talk.key not in answer.text
        assert (await talk.client.post(f"{CHAT}?key={talk.key}", json=BODIES[CHAT])).is_success
        await talk.audited_last()
        kept = [file for file in talk.config.data.rglob("*") if file.is_file()]
        assert not [file for file in kept if talk.key.encode() in file.read_bytes()]


async def test_what_a_client_calls_itself_is_not_who_it_is(tmp_path: Path) -> None:
    """The record says whose key it was, whatever `user` or `metadata` in the body say."""
    async with talking(tmp_path) as talk:
        answer = await talk.post(CHAT, user="somebody-else")
        assert answer.status_code == 200
        row = await talk.audited_last()
        found = [str(record) for record in records(talk.config.audit_directory)]
        assert row.principal != "somebody-else"
        assert not [each for each in found if "principal_name='somebody-else'" in each]


ELSEWHERE = (
    "/docs", "/redoc", "/openapi.json", "/swagger", "/routes", "/ui", "/ui/",
    "/health/readiness",
    "/health", "/config/yaml", "/config/update", "/get/config/callbacks", "/key/generate",
    "/key/info", "/user/new", "/user/update", "/team/new", "/sso/key/generate", "/model/new",
    "/model/info", "/v1/model/info", "/global/spend", "/cache/ping", "/debug/asyncio-tasks",
    "/active/callbacks", "/test", "/guardrails/apply_guardrail", "/mcp", "/vertex-ai/x",
    "/pass-through/x", "/openai/x", "/slots", "/props", "/lora-adapters", "/tokenize",
    "/detokenize", "/pooling", "/score", "/rerank", "/invocations", "/start_profile",
    "/sleep", "/collective_rpc", "/server_info", "/load_lora_adapter", "/api/push",
    "/api/blobs/sha256:0", "/api/experimental/x", "/v1/files", "/v1/batches", "/v1/assistants",
    "/actuator/env", "/.git/config", "/.env", "/server-status",
)  # fmt: skip


async def test_what_engines_and_other_gateways_serve_besides_is_not_here(tmp_path: Path) -> None:
    async with talking(tmp_path) as talk:
        for path in ELSEWHERE:
            for method in ("GET", "POST"):
                answer = await talk.client.request(method, path)
                assert answer.status_code == 404, (method, path)
                assert "error" in json.loads(answer.text)
