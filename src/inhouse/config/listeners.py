"""Where a gateway listens, and that nothing secret crosses a network in plain text there."""

import ipaddress
import re

from inhouse.config.problems import Problems
from inhouse.config.schema import Settings, TlsSection

_PORT = re.compile(r"[0-9]{1,5}")


def check_listeners(settings: Settings, problems: Problems) -> None:
    """Note what is wrong with addresses, certificates and named proxies."""
    gateway, admin = settings.gateway, settings.admin
    host, port = address_of("gateway.listen", gateway.listen, problems)
    admin_host, admin_port = address_of("admin.listen", admin.listen, problems)
    for proxy in gateway.trusted_proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            problems.add(
                "gateway.trusted_proxies", proxy, "must be an address or a network: 10.0.1.0/24"
            )
    if host and not _loopback(host) and not gateway.trusted_proxies and not settings.tls.on:
        problems.add(
            "gateway.listen",
            gateway.listen,
            "would send keys and prompts in plain text; listen on 127.0.0.1, give a "
            "certificate in [tls], or name the TLS proxy in front in gateway.trusted_proxies",
        )
    _check_tls(settings.tls, problems)
    if admin_host and not _loopback(admin_host):
        problems.add("admin.listen", admin.listen, "must be on loopback: 127.0.0.1:8081")
    if port and (host, port) == (admin_host, admin_port):
        problems.add("admin.listen", admin.listen, "is gateway.listen too; take another")


def _check_tls(tls: TlsSection, problems: Problems) -> None:
    if bool(tls.certificate) != bool(tls.key):
        missing = "key" if tls.certificate else "certificate"
        problems.add(f"tls.{missing}", "", "is needed beside the other of the two")
    elif tls.certificate and tls.self_signed:
        problems.add("tls.self_signed", True, "goes without tls.certificate")


def address_of(path: str, text: str, problems: Problems) -> tuple[str, int]:
    """Host and port of a key's ADDRESS:PORT; empty where it is none, and then it is noted."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        host = "127.0.0.1" if host == "localhost" else ""
    if host and _PORT.fullmatch(port) and int(port) < 65_536:
        return host, int(port)
    problems.add(path, text, "must be ADDRESS:PORT, as 127.0.0.1:8080")
    return "", 0


def _loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback
