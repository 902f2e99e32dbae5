"""The rules, as data: what is looked for, and what tells a match from a likeness.

Each rule carries examples that must and must not match; the tests run them. Patterns are RE2's:
linear in the text, whatever the text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of sensitive data. `valid` has the last word on a match."""

    id: str
    klass: str  # "secret", "payment" or "identity"
    pattern: str
    longest: int  # characters that the pattern can need: the hold-back of a stream
    must: tuple[str, ...]
    must_not: tuple[str, ...] = ()
    valid: Callable[[str], bool] = bool


def luhn(text: str) -> bool:
    """ISO/IEC 7812-1: the check digit of payment cards; and not one digit repeated."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def mod_97(text: str) -> bool:
    """ISO 13616: the check digits of an IBAN."""
    plain = re.sub(r"\s", "", text).upper()
    number = "".join(str(int(character, 36)) for character in plain[4:] + plain[:4])
    return int(number) % 97 == 1


def social_security(text: str) -> bool:
    """Numbers that the Social Security Administration can have given."""
    area, group, serial = re.split(r"[- ]", text)
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


RULES: tuple[Rule, ...] = (
    Rule(
        "private-key",
        "secret",
        r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----",
        64,
        (
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----",
            "-----BEGIN EC PRIVATE KEY-----",
            "-----BEGIN DSA PRIVATE KEY-----",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----",
        ),
        ("-----BEGIN PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----"),
    ),
    Rule(
        "payment-card",
        "payment",
        r"\b(?:\d[ -]?){12,18}\d\b",
        38,
        (
            "4111 1111 1111 1111",
            "5500-0000-0000-0004",
            "340000000000009",
            "6011000000000004",
            "3530111333300000",
            "30000000000004",
        ),
        ("4111 1111 1111 1112", "0000000000000000", "1234567890123456"),
        valid=luhn,
    ),
    Rule(
        "iban",
        "payment",
        r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
        42,
        ("DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "FR1420041010050500013M02606"),
        ("DE00 3704 0044 0532 0130 00", "GB82WEST12345698765431"),
        valid=mod_97,
    ),
    Rule(
        "us-ssn",
        "identity",
        r"\b\d{3}[- ]\d{2}[- ]\d{4}\b",
        11,
        ("219-09-9999", "078 05 1120"),
        ("000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000", "2026-11-2412"),
        valid=social_security,
    ),
    Rule(
        "aws-access-key",
        "secret",
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b",
        20,
        ("AKIAIOSFODNN7EXAMPLE",),
        ("AKIAIOSFODNN7EXAMPL", "akiaiosfodnn7example"),
    ),
    Rule(
        "github-token",
        "secret",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})\b",
        93,
        ("ghp_" + "a1B2" * 9, "github_pat_" + "A" * 22 + "_" + "b" * 59),
        ("ghp_short", "ghx_" + "a" * 36),
    ),
    Rule(
        "gitlab-token",
        "secret",
        r"\bglpat-[A-Za-z0-9_-]{20,64}\b",
        70,
        ("glpat-" + "aB3_" * 5,),
        ("glpat-short",),
    ),
    Rule(
        "slack-token",
        "secret",
        r"\bxox[abeoprs]-[A-Za-z0-9-]{10,120}",
        126,
        ("xoxb-" + "123456789012-abcdefABCDEF",),
        ("xoxz-123456789012", "xoxb-1"),
    ),
    Rule(
        "stripe-key",
        "secret",
        r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,120}\b",
        130,
        ("sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",),
        ("pk_live_" + "4eC39HqLyjWDarjtT1zdp7dc", "sk_live_x"),
    ),
    Rule(
        "google-api-key",
        "secret",
        r"\bAIza[A-Za-z0-9_-]{35}\b",
        39,
        ("AIza" + "SyA1b2C3d" * 3 + "e4F5g6H7",),
        ("AIzaShort",),
    ),
    Rule(
        "llm-provider-key",
        "secret",
        r"\bsk-(?:ant-|proj-|svcacct-)[A-Za-z0-9_-]{20,200}",
        212,
        ("sk-ant-" + "api03-AbCdEfGhIjKlMnOpQrSt", "sk-proj-" + "a1B2c3D4e5F6g7H8i9J0"),
        ("sk-ant-short", "task-projection-of-the-third-quarter"),
    ),
    Rule(
        "inhouse-key",
        "secret",
        r"\bihk_[0-9A-Za-z]{10}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}\b",
        65,
        ("ihk_" + "a" * 10 + "_" + "b" * 43 + "_" + "c" * 6,),
        ("ihk_abc",),
    ),
    Rule(
        "jwt",
        "secret",
        r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
        512,
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.dBjftJeZ4CVPmB92K27uhbUJU1p1r",),
        ("eyJhbGciOiJIUzI1NiJ9", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    ),
    Rule(
        "password-in-url",
        "secret",
        r"\b[a-z][a-z0-9+]{2,20}://[^\s/:@]{1,64}:[^\s/@]{3,64}@",
        156,
        ("postgres://app:s3cret@db.internal/app", "amqp://guest:guest@mq"),
        ("https://example.com:8443/a@b", "http://user@host/"),
    ),
)
"""Every rule of this release."""

LONGEST = max(rule.longest for rule in RULES)
