"""Every error a client can see, in one place, with Redis' own texts.

A command raises `CommandError` (or a subclass); dispatch rolls its staged writes back and sends `reply`. The first word
of the message is the code that clients switch on (ERR, WRONGTYPE, NOAUTH ...).
"""

from __future__ import annotations


class CommandError(Exception):
    """A failed command. `message` starts with its code: ``b"ERR syntax error"``.

    Line breaks at its end are dropped, others become spaces.
    """

    def __init__(self, message: bytes | str) -> None:
        if isinstance(message, str):
            message = message.encode()
        self.message = message.rstrip(b"\r\n").replace(b"\r", b" ").replace(b"\n", b" ")
        super().__init__(self.message.decode("utf-8", "replace"))

    @property
    def reply(self) -> bytes:
        """The RESP error that carries this message."""
        return b"-%b\r\n" % self.message

    @property
    def code(self) -> bytes:
        """The first word, as counted by INFO errorstats."""
        return self.message.split(b" ", 1)[0]


class CommandSyntaxError(CommandError):
    """ERR syntax error."""

    def __init__(self) -> None:
        super().__init__(b"ERR syntax error")


class WrongTypeError(CommandError):
    """The key holds a value of another type."""

    def __init__(self) -> None:
        super().__init__(b"WRONGTYPE Operation against a key holding the wrong kind of value")


class NotIntegerError(CommandError):
    """An argument or a stored value is not a signed 64-bit integer."""

    def __init__(self) -> None:
        super().__init__(b"ERR value is not an integer or out of range")


class NotFloatError(CommandError):
    """An argument is not a finite or infinite double."""

    def __init__(self) -> None:
        super().__init__(b"ERR value is not a valid float")


class StorageError(Exception):
    """The store failed (I/O error, disk full): the current turn is lost, the data before it is not."""


class CorruptionError(StorageError):
    """Stored bytes do not decode; the message carries the row's key in hex."""


class ConfigError(Exception):
    """A bad option or configuration line; the message is one line fit for an operator."""
