"""Which parts of the rank indexes of big sorted sets are in memory (see zset_blocks.py), and how much that takes."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from diskkv.engine.engine import Engine

if TYPE_CHECKING:
    from diskkv.datatypes.zset_blocks import RankIndex

BLOCK_COST_BYTES = 110
MEMBER_COST_BYTES = 80
"""Of a position in an order, with a member of common length."""
_GROUP_COST_BYTES = 1100
_LEAST_BUDGET_BYTES = 2 << 20
_BUDGET_SHARE = 4
_SLACK_SHARE = 8


class Order:
    """The positions of a block. Changes by many are only noted in `added` and `removed` until somebody asks.

    To find a place in the order touches a dozen objects all over the memory, to note a position one.
    """

    __slots__ = ("_sorted", "added", "removed")

    def __init__(self, positions: list[bytes]) -> None:
        self._sorted = positions
        self.added: list[bytes] = []
        self.removed: list[bytes] = []

    def __len__(self) -> int:
        return len(self._sorted) + len(self.added) - len(self.removed)

    @property
    def noted(self) -> int:
        """How many changes are noted."""
        return len(self.added) + len(self.removed)

    def positions(self) -> list[bytes]:
        """All of them in order: not to be changed, and not to be kept beyond the next change."""
        if self.added:
            self._sorted = sorted(self._sorted + self.added)
            self.added.clear()
        if self.removed:
            gone = set(self.removed)
            left = [position for position in self._sorted if position not in gone]
            if len(left) != len(self._sorted) - len(self.removed):
                left = self._once_less()
            self.removed.clear()
            self._sorted = left
        return self._sorted

    def _once_less(self) -> list[bytes]:
        """What is left when some positions were removed and came back: these are there twice."""
        gone = Counter(self.removed)
        left = []
        for position in self._sorted:
            if gone[position]:
                gone[position] -= 1
            else:
                left.append(position)
        return left

    def insert(self, position: bytes) -> None:
        """Add a position."""
        if self.added or self.removed:
            self.added.append(position)
        else:
            insort(self._sorted, position)

    def remove(self, position: bytes) -> None:
        """Remove a position that is there."""
        if self.added or self.removed:
            self.removed.append(position)
            return
        at = bisect_left(self._sorted, position)
        if self._sorted[at : at + 1] == [position]:
            del self._sorted[at]


class Group:
    """A stretch of blocks. `borders` is None while they are not in memory; then `counts` and `orders` are empty.

    Of a block, the order may be in memory, else it is None.
    """

    __slots__ = ("border", "borders", "counts", "orders", "total")

    def __init__(self, border: bytes, total: int) -> None:
        self.border = border
        self.total = total
        self.borders: list[bytes] | None = None
        self.counts: list[int] = []
        self.orders: list[Order | None] = []

    def forget(self) -> None:
        """Keep nothing in memory but the total."""
        self.borders = None
        self.counts = []
        self.orders = []

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        members = sum([len(order) for order in self.orders if order is not None])
        return _GROUP_COST_BYTES + len(self.counts) * BLOCK_COST_BYTES + members * MEMBER_COST_BYTES


class Memory:
    """The groups that have their blocks in memory, oldest first.

    `size_bytes` is never less than what they take: what is dropped is noticed when it is next counted.
    """

    __slots__ = ("_loaded", "_mirrors", "budget_bytes", "size_bytes")

    def __init__(self, engine: Engine) -> None:
        self._mirrors = engine.mirrors
        self._loaded: deque[tuple[RankIndex, Group]] = deque()
        self.size_bytes = 0
        self.budget_bytes = max(_LEAST_BUDGET_BYTES, engine.config.cache_size // _BUDGET_SHARE)

    def loaded(self, index: RankIndex, group: Group) -> None:
        """A group's blocks came into memory. It stays there when others have to go."""
        self._loaded.append((index, group))
        self.size_bytes += group.size_bytes
        if self.size_bytes > self.budget_bytes:
            self.settle()

    def settle(self) -> None:
        """Keep within the budget: orders go first, those of the oldest groups before others, then whole groups."""
        self._loaded = deque(entry for entry in self._loaded if entry[1].borders is not None)
        self.size_bytes = sum(group.size_bytes for _, group in self._loaded)
        # Down to less than the budget, so that it takes a while until it is counted again.
        target_bytes = self.budget_bytes - self.budget_bytes // _SLACK_SHARE
        for _, group in self._loaded:
            if self.size_bytes <= target_bytes:
                return
            members = sum([len(order) for order in group.orders if order is not None])
            group.orders = [None] * len(group.counts)
            self.size_bytes -= members * MEMBER_COST_BYTES
        while self.size_bytes > target_bytes and len(self._loaded) > 1:
            index, group = self._loaded.popleft()
            self.size_bytes -= group.size_bytes
            group.forget()
            if index is not self._loaded[-1][0] and all(other.borders is None for other in index.groups):
                self._mirrors.pop(index.oid, None)


def memory_of(engine: Engine) -> Memory:
    """The engine's one."""
    memory: Any = engine.mirrors.get(0)  # object ids begin at 1
    if memory is None:
        memory = engine.mirrors[0] = Memory(engine)
    assert isinstance(memory, Memory)
    return memory
