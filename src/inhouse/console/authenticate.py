"""Who is asking, on the admin listener: exactly one credential, of a form that a channel knows.

A channel is a kind of credential: API keys now. Whoever presents none, several, or one that no
channel knows is nobody. A cookie is no credential: a browser sends those of every port of a host.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from inhouse.domain import Principal
from inhouse.errors import Code, Refusal
from inhouse.identity.token import id_of

_SCHEME = b"bearer "
MOST_BYTES = 8192


class Channel(Protocol):
    """One kind of bearer credential. No waiting: what it checks against is in memory."""

    @property
    def name(self) -> str:
        """As tests and records call it: 'key'."""

    def knows(self, credential: bytes) -> bool:
        """Whether it is of this form; no two channels know the same one."""

    def check(self, credential: bytes, now: float) -> Principal | None:
        """Whom it stands for at `now`; None where it is not valid."""

    def claimed(self, credential: bytes) -> str | None:
        """Whose it says it is, where it was refused: for the record."""


class KeyChannel:
    """API keys, the same as on the clients' listener."""

    name = "key"

    def __init__(self, check: Callable[[bytes, float], Principal | None]) -> None:
        self._check = check

    def knows(self, credential: bytes) -> bool:
        return credential.startswith(b"ihk_")

    def check(self, credential: bytes, now: float) -> Principal | None:
        return self._check(credential, now)

    def claimed(self, credential: bytes) -> str | None:
        key_id = id_of(credential)
        return None if key_id is None else key_id.decode()


class NotKnown(Refusal):
    """401, and whose the credential said that it is."""

    def __init__(self, code: Code, sentence: str, claimed: str | None = None) -> None:
        super().__init__(code, 401, sentence)
        self.claimed = claimed


class Authenticator:
    """Finds the one credential of a request, and whom it stands for."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = tuple(channels)

    def check(self, fields: Mapping[bytes, bytes], now: float) -> Principal:
        """Who is asking. Raises NotKnown; the sentence does not say what was wrong."""
        credential = _bearer(fields)
        knowing = [channel for channel in self._channels if channel.knows(credential)]
        if len(knowing) == 1 and len(credential) <= MOST_BYTES:
            principal = knowing[0].check(credential, now)
            if principal is not None:
                return principal
            raise _invalid(knowing[0].claimed(credential))
        raise _invalid(None)


def _bearer(fields: Mapping[bytes, bytes]) -> bytes:
    authorization = fields.get(b"authorization")
    if authorization is None:
        raise NotKnown(
            Code.MISSING_CREDENTIAL,
            "a credential is needed: send 'Authorization: Bearer KEY'",
        )
    if b"x-api-key" in fields:
        raise NotKnown(
            Code.SEVERAL_CREDENTIALS,
            "'x-api-key' came beside 'Authorization'; the admin API takes 'Authorization' alone",
        )
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        raise NotKnown(
            Code.INVALID_CREDENTIAL, "the Authorization header is not of the form 'Bearer KEY'"
        )
    return authorization[len(_SCHEME) :].strip()


def _invalid(claimed: str | None) -> NotKnown:
    return NotKnown(
        Code.INVALID_CREDENTIAL, "the credential is unknown, expired or revoked", claimed
    )
