"""The certificate of the clients' listener and its key: do they go together, and are they fit?

    missing, no PEM, encrypted, swapped, another key, at its end, read by others  ──► a fault
    at its end soon, or valid later only                                          ──► a note

A sentence that is a fault begins behind the name of the file that it is about.
"""

import os
import ssl
import stat
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from inhouse.config.paths import opened

SOON_DAYS = 14
MAX_BYTES = 1_048_576
_KEY = b"PRIVATE KEY-----"
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a pair cannot be used: the key of [tls] at fault, and what is wrong with its file."""

    key: str  # "tls.certificate" or "tls.key"
    sentence: str


@dataclass(frozen=True, slots=True)
class Examined:
    """What a pair of files comes to. Without faults it can be used."""

    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


class _Unfit(Exception):
    def __init__(self, key: str, sentence: str) -> None:
        self.fault = Fault(f"tls.{key}", sentence)


def examined(certificate: Path, key: Path, now: datetime) -> Examined:
    """Look at a pair of PEM files. `now` has a time zone."""
    faults: list[Fault] = []
    first: x509.Certificate | None = None
    try:
        chain = _certificates(certificate)
        first = chain[0]
        if first.not_valid_after_utc <= now:
            faults.append(
                Fault("tls.certificate", f"has ended, on {_day(first.not_valid_after_utc)}")
            )
    except _Unfit as unfit:
        faults.append(unfit.fault)
    try:
        public = _public_half(key)
        if first is not None and public != _spki(first):
            at = next((n for n, each in enumerate(chain, 1) if _spki(each) == public), None)
            sentence = (
                f"is the key of certificate {at} in {certificate}; that one must stand first"
                if at
                else f"is not the key of the certificate in {certificate}"
            )
            faults.append(Fault("tls.key", sentence))
    except _Unfit as unfit:
        faults.append(unfit.fault)
    if not faults:
        faults += _refused_by_openssl(certificate, key)
    notes = _times(certificate, first, now) if first is not None and not faults else ()
    return Examined(tuple(faults), notes)


def _certificates(path: Path) -> list[x509.Certificate]:
    content, _ = _content("certificate", path)
    if _CERTIFICATE not in content:
        if _KEY in content:
            raise _Unfit("certificate", "holds a key and no certificate: swapped with tls.key?")
        raise _Unfit("certificate", "holds no certificate in PEM, -----BEGIN CERTIFICATE-----")
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise _Unfit("certificate", "holds a certificate that cannot be read: is it whole?") from (
            error
        )


def _public_half(path: Path) -> bytes:
    content, mode = _content("key", path)
    if _KEY not in content:
        if _CERTIFICATE in content:
            raise _Unfit("key", "holds a certificate and no key: swapped with tls.certificate?")
        raise _Unfit("key", "holds no key in PEM, -----BEGIN PRIVATE KEY-----")
    if mode & 0o077:
        raise _Unfit("key", f"may be read by others (mode {mode:o}); run: chmod 600 {path}")
    if b"ENCRYPTED" in content:
        raise _Unfit(
            "key", f"is encrypted; decrypt it with: openssl pkey -in {path} -out {path}.plain"
        )
    try:
        loaded = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _Unfit("key", "holds a key that cannot be read: is it whole?") from error
    return loaded.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _content(key: str, path: Path) -> tuple[bytes, int]:
    """A file's bytes and mode."""
    try:
        with opened(path) as file:
            content = file.read(MAX_BYTES + 1) or b""
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise _Unfit(key, f"cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise _Unfit(key, f"is no PEM file: it is larger than {MAX_BYTES} bytes")
    return content, mode


def _spki(certificate: x509.Certificate) -> bytes:
    """Its public key, as bytes that can be compared; nothing where it is of no known kind."""
    try:
        return certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except (ValueError, UnsupportedAlgorithm):
        return b""


def _refused_by_openssl(certificate: Path, key: Path) -> list[Fault]:
    """What only the library finds that is to use them: a key that is too short for it."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, _no_password)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        return [Fault("tls.certificate", f"cannot be used with {key}: {reason}")]
    return []


def _no_password() -> bytes:
    """A key under a password would have OpenSSL ask for it on the terminal."""
    return b""


def _times(path: Path, first: x509.Certificate, now: datetime) -> tuple[str, ...]:
    end, begin = first.not_valid_after_utc, first.not_valid_before_utc
    if begin > now:
        return (f"the certificate in {path} is valid from {_day(begin)} only; clients refuse it",)
    if end - now <= timedelta(days=SOON_DAYS):
        return (f"the certificate in {path} ends on {_day(end)}; put a new pair in its place",)
    return ()


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
