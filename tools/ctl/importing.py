"""`diskkvctl import`: take over the data of a file or of another server."""

from __future__ import annotations

import argparse
import contextlib
import gc
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from diskkv.codec.rdb_values import RdbError
from diskkv.errors import StorageError
from tools.ctl.output import Outcome
from tools.ctl.transfer.directory import DirectorySink
from tools.ctl.transfer.items import Source, TransferError
from tools.ctl.transfer.live import LiveSink
from tools.ctl.transfer.meter import EVERY_MASK, Meter
from tools.ctl.transfer.replica import ReplicaSource
from tools.ctl.transfer.sources import open_source
from tools.ctl.transfer.wire import parse_url

NAME = "import"
HELP = "take over data: RDB and append-only files, command streams, JSON lines, a running Redis"
DESCRIPTION = """\
Take over the data of a file, or of a running Redis, Valkey or diskkv, into the data directory of a server that is not
running (fast) or into a running server.

What the file is, is found out from its content: an RDB file (Redis 2.6 to 8, Valkey), an append-only file (one file,
or the directory or manifest of one in parts; a truncated end is left out), a stream of commands as redis-cli --pipe
takes it, or JSON lines as diskkvctl export writes them.

An import into a directory that is interrupted leaves a note there: the same import goes on where it was. Memory does
not depend on the size of the data, but on that of its largest string.
"""
EPILOG = """\
examples:
  diskkvctl import dump.rdb --dir data
  diskkvctl import /var/lib/redis/appendonlydir --dir data
  diskkvctl import dump.rdb --url redis://localhost:6379 --existing replace
  diskkvctl import --from redis://:secret@old:6379 --dir data
  diskkvctl import --from redis://old:6379 --url redis://new:6379 --follow
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of import."""
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="the file or directory to read")
    parser.add_argument("--from", dest="origin", metavar="URL", help="copy the data of this running server instead")
    parser.add_argument(
        "--follow",
        action="store_true",
        help="with --from: go on with what the server executes after the copy, until interrupted",
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--dir", type=Path, help="data directory to import into; no server may use it")
    target.add_argument("--url", help="running server to import into")
    parser.add_argument(
        "--existing",
        choices=("fail", "replace", "skip"),
        default="fail",
        help="what happens to keys that are there already (default: fail; a directory must then be empty)",
    )


def run(options: argparse.Namespace) -> Outcome:
    """Move all items."""
    if (options.file is None) == (options.origin is None):
        raise TransferError("give either FILE or --from URL")
    if options.follow and options.origin is None:
        raise TransferError("--follow needs --from")
    with contextlib.closing(_open_source(options)) as source:
        return _move(options, source, _open_sink(options, source))


def _move(options: argparse.Namespace, source: Source, sink: DirectorySink | LiveSink) -> Outcome:
    meter = Meter(NAME, source.total_bytes, getattr(source, "total_keys", 0))
    stopped = _Stopped(options.follow)
    if isinstance(source, ReplicaSource):
        source.stopped = lambda: stopped.is_set
        source.on_idle = sink.flush
    try:
        with stopped.on_interrupt(), _seldom_collected():
            for number, item in enumerate(source.items()):
                sink.put(item)
                if not number & EVERY_MASK:
                    meter.update(source.offset, sink.counts()["keys"])
            sink.finish()
    except RdbError as exc:
        message = f"{source.name}: {exc}{_way_out(options, sink)}"
        raise TransferError(message) from exc
    except TransferError as exc:
        message = f"{exc}{_way_out(options, sink)}"
        raise TransferError(message) from exc
    except KeyboardInterrupt as exc:
        message = f"interrupted{_way_out(options, sink)}"
        raise TransferError(message) from exc
    except StorageError:
        sink.close()
        raise
    finally:
        meter.close()
    return _outcome(source, sink, meter)


def _open_source(options: argparse.Namespace) -> Source:
    if options.origin is not None:
        return ReplicaSource(parse_url(options.origin), follow=options.follow)
    return open_source(options.file)


def _open_sink(options: argparse.Namespace, source: Source) -> DirectorySink | LiveSink:
    if options.url is not None:
        return LiveSink(parse_url(options.url), options.existing)
    return DirectorySink(options.dir, f"{source.name} ({source.total_bytes} bytes)", options.existing)


def _way_out(options: argparse.Namespace, sink: DirectorySink | LiveSink) -> str:
    """What to know after an import that failed."""
    counts = sink.counts()
    sink.close()
    done = f"; {counts['keys']:,} keys and {counts['commands']:,} commands were taken over"
    if options.dir is None:
        return f"{done} by {options.url}, run it again with --existing replace"
    if options.origin is not None:
        return f"{done}; run it again with --existing replace, or with an empty directory"
    return f"{done}; the same import goes on from there"


def _outcome(source: Source, sink: DirectorySink | LiveSink, meter: Meter) -> Outcome:
    counts = sink.counts()
    notes = source.notes + sink.notes
    data: dict[str, Any] = {"source": source.name, **counts, "seconds": meter.seconds, "notes": notes}
    lines = [f"source     {source.name}"]
    lines += [f"{name:<10} {count:,}" for name, count in counts.items() if count or name == "keys"]
    lines += [f"time       {meter.seconds:.1f} s", *notes]
    return Outcome(lines, data, 1 if counts["errors"] else 0)


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Values make no reference cycles, but enough containers to have the collector walk over the cache all the time."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Stopped:
    """Whether the operator has had enough: with --follow that is the normal end."""

    def __init__(self, is_normal: bool) -> None:
        self.is_set = False
        self._is_normal = is_normal

    @contextlib.contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self._take) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if not self._is_normal or self.is_set:
            raise KeyboardInterrupt
        self.is_set = True
