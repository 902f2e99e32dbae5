"""Whether a request that changes something comes from a page of ours, and not from another site
that the person has open too.

Two questions, both must be answered yes:

1. Where the browser says from what kind of site it comes (`Sec-Fetch-Site`), it is this one; where
   it names the origin, it is ours. Programs and old browsers say nothing.
2. It brings the proof of its session: an HMAC of the session's token, in a header or a form field,
   which only a page of ours can have read (double submit, bound to the session).

Why both: the first alone is silent in old browsers, and over plain HTTP, where nobody sends
`Sec-Fetch-Site`; the second alone falls where a proof leaks. SameSite=Lax stands before both, and
counts all hosts of one domain as one site, which they are not.

A credential that a browser does not send by itself (an API key, an access token) needs none of
this.
"""

from inhouse.identity.sessions import SessionRing

SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS"})
HEADER = "x-inhouse-csrf"
FIELD = "csrf"


def is_ours(
    method: bytes,
    fetch_site: bytes | None,
    origin: bytes | None,
    proof: bytes | None,
    *,
    console_url: str,
    token: bytes,
    ring: SessionRing,
) -> bool:
    """Whether to go on with a request that the session of `token` authenticates.

    `fetch_site` and `origin` are the headers of that name; None where they did not come."""
    if method in SAFE:
        return True
    if fetch_site is not None and fetch_site != b"same-origin":
        return False
    if origin is not None and origin != console_url.encode():
        return False
    return proof is not None and ring.proves(token, proof)
