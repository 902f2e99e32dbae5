"""What [login] and [proxy_login] must say, with [oidc] and the listeners, before anybody is
believed to be somebody."""

import ipaddress
import re
from urllib.parse import urlsplit

from inhouse.config.listeners import address_of
from inhouse.config.oidc import on_loopback, secure
from inhouse.config.people import LoginSection, ProxyLoginSection
from inhouse.config.problems import Problems
from inhouse.config.schema import Settings

SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, appendix A
CLIENT_ID = re.compile(r"[\x20-\x7e]{1,256}")
LEAST_SECRET_CHARS = 32
MAX_ISSUER_CHARS = 256


def check_login(settings: Settings, problems: Problems) -> None:
    """Note what is wrong with both sections."""
    _check_login(settings, problems)
    _check_proxy_login(settings, problems)


def _check_login(settings: Settings, problems: Problems) -> None:
    login = settings.login
    if login.idle_minutes > 60 * login.absolute_hours:
        problems.add("login.idle_minutes", login.idle_minutes, "is above login.absolute_hours")
    if "openid" not in login.scopes:
        problems.add("login.scopes", None, "must have 'openid', which asks for the ID token")
    for scope in login.scopes:
        if not SCOPE.fullmatch(scope):
            problems.add("login.scopes", scope, "must be words without spaces or quotes")
    for name in ("authorization_url", "token_url"):
        url = getattr(login, name)
        if url and not secure(url):
            problems.add(f"login.{name}", url, "must be https://HOST/PATH, or http:// on loopback")
    if not login.client_id:
        if _given(login):
            problems.add("login.client_id", "", "is needed beside the rest of [login]")
        return
    if not CLIENT_ID.fullmatch(login.client_id):
        problems.add("login.client_id", login.client_id, "must be 1 to 256 characters of ASCII")
    if not settings.oidc.issuer:
        problems.add("oidc.issuer", "", "is needed with [login]: it is where people log in")
    if not is_origin(login.console_url):
        problems.add(
            "login.console_url",
            login.console_url,
            "must be https://HOST or https://HOST:PORT, without a path; http:// on loopback",
        )


def _given(login: LoginSection) -> bool:
    urls = (login.console_url, login.authorization_url, login.token_url)
    return bool(login.client_secret or any(urls))


def is_origin(url: str) -> bool:
    """Whether it is an address as browsers name it: nothing behind host and port."""
    if not secure(url):
        return False
    parts = urlsplit(url)
    return url == f"{parts.scheme}://{parts.netloc}" and parts.netloc == parts.netloc.lower()


def _check_proxy_login(settings: Settings, problems: Problems) -> None:
    proxy = settings.proxy_login
    if not proxy.listen:
        if proxy.peers or proxy.secret or proxy.issuer:
            problems.add("proxy_login.listen", "", "is needed beside the rest of [proxy_login]")
        return
    host, port = address_of("proxy_login.listen", proxy.listen, problems)
    for name in ("gateway", "admin"):
        if port and proxy.listen == getattr(settings, name).listen:
            problems.add("proxy_login.listen", proxy.listen, f"is {name}.listen too; take another")
    if host and not on_loopback(host) and not settings.tls.on:
        problems.add(
            "proxy_login.listen",
            proxy.listen,
            "would take identities in plain text; listen on 127.0.0.1, or give a certificate in "
            "[tls]",
        )
    _check_peers(proxy, problems)
    issuer = proxy.issuer
    if not 0 < len(issuer) <= MAX_ISSUER_CHARS or not (issuer.isascii() and issuer.isprintable()):
        problems.add("proxy_login.issuer", issuer, "must name whose identities these are")
    if proxy.access_token in {"prefer", "require"} and not settings.oidc.issuer:
        problems.add(
            "proxy_login.access_token", proxy.access_token, "needs [oidc], which checks tokens"
        )


def _check_peers(proxy: ProxyLoginSection, problems: Problems) -> None:
    if not proxy.peers:
        problems.add("proxy_login.peers", None, "must name the proxy: nobody else is believed")
    shared = False
    for peer in proxy.peers:
        try:
            network = ipaddress.ip_network(peer, strict=False)
        except ValueError:
            problems.add("proxy_login.peers", peer, "must be an address or a network: 10.0.1.0/28")
            continue
        if network.prefixlen == 0:
            problems.add("proxy_login.peers", peer, "is everybody; name the proxy alone")
        shared = shared or network.network_address.is_loopback
    secret = proxy.secret.reveal()
    if shared and not secret:
        problems.add(
            "proxy_login.secret",
            "",
            "is needed with a peer on loopback: any program of this machine can connect from there",
        )
    if secret and (len(secret) < LEAST_SECRET_CHARS or not secret.isascii()):
        problems.add(
            "proxy_login.secret",
            None,
            f"must have {LEAST_SECRET_CHARS} characters of ASCII or more",
        )
