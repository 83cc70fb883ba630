"""What OpenSSL offers and Python's ssl module does not pass on: TLS 1.3 cipher suites, the cache of sessions.

The functions of the very library that the ssl module uses are called on its contexts. CPython keeps the address of
OpenSSL's context right behind the header of the Python object, in all versions up to 3.14; before anything is changed
the options that both show are compared. Where it cannot be done (other interpreters, an OpenSSL that is hidden inside
of Python), `find` answers None.
"""

from __future__ import annotations

import ctypes
import ssl
import sys
from typing import Final

_CHECKED_VERSIONS: Final = (3, 14)
_SET_SESSION_CACHE_SIZE: Final = 42
_SET_SESSION_CACHE_MODE: Final = 44
_CACHE_OFF: Final = 0
_CACHE_OF_SERVER: Final = 2
_OPTION_BITS: Final = 0xFFFFFFFF


class Context:
    """OpenSSL's side of an `ssl.SSLContext`, which must live at least as long."""

    def __init__(self, library: ctypes.CDLL, address: int) -> None:
        self._library = library
        self._address = ctypes.c_void_p(address)

    def choose_ciphersuites(self, names: str) -> bool:
        """Offer these TLS 1.3 cipher suites, separated by colons; False when OpenSSL does not know them."""
        choose = self._library.SSL_CTX_set_ciphersuites
        choose.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        return bool(choose(self._address, names.encode("utf-8", "surrogateescape")) == 1)

    def cache_sessions(self, size: int, timeout_s: int) -> None:
        """Keep so many sessions of clients (0: without limit), each for so long."""
        self._control(_SET_SESSION_CACHE_MODE, _CACHE_OF_SERVER)
        self._control(_SET_SESSION_CACHE_SIZE, size)
        set_timeout = self._library.SSL_CTX_set_timeout
        set_timeout.argtypes = [ctypes.c_void_p, ctypes.c_long]
        set_timeout(self._address, timeout_s)

    def cache_no_sessions(self) -> None:
        """Keep none."""
        self._control(_SET_SESSION_CACHE_MODE, _CACHE_OFF)

    def _control(self, what: int, value: int) -> None:
        control = self._library.SSL_CTX_ctrl
        control.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
        control.restype = ctypes.c_long
        control(self._address, what, value, None)


def find(context: ssl.SSLContext) -> Context | None:
    """OpenSSL's side of a context, None when it cannot be reached."""
    if sys.implementation.name != "cpython" or sys.version_info[:2] > _CHECKED_VERSIONS:
        return None
    try:
        # The extension module leads to the library that it is linked with, and to no other.
        library = ctypes.CDLL(sys.modules["_ssl"].__file__)
        get_options = library.SSL_CTX_get_options
        for name in ("SSL_CTX_set_ciphersuites", "SSL_CTX_set_timeout", "SSL_CTX_ctrl"):
            getattr(library, name)
    except (OSError, AttributeError, TypeError):
        return None
    address = ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value
    if address is None:
        return None
    get_options.argtypes = [ctypes.c_void_p]
    get_options.restype = ctypes.c_uint64
    if (get_options(address) ^ context.options) & _OPTION_BITS:
        return None
    return Context(library, address)
