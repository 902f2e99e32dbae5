"""A certificate authority of one's own, for a machine that has no company's behind it yet.

    DATA/tls/ca.pem, ca.key           made once, for ten years; ca.pem is what clients trust
    DATA/tls/server.pem, server.key   made anew when the names change or the end comes near

The authority is for servers' certificates, and may have no authority below it. Whoever has its
key can pass for any server towards those who trust it: it never leaves this directory.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from inhouse.errors import UsageError

CA_DAYS = 3650
SERVER_DAYS = 90
RENEW_DAYS = 30  # before its end, a server's certificate is made anew

LONGEST_NAME = 253  # RFC 1035 2.3.4
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_FOR_SERVERS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def ensure(
    directory: Path, listen_host: str, names: Sequence[str] = (), now: datetime | None = None
) -> tuple[Path, Path]:
    """The server's certificate and key, made where they are missing, end soon, or are for other
    names. Raises UsageError where the directory cannot be used."""
    now = now or datetime.now(UTC)
    certificate, key = directory / "server.pem", directory / "server.key"
    wanted = server_names(listen_host, names)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ca, ca_key = _load_or_make_ca(directory, now)
        if not _serves(certificate, key, ca, wanted, now):
            _make_server(directory, ca, ca_key, wanted, now)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{directory}: no certificate can be made there: {error}") from error
    return certificate, key


def authority(directory: Path) -> Path:
    """What clients must trust."""
    return directory / "ca.pem"


def fingerprint(certificate: Path) -> str:
    """SHA-256 of a certificate, as other programs print it."""
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    digest = loaded.fingerprint(hashes.SHA256()).hex().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def server_names(listen_host: str, more: Sequence[str] = ()) -> list[str]:
    """Under which names and addresses this machine is asked, as a certificate holds them."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn(), *more]
    if listen_host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        names.append(listen_host)
    return sorted({plain for name in names if (plain := _plain(name))})


def _plain(name: str) -> str:
    """A name or address in the one form in which they are compared; "" for what is neither."""
    try:
        return str(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        lowered = name.lower().rstrip(".")
        return lowered if len(lowered) <= LONGEST_NAME and _HOST.fullmatch(lowered) else ""


def _serves(
    certificate: Path, key: Path, ca: x509.Certificate, names: list[str], now: datetime
) -> bool:
    """Whether the pair is there, goes together, is of this authority and for these names."""
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        loaded_key = serialization.load_pem_private_key(key.read_bytes(), None)
        held = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        loaded.verify_directly_issued_by(ca)
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    there = {str(name.value) for name in held}
    ends_in = loaded.not_valid_after_utc - now
    together = loaded_key.public_key() == loaded.public_key()
    return together and there == set(names) and ends_in > timedelta(days=RENEW_DAYS)


def _make_server(
    directory: Path,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    names: list[str],
    now: datetime,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name("Inhouse"))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=SERVER_DAYS))
        .add_extension(x509.SubjectAlternativeName([_san(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(_FOR_SERVERS, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    _write(directory / "server.key", _pem(key))
    chain = _certificate_pem(certificate) + _certificate_pem(ca)
    _write(directory / "server.pem", chain)


def _load_or_make_ca(
    directory: Path, now: datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate, key = directory / "ca.pem", directory / "ca.key"
    if certificate.exists() and key.exists():
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{key} is not a key of ours")
        return x509.load_pem_x509_certificate(certificate.read_bytes()), loaded
    if certificate.exists() or key.exists():
        missing = key if certificate.exists() else certificate
        raise ValueError(
            f"{missing.name} is missing; restore it from backup, or remove its other half and let "
            "every client trust a new one"
        )
    made_key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Inhouse local authority, {socket.gethostname()}")
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(_FOR_SERVERS, critical=False)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(made_key.public_key()), critical=False
        )
        .sign(made_key, hashes.SHA256())
    )
    _write(certificate, _certificate_pem(made))
    _write(key, _pem(made_key))
    return made, made_key


def _usage(*, signs: bool) -> x509.KeyUsage:
    """What a key is for: a server's signs handshakes, an authority's signs certificates."""
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not signs,
        crl_sign=not signs,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _san(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes) -> None:
    """Put a file in its place whole, for its owner alone."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, data)
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
