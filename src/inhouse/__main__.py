"""`inhouse` and `python -m inhouse`."""

import sys

from inhouse.errors import ConfigurationError, InhouseError, NegativeAnswer


def main() -> None:
    """Run one command. Exit 0 good, 1 a negative answer, 2 wrong use or configuration."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    from inhouse.cli import app

    try:
        app(args=arguments, prog_name="inhouse", standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    except NegativeAnswer as error:
        return _say(error, 1)
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        count = len(error.problems)
        print(f"{count} problem{'s' if count != 1 else ''} in the configuration", file=sys.stderr)
        return 2
    except InhouseError as error:
        return _say(error, 2)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return 0


def _say(error: InhouseError, status: int) -> int:
    if str(error):
        print(f"inhouse: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
