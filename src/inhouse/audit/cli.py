"""`inhouse audit`: look at the log, search it, prove that nobody changed it."""

import dataclasses
import getpass
import json as json_module
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from inhouse.audit.read import Row
    from inhouse.config.schema import Config

app = typer.Typer(help="Look at the audit log, search it, verify it.", no_args_is_help=True)

ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="inhouse.toml")]
DataOption = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="data directory")]
JsonOption = Annotated[bool, typer.Option("--json", help="one JSON object per line")]

_AGO = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
FOLLOW_S = 0.5


@app.command()
def tail(
    config: ConfigOption = None,
    data: DataOption = None,
    count: Annotated[int, typer.Option("-n", min=0, help="how many requests")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on as they end")] = False,
    json: JsonOption = False,
) -> None:
    """The last requests, one line each."""
    from inhouse.audit.read import records, rows

    loaded = _opened(config, data, f"tail -n {count}")
    seen = list(rows(records(loaded.audit_directory)))
    for row in seen[-count:] if count else []:
        _show(row, json)
    if follow:
        _follow(loaded, {row.request_id for row in seen if row.outcome != "running"}, json)


@app.command()
def search(
    config: ConfigOption = None,
    data: DataOption = None,
    who: Annotated[str, typer.Option(help="part of the owner's name")] = "",
    model: Annotated[str, typer.Option(help="the model's name")] = "",
    outcome: Annotated[str, typer.Option(help="answered, denied, cancelled ...")] = "",
    request_id: Annotated[str, typer.Option("--id", help="the request's id")] = "",
    since: Annotated[str, typer.Option(help="2026-01-31, 2026-01-31T08:00, or 2h ago: 2h")] = "",
    until: Annotated[str, typer.Option(help="as --since")] = "",
    text: Annotated[str, typer.Option(help="the whole text that the user sent last")] = "",
    text_file: Annotated[
        Path | None, typer.Option("--text-file", metavar="FILE", help="the same, from a file")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="most requests shown")] = 1000,
    json: JsonOption = False,
) -> None:
    """Find requests. With --text, whoever has a prompt finds its record."""
    from inhouse.audit.read import Query, records, rows
    from inhouse.errors import NegativeAnswer

    loaded = _opened(config, data, "search")
    query = Query(
        who=who,
        model=model,
        outcome=outcome,
        request_id=request_id,
        fingerprint=_fingerprint(loaded, text, text_file),
        since=_moment(since, 0.0),
        until=_moment(until, float("inf")),
    )
    found = 0
    for row in rows(records(loaded.audit_directory)):
        if query.matches(row) and found < limit:
            found += 1
            _show(row, json)
    if not found:
        raise NegativeAnswer("no request matches")


@app.command()
def verify(
    config: ConfigOption = None,
    data: DataOption = None,
    directory: Annotated[
        Path | None, typer.Option("--directory", metavar="DIR", help="a copy of a log")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="its key: DATA/secrets/audit.key")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Prove that nothing was changed, added, taken away or left open. Exit 1 where it was."""
    from inhouse.audit.verify import verify as verify_log
    from inhouse.config.keyfile import read_existing
    from inhouse.config.load import load_config
    from inhouse.errors import NegativeAnswer, UsageError

    if (directory is None) != (key is None):
        raise UsageError("--directory and --key go together")
    if directory is None or key is None:
        loaded = load_config(config, data)
        directory = loaded.audit_directory
        key = loaded.secrets_directory / "audit.key"
    if not directory.is_dir():
        raise UsageError(f"there is no audit log in {directory}")
    began = time.monotonic()
    report = verify_log(directory, read_existing(key))
    if json:
        print(json_module.dumps({"good": report.good, **dataclasses.asdict(report)}))
    else:
        for finding in report.findings:
            print(finding)
        print(
            f"{report.records} records in {report.segments} segments, "
            f"{report.open_requests} requests running, {len(report.findings)} findings "
            f"({time.monotonic() - began:.1f} s)"
        )
    if not report.good:
        raise NegativeAnswer("the audit log does not verify")


def _opened(config: Path | None, data: Path | None, what: str) -> "Config":
    """The configuration of a log that is there; that it is read is a record of its own."""
    from inhouse.audit.log import append_once
    from inhouse.audit.record import Read
    from inhouse.config.load import load_config
    from inhouse.errors import UsageError

    loaded = load_config(config, data)
    if not loaded.audit_directory.is_dir():
        raise UsageError(f"there is no audit log in {loaded.audit_directory}")
    append_once(loaded, Read(time.time(), f"os:{getpass.getuser()}", what))
    return loaded


def _fingerprint(config: "Config", text: str, file: Path | None) -> str:
    from inhouse.audit.fingerprint import Fingerprinter
    from inhouse.config.keyfile import read_existing
    from inhouse.errors import UsageError

    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read as text: {error}") from error
    if not text:
        return ""
    return Fingerprinter(read_existing(config.secrets_directory / "fingerprint.key")).of_text(text)


def _moment(text: str, default: float) -> float:
    from inhouse.errors import UsageError

    if not text:
        return default
    ago = _AGO.fullmatch(text)
    if ago:
        return time.time() - int(ago.group(1)) * _SECONDS[ago.group(2)]
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"'{text}' is no time; write 2026-01-31, 2026-01-31T08:00 or 2h"
        ) from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _show(row: "Row", json: bool) -> None:
    from inhouse.audit.read import line

    print(json_module.dumps(dataclasses.asdict(row)) if json else line(row), flush=True)


def _follow(config: "Config", seen: set[str], json: bool) -> None:
    from inhouse.audit.read import records, rows

    while True:
        time.sleep(FOLLOW_S)
        for row in rows(records(config.audit_directory)):
            if row.request_id not in seen and row.outcome != "running":
                seen.add(row.request_id)
                _show(row, json)
