"""The two cookies of login, as data, and the strict reading of what a browser sends.

    __Host-inhouse         the session's token; until the session ends
    __Host-inhouse-login   the half of a login that stays in this browser; for minutes

`__Host-` makes browsers refuse the cookie unless it is Secure, of this very host and of all its
paths: no other host of the domain can set it, so no session can be put into somebody's browser
(fixation) by a neighbour. Secure cookies need TLS; a console on loopback speaks plain HTTP, where
some browsers would not keep them. So there the names have no `__Host-`, and the cookies no
`Secure`: nothing leaves the machine. Cookies know no ports, though: any other server on the same
loopback address is sent them by the browser.

SameSite=Lax: another site's form or script sends neither cookie; a link, and the provider's
redirect, do. `Strict` would lose the login cookie on the way back from the provider.
"""

import re
from dataclasses import dataclass

SESSION, LOGIN = "inhouse", "inhouse-login"
_VALUE = re.compile(rb"[A-Za-z0-9_.~-]{1,2048}")


@dataclass(frozen=True, slots=True)
class Cookie:
    """What to set. An empty value takes the cookie away."""

    name: str
    value: str
    secure: bool
    max_age_s: int

    def __repr__(self) -> str:
        return f"Cookie({self.name!r}, ***)"

    def header(self) -> str:
        """The value of `Set-Cookie`."""
        secure = "; Secure" if self.secure else ""
        return (
            f"{self.name}={self.value}; Path=/; Max-Age={self.max_age_s}{secure}; HttpOnly; "
            "SameSite=Lax"
        )


@dataclass(frozen=True, slots=True)
class Cookies:
    """The cookies of one console, which browsers reach over TLS or, on loopback, without."""

    secure: bool

    @classmethod
    def of(cls, console_url: str) -> "Cookies":
        return cls(console_url.startswith("https://"))

    def session(self, token: str, max_age_s: int) -> Cookie:
        return Cookie(self._name(SESSION), token, self.secure, max_age_s)

    def login(self, value: str, max_age_s: int) -> Cookie:
        return Cookie(self._name(LOGIN), value, self.secure, max_age_s)

    def no_session(self) -> Cookie:
        return self.session("", 0)

    def no_login(self) -> Cookie:
        return self.login("", 0)

    def session_in(self, header: bytes | None) -> bytes | None:
        """The session's token in a `Cookie` header."""
        return one_of(header, self._name(SESSION))

    def login_in(self, header: bytes | None) -> bytes | None:
        return one_of(header, self._name(LOGIN))

    def _name(self, name: str) -> str:
        return f"__Host-{name}" if self.secure else name


def one_of(header: bytes | None, name: str) -> bytes | None:
    """The value of the cookie of this name; None where there is none, where it is none of ours,
    or where there are two: one of them was put there by somebody else."""
    if header is None:
        return None
    values = []
    for pair in header.split(b";"):
        found, equals, value = pair.partition(b"=")
        if equals and found.strip(b" \t") == name.encode():
            values.append(value.strip(b" \t"))
    if len(values) != 1 or not _VALUE.fullmatch(values[0]):
        return None
    return values[0]
