"""Why an access token, or who a proxy says it is, is refused: for its sender, the log and a metric.
No part of the token is in it."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    MALFORMED = "malformed"  # no compact JWS of one reading
    HEADER = "header"  # a member that asks for something else than a check with a known key
    ALGORITHM = "algorithm"
    KEY = "key"  # the provider has no such key
    SIGNATURE = "signature"
    CLAIMS = "claims"  # missing, of the wrong type, or too large
    ISSUER = "issuer"
    AUDIENCE = "audience"
    EXPIRED = "expired"
    TIMES = "times"  # not valid yet, or for too long
    KIND = "kind"  # an ID token, a refresh token, or one bound to its sender
    GROUPS = "groups"  # the groups are not in the token
    PROVIDER = "provider"  # the keys cannot be had: it may be good
    PEER = "peer"  # not the named proxy
    PROXY = "proxy"  # the named proxy, and not as it must speak


@dataclass(frozen=True, slots=True)
class Refused:
    """`retry_after_s` where the token may be good, and only the provider's keys are missing."""

    reason: Reason
    sentence: str
    retry_after_s: float | None = None
