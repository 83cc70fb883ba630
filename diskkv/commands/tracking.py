"""CLIENT TRACKING and its kin: have the server tell which of the keys that a client cached are out of date."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from diskkv.codec.numbers import parse_int64
from diskkv.commands.registry import Flag, command
from diskkv.errors import CommandError, CommandSyntaxError, NotIntegerError
from diskkv.resp.reply import OK, bulk, bulks, integer, map_of, set_of
from diskkv.services.client import Client
from diskkv.services.tracking import Tracking

_FLAGS = Flag.NOSCRIPT | Flag.LOADING | Flag.STALE


@command("CLIENT TRACKING", arity=-3, flags=_FLAGS, group="connection", since="6.0.0",
         complexity="O(1). Some options may introduce additional complexity.",
         syntax="status=<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] "
                "[NOLOOP]")  # fmt: skip
def client_tracking(client: Client, argv: list[bytes]) -> bytes:
    """Begin or stop to remember the keys that this connection reads."""
    mode, prefixes = _parse_mode(client, argv)
    switch = argv[2].upper()
    trackers = client.instance.tracking
    if switch == b"OFF":
        trackers.disable(client)
    elif switch == b"ON":
        _check_mode(client.tracking, mode, prefixes)
        trackers.enable(client, mode, prefixes)
    else:
        raise CommandSyntaxError
    return OK


def _parse_mode(client: Client, argv: list[bytes]) -> tuple[Tracking, list[bytes]]:
    mode = Tracking(client.id)
    prefixes: list[bytes] = []
    at = 3
    while at < len(argv):
        option = argv[at].upper()
        at += 1
        if option == b"REDIRECT" and at < len(argv):
            if mode.redirect:
                raise CommandError(b"ERR A client can only redirect to a single other client")
            mode.redirect = _parse_client_id(client, argv[at])
            at += 1
        elif option == b"PREFIX" and at < len(argv):
            prefixes.append(argv[at])
            at += 1
        elif option == b"BCAST":
            mode.broadcast = True
        elif option == b"OPTIN":
            mode.opt_in = True
        elif option == b"OPTOUT":
            mode.opt_out = True
        elif option == b"NOLOOP":
            mode.no_loop = True
        else:
            raise CommandSyntaxError
    return mode, prefixes


def _parse_client_id(client: Client, text: bytes) -> int:
    try:
        number = parse_int64(text)
    except ValueError:
        raise NotIntegerError from None
    if number not in client.instance.clients:
        raise CommandError(b"ERR The client ID you want redirect to does not exist")
    return number


def _check_mode(now: Tracking | None, mode: Tracking, prefixes: Sequence[bytes]) -> None:
    """Refuse options that contradict each other or the mode that the client is in."""
    if prefixes and not mode.broadcast:
        raise CommandError(b"ERR PREFIX option requires BCAST mode to be enabled")
    if now is not None and now.broadcast != mode.broadcast:
        raise CommandError(
            b"ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling "
            b"it with a different mode."
        )
    if mode.broadcast and (mode.opt_in or mode.opt_out):
        raise CommandError(b"ERR OPTIN and OPTOUT are not compatible with BCAST")
    if mode.opt_in and mode.opt_out:
        raise CommandError(b"ERR You can't specify both OPTIN mode and OPTOUT mode")
    if now is not None and ((mode.opt_in and now.opt_out) or (mode.opt_out and now.opt_in)):
        raise CommandError(
            b"ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling "
            b"it with a different mode."
        )
    _check_prefixes(now, prefixes)


_NAMED_PREFIXES = 1024
"""Among more than these, the pair that overlaps is any one: finding the first in the order of the arguments is slow."""


def _check_prefixes(now: Tracking | None, prefixes: Sequence[bytes]) -> None:
    """No two prefixes of a client may match the same key."""
    existing_prefixes = sorted(now.prefixes) if now is not None else []
    # Whatever lies between a prefix and a string that begins with it begins with it as well.
    everything = sorted([*existing_prefixes, *prefixes])
    overlapping = next((pair for pair in pairwise(everything) if _overlap(*pair)), None)
    if overlapping is None:
        return
    if len(everything) > _NAMED_PREFIXES:
        raise _overlapping(overlapping[1], b"another provided", overlapping[0])
    for index, prefix in enumerate(prefixes):
        for existing in existing_prefixes:
            if _overlap(prefix, existing):
                raise _overlapping(prefix, b"an existing", existing)
        for other in prefixes[index + 1 :]:
            if _overlap(prefix, other):
                raise _overlapping(prefix, b"another provided", other)


def _overlap(first: bytes, second: bytes) -> bool:
    return first.startswith(second) or second.startswith(first)


def _overlapping(prefix: bytes, which: bytes, other: bytes) -> CommandError:
    return CommandError(
        b"ERR Prefix '%b' overlaps with %b prefix '%b'. Prefixes for a single client must not overlap."
        % (prefix, which, other)
    )


@command("CLIENT CACHING", arity=3, flags=_FLAGS, group="connection", since="6.0.0", complexity="O(1)",
         syntax="<YES | NO>")  # fmt: skip
def client_caching(client: Client, argv: list[bytes]) -> bytes:
    """Say whether the keys of the next command or transaction are to be tracked."""
    mode: Tracking | None = client.tracking
    if mode is None:
        raise CommandError(
            b"ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode "
            b"enabled"
        )
    option = argv[2].upper()
    if option == b"YES":
        if not mode.opt_in:
            raise CommandError(b"ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
    elif option == b"NO":
        if not mode.opt_out:
            raise CommandError(b"ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
    else:
        raise CommandSyntaxError
    mode.caching = True
    return OK


@command("CLIENT GETREDIR", arity=2, flags=_FLAGS, group="connection", since="6.0.0", complexity="O(1)")
def client_getredir(client: Client, argv: list[bytes]) -> bytes:
    """Tell which connection gets the invalidations: 0 for this one, -1 while nothing is tracked."""
    return integer(-1 if client.tracking is None else client.tracking.redirect)


@command("CLIENT TRACKINGINFO", arity=2, flags=_FLAGS, group="connection", since="6.2.0", complexity="O(1)")
def client_trackinginfo(client: Client, argv: list[bytes]) -> bytes:
    """Describe what is tracked for this connection."""
    mode: Tracking | None = client.tracking
    if mode is None:
        flags, redirect, prefixes = [b"off"], -1, []
    else:
        flags, redirect, prefixes = _flags(mode), mode.redirect, sorted(mode.prefixes)
    pairs = (
        (bulk(b"flags"), set_of([bulk(flag) for flag in flags], client.resp)),
        (bulk(b"redirect"), integer(redirect)),
        (bulk(b"prefixes"), bulks(prefixes)),
    )
    return map_of(pairs, client.resp)


def _flags(mode: Tracking) -> list[bytes]:
    words = (
        (b"on", True),
        (b"bcast", mode.broadcast),
        (b"optin", mode.opt_in),
        (b"caching-yes", mode.opt_in and mode.caching),
        (b"optout", mode.opt_out),
        (b"caching-no", mode.opt_out and mode.caching),
        (b"noloop", mode.no_loop),
        (b"broken_redirect", mode.is_redirect_broken),
    )
    return [word for word, holds in words if holds]
