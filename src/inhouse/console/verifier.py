"""Verifies the audit log in a process of its own: it computes for minutes where the log is long,
and requests to models must not wait for that. `python -m inhouse.console.verifier`

    gateway ──job, one line──► stdin     stdout ──result, one document──► gateway

It ends when its stdin closes, so that it does not outlive the gateway; and is killed when it is
late, which a thread cannot be.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec

from inhouse.audit.verify import Finding, verify
from inhouse.config.keyfile import read_existing
from inhouse.errors import Code, InhouseError, Refusal

MOST_FINDINGS = 100
MOST_ANSWER_BYTES = 1_048_576
NICE = 10


class Job(msgspec.Struct, frozen=True):
    """What is verified: the log's directory, the file of its key, its mark."""

    directory: str
    key: str
    mark: str


class Told(msgspec.Struct, frozen=True):
    """What was found; the first of the findings and notes, and how many there are. `problem` is
    why nothing was."""

    good: bool = False
    records: int = 0
    segments: int = 0
    open_requests: int = 0
    findings: list[Finding] = []
    findings_total: int = 0
    notes: list[Finding] = []
    notes_total: int = 0
    problem: str | None = None


def run(job: Job, within_s: float, *, withheld: Iterable[str] = ()) -> Told:
    """Verify, and wait. `withheld`: variables of the environment that hold secrets."""
    environment = {name: value for name, value in os.environ.items() if name not in withheld}
    with subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        close_fds=True,
    ) as process:
        late = threading.Timer(within_s, process.kill)
        late.daemon = True
        late.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            process.stdin.flush()
            answer = process.stdout.read(MOST_ANSWER_BYTES)
        except BrokenPipeError:
            answer = b""
        finally:
            late.cancel()
            process.kill()
    try:
        told = msgspec.json.decode(answer, type=Told)
    except msgspec.DecodeError as error:
        raise Refusal(
            Code.DEADLINE_EXCEEDED,
            504,
            f"the audit log was not verified within {within_s:g} s; "
            "the command 'inhouse audit verify' has no such bound",
        ) from error
    if told.problem is not None:
        raise Refusal(Code.INTERNAL, 500, told.problem)
    return told


def _done(job: Job) -> Told:
    try:
        report = verify(Path(job.directory), read_existing(Path(job.key)), Path(job.mark))
    except (InhouseError, OSError) as error:
        return Told(problem=str(error))
    return Told(
        good=report.good,
        records=report.records,
        segments=report.segments,
        open_requests=report.open_requests,
        findings=report.findings[:MOST_FINDINGS],
        findings_total=len(report.findings),
        notes=report.notes[:MOST_FINDINGS],
        notes_total=len(report.notes),
    )


def _end_with_the_gateway() -> None:
    """By the file itself: a reader that waits for its lock would keep the process."""
    while os.read(0, 1024):
        pass
    os._exit(1)


def main() -> None:
    os.nice(NICE)
    line = sys.stdin.buffer.readline()
    threading.Thread(target=_end_with_the_gateway, daemon=True).start()
    sys.stdout.buffer.write(msgspec.json.encode(_done(msgspec.json.decode(line, type=Job))))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
