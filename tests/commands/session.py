"""A client without a socket, for tests of commands: requests and replies as text, in redis-cli's manner.

A transcript is a text of lines `request -> reply`. A reply is written as OK (status), 3 (integer), "v" (string, with
Python's escapes), nil, [a, b] (array), {a: b} (map) or the error's text. Every request is a turn of its own.
"""

from __future__ import annotations

import shlex
from functools import cache

from diskkv.commands import dispatch
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.memory import MemoryStore
from diskkv.services.instance import Instance

NOW_MS = 1_700_000_000_000

_commands = cache(load_all)


class Session:
    """One client of an empty instance; `now_ms` is its clock, `events` the notifications as (event, key)."""

    def __init__(self, resp: int = 2) -> None:
        self.instance = Instance(Config(), MemoryStore())
        self.instance.use_commands(_commands(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
        self.client = self.instance.new_client()
        self.client.use_resp(resp)
        self.engine = self.instance.engine
        self.database = self.client.db
        self.now_ms = NOW_MS
        self.events: list[tuple[str, str]] = []

    def notify(self, classes: str = "EA") -> None:
        """Switch notifications on and gather them in `events`."""
        self.instance.notifications.configure(classes)

        def publish(channel: bytes, message: bytes) -> int:
            self.events.append((channel.partition(b"__:")[2].decode(), message.decode()))
            return 0

        self.instance.publish = publish  # type: ignore[method-assign]

    def call(self, *argv: bytes) -> bytes:
        """Execute one request in a turn of its own; the raw reply."""
        self.engine.begin(self.now_ms)
        result = dispatch.execute(self.client, list(argv))
        assert isinstance(result, bytes)
        self.engine.commit()
        return result

    def run(self, line: str) -> str:
        """As `call`, with text: words as in a shell, escapes as in Python's strings."""
        words = [word.encode().decode("unicode_escape").encode("latin-1") for word in shlex.split(line)]
        return show(self.call(*words))

    def check(self, transcript: str) -> None:
        """Run the requests of a transcript and compare the replies."""
        for line in transcript.strip().splitlines():
            request, _, expected = line.strip().rpartition(" -> ")
            assert (request, self.run(request)) == (request, expected)


def show(raw: bytes) -> str:
    """A reply as text."""
    text, rest = _show(raw)
    assert not rest, f"{rest!r} follows the reply"
    return text


def _show(raw: bytes) -> tuple[str, bytes]:
    line, _, rest = raw[1:].partition(b"\r\n")
    kind = raw[:1]
    if kind in b"+-:,":
        return line.decode("latin-1"), rest
    if kind == b"_" or line == b"-1":
        return "nil", rest
    size = int(line)
    if kind == b"$":
        assert rest[size : size + 2] == b"\r\n"
        content = rest[:size].decode("latin-1").encode("unicode_escape").decode()
        return f'"{content}"', rest[size + 2 :]
    items = []
    for _ in range(2 * size if kind == b"%" else size):
        item, rest = _show(rest)
        items.append(item)
    if kind == b"%":
        pairs = (f"{key}: {value}" for key, value in zip(items[::2], items[1::2], strict=True))
        return "{" + ", ".join(pairs) + "}", rest
    assert kind == b"*"
    return "[" + ", ".join(items) + "]", rest
