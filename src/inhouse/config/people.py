"""The sections about people: who they are by the provider's word, how they come in, and who may do
what."""

from dataclasses import dataclass

from inhouse.config.key import key
from inhouse.config.secrets import Secret

SUBJECT_HEADERS = (
    "x-forwarded-user",
    "x-forwarded-preferred-username",
    "x-forwarded-email",
    "x-auth-request-user",
    "x-auth-request-preferred-username",
    "x-auth-request-email",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSection:
    """Who may do what: docs/access.md."""

    separate: list[str] = key(
        ["audit:read+grants:write", "audit:read+roles:write"],
        "pairs of permissions that nobody has together; who does by two grants, has neither",
    )
    breakglass_minutes: int = key(60, "longest life of a break-glass grant", least=1, most=1440)
    unseen_days: int = key(
        90, "after which a user counts as unseen, unless told otherwise", least=1, most=3650
    )
    review_separation: bool = key(
        True,
        "in an access review nobody decides on a grant that they hold or gave; as it stands when "
        "the review is opened",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSection:
    """Access tokens of an OpenID Connect provider, beside API keys. Off while `issuer` is empty."""

    issuer: str = key("", "the provider, exactly as 'iss' in its tokens says")
    audiences: list[str] = key([], "a token's 'aud' must name one of these; needed with an issuer")
    algorithms: list[str] = key(
        ["RS256", "PS256", "ES256", "EdDSA"], "signatures that are taken; never symmetric ones"
    )
    token_types: list[str] = key(
        ["at+jwt", "JWT", ""], "what the header's 'typ' may be; '' where it may be absent"
    )
    roles_claims: list[str] = key(
        ["roles"], "where roles are in a token: paths, as 'realm_access.roles'; all count"
    )
    groups_claims: list[str] = key(["groups"], "where groups are in a token; all count")
    scopes_claims: list[str] = key(["scope", "scp"], "where scopes are in a token; all count")
    name_claims: list[str] = key(
        ["name", "preferred_username"],
        "where a name to show is: the first that is there; it identifies nobody",
    )
    leeway_s: int = key(
        30, "how far the provider's clock and this one may differ", least=0, most=300
    )
    max_lifetime_s: int = key(
        86_400, "longest life of a token that is taken, from 'iat' to 'exp'", least=60, most=604_800
    )
    cached_tokens: int = key(10_000, "checked tokens that are remembered", least=0, most=1_000_000)
    cache_s: int = key(300, "how long a checked token is remembered", least=0, most=3600)
    jwks_url: str = key("", "where the provider's keys are; found by discovery when empty")
    ca_file: str = key(
        "", "PEM file of the authorities of the provider's certificate; the system's when empty"
    )
    fetch_timeout_s: float = key(5.0, "for each answer of the provider", least=0.1, most=60)
    key_wait_s: float = key(
        2.0, "for a request to wait for keys when its token's key is new", least=0, most=60
    )
    refresh_min_s: int = key(
        60,
        "least time between two fetches of the keys, whatever the provider says",
        least=1,
        most=86_400,
    )
    refresh_max_s: int = key(
        600, "most time between them, and where the provider says nothing", least=1, most=86_400
    )
    grace_s: int = key(
        60, "how long a key that the provider has withdrawn still counts", least=0, most=86_400
    )
    stale_s: int = key(
        14_400,
        "how long the last keys serve while the provider cannot be reached; then tokens are "
        "refused",
        least=1,
        most=604_800,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScimSection:
    """Persons and groups that the identity provider provisions: docs/scim.md. Not served yet."""

    subject: str = key(
        "externalId",
        "which attribute is the 'sub' of the person's tokens; decide before the first sync",
        choices=("externalId", "userName", "id"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSection:
    """Login of people at the provider of [oidc]. Off while `client_id` is empty. Not served
    yet."""

    client_id: str = key("", "what the provider calls the console; not that of [oidc] audiences")
    client_secret: Secret = key(Secret(""), "its secret there; empty for a public client")
    client_auth: str = key(
        "basic",
        "how the secret is sent: in the Authorization header, or in the form",
        choices=("basic", "post"),
    )
    console_url: str = key(
        "",
        "the console as browsers see it, https://HOST:PORT without a path; the provider must know "
        "console_url/login/callback",
    )
    scopes: list[str] = key(["openid", "profile"], "what is asked of the provider")
    authorization_url: str = key(
        "", "where browsers are sent; found by discovery, on the issuer's host, when empty"
    )
    token_url: str = key(
        "", "where codes are redeemed; found by discovery, on the issuer's host, when empty"
    )
    wait_minutes: int = key(10, "for a person to log in at the provider", least=1, most=60)
    idle_minutes: int = key(30, "without a request, after which a session ends", least=2, most=1440)
    absolute_hours: int = key(12, "after which a session ends in any case", least=1, most=720)
    sessions_per_person: int = key(
        8, "at once; the oldest one ends for one more", least=1, most=1000
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyLoginSection:
    """People whom a proxy in front has logged in, as oauth2-proxy does. Off while `listen` is
    empty: identity headers then mean nothing, as they mean nothing on every other listener. Not
    served yet."""

    listen: str = key("", "address and port for the authenticating proxy, and for nothing else")
    peers: list[str] = key([], "addresses or networks of the proxy; needed with `listen`")
    secret: Secret = key(
        Secret(""), "what the proxy must send as x-inhouse-proxy-secret; needed on loopback"
    )
    subject: str = key(
        "x-forwarded-user", "the header that says who it is", choices=SUBJECT_HEADERS
    )
    issuer: str = key(
        "", "the issuer of such identities; that of [oidc] only where the subject is its 'sub'"
    )
    access_token: str = key(
        "ignore",
        "x-forwarded-access-token: not looked at; or checked by [oidc], and believed in place of "
        "the other headers where it is there; or needed",
        choices=("ignore", "prefer", "require"),
    )
