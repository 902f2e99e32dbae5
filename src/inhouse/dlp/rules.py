"""The rules, as data: what is looked for, and what tells a match from a likeness.

Each rule carries examples that must and must not match; the tests run them. Patterns are RE2's:
linear in the text, whatever the text.

A pattern says as little as proves the case: of a token that may be long, its prefix and the
shortest rest. So an answer that brings one, piece by piece, is stopped at the earliest.

`begun` is what a match looks like before it is complete. An answer's text goes out up to where
something has begun, so it must cover every beginning of a match, and the match itself; no pattern
and no `begun` goes across the end of a line. No match is longer than LONGEST, so a `begun` need not
count: what began before that is none. The tests hold all of them to it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from inhouse.dlp.accounts import CARD, IBAN, card, iban


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of sensitive data. `valid` has the last word on a match: how many characters of it,
    from its first, are the real thing; 0 for none."""

    id: str
    klass: str  # "secret", "payment" or "identity"
    pattern: str
    begun: str
    must: tuple[str, ...]
    must_not: tuple[str, ...] = ()
    valid: Callable[[str], int] = len


LONGEST = 1024
"""Bytes of the longest match: a JSON web token's, up to where it is known to be one."""


def after(head: str, rest: str) -> str:
    """`head` as far as it was said, and then `rest`: after("ab", "c*") is "a(?:b(?:c*)?)?"."""
    for character in reversed(head):
        rest = f"{re.escape(character)}(?:{rest})?"
    return rest


RULES: tuple[Rule, ...] = (
    Rule(
        "private-key",
        "secret",
        r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----",
        after("-----BEGIN ", r"[A-Z0-9 ]{0,80}-{0,5}"),
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
        CARD,
        r"\b[2-6](?:[ -]?\d){0,18}[ -]?",
        (
            "4111 1111 1111 1111",
            "5500-0000-0000-0004",
            "340000000000009",
            "6011000000000004",
            "3530111333300000",
            "30000000000004",
            "4111 1111 1111 1111 12/27",
            "4111111111111111 123",
            "2024 4111 1111 1111 1111",
            "1 4111111111111111",
        ),
        ("4111 1111 1111 1112", "0000000000000000", "1234567890123456", "4444444444444444"),
        valid=card,
    ),
    Rule(
        "iban",
        "payment",
        IBAN,
        r"\b[A-Z](?:[A-Z](?:\d(?:\d(?: ?[A-Z0-9]){0,30} ?)?)?)?",
        (
            "DE89 3704 0044 0532 0130 00",
            "GB82WEST12345698765432",
            "FR1420041010050500013M02606",
            "BE68 5390 0754 7034 BIC GKCC BE BB",
            "BE68 5390 0754 7034 EUR 500",
            "NL91 ABNA 0417 1643 00 EUR",
        ),
        ("DE00 3704 0044 0532 0130 00", "GB82WEST12345698765431", "BE68 5390 0754 7035 EUR"),
        valid=iban,
    ),
    Rule(
        "us-ssn",
        "identity",
        # Those that the Social Security Administration can have given.
        r"\b(?:00[1-9]|0[1-9]\d|[1-578]\d\d|6[0-57-9]\d|66[0-57-9])[- ]"
        r"(?:0[1-9]|[1-9]\d)[- ](?:000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})\b",
        r"\b\d{1,3}(?:[- ](?:\d{1,2}(?:[- ]\d{0,4})?)?)?",
        ("219-09-9999", "078 05 1120"),
        ("000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000", "2026-11-2412"),
    ),
    Rule(
        "aws-access-key",
        "secret",
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b",
        r"\bA(?:[KSBC](?:[IC](?:A[A-Z2-7]{0,16})?)?)?",
        ("AKIAIOSFODNN7EXAMPLE",),
        ("AKIAIOSFODNN7EXAMPL", "akiaiosfodnn7example"),
    ),
    Rule(
        "github-token",
        "secret",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})\b",
        rf"\b(?:{after('gh', '[pousr](?:_[A-Za-z0-9]{0,36})?')}"
        rf"|{after('github_pat_', '[A-Za-z0-9_]{0,82}')})",
        ("ghp_" + "a1B2" * 9, "github_pat_" + "A" * 22 + "_" + "b" * 59),
        ("ghp_short", "ghx_" + "a" * 36),
    ),
    Rule(
        "gitlab-token",
        "secret",
        r"\bglpat-[A-Za-z0-9_-]{20}",
        r"\b" + after("glpat-", "[A-Za-z0-9_-]{0,20}"),
        ("glpat-" + "aB3_" * 5,),
        ("glpat-short",),
    ),
    Rule(
        "slack-token",
        "secret",
        r"\bxox[abeoprs]-[A-Za-z0-9-]{10}",
        r"\b" + after("xox", "[abeoprs](?:-[A-Za-z0-9-]{0,10})?"),
        ("xoxb-" + "123456789012-abcdefABCDEF",),
        ("xoxz-123456789012", "xoxb-1"),
    ),
    Rule(
        "stripe-key",
        "secret",
        r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16}",
        r"\b[sr](?:k(?:_(?:[a-z]{0,4}|(?:live|test)_[A-Za-z0-9]{0,16}))?)?",
        ("sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",),
        ("pk_live_" + "4eC39HqLyjWDarjtT1zdp7dc", "sk_live_x"),
    ),
    Rule(
        "google-api-key",
        "secret",
        r"\bAIza[A-Za-z0-9_-]{35}\b",
        r"\b" + after("AIza", "[A-Za-z0-9_-]{0,35}"),
        ("AIza" + "SyA1b2C3d" * 3 + "e4F5g6H7",),
        ("AIzaShort",),
    ),
    Rule(
        "llm-provider-key",
        "secret",
        r"\bsk-(?:ant-|proj-|svcacct-)[A-Za-z0-9_-]{20}",
        r"\b" + after("sk-", "(?:[a-z]{0,7}|(?:ant|proj|svcacct)-[A-Za-z0-9_-]{0,20})"),
        ("sk-ant-" + "api03-AbCdEfGhIjKlMnOpQrSt", "sk-proj-" + "a1B2c3D4e5F6g7H8i9J0"),
        ("sk-ant-short", "task-projection-of-the-third-quarter"),
    ),
    Rule(
        "inhouse-key",
        "secret",
        r"\bihk_[0-9A-Za-z]{10}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}\b",
        r"\b" + after("ihk_", "[0-9A-Za-z_]{0,61}"),
        ("ihk_" + "a" * 10 + "_" + "b" * 43 + "_" + "c" * 6,),
        ("ihk_abc",),
    ),
    Rule(
        "jwt",
        "secret",
        r"\beyJ[A-Za-z0-9_-]{10,1000}\.eyJ[A-Za-z0-9_-]{10}",
        r"\b" + after("eyJ", r"[A-Za-z0-9_-]*(?:\.(?:e(?:y(?:J[A-Za-z0-9_-]{0,10})?)?)?)?"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.dBjftJeZ4CVPmB92K27uhbUJU1p1r",),
        ("eyJhbGciOiJIUzI1NiJ9", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    ),
    Rule(
        "password-in-url",
        "secret",
        # The scheme is no secret: only that there is one is looked at, and none is held back.
        r"\b://[^\s/:@]{0,64}:[^\s/@]{3,64}@",
        r"\b:(?:/(?:/[^\s/:@]{0,64}(?::[^\s/@]{0,64}@?)?)?)?",
        ("postgres://app:s3cret@db.internal/app", "amqp://guest:guest@mq", "redis://:s3cret@cache"),
        ("https://example.com:8443/a@b", "http://user@host/"),
    ),
)
"""Every rule of this release."""
