"""Talking to a live server, with redis-py; its errors become ConfigError."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import redis

from diskkv.errors import ConfigError

_TIMEOUT_S = 60.0


class CommandFailed(ConfigError):
    """The server answered a command with an error."""


class Server:
    """A connection to one server."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        self._client = client
        self.name = name
        """How the server is called in messages."""

    def call(self, *arguments: bytes | str | int) -> Any:
        """The reply to a command, strings as bytes. Raises CommandFailed and ConfigError."""
        return self.call_all([arguments])[0]

    def call_all(self, requests: list[tuple[bytes | str | int, ...]]) -> list[Any]:
        """The replies to several commands, sent together."""
        pipeline = self._client.pipeline(transaction=False)
        # The replies as they came: redis-py would make other types of some.
        pipeline.response_callbacks.clear()
        for arguments in requests:
            pipeline.execute_command(*arguments)  # type: ignore[no-untyped-call]
        try:
            replies = pipeline.execute(raise_on_error=False)
        except (redis.RedisError, OSError) as exc:
            message = f"{self.name}: {exc}"
            raise ConfigError(message) from exc
        for reply in replies:
            if isinstance(reply, Exception):
                raise CommandFailed(str(reply)) from reply
        return replies

    def info(self, *sections: str) -> dict[str, str]:
        """INFO's fields as text; all default sections unless some are given."""
        text: bytes = self.call("INFO", *sections)
        lines = text.decode("utf-8", "surrogateescape").split("\r\n")
        return dict(line.split(":", 1) for line in lines if line and not line.startswith("#"))


@contextlib.contextmanager
def connected(url: str, db: int | None = None) -> Iterator[Server]:
    """A connection to the server at redis://, rediss:// or unix://; `db` instead of the URL's database.

    Raises ConfigError when it cannot be had.
    """
    try:
        client = redis.Redis.from_url(url, protocol=2, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
    except ValueError as exc:
        message = f"{url}: {exc}"
        raise ConfigError(message) from exc
    # A password must not show.
    name = url.rpartition("@")[2] if "@" in url else url
    server = Server(client, name)
    try:
        if db is not None:
            client.connection_pool.connection_kwargs["db"] = db
        server.call("PING")
        yield server
    finally:
        client.close()
