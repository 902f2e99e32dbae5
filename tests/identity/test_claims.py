"""What a signed token must say, and what three providers say where."""

from typing import Any

import pytest
from tests.identity.checking import checked, of, refusal
from tests.identity.minting import AUDIENCE, ISSUER, NOW, good, signer

from inhouse.identity.claims import Identity
from inhouse.identity.refused import Reason

KEY = signer("rsa", "RS256")
HUGE = 10**19


async def identity(
    claims: dict[str, Any], *, typ: str | None = "at+jwt", **config: Any
) -> Identity:
    without = () if typ is not None else ("typ",)
    token = KEY.token(claims, without=without, **({"typ": typ} if typ is not None else {}))
    found = await checked(token, of(KEY), **config)
    assert isinstance(found, Identity), found
    return found


async def why(claims: object, *, typ: Any = "at+jwt", **config: Any) -> Reason | None:
    return await refusal(KEY.token(claims, typ=typ), of(KEY), **config)


async def test_whose_a_token_is() -> None:
    claims = good(name="Anna A", email="anna@example.test", roles=["user"], groups=["research"])
    assert await identity(claims) == Identity(
        issuer=ISSUER,
        subject="u-100",
        name="Anna A",
        client="portal",
        roles=frozenset({"user"}),
        groups=frozenset({"research"}),
        scopes=frozenset({"chat", "embeddings"}),
        expires=int(NOW) + 300,
        token_id="t-1",
    )


async def test_an_address_identifies_nobody() -> None:
    mine = await identity(good(sub="u-1", email="boss@example.test", preferred_username="boss"))
    boss = await identity(good(sub="u-2", email="boss@example.test", preferred_username="boss"))
    assert (mine.issuer, mine.subject) != (boss.issuer, boss.subject)
    assert "boss@example.test" not in repr(mine)


@pytest.mark.parametrize(
    "issuer",
    [
        ISSUER + "/",
        ISSUER.upper(),
        ISSUER.replace("https", "http"),
        ISSUER + "?",
        ISSUER[:-1],
        " " + ISSUER,
        ISSUER.replace("example", "еxample"),  # a Cyrillic letter
        "",
        None,
        [ISSUER],
        {"iss": ISSUER},
    ],
)
async def test_the_issuer_is_exact(issuer: Any) -> None:
    assert await why(good() | {"iss": issuer}) is Reason.ISSUER
    assert await why(good(iss=None)) is Reason.ISSUER


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["account", AUDIENCE], "api://second"])
async def test_one_of_the_audiences_is_enough(audience: Any) -> None:
    assert await why(good(aud=audience), audiences=[AUDIENCE, "api://second"]) is None


@pytest.mark.parametrize(
    "audience",
    [
        "other",
        ["other"],
        [],
        "",
        AUDIENCE + " ",
        AUDIENCE.upper(),
        f"{AUDIENCE},other",
        f"{AUDIENCE} other",
        {AUDIENCE: True},
        [[AUDIENCE]],
        [AUDIENCE, 1],
        True,
        None,
        ["x"] * 1001 + [AUDIENCE],
    ],
    ids=lambda audience: str(audience)[:30],
)
async def test_other_audiences_are_not(audience: Any) -> None:
    assert await why(good() | {"aud": audience}) is Reason.AUDIENCE
    assert await why(good(aud=None)) is Reason.AUDIENCE


NUMBERS = [
    "1800000300", 1800000300.0, 1.8e9, True, None, [], {}, 0, -1, HUGE, 253_402_300_800, 1e300,
]  # fmt: skip


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
async def test_a_time_is_a_whole_number_of_seconds(name: str, value: Any) -> None:
    assert await why(good() | {name: value}) is Reason.CLAIMS


async def test_expiry_and_issue_are_needed() -> None:
    assert await why(good(exp=None)) is Reason.CLAIMS
    assert await why(good(iat=None)) is Reason.CLAIMS


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"exp": -29}, None),
        ({"exp": -30}, Reason.EXPIRED),
        ({"iat": 30}, None),
        ({"iat": 31}, Reason.TIMES),
        ({"nbf": 30}, None),
        ({"nbf": 31}, Reason.TIMES),
        ({"nbf": -10, "iat": 31}, Reason.TIMES),
        ({"iat": -86_100}, None),
        ({"iat": -86_101}, Reason.TIMES),
        ({"iat": 20, "exp": 20}, Reason.TIMES),
        ({"iat": 20, "exp": 10}, Reason.TIMES),
        ({"exp": 86_400}, Reason.TIMES),
    ],
    ids=str,
)
async def test_times_have_a_leeway_and_a_longest_life(
    changes: dict[str, int], expected: Reason | None
) -> None:
    """A good token is ten seconds old and ends in 300."""
    at = {name: int(NOW) + offset for name, offset in changes.items()}
    if "exp" in changes and changes["exp"] < 0:
        at["iat"] = int(NOW) - 100
    assert await why(good() | at) is expected


@pytest.mark.parametrize(
    "subject", ["", None, 1, ["u-1"], True, "x" * 257, "a\nb", "a\0", "\ud800"]
)
async def test_a_subject_is_needed(subject: Any) -> None:
    assert await why(good() | {"sub": subject}) is Reason.CLAIMS
    assert await why(good(sub=None)) is Reason.CLAIMS


# Access tokens, and what are none


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", "jwt", ""])
async def test_types_of_access_tokens(typ: str) -> None:
    assert await why(good(), typ=typ) is None


@pytest.mark.parametrize(
    "typ",
    ["id_token+jwt", "dpop+jwt", "logout+jwt", "secevent+jwt", "JOSE", "at+jwt ", "JWE", None, 1,
     "application/jwt2", ["at+jwt"], "ＪＷＴ"],
)  # fmt: skip
async def test_other_types(typ: Any) -> None:
    assert await why(good(), typ=typ) is Reason.KIND


async def test_a_type_can_be_demanded() -> None:
    assert await why(good(), typ="JWT", token_types=["at+jwt"]) is Reason.KIND
    assert await why(good(), token_types=["at+jwt"]) is None
    assert await refusal(KEY.token(good(), without=("typ",)), of(KEY), token_types=["JWT"]) is (
        Reason.KIND
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"at_hash": "x"},
        {"c_hash": "x"},
        {"s_hash": "x"},
        {"nonce": "n"},
        {"typ": "ID"},  # Keycloak
        {"typ": "Refresh"},
        {"typ": "Logout"},
        {"typ": None},
        {"typ": ["Bearer"]},
        {"token_use": "id"},  # Cognito
        {"token_use": None},
        {"scope": None, "client_id": None},  # nothing that an ID token has not
        {"scope": None, "client_id": None, "azp": "portal"},  # Google's has this
        {"cnf": {"jkt": "x"}},  # good for the owner of a key, which nobody has asked for
    ],
    ids=str,
)
async def test_what_is_no_access_token(changes: dict[str, Any]) -> None:
    claims = good()
    for name, value in changes.items():
        if value is None and name in claims:
            del claims[name]
        else:
            claims[name] = value
    assert await why(claims, typ="JWT") is Reason.KIND


async def test_a_nonce_does_not_unmake_what_says_that_it_is_an_access_token() -> None:
    """Keycloak put it into access tokens until its release 24."""
    assert await why(good(nonce="n", typ="Bearer"), typ="JWT") is None
    assert await why(good(nonce="n")) is None
    assert await why(good(nonce="n", typ="Bearer", at_hash="x"), typ="JWT") is Reason.KIND


# What providers send

KEYCLOAK = {
    "exp": int(NOW) + 300, "iat": int(NOW) - 1, "auth_time": int(NOW) - 1,
    "jti": "onrtac:1f0c9a4e", "iss": ISSUER, "aud": [AUDIENCE, "account"],
    "sub": "9c5b5c2e-3f0a-4f8e-8f3e-2f1f4c3b2a10", "typ": "Bearer", "azp": "portal",
    "sid": "a3", "acr": "1", "allowed-origins": ["https://portal.example.test"],
    "realm_access": {"roles": ["offline_access", "llm-user"]},
    "resource_access": {
        "account": {"roles": ["view-profile"]}, "my.app": {"roles": ["llm-admin"]},
    },
    "scope": "openid email profile", "email_verified": True, "name": "Anna A",
    "groups": ["/research", "/research/nlp"], "preferred_username": "anna",
    "given_name": "Anna", "family_name": "A", "email": "anna@example.test",
}  # fmt: skip


async def test_keycloak() -> None:
    found = await identity(
        KEYCLOAK,
        typ="JWT",
        roles_claims=["realm_access.roles", 'resource_access."my.app".roles'],
    )
    assert found.subject == KEYCLOAK["sub"]
    assert found.roles == {"offline_access", "llm-user", "llm-admin"}
    assert found.groups == {"/research", "/research/nlp"}
    assert found.scopes == {"openid", "email", "profile"}
    assert (found.name, found.client, found.token_id) == ("Anna A", "portal", "onrtac:1f0c9a4e")


async def test_keycloak_s_service_account() -> None:
    claims = KEYCLOAK | {"preferred_username": "service-account-batch", "azp": "batch"}
    del claims["name"], claims["groups"]
    found = await identity(claims, typ="JWT", roles_claims=["realm_access.roles"])
    assert (found.name, found.groups) == ("service-account-batch", frozenset())


async def test_keycloak_s_id_token() -> None:
    claims = KEYCLOAK | {"typ": "ID", "aud": AUDIENCE, "at_hash": "x", "nonce": "n"}
    assert await why(claims, typ="JWT") is Reason.KIND
    assert await why(KEYCLOAK | {"typ": "Refresh"}, typ="JWT") is Reason.KIND


TENANT = "8a1b6c3e-1111-2222-3333-444455556666"
ENTRA_2 = {
    "aud": "2d4d11a2-f814-46a7-890a-274a72a7309e",
    "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0",
    "iat": int(NOW) - 300, "nbf": int(NOW) - 300, "exp": int(NOW) + 4000, "aio": "AXQAi/8IAAAA",
    "azp": "0b0f4a5e-7777", "azpacr": "1", "name": "Anna A", "oid": "690222be",
    "preferred_username": "anna@example.test", "rh": "0.AX", "scp": "Chat.Use Embeddings.Use",
    "roles": ["Llm.User"], "groups": ["5f1c0d9e-aaaa", "5f1c0d9e-bbbb"],
    "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", "tid": TENANT, "uti": "fqiBqXLPj0",
    "ver": "2.0",
}  # fmt: skip
ENTRA = {"issuer": ENTRA_2["iss"], "audiences": [ENTRA_2["aud"]]}


async def test_entra_id() -> None:
    found = await identity(ENTRA_2, typ="JWT", **ENTRA)
    assert found.subject == ENTRA_2["sub"]
    assert found.roles == {"Llm.User"}
    assert found.groups == {"5f1c0d9e-aaaa", "5f1c0d9e-bbbb"}
    assert found.scopes == {"Chat.Use", "Embeddings.Use"}
    assert (found.client, found.token_id) == ("0b0f4a5e-7777", "fqiBqXLPj0")


async def test_entra_id_for_an_application_alone() -> None:
    claims = {
        name: value for name, value in ENTRA_2.items() if name not in ("scp", "name", "groups")
    }
    del claims["preferred_username"]
    found = await identity(claims | {"sub": "690222be", "idtyp": "app"}, typ="JWT", **ENTRA)
    assert (found.name, found.roles) == ("0b0f4a5e-7777", frozenset({"Llm.User"}))


async def test_entra_id_version_1() -> None:
    issuer = f"https://sts.windows.net/{TENANT}/"
    claims = {name: value for name, value in ENTRA_2.items() if not name.startswith("azp")}
    claims |= {
        "iss": issuer,
        "aud": "api://inhouse",
        "ver": "1.0",
        "appid": "0b0f",
        "appidacr": "1",
    }
    found = await identity(claims, typ="JWT", issuer=issuer, audiences=["api://inhouse"])
    assert (found.issuer, found.client) == (issuer, "0b0f")
    assert await why(claims, typ="JWT", **ENTRA) is Reason.ISSUER


async def test_entra_id_s_id_token() -> None:
    """It has the same audience where the application calls itself."""
    of_access = ("scp", "azp", "azpacr", "roles")
    claims = {name: value for name, value in ENTRA_2.items() if name not in of_access}
    assert await why(claims, typ="JWT", **ENTRA) is Reason.KIND
    assert await why(claims | {"nonce": "n", "scp": "x"}, typ="JWT", **ENTRA) is Reason.KIND


@pytest.mark.parametrize(
    "overage",
    [
        {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://g"}}},
        {"hasgroups": True},
    ],
    ids=str,
)
async def test_groups_that_are_elsewhere_are_said_to_be(overage: dict[str, Any]) -> None:
    claims = {name: value for name, value in ENTRA_2.items() if name != "groups"} | overage
    assert await why(claims, typ="JWT", **ENTRA) is Reason.GROUPS
    found = await identity(claims, typ="JWT", groups_claims=[], **ENTRA)
    assert (found.groups, found.roles) == (frozenset(), frozenset({"Llm.User"}))


OKTA = {
    "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
    "iss": "https://example.okta.test/oauth2/default", "aud": "api://default",
    "iat": int(NOW) - 5, "exp": int(NOW) + 3600, "cid": "0oabv6kx4qq6h1U5l0h7",
    "uid": "00ujmkLgagxeRrAg20g3", "scp": ["openid", "chat"], "auth_time": int(NOW) - 5,
    "sub": "anna@example.test", "groups": ["Everyone", "Research"],
}  # fmt: skip


async def test_okta() -> None:
    """Its header has no typ."""
    config = {"issuer": OKTA["iss"], "audiences": [OKTA["aud"]]}
    found = await identity(OKTA, typ=None, **config)
    assert found.groups == {"Everyone", "Research"}
    assert found.scopes == {"openid", "chat"}
    assert (found.client, found.name) == ("0oabv6kx4qq6h1U5l0h7", "0oabv6kx4qq6h1U5l0h7")
    id_token = {"iss": OKTA["iss"], "aud": OKTA["aud"], "sub": "00u", "ver": 1, "jti": "ID.x",
                "iat": OKTA["iat"], "exp": OKTA["exp"], "at_hash": "x", "amr": ["pwd"]}  # fmt: skip
    assert await refusal(KEY.token(id_token, without=("typ",)), of(KEY), **config) is Reason.KIND


async def test_a_claim_that_is_named_by_an_address() -> None:
    found = await identity(
        good(**{"https://example.test/roles": ["user"]}),
        roles_claims=['"https://example.test/roles"'],
    )
    assert found.roles == {"user"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", "b"], {"a", "b"}),
        ("a b", {"a b"}),
        ("", set()),
        ([], set()),
        (None, set()),
    ],
    ids=str,
)
async def test_roles_are_a_list_or_one_text(value: Any, expected: set[str]) -> None:
    found = await identity(good() | {"roles": value})
    assert found.roles == expected


@pytest.mark.parametrize(
    "value",
    [1, True, {"a": 1}, ["a", 1], ["a", ["b"]], [""], ["a\n"], ["x" * 257], [None], ["\u202ea"],
     [f"r{n}" for n in range(1001)]],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
@pytest.mark.parametrize("name", ["roles", "groups", "scope"])
async def test_what_is_no_list_of_texts_is_refused(name: str, value: Any) -> None:
    assert await why(good() | {name: value}) is Reason.CLAIMS


async def test_a_path_that_leads_nowhere_finds_nothing() -> None:
    values: list[Any] = ["x", ["roles"], 1, None, {"other": []}]
    for value in values:
        found = await identity(
            good() | {"realm_access": value}, roles_claims=["realm_access.roles"]
        )
        assert found.roles == frozenset()


async def test_a_name_is_made_fit_to_be_shown() -> None:
    found = await identity(good(name="A\nB\x1b[31m\u202e" + "x" * 300))
    assert found.name.startswith("AB[31mxxx")
    assert found.name.isprintable()
    assert len(found.name) <= 256
    nameless = await identity(good(name=["x"], preferred_username="", client_id=None))
    assert nameless.name == nameless.subject
