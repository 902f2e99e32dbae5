"""Web pages stay out, under whatever name they come; guessing is bounded; and it is recorded."""

from pathlib import Path

import pytest
from tests.console.harness import admin

from inhouse.audit.record import Denial
from inhouse.console.budget import Budget, source_of

OWN = [
    "localhost",
    "LOCALHOST:8081",
    "127.0.0.1",
    "127.0.0.1:9000",
    "127.8.8.8",
    "[::1]",
    "[::1]:8081",
    "ops.internal",
    "Ops.Internal:443",
]
FOREIGN = [
    "evil.example",
    "evil.example:8081",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1",
    "0.0.0.0",  # noqa: S104 - nothing is bound to it
    "[::]",
    "[fe80::1]",
    "169.254.169.254",
    "2130706433",
    "0x7f.1",
    "localhost.",
    "xlocalhost",
    "sub.ops.internal",
]
TOML = '[admin]\nnames = ["ops.internal"]\n'


async def test_only_its_own_names(tmp_path: Path) -> None:
    async with admin(tmp_path, toml=TOML) as started:
        for host in OWN:
            for path in ("/healthz", "/admin/v1/models"):
                fields = started.bearer("everybody") | {"host": host}
                answer = await started.wire().ask("GET", path, fields)
                assert answer.status == 200, (host, path)
        for host in FOREIGN:
            for path in ("/healthz", "/readyz", "/metrics", "/nothing"):
                answer = await started.wire().ask("GET", path, {"host": host})
                assert answer.status == 421, (host, path)
            fields = started.bearer("everybody") | {"host": host}
            answer = await started.wire().ask("GET", "/admin/v1/models", fields)
            assert (answer.status, answer.code) == (421, "wrong_host"), host
            assert host.encode() in answer.body
        denials = [r for r in started.records() if isinstance(r, Denial)]
        assert {r.code for r in denials} == {"wrong_host"}
        assert len(denials) == len(FOREIGN)


@pytest.mark.parametrize(
    "fields",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "whatever"},
        {"sec-fetch-site": "none, cross-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"origin": "http://localhost:8081.evil.example"},
        {"origin": "http://localhost:8081", "sec-fetch-site": "cross-site"},
    ],
)
async def test_another_origin_is_refused(tmp_path: Path, fields: dict[str, str]) -> None:
    async with admin(tmp_path) as started:
        own = started.bearer("everybody") | {"host": "localhost:8081"}
        for method in ("GET", "POST", "OPTIONS"):
            answer = await started.wire().ask(method, "/admin/v1/keys", own | fields)
            assert (answer.status, answer.code) == (403, "cross_site")
            assert not [n for n in answer.fields if n.startswith("access-control")]


@pytest.mark.parametrize(
    "fields",
    [
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin"},
        {"origin": "http://localhost:8081", "sec-fetch-site": "same-origin"},
        {"origin": "https://localhost:8081"},
    ],
)
async def test_its_own_origin_is_not(tmp_path: Path, fields: dict[str, str]) -> None:
    async with admin(tmp_path) as started:
        own = started.bearer("everybody") | {"host": "localhost:8081"}
        answer = await started.wire().ask("GET", "/admin/v1/keys", own | fields)
        assert answer.status == 200


async def test_guesses_are_bounded_and_keep_nobody_out(tmp_path: Path) -> None:
    async with admin(tmp_path, refusals_per_minute=5) as started:
        wire = started.wire()
        statuses = [
            (await wire.ask("GET", "/admin/v1/keys", {"authorization": f"Bearer guess{n}"})).status
            for n in range(20)
        ]
        assert statuses == [401] * 5 + [429] * 15
        right = await wire.ask("GET", "/admin/v1/keys", started.bearer("everybody"))
        assert right.status == 200
        denied = [
            await wire.ask("GET", "/admin/v1/keys", started.bearer("nobody")) for _ in range(7)
        ]
        assert [each.status for each in denied] == [403] * 5 + [429] * 2
        assert int(denied[-1].fields["retry-after"]) >= 1
        other = await wire.ask("GET", "/admin/v1/keys", started.bearer("service"))
        assert other.status == 403  # each has a budget of their own
        denials = [r for r in started.records() if isinstance(r, Denial)]
        assert [r.status for r in denials] == [401] * 5 + [403] * 6
        assert {r.route for r in denials if r.status == 403} == {"/admin/v1/keys"}
        assert denials[5].principal_name == "nobody"
        assert denials[0].address == "127.0.0.1"


async def test_a_refused_key_is_named_in_the_record(tmp_path: Path) -> None:
    async with admin(tmp_path) as started:
        secret = started.secrets["user"]
        altered = secret[:20] + ("a" if secret[20] != "a" else "b") + secret[21:]
        fields = {"authorization": f"Bearer {altered}"}
        await started.wire().ask("GET", "/admin/v1/keys", fields)
        (denial,) = [r for r in started.records() if isinstance(r, Denial)]
        assert denial.claimed_key == secret[4:14]


async def test_a_refusal_without_its_record_is_none(tmp_path: Path) -> None:
    async with admin(tmp_path) as started:
        started.api._audit.close()
        answer = await started.wire().ask("GET", "/admin/v1/keys")
        assert (answer.status, answer.code) == (503, "audit_unavailable")
        read = await started.wire().ask(
            "GET", "/admin/v1/audit/requests", started.bearer("everybody")
        )
        assert (read.status, read.code) == (503, "audit_unavailable")


def test_a_budget_comes_back_with_time_and_forgets_the_oldest() -> None:
    budget = Budget(60, sources=3)
    assert [budget.spend("a", 0.0) for _ in range(60)] == [0.0] * 60
    assert budget.spend("a", 0.0) == pytest.approx(1.0)
    assert budget.spend("a", 0.5) == pytest.approx(0.5)
    assert budget.spend("a", 1.1) == 0.0
    assert budget.withheld == 2
    for source in "bcde":
        budget.spend(source, 1.1)
    assert len(budget) == 3


def test_whose_budget() -> None:
    assert source_of("127.0.0.1") == source_of("127.5.5.5") == source_of("::1")
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1") != source_of("2001:db8:1::1")
    assert source_of("10.0.0.1") != source_of("10.0.0.2")
    assert source_of("nonsense") == "unknown"
