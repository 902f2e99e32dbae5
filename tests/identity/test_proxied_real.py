"""Apache with mod_auth_openidc as the authenticating proxy, at a real provider."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from tests.identity.idp_process import Idp, free_port, install
from tests.identity.minting import signer

from inhouse.config.people import ProxyLoginSection
from inhouse.config.secrets import Secret
from inhouse.identity.claims import Identity
from inhouse.identity.proxied import LISTENER, ProxyRules, proxied
from inhouse.identity.refused import Refused

APACHE = Path("/usr/sbin/apache2")
MODULES = Path("/usr/lib/apache2/modules")
SHARED = "0123456789abcdef0123456789abcdef"
CLIENT_SECRET = "apache-and-the-provider-know-it-only"
LOADED = [
    "mpm_event",
    "authz_core",
    "authn_core",
    "authz_user",
    "headers",
    "proxy",
    "proxy_http",
    "auth_openidc",
]
CONFIG = """
ServerRoot {directory}
ServerName 127.0.0.1
DefaultRuntimeDir {directory}
PidFile {directory}/pid
ErrorLog {directory}/error.log
Listen 127.0.0.1:{port}
{user}
OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
OIDCClientID apache
OIDCClientSecret {secret}
OIDCRedirectURI http://127.0.0.1:{port}/oidc
OIDCCryptoPassphrase of-the-test-alone
OIDCPKCEMethod S256
OIDCScope "openid profile groups"
OIDCRemoteUserClaim sub
OIDCSessionType client-cookie
OIDCPassClaimsAs environment
<Location />
  AuthType openid-connect
  Require valid-user
  RequestHeader set X-Forwarded-User "expr=%{{REMOTE_USER}}"
  RequestHeader set X-Forwarded-Groups "expr=%{{reqenv:OIDC_CLAIM_groups}}"
  RequestHeader set X-Forwarded-Preferred-Username "expr=%{{reqenv:OIDC_CLAIM_name}}"
  RequestHeader unset X-Forwarded-Email
  RequestHeader set X-Inhouse-Proxy-Secret {shared}
</Location>
<Location /oidc>
  ProxyPass !
</Location>
ProxyPass / http://127.0.0.1:{behind}/
"""


@pytest.fixture
async def behind() -> AsyncIterator[int]:
    """The listener of [proxy_login], as far as it is about identity."""
    rules = ProxyRules.of(
        ProxyLoginSection(
            listen="127.0.0.1:1", peers=["127.0.0.1"], secret=Secret(SHARED), issuer="sso"
        )
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[1:-2]
        fields = [(n, v.strip()) for n, _, v in (line.partition(b":") for line in lines)]
        peer = writer.get_extra_info("peername")[0]
        found = proxied(LISTENER, peer, fields, rules, time.time())
        status, said = 500, "nobody"
        if isinstance(found, Refused):
            status, said = 403, found.reason.value
        elif isinstance(found, Identity):
            status, said = 200, f"{found.subject} {found.name} {sorted(found.groups)}"
        body = said.encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
def apache(behind: int, tmp_path: Path) -> Iterator[str]:
    install()
    if not APACHE.exists() or not (MODULES / "mod_auth_openidc.so").exists():
        pytest.skip("Apache with mod_auth_openidc is not installed here")
    port = free_port()
    provider, directory = tmp_path / "idp", tmp_path / "apache"
    provider.mkdir()
    directory.mkdir()
    idp = Idp(provider, free_port())
    idp.register(
        {
            "client_id": "apache",
            "client_secret": CLIENT_SECRET,
            "redirect_uris": [f"http://127.0.0.1:{port}/oidc"],
        }
    )
    idp.publish(signer("1", "RS256"))
    idp.start()
    names = (f"LoadModule {name}_module {MODULES}/mod_{name}.so\n" for name in LOADED)
    text = CONFIG.format(
        directory=directory,
        port=port,
        issuer=idp.url,
        secret=CLIENT_SECRET,
        shared=SHARED,
        behind=behind,
        user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
    )
    (directory / "apache.conf").write_text("".join(names) + text)
    command = [str(APACHE), "-f", str(directory / "apache.conf"), "-DFOREGROUND"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=20)
        idp.stop()


async def signed_in(client: httpx.AsyncClient) -> httpx.Response:
    async with asyncio.timeout(20):
        while True:
            try:
                page = await client.get("/")
                break
            except httpx.ConnectError:
                await asyncio.sleep(0.05)
    assert "Sign in" in page.text, page.text
    form = {"user": "anna", "password": "correct horse"}
    return await client.post(str(page.url), data=form)


async def test_who_apache_says_it_is(apache: str, behind: int) -> None:
    async with httpx.AsyncClient(base_url=apache, follow_redirects=True, timeout=20) as client:
        page = await signed_in(client)
        assert (page.status_code, page.text) == (200, "u-anna Anna Ä. ['ops', 'research']")
        forged = {"X-Forwarded-User": "root", "X-Forwarded-Groups": "admin"}
        page = await client.get("/", headers=forged)
        assert page.text == "u-anna Anna Ä. ['ops', 'research']"
        page = await client.get("/", headers={"X_Forwarded_User": "root"})
        assert (page.status_code, page.text) == (403, "proxy")
    async with httpx.AsyncClient() as beside:  # another program of this machine
        url = f"http://127.0.0.1:{behind}/"
        assert (await beside.get(url, headers=forged)).text == "peer"
