"""A long run of the fuzzers by hand: python -m tests.hostile.campaign --inputs 1000000 [--leveldb | --protocol]"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random

from diskkv.services.memory import resident_bytes
from tests.hostile.arena import Arena, Finding, Hang
from tests.hostile.parsers import check
from tests.hostile.protocol import fuzzed

_ROUND = 2000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--leveldb", action="store_true")
    parser.add_argument("--keep-going", action="store_true", help="show every finding and go on with the next round")
    parser.add_argument("--protocol", action="store_true", help="feed the parsers instead")
    options = parser.parse_args()
    print("seed", options.seed, flush=True)
    if options.protocol:
        return feed_parsers(options.seed, options.inputs)
    return take_requests(options)


def feed_parsers(seed: int, inputs: int) -> int:
    """Random bytes for all parsers."""
    rng = Random(seed)
    for number in range(inputs):
        check(rng, fuzzed(rng))
        if number % 100_000 == 0:
            print(f"{time.strftime('%H:%M:%S')} {number} inputs, {resident_bytes() >> 20} MiB", flush=True)
    return 0


def take_requests(options: argparse.Namespace) -> int:
    """Random requests, in rounds."""
    findings = 0
    done = 0
    round_number = 0
    arena = None
    with tempfile.TemporaryDirectory() as directory:
        while done < options.inputs:
            rng = Random(f"{options.seed}/{round_number}")
            if arena is None:
                arena = Arena(rng, Path(tempfile.mkdtemp(dir=directory)) if options.leveldb else None)
            arena.rng = arena.vectors.rng = rng
            try:
                arena.round(_ROUND)
            except (Exception, Hang) as exc:  # noqa: BLE001 - whatever it is, it is a finding
                findings += 1
                print(f"round {round_number}: {type(exc).__name__}: {str(exc)[:3000]}", flush=True)
                if not isinstance(exc, Finding):
                    print("last request:", arena.recent[-1:], flush=True)
                    traceback.print_exc(limit=-6)
                if not options.keep_going or not arena.inputs:
                    return 1
                done += arena.inputs
                arena = None
            round_number += 1
            if arena is not None and round_number % 10 == 0:
                mib = resident_bytes() >> 20
                spent_s, argv = arena.slowest
                arena.slowest = (0.0, [])
                print(
                    f"{time.strftime('%H:%M:%S')} {done + arena.inputs} inputs, {mib} MiB, {dict(arena.outcomes)}",
                    f"slowest {spent_s:.3f} s {str(argv)[:160]}",
                    flush=True,
                )
            if arena is not None and done + arena.inputs >= options.inputs:
                break
    print(f"{findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
