"""A provider's keys, as they are now, from where it publishes them.

No proxy of the environment, no redirect: keys come from the address that was configured, or that
the provider's own document names.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from inhouse.config.oidc import secure
from inhouse.config.schema import Config
from inhouse.identity.wire import NotFetched, Wire

WELL_KNOWN = "/.well-known/openid-configuration"
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A JWK set, and for how long the provider says that it is good."""

    document: dict[str, Any]
    max_age_s: int | None


class Provider:
    """Where one provider's keys are fetched from."""

    def __init__(self, config: Config) -> None:
        """Raises UsageError where the file of authorities is none."""
        oidc = config.settings.oidc
        self._issuer = oidc.issuer
        self._jwks_url = oidc.jwks_url
        self._wire = Wire(oidc.fetch_timeout_s, config.oidc_ca)

    def fetch(self) -> Fetched:
        """The keys as they are now. Raises NotFetched."""
        return self._get(self._jwks_url or self._discover())

    def _discover(self) -> str:
        document = self._get(self._issuer.rstrip("/") + WELL_KNOWN).document
        if document.get("issuer") != self._issuer:
            raise NotFetched(
                f"the provider calls itself {document.get('issuer')!a}, and oidc.issuer is "
                f"'{self._issuer}': they must be the same, to the last character"
            )
        url = document.get("jwks_uri")
        if type(url) is not str or not secure(url):
            raise NotFetched("the provider's document has no jwks_uri with https")
        if urlsplit(url).hostname != urlsplit(self._issuer).hostname:
            raise NotFetched(
                f"the provider's keys are at another host, {url!a}; where that is right, "
                "set oidc.jwks_url to it"
            )
        return url

    def _get(self, url: str) -> Fetched:
        answer = self._wire.get(url)
        if answer.status != HTTPStatus.OK:
            raise NotFetched(f"{url} answered {answer.status}; it must be 200")
        return Fetched(answer.document(), _max_age_s(answer.cache_control))


def _max_age_s(cache_control: str) -> int | None:
    """What `Cache-Control` allows, in seconds: 0 where it forbids to keep; None where it is
    silent."""
    if re.search(r"\bno-(?:store|cache)\b", cache_control, re.IGNORECASE):
        return 0
    match = _MAX_AGE.search(cache_control)
    return int(match.group(1)) if match else None
