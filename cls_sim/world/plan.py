"""Plans of streams: functions of a subject's random generator, in numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator

from cls_sim.core.draws import generator

ORDERS = ("sharp", "fuzzy", "recurring", "iid", "cumulative")
TRAIN, VALIDATION, TEST = 0, 1, 2

Source = Callable[[str, int], Generator]  # (purpose, block) → generator


def held_out(source: Generator, strata: np.ndarray, validation: float, test: float) -> np.ndarray:
    """The split of each item: uint8 [n]; every stratum is split in the same fractions, rounded.

    The test part is drawn first, so that it does not depend on the validation fraction.

    >>> split = held_out(np.random.default_rng(0), np.repeat([0, 1], 10), 0.2, 0.3)
    >>> np.bincount(split).tolist()
    [10, 4, 6]
    """
    order = np.lexsort((source.random(len(strata)), strata))
    counts = np.bincount(strata)
    rank = np.empty(len(strata))
    rank[order] = np.arange(len(strata)) - np.repeat(np.cumsum(counts) - counts, counts)
    tested = np.rint(test * counts)
    kept = tested + np.rint(validation * counts)
    return np.where(rank < tested[strata], TEST, np.where(rank < kept[strata], VALIDATION, TRAIN)).astype(np.uint8)


def mislabelled(source: Generator, y: np.ndarray, context: np.ndarray, items: np.ndarray, lists, fraction: float):
    """The classes `y`, where this fraction of `items` gets another class of the same context: int [n].

    Only classes of the same context are used, so that a wrong label never reveals a class of a later context.
    """
    y = y.copy()
    wrong = source.permutation(items)[: round(fraction * len(items))]
    shift = source.random(len(wrong))
    for k, classes in enumerate(lists):
        mine = context[wrong] == k
        place = np.argsort(classes)[np.searchsorted(np.sort(classes), y[wrong[mine]])]
        step = 1 + (shift[mine] * (len(classes) - 1)).astype(np.int64)
        y[wrong[mine]] = np.asarray(classes)[(place + step) % len(classes)]
    return y


def epochs(source: Generator, pool: np.ndarray, count: int) -> np.ndarray:
    """`count` items of the pool, epoch by epoch, each epoch in a new random order.

    >>> np.sort(epochs(np.random.default_rng(0), np.array([5, 7]), 4)[:2]).tolist()
    [5, 7]
    """
    times = -(-count // len(pool))
    return source.permuted(np.broadcast_to(pool, (times, len(pool))), axis=1).ravel()[:count]


def visits(order: str, contexts: int, cycles: int) -> np.ndarray:
    """The context of each stretch of the stream: int [stretches].

    >>> visits("recurring", 2, 2).tolist()
    [0, 1, 0, 1]
    """
    return np.tile(np.arange(contexts), cycles if order == "recurring" else 1)


def fuzzy_contexts(source: Generator, contexts: int, per_context: int, batch: int, fuzziness: float) -> np.ndarray:
    """The context of each row for fuzzy boundaries: int [contexts · per_context · batch].

    Around the boundary at t = m (in contexts) a row comes from the new context with probability
    (t − m) / fuzziness + 1/2, clipped to [0, 1].
    """
    time = (np.arange(contexts * per_context) + 0.5) / per_context
    boundary = np.clip(np.rint(time), 1, max(1, contexts - 1))
    new = np.clip((time - boundary) / max(fuzziness, 1e-12) + 0.5, 0, 1)
    draws = source.random((len(time), batch))
    return np.minimum(boundary[:, None] - 1 + (draws < new[:, None]), contexts - 1).astype(np.int64).ravel()


def item_plan(
    source: Source,
    order: str,
    pools: list[np.ndarray],
    per_context: int,
    batch: int,
    cycles: int = 1,
    fuzziness: float = 0.0,
) -> np.ndarray:
    """The item of every row of a life: int [contexts · per_context, batch].

    sharp, recurring, fuzzy: row r of a context is item r of the context's epochs.  iid: epochs of all data.
    cumulative: in stretch k, epochs of the data of contexts 0 … k.
    """
    rows = per_context * batch
    total = len(pools) * rows
    if order == "iid":
        draws = [(slice(None), np.concatenate(pools), total)]
    elif order == "cumulative":
        draws = [(slice(k * rows, (k + 1) * rows), np.concatenate(pools[: k + 1]), rows) for k in range(len(pools))]
    else:
        if order == "fuzzy":
            context = fuzzy_contexts(source("world.contexts", 0), len(pools), per_context, batch, fuzziness)
        else:
            context = np.repeat(visits(order, len(pools), cycles), rows // (cycles if order == "recurring" else 1))
        places = [np.flatnonzero(context == k) for k in range(len(pools))]
        draws = [(place, pool, len(place)) for place, pool in zip(places, pools, strict=True)]
    items = np.empty(total, np.int64)
    for k, (place, pool, count) in enumerate(draws):
        items[place] = epochs(source("world.items", k), pool, count)
    return items.reshape(-1, batch)


def mixed(seeds: Sequence[int], visits: np.ndarray, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Each subject's rows in random order, a function of its seed and the number of the visit.

    >>> a, b = mixed([0, 1], np.array([3, 3]), [np.arange(6), np.arange(6)])
    >>> sorted(a.tolist()), a.tolist() == b.tolist()
    ([0, 1, 2, 3, 4, 5], False)
    """
    each = zip(seeds, visits, rows, strict=True)
    return [generator(seed, "world.revisit", int(visit)).permutation(mine) for seed, visit, mine in each]


def padded(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    """Lists of items as a table int [s, n] and weights float32 [s, n], 0 where a subject has fewer than n.

    If all subjects have the same items, the table has one row [1, n]; if no items are missing, the weights are None.

    >>> padded([np.array([1, 2]), np.array([3])])[1].tolist()
    [[1.0, 1.0], [1.0, 0.0]]
    """
    if all(np.array_equal(row, rows[0]) for row in rows[1:]):
        return rows[0][None].astype(np.int64), None
    length = np.array([len(row) for row in rows])
    there = np.arange(length.max()) < length[:, None]
    items = np.zeros(there.shape, np.int64)
    items[there] = np.concatenate(rows)
    return items, None if there.all() else there.astype(np.float32)
