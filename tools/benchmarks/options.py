"""The options that the suites share."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.benchmarks.servers import KINDS, Launch

BASELINE = "redis"


def positive(text: str) -> int:
    """A whole number of at least 1; 10k and 5m stand for thousands and millions."""
    factors = {"k": 1000, "m": 1_000_000}
    factor = factors.get(text[-1:].lower(), 1)
    digits = text[:-1] if factor > 1 else text
    value = int(digits) * factor
    if value < 1:
        raise ValueError(text)
    return value


def numbers(text: str) -> list[int]:
    """A list of whole numbers: ``1,16``."""
    return [positive(part) for part in text.split(",")]


def server_names(text: str) -> list[str]:
    """A list of servers, without repeats, in the order given."""
    names = list(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        msg = f"unknown server {unknown[0]!r}; choose from {', '.join(KINDS)}"
        raise argparse.ArgumentTypeError(msg)
    return names


def common(servers: str) -> argparse.ArgumentParser:
    """Options of every suite."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("servers")
    group.add_argument("--servers", type=server_names, default=server_names(servers), metavar="A,B", help=servers)
    group.add_argument("--appendfsync", choices=("always", "everysec", "no"), default="everysec")
    group.add_argument("--diskkv-options", default="", metavar="'--name value'", help="more options for diskkv")
    group.add_argument("--work-dir", type=Path, help="where the data goes (default: a new directory in TMPDIR)")
    group.add_argument("--pin-server", type=int, metavar="CPU", help="run the servers on this CPU only")
    group.add_argument("--pin-client", type=int, metavar="CPU", help="run redis-benchmark on this CPU only")
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=Path, metavar="FILE", help="also write the results as JSON")
    output.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return parser


def measured() -> argparse.ArgumentParser:
    """Options of the suites that run redis-benchmark in rounds."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("measurements")
    group.add_argument("--rounds", type=positive, default=5)
    group.add_argument(
        "--requests", type=positive, default=100_000, help="per measurement; four times as many when pipelined"
    )
    group.add_argument("--seconds", type=float, help="make each measurement about this long instead of --requests")
    group.add_argument("--tests", default="", metavar="set,get", help="only these tests of the suite")
    group.add_argument("--clients", type=numbers, metavar="50", help="connections; a list measures each")
    group.add_argument("--pipeline", type=numbers, metavar="1,16", help="pipeline depths")
    group.add_argument("--data-size", type=positive, default=100, metavar="BYTES")
    group.add_argument("--keyspace", type=positive, default=100_000, metavar="KEYS")
    return parser


@contextlib.contextmanager
def launch(options: argparse.Namespace, prefix: Sequence[str] = ()) -> Iterator[Launch]:
    """How the run starts servers. A work directory made here is deleted at the end; a given one is only used."""
    parent = options.work_dir
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="diskkv-bench-", dir=parent) as directory:
        yield Launch(
            Path(directory),
            options.appendfsync,
            options.pin_server,
            prefix,
            shlex.split(options.diskkv_options),
        )


def progress(options: argparse.Namespace, text: str) -> None:
    """Tell the operator how far the run is."""
    if not options.quiet:
        print(text, file=sys.stderr, flush=True)
