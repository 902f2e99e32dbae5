"""`inhouse audit`: look at the log, search it, prove that nobody changed it."""

import contextlib
import dataclasses
import json as json_module
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inhouse.config.cli import ConfigOption, DataOption, JsonOption

if TYPE_CHECKING:
    from inhouse.audit.read import Row
    from inhouse.audit.tail import Position
    from inhouse.audit.verify import Report
    from inhouse.config.schema import Config

app = typer.Typer(help="Look at the audit log, search it, verify it.", no_args_is_help=True)

JsonLinesOption = Annotated[bool, typer.Option("--json", help="one JSON object per line")]
FOLLOW_S = 0.5
FINDINGS_SHOWN = 20


@app.command()
def tail(
    config: ConfigOption = None,
    data: DataOption = None,
    count: Annotated[int, typer.Option("-n", min=0, help="how many requests")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on as they end")] = False,
    json: JsonLinesOption = False,
) -> None:
    """The last requests, and changes of who may do what, one line each."""
    from inhouse.audit.tail import end_position, last_rows

    loaded = _opened(config, data, f"tail -n {count}{' -f' if follow else ''}")
    directory = loaded.audit_directory
    with _readable():
        end = end_position(directory)
        for row in last_rows(directory, count, end):
            _show(row, json)
        if follow:
            _follow(directory, end, json)


@app.command()
def search(
    config: ConfigOption = None,
    data: DataOption = None,
    who: Annotated[
        str, typer.Option(help="part of the user's or the actor's name, in any case")
    ] = "",
    model: Annotated[str, typer.Option(help="the model's name")] = "",
    outcome: Annotated[str, typer.Option(help="answered, denied, running ... or changed")] = "",
    request_id: Annotated[str, typer.Option("--id", help="the request's id")] = "",
    since: Annotated[str, typer.Option(help="2026-01-31, 2026-01-31T08:00, or 2h ago: 2h")] = "",
    until: Annotated[str, typer.Option(help="as --since")] = "",
    text: Annotated[str, typer.Option(help="the whole text that the user sent last")] = "",
    text_file: Annotated[
        Path | None, typer.Option("--text-file", metavar="FILE", help="the same, from a file")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="most requests shown, the newest")] = 1000,
    json: JsonLinesOption = False,
) -> None:
    """Find requests, and with --outcome changed who was given what. With --text, whoever has a
    prompt finds its record."""
    from inhouse.audit.read import Query, records, rows
    from inhouse.audit.verify import plural
    from inhouse.config.load import load_config
    from inhouse.errors import NegativeAnswer

    loaded = load_config(config, data)
    query = Query(
        who=who,
        model=model,
        outcome=_outcome(outcome),
        request_id=request_id,
        fingerprints=_fingerprints(loaded, text, text_file),
        since=_moment(since, 0.0),
        until=_moment(until, float("inf")),
    )
    _opened(config, data, query.described())
    found: deque[Row] = deque(maxlen=limit)
    count = 0
    with _readable():
        for row in rows(records(loaded.audit_directory), changes=True):
            if query.matches(row):
                count += 1
                found.append(row)
    for row in found:
        _show(row, json)
    if not found:
        raise NegativeAnswer("no request matches")
    if count > limit:
        print(f"left out: {plural(count - limit, 'older request')}; see --limit", file=sys.stderr)


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
    json: JsonOption = False,
) -> None:
    """Prove that nothing was changed, added, taken away or left open. Exit 1 where it was."""
    from inhouse.audit.owner import require_reader
    from inhouse.audit.secrets import chain_key_path, mark_path
    from inhouse.audit.verify import verify as verify_log
    from inhouse.config.keyfile import read_existing
    from inhouse.config.load import load_config
    from inhouse.errors import NegativeAnswer, UsageError

    if (directory is None) != (key is None):
        raise UsageError("--directory and --key go together")
    mark = None
    if directory is None or key is None:
        loaded = load_config(config, data)
        require_reader(loaded.data)
        directory = loaded.audit_directory
        key, mark = chain_key_path(loaded), mark_path(loaded)
    if not directory.is_dir():
        raise UsageError(f"there is no audit log in {directory}")
    began = time.monotonic()
    with _readable():
        next(directory.iterdir(), None)
        report = verify_log(directory, read_existing(key), mark)
    with contextlib.nullcontext() if report.good else contextlib.suppress(BrokenPipeError):
        if json:
            print(json_module.dumps({"good": report.good, **dataclasses.asdict(report)}))
        else:
            _report(report, time.monotonic() - began)
        sys.stdout.flush()
    if not report.good:
        raise NegativeAnswer("the audit log does not verify")


def _report(report: "Report", took_s: float) -> None:
    from inhouse.audit.verify import plural

    for note in report.notes:
        print(f"note: {note}")
    for finding in report.findings[:FINDINGS_SHOWN]:
        print(finding)
    more = len(report.findings) - FINDINGS_SHOWN
    if more > 0:
        print(f"... and {more} more; --json has all")
    print(
        f"{plural(report.records, 'record')} in {plural(report.segments, 'segment')}, "
        f"{plural(report.open_requests, 'request')} running, "
        f"{plural(len(report.findings), 'finding')} ({took_s:.1f} s)"
    )


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """A file that cannot be read is a sentence."""
    from inhouse.errors import UsageError

    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}") from error


def _opened(config: Path | None, data: Path | None, what: str) -> "Config":
    """The configuration of a log that is there; that it is read is a record of its own."""
    from inhouse.audit.actor import actor
    from inhouse.audit.log import append_once
    from inhouse.audit.owner import require_reader
    from inhouse.audit.record import Read
    from inhouse.config.load import load_config
    from inhouse.errors import UsageError

    loaded = load_config(config, data)
    require_reader(loaded.data)
    if not loaded.audit_directory.is_dir():
        raise UsageError(f"there is no audit log in {loaded.audit_directory}")
    append_once(loaded, Read(time.time(), actor(), what))
    return loaded


def _fingerprints(config: "Config", text: str, file: Path | None) -> tuple[str, ...]:
    """Of the text that is looked for; of a file's also without its last newline, which an editor
    may have added."""
    from inhouse.audit.fingerprint import Fingerprinter
    from inhouse.config.keyfile import read_existing
    from inhouse.errors import UsageError

    if text and file is not None:
        raise UsageError("--text and --text-file are two texts; give one")
    texts = [text]
    if file is not None:
        try:
            text = file.read_bytes().decode("utf-8")  # as it is: no newline is translated
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read as text: {error}") from error
        texts = list(dict.fromkeys((text, text.removesuffix("\n").removesuffix("\r"))))
        if not texts[-1]:
            raise UsageError(f"{file} is empty")
    elif not text:
        return ()
    maker = Fingerprinter(read_existing(config.secrets_directory / "fingerprint.key"))
    return tuple(maker.of_text(each) for each in texts)


def _outcome(text: str) -> str:
    from inhouse.audit.read import OUTCOMES
    from inhouse.errors import UsageError

    if text and text not in OUTCOMES:
        raise UsageError(f"'{text}' is no outcome; there are {', '.join(OUTCOMES)}")
    return text


def _moment(text: str, default: float) -> float:
    from inhouse.config.when import instant, span_s
    from inhouse.errors import UsageError

    if not text:
        return default
    ago = span_s(text)
    at = time.time() - ago if ago is not None else instant(text)
    if at is None:
        raise UsageError(f"'{text}' is no time; write 2026-01-31, 2026-01-31T08:00 or 2h")
    return at


def _show(row: "Row", json: bool) -> None:
    from inhouse.audit.read import line

    print(json_module.dumps(dataclasses.asdict(row)) if json else line(row), flush=True)


def _follow(directory: Path, start: "Position", json: bool) -> None:
    from inhouse.audit.tail import Follower

    follower = Follower(directory, start)
    while True:
        time.sleep(FOLLOW_S)
        for row in follower.rows():
            _show(row, json)
