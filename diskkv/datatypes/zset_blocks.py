"""The rank index of a big sorted set: how many members lie in which stretch of its order.

The members in order of (score, member) are cut into blocks of at most `BLOCK_MEMBERS`, and the blocks into groups of at
most `GROUP_BLOCKS`. Both are rows of the object, `sub` being the first position that belongs to the stretch (b"" for
the very first one; it need not be a member's), the value how many members it has (u32):

    KIND_ZSET_BLOCK     sub = border            members from this border up to the next block's
    KIND_ZSET_GROUP     sub = border            members from this border up to the next group's; also a block's border

A position is the `sub` of a member's KIND_ZSET_SCORE row (see zset_rows.py). Borders made by a split are the shortest
ones that part two members.

In memory, `RankIndex` mirrors these rows: the groups always, the blocks of a group once they were needed, and the
positions in a block (its order) once they were needed or from the time that the set was made. So a rank is three
bisections, two sums over a few hundred numbers and at most one scan of a block, whatever the size of the set, pops from
the ends need no scans of their own, and the index of a set that was not used since the start costs the reading of its
groups (one row for every 50,000 to 100,000 members) and of one group's blocks, not of the whole index.
zset_memory.py bounds what this takes.

Why so, measured on a set of 10 million members (56,000 blocks, 147 groups): the flat list of all counts takes 0.2 ms to
sum up and 27 ms to read after a start, the groups and one group's blocks 5 us and 0.3 ms. ZRANK in a block that is not
in memory and ZRANGE at a deep index take 80 us and more, of which the scan within a block of up to 256 members is the
most; ZADD takes 17 us and ZPOPMIN 15, each with a commit of its own. What the index adds to a ZADD is two small rows;
in a set of up to 100,000 members all writes of a turn share the group's row. Counts kept in memory alone would have to
be made anew by reading all members.

Consistency: the rows are staged with the members' rows, so they commit or vanish together. The mirror follows at once;
a rollback drops it (`Engine.mirrors`), and the next use reads the rows again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from diskkv.codec.keys import (
    KIND_ZSET_BLOCK,
    KIND_ZSET_GROUP,
    KIND_ZSET_MEMBER,
    KIND_ZSET_SCORE,
    U32,
    element_prefix,
    prefix_successor,
)
from diskkv.datatypes.zset_memory import BLOCK_COST_BYTES, MEMBER_COST_BYTES, Group, Memory, Order, memory_of
from diskkv.engine.engine import Engine
from diskkv.errors import CorruptionError

BLOCK_MEMBERS = 256
GROUP_BLOCKS = 512
_FEW_MEMBERS = BLOCK_MEMBERS // 8
_FEW_BLOCKS = GROUP_BLOCKS // 8

_pack = U32.pack


class RankIndex:
    """The mirror of one set's blocks. `position` arguments are `sub`s of KIND_ZSET_SCORE rows.
    """

    __slots__ = (
        "_block_prefix",
        "_borders",
        "_group_prefix",
        "_journal",
        "_memory",
        "groups",
        "members",
        "mirrors",
        "oid",
        "rows",
        "scores",
        "scores_end",
    )

    def __init__(self, engine: Engine, oid: int, memory: Memory) -> None:
        self.oid = oid
        self.rows = engine.rows
        self.mirrors = engine.mirrors
        self._journal = engine.journal
        self.members = element_prefix(oid, KIND_ZSET_MEMBER)
        self.scores = element_prefix(oid, KIND_ZSET_SCORE)
        self.scores_end = element_prefix(oid, KIND_ZSET_BLOCK)
        self._block_prefix = self.scores_end
        self._group_prefix = element_prefix(oid, KIND_ZSET_GROUP)
        self._memory = memory
        self.groups: list[Group] = []
        self._borders: list[bytes] = []
        """The groups' borders, for bisection."""

    # ---- making and reading

    def create(self, counts: list[tuple[bytes, int]]) -> None:
        """Stage the rows of a new set: (border, members) of its blocks in order, the first border b""."""
        put = self.rows.put
        per_group = GROUP_BLOCKS * 3 // 4
        for at in range(0, len(counts), per_group):
            part = counts[at : at + per_group]
            group = Group(part[0][0], sum(count for _, count in part))
            put(self._group_prefix + group.border, _pack(group.total))
            for border, count in part:
                put(self._block_prefix + border, _pack(count))
            group.borders = [border for border, _ in part]
            group.counts = [count for _, count in part]
            group.orders = [None] * len(part)
            self.groups.append(group)
            self._borders.append(group.border)
            self._memory.loaded(self, group)

    def read(self) -> None:
        """Take the groups from the rows."""
        prefix = self._group_prefix
        size = len(prefix)
        for row, value in self.rows.scan(prefix, prefix_successor(prefix)):
            border = row[size:]
            self.groups.append(Group(border, U32.unpack(value)[0]))
            self._borders.append(border)
        if not self._borders or self._borders[0]:
            message = f"sorted set object {self.oid} has no first group: {prefix.hex()}"
            raise CorruptionError(message)

    def _blocks_of(self, at: int) -> tuple[list[bytes], list[int]]:
        """The borders and counts of one group's blocks, from the rows when they are not in memory."""
        group = self.groups[at]
        if group.borders is not None:
            return group.borders, group.counts
        prefix = self._block_prefix
        size = len(prefix)
        stop = prefix + self._borders[at + 1] if at + 1 < len(self._borders) else self._group_prefix
        borders: list[bytes] = []
        counts: list[int] = []
        for row, value in self.rows.scan(prefix + group.border, stop):
            borders.append(row[size:])
            counts.append(U32.unpack(value)[0])
        if sum(counts) != group.total or not borders or borders[0] != group.border:
            message = f"blocks of sorted set object {self.oid} do not add up: {(prefix + group.border).hex()}"
            raise CorruptionError(message)
        group.borders = borders
        group.counts = counts
        group.orders = [None] * len(counts)
        self._memory.loaded(self, group)
        return borders, counts

    def know(self, positions: list[bytes]) -> None:
        """Take all positions of a new set into memory."""
        if any(group.borders is None for group in self.groups):
            return
        start = 0
        for group in self.groups:
            for block, count in enumerate(group.counts):
                group.orders[block] = Order(positions[start : start + count])
                start += count
        self._memory.size_bytes += start * MEMBER_COST_BYTES

    def _order_of(self, at: int, block: int, low: bytes, high: bytes) -> list[bytes]:
        """All positions in a block; none is before `low`, nor at or behind `high` (b"": no such bound)."""
        borders, counts = self._blocks_of(at)
        group = self.groups[at]
        order = group.orders[block]
        if order is None:
            scores = self.scores
            if block + 1 < len(borders):
                stop = scores + borders[block + 1]
            else:
                stop = self._end_of_group(at)
            if high:
                stop = min(stop, scores + high)
            size = len(scores)
            # Rows in front of `low` and from `high` on were deleted, and to walk over these takes time.
            found = self.rows.scan(scores + max(borders[block], low), stop)
            order = group.orders[block] = Order([row[size:] for row, _ in found])
            self._memory.size_bytes += len(order) * MEMBER_COST_BYTES
        positions = order.positions()
        if len(positions) != counts[block]:
            message = f"a block of sorted set object {self.oid} counts {counts[block]} members and has {len(positions)}"
            raise CorruptionError(message)
        return positions

    # ---- the two ends

    def lowest(self, count: int, low: bytes, high: bytes) -> list[bytes]:
        """The first positions, `count` if there are as many; `low` and `high` as in Header.ext."""
        found: list[bytes] = []
        at = block = 0
        while len(found) < count and at < len(self.groups):
            order = self._order_of(at, block, low, high)
            missing = count - len(found)
            found += order if len(order) <= missing else order[:missing]
            block += 1
            if block == len(self._blocks_of(at)[0]):
                at, block = at + 1, 0
        self._settle()
        return found

    def highest(self, count: int, low: bytes, high: bytes) -> list[bytes]:
        """The last positions, in ascending order, `count` if there are as many."""
        parts: list[list[bytes]] = []
        missing = count
        at = len(self.groups) - 1
        block = len(self._blocks_of(at)[0]) - 1
        while missing and at >= 0:
            order = self._order_of(at, block, low, high)
            parts.append(order if len(order) <= missing else order[-missing:])
            missing -= len(parts[-1])
            block -= 1
            if block < 0:
                at -= 1
                block = len(self._blocks_of(at)[0]) - 1 if at >= 0 else 0
        self._settle()
        return [position for part in reversed(parts) for position in part]

    def _settle(self) -> None:
        if self._memory.size_bytes > self._memory.budget_bytes:
            self._memory.settle()

    # ---- changes

    def insert(self, position: bytes) -> None:
        """A member was staged at `position`."""
        rows = self.rows
        self._journal.append((self.mirrors, self.oid, None))
        at = bisect_right(self._borders, position) - 1
        group = self.groups[at]
        borders = group.borders
        if borders is None:
            # The rows of the scan hold what was staged before this member is counted.
            borders, _ = self._blocks_of(at)
        counts = group.counts
        block = bisect_right(borders, position) - 1
        count = counts[block] + 1
        counts[block] = count
        group.total += 1
        rows.put(self._block_prefix + borders[block], _pack(count))
        rows.put(self._group_prefix + group.border, _pack(group.total))
        order = group.orders[block]
        if order is not None:
            order.insert(position)
            self._memory.size_bytes += MEMBER_COST_BYTES
        if count > BLOCK_MEMBERS:
            self._split_block(at, block, position)
        self._settle()

    def remove(self, position: bytes) -> None:
        """The member at `position` was deleted."""
        rows = self.rows
        self._journal.append((self.mirrors, self.oid, None))
        at = bisect_right(self._borders, position) - 1
        group = self.groups[at]
        borders = group.borders
        if borders is None:
            borders, _ = self._blocks_of(at)
        counts = group.counts
        block = bisect_right(borders, position) - 1
        count = counts[block] - 1
        if count < 0:
            raise self._too_few()
        counts[block] = count
        group.total -= 1
        rows.put(self._block_prefix + borders[block], _pack(count))
        rows.put(self._group_prefix + group.border, _pack(group.total))
        order = group.orders[block]
        if order is not None:
            order.remove(position)
        if count < _FEW_MEMBERS:
            self._merge_block(at, block)

    def change(self, added: list[bytes], removed: list[bytes]) -> None:
        """Members were staged at `added` and deleted at `removed`; all of these positions are different.

        As `insert` and `remove` of each, at less cost: every count that changes is staged once.
        """
        self._journal.append((self.mirrors, self.oid, None))
        uneven: list[bytes] = []
        if len(self.groups) == 1:
            uneven = self._count(0, added, removed)
        else:
            by_group: dict[int, tuple[list[bytes], list[bytes]]] = {}
            for side, positions in enumerate((added, removed)):
                for position in positions:
                    at = bisect_right(self._borders, position) - 1
                    by_group.setdefault(at, ([], []))[side].append(position)
            for at, (more, less) in by_group.items():
                uneven += self._count(at, more, less)
        if uneven:
            highest = max(added, default=b"")
            # First all that are too large: one that is too small must not be united with one of these.
            for border in uneven:
                at, block = self._find(border)
                if self._blocks_of(at)[1][block] > BLOCK_MEMBERS:
                    self._split_block(at, block, highest)
            for border in uneven:
                at, block = self._find(border)
                if self._blocks_of(at)[1][block] < _FEW_MEMBERS:
                    self._merge_block(at, block)
        self._settle()

    def _find(self, position: bytes) -> tuple[int, int]:
        """(group, block) of a position."""
        at = bisect_right(self._borders, position) - 1
        return at, bisect_right(self._blocks_of(at)[0], position) - 1

    def _count(self, at: int, added: list[bytes], removed: list[bytes]) -> list[bytes]:
        """Change the counts of one group's blocks; the borders of those that got too large or small are answered."""
        borders, counts = self._blocks_of(at)
        more = [bisect_right(borders, position) - 1 for position in added]
        less = [bisect_right(borders, position) - 1 for position in removed]
        group = self.groups[at]
        group.total += len(more) - len(less)
        orders = group.orders
        for block, position in zip(more, added, strict=True):
            counts[block] += 1
            order = orders[block]
            if order is not None:
                order.added.append(position)
        for block, position in zip(less, removed, strict=True):
            counts[block] -= 1
            order = orders[block]
            if order is not None:
                order.removed.append(position)
        self._memory.size_bytes += len(more) * MEMBER_COST_BYTES
        prefix = self._block_prefix
        rows = {self._group_prefix + group.border: _pack(group.total)}
        uneven = []
        for block in {*more, *less}:
            count = counts[block]
            if not _FEW_MEMBERS <= count <= BLOCK_MEMBERS:
                if count < 0:
                    raise self._too_few()
                uneven.append(borders[block])
            rows[prefix + borders[block]] = _pack(count)
            order = orders[block]
            if order is not None and order.noted > BLOCK_MEMBERS:
                order.positions()
        self.rows.put_many(rows)
        return uneven

    def _too_few(self) -> CorruptionError:
        return CorruptionError(f"a block of sorted set object {self.oid} has less members than it counts")

    def remove_all(self, positions: Sequence[bytes]) -> None:
        """The members at these positions, which ascend, were deleted; costs little more for each than for a block."""
        rows = self.rows
        self._journal.append((self.mirrors, self.oid, None))
        done = 0
        while done < len(positions):
            at = bisect_right(self._borders, positions[done]) - 1
            borders, counts = self._blocks_of(at)
            group = self.groups[at]
            block = bisect_right(borders, positions[done]) - 1
            if block + 1 < len(borders):
                upto = bisect_left(positions, borders[block + 1], done)
            elif at + 1 < len(self._borders):
                upto = bisect_left(positions, self._borders[at + 1], done)
            else:
                upto = len(positions)
            counts[block] -= upto - done
            group.total -= upto - done
            order = group.orders[block]
            if order is not None:
                group.orders[block] = Order(_without(order.positions(), positions[done:upto]))
            if counts[block] < 0:
                raise self._too_few()
            rows.put(self._block_prefix + borders[block], _pack(counts[block]))
            rows.put(self._group_prefix + group.border, _pack(group.total))
            if counts[block] < _FEW_MEMBERS:
                self._merge_block(at, block)
            done = upto

    def _split_block(self, at: int, block: int, inserted: bytes) -> None:
        """Cut a block that is too large in parts of the same size; `inserted` is the highest position that is new.

        When it grew at the end of the set all parts but the last one are full.
        """
        group = self.groups[at]
        borders, counts = self._blocks_of(at)
        count = counts[block]
        is_last = at + 1 == len(self.groups) and block + 1 == len(borders)
        order = self._order_of(at, block, b"", b"")
        if is_last and order[-1] == inserted:
            starts = list(range(0, count, BLOCK_MEMBERS))
        else:
            parts = count // BLOCK_MEMBERS + 1
            starts = [count * part // parts for part in range(parts)]
        new = [shortest_border(order[start - 1], order[start]) for start in starts[1:]]
        ends = [*starts[1:], count]
        sizes = [stop - start for start, stop in zip(starts, ends, strict=True)]
        put = self.rows.put
        for border, members in zip([borders[block], *new], sizes, strict=True):
            put(self._block_prefix + border, _pack(members))
        borders[block + 1 : block + 1] = new
        counts[block : block + 1] = sizes
        group.orders[block : block + 1] = [Order(order[start:stop]) for start, stop in zip(starts, ends, strict=True)]
        self._memory.size_bytes += len(new) * BLOCK_COST_BYTES
        if len(borders) > GROUP_BLOCKS:
            self._split_group(at, group, borders, counts)

    def _end_of_group(self, at: int) -> bytes:
        return self.scores + self._borders[at + 1] if at + 1 < len(self._borders) else self.scores_end

    def _split_group(self, at: int, group: Group, borders: list[bytes], counts: list[int]) -> None:
        keep = len(borders) // 2
        if at + 1 == len(self.groups):
            keep = max(keep, len(borders) - 8)
        keep = min(keep, GROUP_BLOCKS)
        new = Group(borders[keep], sum(counts[keep:]))
        new.borders = borders[keep:]
        new.counts = counts[keep:]
        new.orders = group.orders[keep:]
        group.total -= new.total
        del borders[keep:], counts[keep:], group.orders[keep:]
        self.groups.insert(at + 1, new)
        self._borders.insert(at + 1, new.border)
        self.rows.put(self._group_prefix + group.border, _pack(group.total))
        self.rows.put(self._group_prefix + new.border, _pack(new.total))
        self._memory.loaded(self, new)
        if len(new.counts) > GROUP_BLOCKS:
            self._split_group(at + 1, new, new.borders, new.counts)

    def _merge_block(self, at: int, block: int) -> None:
        """Unite a block of few members with a neighbour when both together are small, always when it is empty."""
        borders, counts = self._blocks_of(at)
        if len(borders) == 1:
            if not counts[0] and len(self.groups) > 1:
                at = self._merge_group(at)
                borders, counts = self._blocks_of(at)
                block = next(index for index, count in enumerate(counts) if not count)
            else:
                return
        left = block if block + 1 < len(borders) else block - 1
        total = counts[left] + counts[left + 1]
        if total > BLOCK_MEMBERS // 2 and counts[block]:
            return
        self.rows.delete(self._block_prefix + borders[left + 1])
        self.rows.put(self._block_prefix + borders[left], _pack(total))
        orders = self.groups[at].orders
        first, second = orders[left], orders[left + 1]
        orders[left] = None
        if (first is not None or not counts[left]) and (second is not None or not counts[left + 1]):
            orders[left] = Order([position for order in (first, second) if order for position in order.positions()])
        counts[left] = total
        del borders[left + 1], counts[left + 1], orders[left + 1]
        if len(borders) < _FEW_BLOCKS and len(self.groups) > 1:
            right = at + 1 if at + 1 < len(self.groups) else at
            if len(self._blocks_of(right - 1)[0]) + len(self._blocks_of(right)[0]) <= GROUP_BLOCKS // 2:
                self._merge_group(at)

    def _merge_group(self, at: int) -> int:
        """Unite a group with a neighbour; answers where the united one is."""
        left = at if at + 1 < len(self.groups) else at - 1
        first, second = self.groups[left], self.groups[left + 1]
        borders, counts = self._blocks_of(left)
        orders = first.orders
        # This may take the first one's blocks out of memory again.
        more_borders, more_counts = self._blocks_of(left + 1)
        is_loaded = first.borders is not None
        first.borders = borders + more_borders
        first.counts = counts + more_counts
        first.orders = orders + second.orders
        second.forget()
        if not is_loaded:
            self._memory.loaded(self, first)
        first.total += second.total
        del self.groups[left + 1], self._borders[left + 1]
        self.rows.delete(self._group_prefix + second.border)
        self.rows.put(self._group_prefix + first.border, _pack(first.total))
        return left

    # ---- ranks

    def rank(self, position: bytes, low: bytes, high: bytes) -> int:
        """How many members lie before `position`."""
        at, block = self._find(position)
        counts = self._blocks_of(at)[1]
        total = sum(counts[:block]) + bisect_left(self._order_of(at, block, low, high), position)
        for group in self.groups[:at]:
            total += group.total
        self._settle()
        return total

    def locate(self, rank: int) -> tuple[bytes, bytes, int, int]:
        """The block that holds the member of this rank (from 0, below the count).

        Answers (its border, the position where it ends or b"" for the end of the set, how many of its members come
        before the rank, its count).
        """
        at = 0
        for group in self.groups:
            if rank < group.total:
                break
            rank -= group.total
            at += 1
        else:
            message = f"sorted set object {self.oid} has less members than its header says"
            raise CorruptionError(message)
        borders, counts = self._blocks_of(at)
        block = 0
        for count in counts:
            if rank < count:
                break
            rank -= count
            block += 1
        if block + 1 < len(borders):
            end = borders[block + 1]
        else:
            end = self._borders[at + 1] if at + 1 < len(self._borders) else b""
        return borders[block], end, rank, counts[block]

    def check(self) -> list[tuple[bytes, int]]:
        """(border, count) of all blocks, after comparing the sums; for tests and checks."""
        found: list[tuple[bytes, int]] = []
        for at in range(len(self.groups)):
            borders, counts = self._blocks_of(at)
            if sum(counts) != self.groups[at].total or borders[0] != self.groups[at].border:
                message = f"group {at} of sorted set object {self.oid} does not add up"
                raise CorruptionError(message)
            found += zip(borders, counts, strict=True)
        return found


def _without(order: list[bytes], gone: Sequence[bytes]) -> list[bytes]:
    """What is left of an order; all of `gone` are in it."""
    start = bisect_left(order, gone[0])
    stop = start + len(gone)
    if order[start:stop] == gone:
        return order[:start] + order[stop:]
    removed = set(gone)
    return [position for position in order if position not in removed]


def shortest_border(before: bytes, after: bytes) -> bytes:
    """The shortest bytes that are greater than `before` and not greater than `after`."""
    at = 0
    for left, right in zip(before, after, strict=False):
        if left != right:
            break
        at += 1
    return after[: at + 1]


def index_of(engine: Engine, oid: int) -> RankIndex:
    """The rank index of an object."""
    index: RankIndex | None = engine.mirrors.get(oid)
    return _load(engine, oid) if index is None else index


def _load(engine: Engine, oid: int) -> RankIndex:
    index = RankIndex(engine, oid, memory_of(engine))
    index.read()
    engine.mirrors[oid] = index
    return index


def new_index(engine: Engine, oid: int, counts: list[tuple[bytes, int]]) -> RankIndex:
    """Stage the index of a new object: (border, members) of its blocks in order, the first border b""."""
    index = RankIndex(engine, oid, memory_of(engine))
    index.create(counts)
    engine.journal.append((engine.mirrors, oid, None))
    engine.mirrors[oid] = index
    return index
