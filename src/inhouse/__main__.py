"""`inhouse` and `python -m inhouse`.

What is imported here at the top the interpreter has already; the rest comes once Ctrl-C is safe.
"""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable


def main() -> None:
    """Run one command. Exit 0 good, 1 a negative answer, 2 wrong use or configuration."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # while we import: nothing is begun yet
    sys.unraisablehook = _interrupted_where_nothing_is_raised
    _open_the_first_three()
    sys.exit(run(sys.argv[1:]))


def _interrupted_where_nothing_is_raised(unraisable: "sys.UnraisableHookArgs") -> None:
    """Ctrl-C in a callback of the interpreter's own, as of an import, would be printed and lost."""
    if unraisable.exc_type is KeyboardInterrupt:
        os._exit(130)
    sys.__unraisablehook__(unraisable)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    from inhouse.cli import app
    from inhouse.errors import ConfigurationError, InhouseError, NegativeAnswer

    status = 0
    try:
        with contextlib.suppress(ValueError):  # not the main thread: whoever runs us sees to it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        status = _status(lambda: app(args=arguments, prog_name="inhouse", standalone_mode=True))
        sys.stdout.flush()
    except NegativeAnswer as error:
        return _say(str(error), 1)
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        count = len(error.problems)
        print(f"{count} problem{'s' if count != 1 else ''} in the configuration", file=sys.stderr)
        return 2
    except InhouseError as error:
        return _say(str(error), 2)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _to_nowhere()  # whoever read it has read enough; what the command came to stays
    except OSError as error:
        what = error.filename or "standard output"  # what we open ourselves has a name
        _to_nowhere()
        return _say(f"{what} cannot be used: {error.strerror or error}", 2)
    return status


def _status(command: Callable[[], object]) -> int:
    """Of a command, as Typer ends it. Where nobody reads any more it ends with 1, behind wrappers
    around the outputs; that is no negative answer."""
    outputs = sys.stdout, sys.stderr
    try:
        command()
    except SystemExit as end:
        if sys.stdout is not outputs[0]:
            sys.stdout, sys.stderr = outputs
            raise BrokenPipeError from None
        return end.code if isinstance(end.code, int) else 2
    return 0


def _say(sentence: str, status: int) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        _to_nowhere()
    if sentence:
        print(f"inhouse: {sentence}", file=sys.stderr)
    return status


def _open_the_first_three() -> None:
    """Descriptors 0, 1 and 2, where they are closed: what is opened next must not become them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold any bytes


def _to_nowhere() -> None:
    """What is still to be written to standard output, at the very end, goes nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
