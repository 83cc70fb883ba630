"""From one on-disk format to the next.

The format's number is in a system row (`FORMAT_VERSION` in codec/keys.py). A program refuses a newer format, and an
older one until `diskkvctl upgrade` has brought it up to date: that may take long and needs a backup first, which a
server that is to be ready at once should not do by itself.

There has been one format so far, number 1, so there are no steps yet. A change of the layout that old rows do not agree
with takes the next number, and a step here that rewrites them. A step writes in batches of bounded size, finds out from
the rows themselves what is done already, and leaves the format's number alone: when it is interrupted, it is run again
from its start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from diskkv.codec.keys import FORMAT_VERSION, SYSTEM_FORMAT, U32
from diskkv.engine.store import Store
from diskkv.errors import ConfigError

Step = Callable[[Store], None]

STEPS: Mapping[int, Step] = {}
"""The step at n makes format n + 1 of format n."""


def stored_format(store: Store) -> int | None:
    """The format of a store; None when it has none, as an empty one. Raises ConfigError when it is no number."""
    raw = store.get(SYSTEM_FORMAT)
    if raw is None:
        return None
    if len(raw) != U32.size:
        message = f"the format of the data directory is no number: {raw[:32].hex()}"
        raise ConfigError(message)
    version: int = U32.unpack(raw)[0]
    return version


def require_current(version: int, directory: str, current: int = FORMAT_VERSION) -> None:
    """Raise ConfigError, with the way out, unless the format is the one of this program."""
    if version > current:
        message = (
            f"{directory} has format {version}, this version of diskkv reads up to {current}: use a newer diskkv"
        )
        raise ConfigError(message)
    if version < current:
        message = (
            f"{directory} has format {version}, this version of diskkv uses {current}: run `diskkvctl upgrade`, which "
            "makes a backup first"
        )
        raise ConfigError(message)


def missing_steps(version: int, current: int = FORMAT_VERSION, steps: Mapping[int, Step] = STEPS) -> list[int]:
    """The formats through which `version` has to go. Raises ConfigError when there is no way."""
    needed = list(range(version, current))
    if not all(number in steps for number in needed):
        message = f"format {version} cannot be upgraded by this version of diskkv"
        raise ConfigError(message)
    return needed


def upgrade(
    store: Store,
    current: int = FORMAT_VERSION,
    steps: Mapping[int, Step] = STEPS,
    told: Callable[[int], object] = lambda number: None,
) -> list[int]:
    """Bring a store up to date; answers the formats that it had on the way. `told` is called before each step."""
    version = stored_format(store)
    if version is None:
        message = "this is no data directory of diskkv: it has no format"
        raise ConfigError(message)
    needed = missing_steps(version, current, steps)
    for number in needed:
        told(number)
        steps[number](store)
        batch = store.batch(sync=True)
        batch.put(SYSTEM_FORMAT, U32.pack(number + 1))
        store.write(batch)
    return needed
