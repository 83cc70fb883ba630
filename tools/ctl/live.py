"""Talking to a live server, with redis-py; its errors become ConfigError."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import redis

from diskkv.errors import ConfigError

Request = tuple[Any, ...]
"""A command and its arguments: bytes, text or numbers."""

_TIMEOUT_S = 60.0


class CommandFailed(ConfigError):
    """The server answered a command with an error."""


class Server:
    """A connection to one server."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        self._client = client
        self.db: int = client.connection_pool.connection_kwargs.get("db") or 0
        self.name = name
        """How the server is called in messages."""

    def call(self, *arguments: bytes | str | int) -> Any:
        """The reply to a command, strings as bytes. Raises CommandFailed and ConfigError."""
        return self.call_all([arguments])[0]

    def call_all(self, requests: Sequence[Request]) -> list[Any]:
        """The replies to several commands, sent together. Raises CommandFailed and ConfigError."""
        replies = self.try_all(requests)
        for reply in replies:
            if isinstance(reply, Exception):
                raise CommandFailed(str(reply)) from reply
        return replies

    def try_all(self, requests: Sequence[Request]) -> list[Any]:
        """As `call_all`; an error is an exception in the reply's place."""
        pipeline = self._client.pipeline(transaction=False)
        # The replies as they came: redis-py would make other types of some.
        pipeline.response_callbacks.clear()
        for arguments in requests:
            pipeline.execute_command(*arguments)  # type: ignore[no-untyped-call]
        try:
            return pipeline.execute(raise_on_error=False)
        except (redis.RedisError, OSError) as exc:
            message = f"{self.name}: {exc}"
            raise ConfigError(message) from exc

    def info(self, *sections: str) -> dict[str, str]:
        """INFO's fields as text; all default sections unless some are given."""
        text: bytes = self.call("INFO", *sections)
        lines = text.decode("utf-8", "surrogateescape").split("\r\n")
        return dict(line.split(":", 1) for line in lines if line and not line.startswith("#"))


@contextlib.contextmanager
def connected(url: str, db: int | None = None, timeout_s: float | None = _TIMEOUT_S) -> Iterator[Server]:
    """A connection to the server at redis://, rediss:// or unix://; `db` instead of the URL's database.

    A password that the URL lacks is taken from the environment: REDISCLI_AUTH, as redis-cli does. `timeout_s`: for a
    reply, None for no limit. Raises ConfigError when there is no connection.
    """
    # A password must not show.
    name = url.rpartition("@")[2] if "@" in url else url
    arguments: dict[str, Any] = {"protocol": 2, "socket_timeout": timeout_s, "socket_connect_timeout": _TIMEOUT_S}
    try:
        if urlsplit(url).password is None and os.environ.get("REDISCLI_AUTH"):
            arguments["password"] = os.environ["REDISCLI_AUTH"]
        client = redis.Redis.from_url(url, **arguments)
    except ValueError as exc:
        message = f"{name}: {exc}"
        raise ConfigError(message) from exc
    if db is not None:
        client.connection_pool.connection_kwargs["db"] = db
    server = Server(client, name)
    try:
        server.call("PING")
        yield server
    finally:
        client.close()
