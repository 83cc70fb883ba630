"""Compare diskkv with redis-server and Valkey on this machine: `python tools/bench.py basic`.

Every suite starts its own servers on free ports with fresh directories and prints a Markdown table. The ratios are to
redis-server with an append-only file and the same appendfsync, in the same run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

if __package__ in {None, ""}:  # run as a file: tools/ is on the path, its parent is not
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.benchmarks import options, report
from tools.benchmarks.errors import BenchError
from tools.benchmarks.suite_collections import ALL_COMMANDS, run_collections
from tools.benchmarks.suite_commands import run_messaging, run_types
from tools.benchmarks.suite_large import run_large
from tools.benchmarks.suite_rounds import run_basic, run_custom, run_default, run_durable
from tools.benchmarks.suite_startup import run_startup


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    suites = parser.add_subparsers(dest="suite", required=True, metavar="SUITE")
    beside = options.common("diskkv,redis,valkey")
    alone = options.common("diskkv")
    measured = options.measured()
    rounds = [beside, measured]
    suites.add_parser("basic", parents=rounds, help="SET and GET, P=1 and 16").set_defaults(run=run_basic)
    suites.add_parser("default", parents=rounds, help="redis-benchmark's whole set").set_defaults(run=run_default)
    suites.add_parser("durable", parents=rounds, help="fsync always, 1, 50 and 200 clients").set_defaults(
        run=run_durable
    )
    suites.add_parser("messaging", parents=rounds, help="EVAL, MULTI/EXEC of ten, PUBLISH to a hundred").set_defaults(
        run=run_messaging
    )
    suites.add_parser("types", parents=rounds, help="streams, bitmaps, HyperLogLog, geo").set_defaults(run=run_types)
    custom = suites.add_parser("custom", parents=rounds, help="any redis-benchmark command line")
    custom.add_argument("command", metavar="'CMD ...'", help="a command, or redis-benchmark options, in one argument")
    custom.set_defaults(run=run_custom)
    _add_startup(suites.add_parser("startup", parents=[alone], help="load, memory, restart, time to ready"))
    _add_collections(suites.add_parser("collections", parents=[alone], help="cost on small and huge collections"))
    _add_large(suites.add_parser("large", parents=[alone], help="a dataset larger than the memory allowed"))
    return parser


def _add_startup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keys", type=options.positive, default=5_000_000)
    parser.add_argument("--data-size", type=options.positive, default=100, metavar="BYTES")
    parser.add_argument("--connections", type=options.positive, default=4)
    parser.add_argument("--mset", type=options.positive, default=1, metavar="KEYS", help="keys per MSET; 1 sends SET")
    parser.add_argument("--order", choices=("random", "sequential"), default="random")
    parser.add_argument("--cold", action="store_true", help="evict the files from the page cache before the restart")
    parser.set_defaults(run=run_startup)


def _add_collections(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--elements", type=options.numbers, default=[10_000, 10_000_000], metavar="10k,10m")
    parser.add_argument("--repeat", type=options.positive, default=200, help="measurements per command")
    parser.add_argument("--pops", type=options.positive, default=1_000_000, help="pops before POP is measured")
    parser.add_argument("--commands", default="", metavar="HGET,ZRANK", help=f"of: {', '.join(ALL_COMMANDS)}")
    parser.set_defaults(run=run_collections)


def _add_large(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--memory-mib", type=options.positive, default=768, help="limit of the server's control group")
    parser.add_argument("--keys", type=options.positive, default=4_000_000)
    parser.add_argument("--value-size", type=options.positive, default=1000, metavar="BYTES")
    parser.add_argument("--hashes", type=int, default=10, help="large hashes beside the keys; 0 for none")
    parser.add_argument("--hash-fields", type=options.positive, default=100_000)
    parser.add_argument("--clients", type=options.positive, default=50)
    parser.add_argument("--connections", type=options.positive, default=8, help="while loading")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each workload")
    parser.add_argument(
        "--workloads", type=lambda text: text.split(","), metavar="'GET uniform,HGET'", help="only these of the table"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the data there, or use what is there already")
    parser.add_argument("--disk-file-mib", type=options.positive, default=2048)
    parser.add_argument("--disk-seconds", type=float, default=5.0, help="of each measurement of the disk alone")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw load throughput and memory over time")
    parser.set_defaults(run=run_large)


def main(arguments: list[str] | None = None) -> int:
    """Run a suite, print its report; 1 with one line on standard error when it cannot be run."""
    parsed = build_parser().parse_args(arguments)
    try:
        result: report.Report = parsed.run(parsed)
    except BenchError as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench.py: interrupted", file=sys.stderr)
        return 130
    machine = report.machine(parsed.work_dir or Path(tempfile.gettempdir()))
    print(result.markdown(machine))
    if parsed.json is not None:
        shown = {name: value for name, value in vars(parsed).items() if name not in {"run", "json"}}
        parsed.json.write_text(result.json(machine, shown) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
