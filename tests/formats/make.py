"""Writes the data directory of the current on-disk format: `python -m tests.formats.make`.

To be run when the format's number changes, or, before the first release, when the layout of rows does. The archives of
older formats stay as they are: later versions have to upgrade them.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import tempfile
from pathlib import Path

from diskkv.codec.keys import FORMAT_VERSION
from diskkv.commands import dispatch
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.store import Store
from diskkv.services.instance import Instance

NOW_MS = 1_700_000_000_000
FAR_MS = 4_000_000_000_000
HERE = Path(__file__).parent


def archive(version: int) -> Path:
    """The archive of a format's data directory."""
    return HERE / f"format-{version}.tar.xz"


def instance_on(store: Store) -> Instance:
    """An instance whose small limits put most collections into rows."""
    config = Config()
    config.hash_max_listpack_entries = config.set_max_listpack_entries = config.set_max_intset_entries = 8
    config.zset_max_listpack_entries = config.list_max_listpack_size = 8
    config.stream_node_max_entries = 4
    instance = Instance(config, store)
    instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    return instance


def write(instance: Instance) -> None:
    """Every type in every layout, in turns of one command."""
    client = instance.new_client()
    for line in _commands():
        instance.engine.begin(NOW_MS)
        reply = dispatch.execute(client, [word if isinstance(word, bytes) else str(word).encode() for word in line])
        assert not (reply or b"").startswith(b"-"), (line, reply)
        instance.engine.commit()


def _commands() -> list[list[object]]:
    numbers = range(40)
    pairs = [(f"f{number}", number) for number in numbers]
    flat = [part for pair in pairs for part in pair]
    lines: list[list[object]] = [
        ["SET", "string", "value"],
        ["SET", "string:expires", "value", "PXAT", FAR_MS],
        ["SET", "string:long", "0123456789" * 5000],
        ["SETRANGE", "string:sparse", 100_000, "end"],
        ["APPEND", "string:raw", "value"],
        ["SET", bytes(range(256)), bytes(range(256))],
        ["SET", "", "the empty key"],
        ["HSET", "hash", "f", "v", "g", ""],
        ["HSET", "hash:rows", *flat],
        ["HSET", "hash:expires", "f", "v", "g", "w"],
        ["HPEXPIREAT", "hash:expires", FAR_MS, "FIELDS", 1, "f"],
        ["HPEXPIREAT", "hash:rows", FAR_MS + 1, "FIELDS", 2, "f3", "f4"],
        ["PEXPIREAT", "hash", FAR_MS],
        ["RPUSH", "list", "a", "", "c"],
        ["RPUSH", "list:rows", *numbers, "x" * 5000],
        ["LPUSH", "list:rows", *numbers],
        ["SADD", "set:integers", 1, 2, 3],
        ["SADD", "set", "a", "b"],
        ["SADD", "set:rows", *numbers, "a"],
        ["ZADD", "zset", 1, "a", "-inf", "b", "-0.5", "c"],
        ["ZADD", "zset:rows", *(part for number in numbers for part in (number / 8 - 2, f"m{number}"))],
        ["XADD", "stream", "1-1", "f", "v"],
        *(["XADD", "stream:groups", f"{number + 1}-0", "f", number, "g", "x"] for number in numbers),
        ["XDEL", "stream:groups", "5-0"],
        ["XGROUP", "CREATE", "stream:groups", "group", "0"],
        ["XREADGROUP", "GROUP", "group", "consumer", "COUNT", 7, "STREAMS", "stream:groups", ">"],
        ["XACK", "stream:groups", "group", "2-0"],
        ["PFADD", "hll", *numbers],
        ["GEOADD", "geo", "13.36", "38.11", "Palermo"],
        ["SETBIT", "bitmap", 1000, 1],
        ["RPUSH", "deleted", *numbers],
        ["DEL", "deleted"],
        ["LTRIM", "list:rows", 3, -3],
        ["FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)"],
        ["SELECT", 3],
        ["SET", "elsewhere", 1],
        ["SELECT", 5],
        ["SET", "gone", 1],
        ["FLUSHDB"],
        ["SWAPDB", 3, 7],
    ]
    return lines


def main() -> None:
    """Write the archive."""
    with tempfile.TemporaryDirectory() as directory:
        instance = instance_on(LevelDBStore(Path(directory) / "leveldb"))
        write(instance)
        instance.engine.close()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path in sorted((Path(directory) / "leveldb").iterdir()):
                if path.name not in {"LOCK", "LOG", "LOG.old"}:
                    tar.add(path, f"leveldb/{path.name}", filter=_anonymous)
    archive(FORMAT_VERSION).write_bytes(lzma.compress(buffer.getvalue(), preset=9))


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = NOW_MS // 1000
    return info


if __name__ == "__main__":
    main()
