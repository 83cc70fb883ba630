"""`python -m diskkv` and the console script diskkv-server."""

from __future__ import annotations

import sys

from diskkv.config import parse_command_line
from diskkv.errors import ConfigError
from diskkv.server.main import check, serve


def main(arguments: list[str] | None = None) -> int:
    """Do what the arguments say, which is to serve unless they ask for information; answers the exit status."""
    try:
        invocation = parse_command_line(sys.argv[1:] if arguments is None else arguments)
    except ConfigError as exc:
        print(f"diskkv-server: {exc}", file=sys.stderr)
        return 1
    if invocation.action in ("help", "version"):
        print(invocation.text.rstrip("\n"))
        return 0
    if invocation.action == "check-config":
        try:
            check(invocation.config)
        except ConfigError as exc:
            print(f"diskkv-server: {exc}", file=sys.stderr)
            return 1
        print(f"diskkv-server: {invocation.config.config_file or 'the options'}: no errors")
        return 0
    return serve(invocation.config)


if __name__ == "__main__":
    sys.exit(main())
