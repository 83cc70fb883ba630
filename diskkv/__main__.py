"""`python -m diskkv` and the console script diskkv-server."""

from __future__ import annotations

import sys

from diskkv.config import parse_command_line
from diskkv.errors import ConfigError
from diskkv.server.main import serve


def main(arguments: list[str] | None = None) -> int:
    """Start the server as the arguments say; answers the exit status."""
    try:
        config = parse_command_line(sys.argv[1:] if arguments is None else arguments)
    except ConfigError as exc:
        print(f"diskkv-server: {exc}", file=sys.stderr)
        return 1
    return serve(config)


if __name__ == "__main__":
    sys.exit(main())
