"""Login at a real OpenID Provider: with a real browser, and with what an attacker would do."""

import asyncio
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.identity.console import CLIENT_SECRET, Console, configured, console
from tests.identity.idp_process import Idp, free_port, install
from tests.identity.minting import signer

from inhouse.config.secrets import Secret

PORT = free_port()
CONSOLE = f"http://127.0.0.1:{PORT}"
CLIENT = {
    "client_id": "console",
    "client_secret": CLIENT_SECRET,
    "redirect_uris": [f"{CONSOLE}/login/callback"],
    "post_logout_redirect_uris": [f"{CONSOLE}/"],
    "backchannel_logout_uri": f"{CONSOLE}/backchannel",
    "backchannel_logout_session_required": True,
}


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Idp]:
    install()
    directory = tmp_path_factory.mktemp("idp")
    idp = Idp(directory, free_port())
    public = {"token_endpoint_auth_method": "none"}
    without_secret = {name: value for name, value in CLIENT.items() if name != "client_secret"}
    post = {"token_endpoint_auth_method": "client_secret_post"}
    idp.register(
        CLIENT,
        CLIENT | {"client_id": "posting"} | post,
        without_secret | {"client_id": "public"} | public,
    )
    idp.publish(signer("1", "RS256"))
    idp.start()
    yield idp
    idp.stop()


@pytest.fixture
async def site(idp: Idp, tmp_path: Path) -> AsyncIterator[Console]:
    async with console(configured(tmp_path, idp.url, CONSOLE), PORT) as running:
        yield running


@asynccontextmanager
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=CONSOLE, follow_redirects=True, timeout=20) as client:
        yield client


async def asked(client: httpx.AsyncClient, path: str = "/login") -> httpx.Response:
    """The provider's page, where it asks who it is."""
    page = await client.get(path)
    assert "Sign in" in page.text, page.text
    return page


async def signed_in(
    client: httpx.AsyncClient, page: httpx.Response, user: str, password: str, **more: str
) -> httpx.Response:
    form = {"user": user, "password": password, **more}
    return await client.post(str(page.url), data=form)


async def logged_in(client: httpx.AsyncClient, path: str = "/login") -> httpx.Response:
    return await signed_in(client, await asked(client, path), "anna", "correct horse")


async def answer_of(client: httpx.AsyncClient, user: str = "anna") -> str:
    """The address that the provider sends the browser back to, not yet gone to."""
    page = await asked(client)
    password = {"anna": "correct horse", "ben": "battery staple"}[user]
    client.follow_redirects = False
    step = await signed_in(client, page, user, password)
    while not step.headers["location"].startswith(CONSOLE):
        step = await client.get(step.headers["location"])
    client.follow_redirects = True
    return step.headers["location"]


async def test_whoever_logs_in(site: Console) -> None:
    async with browser() as client:
        assert (await client.get("/")).status_code == 401
        page = await logged_in(client, "/login?return_to=/users?state=active")
        assert str(page.url) == f"{CONSOLE}/users?state=active"
        assert "<p id=subject>u-anna</p>" in page.text
        assert "<p id=groups>ops research</p>" in page.text
        sent = " ".join(str(each.url) for each in page.history)
        assert "code_verifier" not in sent
        assert "ihs_" not in sent
    assert len(site.sessions.ring) == 1


@pytest.mark.parametrize(("client_id", "how"), [("public", "basic"), ("posting", "post")])
async def test_other_ways_of_a_client(idp: Idp, tmp_path: Path, client_id: str, how: str) -> None:
    changes: dict[str, Any] = {"client_id": client_id, "client_auth": how}
    if client_id == "public":
        changes["client_secret"] = type(configured(tmp_path, "", "").settings.login.client_secret)(
            ""
        )
    config = configured(tmp_path, idp.url, CONSOLE, **changes)
    async with console(config, PORT), browser() as client:
        assert "u-anna" in (await logged_in(client)).text


async def test_a_wrong_client_secret(idp: Idp, tmp_path: Path) -> None:
    wrong = Secret("wrong")
    config = configured(tmp_path, idp.url, CONSOLE, client_secret=wrong)
    async with console(config, PORT), browser() as client:
        assert (await logged_in(client)).status_code == 502


async def test_somebody_gives_up(site: Console) -> None:
    """The provider's error is told in our words; its description is nobody's HTML here."""
    async with browser() as client:
        page = await asked(client)
        told = await client.post(str(page.url), data={"give-up": "1"})
        assert told.status_code == 403
        assert told.text == "the provider did not let you in, or you did not go on"
        assert "script" not in told.text


async def test_a_code_or_an_answer_that_comes_again(site: Console) -> None:
    async with browser() as client:
        back = await answer_of(client)
        login = client.cookies["inhouse-login"]
        assert "u-anna" in (await client.get(back)).text
        assert "inhouse-login" not in client.cookies
        again = await client.get(back)
        assert again.status_code == 400
        headers = {"cookie": f"inhouse-login={login}"}
        async with httpx.AsyncClient() as thief:
            again = await thief.get(back, headers=headers)
            assert (again.status_code, "set-cookie" in again.headers) == (400, True)
            assert "finished before" in again.text
            site.login._finished.clear()  # as at another gateway
            again = await thief.get(back, headers=headers)
            assert again.status_code == 502
    assert len(site.sessions.ring) == 1


async def test_an_answer_that_another_browser_asked_for(site: Console) -> None:
    """Login CSRF: the attacker's answer in the victim's browser."""
    async with browser() as mallory, browser() as victim:
        back = await answer_of(mallory)
        assert (await victim.get(back)).status_code == 400
        await asked(victim)  # has begun a login of its own
        told = await victim.get(back)
        assert (told.status_code, "of another login" in told.text) == (400, True)
    assert len(site.sessions.ring) == 0


async def test_a_stolen_code_in_another_login(site: Console) -> None:
    """The code of one browser's login with the state of another's: PKCE's verifier is another."""
    async with browser() as victim, browser() as mallory:
        stolen = parse_qs(urlsplit(await answer_of(victim)).query)["code"][0]
        own = await answer_of(mallory, "ben")
        code = parse_qs(urlsplit(own).query)["code"][0]
        told = await mallory.get(own.replace(code, stolen))
        assert told.status_code == 502
    assert len(site.sessions.ring) == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda url: re.sub("iss=[^&]+", "iss=https%3A%2F%2Fevil", url),
            "not of the provider",
        ),
        (lambda url: re.sub("&?iss=[^&]+", "", url), "not of the provider"),
        (lambda url: url + "&code=x", "twice"),
        (lambda url: re.sub("state=[^&]+", "state=" + "A" * 43, url), "another login"),
        (lambda url: re.sub("state=[^&]+", "state=%C3%A4", url), "another login"),
        (lambda url: re.sub("state=[^&]+", "state=%FF", url), "no provider's answer"),
        (lambda url: url + "&x=" + "a" * 20_000, "too large"),
        (
            lambda url: url + "&error=%3Cb%3E&error_description=%3Cb%3E",
            "an error without a name",
        ),
        (lambda url: re.sub("code=[^&]+", "", url), "no code"),
    ],
)
async def test_an_answer_that_was_changed(site: Console, change: Any, sentence: str) -> None:
    async with browser() as client:
        told = await client.get(change(await answer_of(client)))
        assert told.status_code in (400, 502)
        assert sentence in told.text
        assert "<" not in told.text
    assert len(site.sessions.ring) == 0


async def test_a_login_that_took_too_long(site: Console) -> None:
    async with browser() as client:
        back = await answer_of(client)
        site.login._clock = lambda: time.time() + 601
        told = await client.get(back)
        assert (told.status_code, "took too long" in told.text) == (400, True)


async def test_a_cookie_that_the_browser_changed(site: Console) -> None:
    """Another path to go to, or another time of its beginning: the state is not that cookie's."""
    async with browser() as client:
        back = await answer_of(client)
        name, begun, path = client.cookies["inhouse-login"].split(".")
        for value in (
            f"{name}.{int(begun) + 600}.{path}",
            f"{name}.{begun}.L2V2aWw",
            f"{name}.{begun}",
        ):
            async with httpx.AsyncClient() as other:
                told = await other.get(back, headers={"cookie": f"inhouse-login={value}"})
                assert told.status_code == 400
        assert "u-anna" in (await client.get(back)).text


async def test_the_provider_takes_no_other_redirect(site: Console) -> None:
    async with browser() as client:
        client.follow_redirects = False
        url = (await client.get("/login")).headers["location"]
        assert parse_qs(urlsplit(url).query)["redirect_uri"] == [f"{CONSOLE}/login/callback"]
        refused = await client.get(url.replace("%2Flogin%2Fcallback", "%2Fother"))
        assert refused.status_code == 400


async def test_a_session_that_was_planted_is_not_the_one_that_is_used(site: Console) -> None:
    async with browser() as mallory, browser() as victim:
        await logged_in(mallory)
        planted = mallory.cookies["inhouse"]
        victim.cookies.set("inhouse", planted, domain="127.0.0.1", path="/")
        page = await signed_in(victim, await asked(victim), "ben", "battery staple")
        assert "u-ben" in page.text
        assert victim.cookies["inhouse"] != planted
        assert "&lt;b&gt;Ben" in page.text
        assert (await mallory.get("/")).status_code == 401


async def test_logout_is_everywhere_and_only_from_here(site: Console) -> None:
    async with browser() as one, browser() as two:
        page = await logged_in(one)
        await logged_in(two)
        proof = page.text.partition("name=csrf value=")[2].partition(">")[0]
        assert (await one.post("/logout")).status_code == 403
        headers = {"origin": "https://evil.example"}
        assert (await one.post("/logout", data={"csrf": proof}, headers=headers)).status_code == 403
        assert (await two.post("/logout", data={"csrf": proof})).status_code == 403
        page = await one.post("/logout", data={"csrf": proof})
        assert page.url.path == "/session/end"  # the provider asks whether to end its own, too
        assert (await one.get("/")).status_code == 401
        assert (await two.get("/")).status_code == 401


async def test_logout_at_the_provider_ends_the_session_here(site: Console, idp: Idp) -> None:
    """Without a browser: the provider posts a logout token."""
    async with browser() as client, browser() as other:
        await logged_in(client)
        await signed_in(other, await asked(other), "ben", "battery staple")
        page = await client.get(f"{idp.url}/session/end")
        form = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.text)) | {"logout": "yes"}
        await client.post(f"{idp.url}/session/end/confirm", data=form)
        async with asyncio.timeout(20):
            while (await client.get("/")).status_code != 401:
                await asyncio.sleep(0.05)
        assert (await other.get("/")).status_code == 200


async def test_a_provider_that_is_away(tmp_path: Path) -> None:
    config = configured(tmp_path, f"http://127.0.0.1:{free_port()}", CONSOLE)
    async with console(config, PORT), browser() as client:
        told = await client.get("/login")
        assert (told.status_code, "cannot be reached" in told.text) == (503, True)


async def test_in_a_real_browser(site: Console) -> None:
    """Chromium: redirects, cookies and the form as people have them; then another site's page."""
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed here")

    async def other_site(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        page = f"<title>evil</title><form method=post action={CONSOLE}/logout><button>win</button>"
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + page.encode())
        await writer.drain()
        writer.close()

    evil = free_port()
    server = await asyncio.start_server(other_site, "127.0.0.1", evil)
    driver = [sys.executable, str(Path(__file__).parent / "browse.py"), chromium, CONSOLE]
    driving = await asyncio.create_subprocess_exec(*driver, f"http://localhost:{evil}/")
    try:
        async with asyncio.timeout(60):
            assert await driving.wait() == 0
    finally:
        if driving.returncode is None:
            driving.kill()
            await driving.wait()
        server.close()
    assert len(site.sessions.ring) == 0
