"""Sessions: made, checked, idle, rotated, ended everywhere; cookies; requests from other sites."""

import re
import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from inhouse.config.people import LoginSection
from inhouse.config.schema import Config
from inhouse.identity import csrf
from inhouse.identity.claims import Identity
from inhouse.identity.cookies import Cookies, one_of
from inhouse.identity.sessions import OWN_CHANGE_S, Begun, SessionRing, Sessions
from inhouse.store import sessions as store
from inhouse.store.database import Database, database_at
from inhouse.store.tables import metadata
from inhouse.store.tables import sessions as table

PEPPER = bytes(range(32))
START = 1_800_000_000.0
CONSOLE = "https://inhouse.example.com"
NONE: frozenset[str] = frozenset()


def person(subject: str = "u-1", groups: frozenset[str] = NONE) -> Identity:
    return Identity("https://idp", subject, "Anna", "console", NONE, groups, NONE, 0, "")


class Node:
    """One process: its sessions, and the clock that it goes by."""

    def __init__(self, database: Database, login: LoginSection | None = None) -> None:
        self.now = START
        self.database = database
        self.sessions = Sessions(login or LoginSection(), database, PEPPER, clock=lambda: self.now)
        self.ring = self.sessions.ring

    def follow(self) -> None:
        with self.database.viewing() as (connection, _):
            self.sessions.follow(connection)

    def live(self, begun: Begun) -> bool:
        return self.ring.check(secret(begun), self.now) is not None


def secret(begun: Begun) -> bytes:
    return begun.token.reveal().encode()


@pytest.fixture
def database(config: Config) -> Iterator[Database]:
    opened = database_at(config.database)
    opened.open(make=True)
    yield opened
    opened.close()


@pytest.fixture
def node(database: Database) -> Node:
    return Node(database)


def test_whose_it_is(node: Node) -> None:
    begun = node.sessions.begin(person(groups=frozenset({"research", "ops"})), "sid-1")
    assert begun.token.reveal() not in repr(begun)
    assert re.fullmatch(r"ihs_[A-Za-z0-9_-]{43}", begun.token.reveal())
    found = node.ring.check(secret(begun), START)
    assert found is not None
    assert (found.issuer, found.subject, found.name) == ("https://idp", "u-1", "Anna")
    assert found.groups == {"ops", "research"}
    assert found.id == begun.id


def test_the_token_is_not_in_the_store(node: Node, database: Database) -> None:
    begun = node.sessions.begin(person())
    with database.reading() as connection:
        row = connection.execute(sa.select(table)).one()
    assert not any(
        secret(begun)[4:] in (value if isinstance(value, bytes) else str(value).encode())
        for value in row
    )
    assert row.digest == node.ring.digest(secret(begun))
    assert SessionRing(bytes(32)).digest(secret(begun)) != row.digest


def test_the_migration_makes_what_the_code_knows(database: Database) -> None:
    with database.reading() as connection:
        found = {each["name"] for each in sa.inspect(connection).get_columns("sessions")}
    assert found == {column.name for column in metadata.tables["sessions"].columns}


@pytest.mark.parametrize(
    "presented", [None, b"", b"ihs_", b"ihs_" + b"a" * 43, b"ihs_" + b"\xff" * 43, b"x" * 100_000]
)
def test_what_is_no_session(node: Node, presented: bytes | None) -> None:
    node.sessions.begin(person())
    assert node.ring.check(presented, START) is None


def test_idle_and_absolute_limits(node: Node) -> None:
    begun = node.sessions.begin(person())
    node.now += 29 * 60
    assert node.live(begun)
    node.now += 29 * 60  # since it was seen
    assert node.live(begun)
    node.now += 30 * 60
    assert not node.live(begun)
    assert not node.live(begun)  # a refused look is no use of it
    other = node.sessions.begin(person())
    while node.now < START + (12 + 1) * 3600 - 1:
        seen = node.live(other)
        node.now += 600
    assert seen
    node.now = START + (12 * 60 + 88) * 60
    assert not node.live(other)


def test_a_session_that_was_presented_at_login_is_ended(node: Node) -> None:
    """Whoever's it was: what was put into somebody's browser before is worth nothing after."""
    planted = node.sessions.begin(person("mallory"))
    mine = node.sessions.begin(person("anna"), presented=secret(planted))
    assert not node.live(planted)
    assert node.live(mine)
    assert secret(mine) != secret(planted)
    node.follow()
    assert not node.live(planted)


def test_a_token_that_a_client_made_up_is_never_taken_over(node: Node) -> None:
    wanted = b"ihs_" + b"A" * 43
    begun = node.sessions.begin(person(), presented=wanted)
    assert secret(begun) != wanted
    assert node.ring.check(wanted, START) is None


def test_logout_of_one_and_of_all(node: Node) -> None:
    one, two = (node.sessions.begin(person()) for _ in range(2))
    other = node.sessions.begin(person("u-2"))
    assert node.sessions.end(secret(one)) == 1
    assert [node.live(each) for each in (one, two, other)] == [False, True, True]
    three = node.sessions.begin(person())
    assert node.sessions.end_all("https://idp", "u-1") == 2
    assert [node.live(each) for each in (two, three, other)] == [False, False, True]
    assert node.sessions.end_all("https://another", "u-2") == 0
    assert node.sessions.end(b"nonsense") == 0


def test_logout_that_the_provider_asks_for(node: Node) -> None:
    a, b = (node.sessions.begin(person(), sid) for sid in ("s1", "s2"))
    assert node.sessions.end_of_provider("https://another", "u-1", "s1") == 0
    assert node.sessions.end_of_provider("https://idp", "u-2", "s1") == 0
    assert node.sessions.end_of_provider("https://idp", "", "s1") == 1
    assert [node.live(each) for each in (a, b)] == [False, True]
    assert node.sessions.end_of_provider("https://idp", "u-1", "") == 1
    assert not node.live(b)


def test_every_process_follows(database: Database) -> None:
    here, there = Node(database), Node(database)
    begun = here.sessions.begin(person())
    there.follow()
    assert there.live(begun)
    here.sessions.end_all("https://idp", "u-1")
    there.follow()
    assert not there.live(begun)


def test_use_elsewhere_keeps_a_session(database: Database) -> None:
    here, there = Node(database), Node(database)
    begun = here.sessions.begin(person())
    there.follow()
    here.now = there.now = START + 20 * 60
    assert here.live(begun)
    here.sessions.note_use()
    there.sessions.note_use()
    here.now = there.now = START + 40 * 60
    assert there.live(begun)
    with database.reading() as connection:
        assert store.last_seen(connection, there.now) == {begun.id: START + 20 * 60}


def test_an_older_view_does_not_undo_what_was_done_here(node: Node, database: Database) -> None:
    ended = node.sessions.begin(person())
    with database.viewing() as (connection, _):
        begun: list[Begun] = []

        def change() -> None:
            node.sessions.end(secret(ended))
            begun.append(node.sessions.begin(person()))

        changing = threading.Thread(target=change)
        changing.start()
        changing.join(20)
        node.sessions.follow(connection)  # of before the change
    assert [node.live(each) for each in (ended, *begun)] == [False, True]
    node.sessions._changed = (10**9, -OWN_CHANGE_S)  # as after a restored backup, a while later
    node.follow()
    assert [node.live(each) for each in (ended, *begun)] == [False, True]
    with database.changing() as connection:
        connection.execute(sa.delete(table))
    node.follow()
    assert len(node.ring) == 0


def test_a_person_has_so_many_at_once(database: Database) -> None:
    node = Node(database, LoginSection(sessions_per_person=2))
    other = node.sessions.begin(person("u-2"))
    begun = []
    for _ in range(4):
        node.now += 1
        begun.append(node.sessions.begin(person()))
    assert [node.live(each) for each in begun] == [False, False, True, True]
    assert node.live(other)
    one = Node(database, LoginSection(sessions_per_person=1))
    one.now = node.now + 1
    last = one.sessions.begin(person())
    node.follow()
    assert [node.live(each) for each in (*begun, last)] == [False] * 4 + [True]


def test_what_is_over_is_forgotten(node: Node, database: Database) -> None:
    node.sessions.begin(person())
    node.now += 40 * 3600
    last = node.sessions.begin(person())
    with database.reading() as connection:
        assert connection.execute(sa.select(table.c.id)).scalars().all() == [last.id]


def test_a_row_of_nonsense_is_left_out(
    node: Node, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = node.sessions.begin(person()), node.sessions.begin(person())
    with database.changing() as connection:
        connection.execute(sa.update(table).where(table.c.id == bad.id).values(groups="{"))
    node.follow()
    assert [node.live(each) for each in (bad, good)] == [False, True]
    assert "makes no sense" in caplog.text


def test_cookies_over_tls_and_on_loopback() -> None:
    secure, plain = Cookies.of(CONSOLE), Cookies.of("http://127.0.0.1:8081")
    assert secure.session("t", 60).header() == (
        "__Host-inhouse=t; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax"
    )
    assert plain.session("t", 60).header() == (
        "inhouse=t; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"
    )
    assert secure.no_login().header().startswith("__Host-inhouse-login=; Path=/; Max-Age=0;")
    assert "ihs_" not in repr(secure.session("ihs_x", 1))
    assert secure.session_in(b"a=b; __Host-inhouse=t") == b"t"
    assert secure.session_in(b"inhouse=t") is None
    assert secure.login_in(b"__Host-inhouse=t") is None


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"c",
        b"c=",
        b"c=a; c=b",
        b"c=a;c=a",
        b'c="a"',
        b"c=a b",
        b"c=" + b"a" * 3000,
        b"C=a",
    ],
)
def test_what_is_no_cookie(header: bytes | None) -> None:
    assert one_of(header, "c") is None


@pytest.mark.parametrize(
    ("method", "site", "origin", "change", "good"),
    [
        (b"GET", b"cross-site", b"https://evil.example", "none", True),
        (b"POST", b"same-origin", CONSOLE.encode(), "", True),
        (b"POST", None, None, "", True),
        (b"POST", None, None, "none", False),
        (b"POST", b"same-origin", None, "none", False),
        (b"POST", b"same-site", None, "", False),
        (b"POST", b"cross-site", None, "", False),
        (b"POST", None, b"https://evil.example", "", False),
        (b"POST", None, b"null", "", False),
        (b"DELETE", b"same-origin", None, "another's", False),
        (b"post", b"same-origin", None, "none", False),
    ],
)
def test_requests_from_elsewhere(
    node: Node, method: bytes, site: bytes | None, origin: bytes | None, change: str, good: bool
) -> None:
    mine, other = node.sessions.begin(person()), node.sessions.begin(person("u-2"))
    of = other if change == "another's" else mine
    proof = None if change == "none" else node.ring.proof(secret(of)).encode()
    found = csrf.is_ours(
        method, site, origin, proof, console_url=CONSOLE, token=secret(mine), ring=node.ring
    )
    assert found is good
