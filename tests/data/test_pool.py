import dataclasses

import numpy as np

from tomotutor.data.pool import Cut, ItemCache, Pool, concat, find_twins


def pool_of(x):
    return Pool(tuple(map(str, range(len(x)))), (1, *x.shape[1:]), lambda row: Cut(x[row][None]))


def test_constant_items_do_not_divide_by_zero():
    assert not pool_of(np.full((1, 4, 4, 4), 7.0)).read(np.array([0])).any()


def test_cached_items_are_the_same_and_memory_is_bounded():
    x = np.random.default_rng(0).normal(size=(8, 4, 4, 4))
    made = []

    def cut(row):
        made.append(row)
        return Cut(x[row][None])

    plain = pool_of(x)
    pool = Pool(plain.ids, plain.shape, cut, cache=ItemCache(3 * 4**3 * 4))
    rows = np.array([0, 1, 0, 2, 0, 3, 0, 1])
    got = pool.read(rows)
    np.testing.assert_array_equal(got, plain.read(rows))
    assert made == [0, 1, 2, 3, 1]  # 0, always used, stays; 1 had to go for 3
    got[:] = 7  # whoever changes what he got changes nothing in the cache
    np.testing.assert_array_equal(pool.read(rows), plain.read(rows))


def test_reading_keeps_the_order_of_the_rows():
    x = np.random.default_rng(0).normal(size=(5, 4, 4, 4))
    pool = pool_of(x)
    np.testing.assert_array_equal(
        pool.read(np.array([3, 0, 3])), np.stack([pool.read(np.array([r]))[0] for r in (3, 0, 3)])
    )


def test_every_column_goes_along_where_pools_are_joined_and_taken_apart():
    x = np.random.default_rng(0).normal(size=(5, 4, 4, 4))
    plain, names = pool_of(x[:2]), [f.name for f in dataclasses.fields(Pool) if f.name.endswith(("_N", "_N2", "_N3"))]
    assert len(names) == 6
    known = pool_of(x[2:])
    kinds = {"b": lambda shape: np.ones(shape, bool), "O": lambda shape: np.full(shape, "t1", object)}
    told = {
        name: kinds.get(getattr(known, name).dtype.kind, np.ones)(getattr(known, name).shape) for name in names
    }  # of a joined pool one half knows everything, the other nothing
    both = concat([plain, dataclasses.replace(known, **told)])
    part = both.take(np.array([4, 0, 2]))
    for name in names:
        column = getattr(both, name)
        np.testing.assert_array_equal(column[:2], getattr(plain, name))
        np.testing.assert_array_equal(column[2:], told[name])
        np.testing.assert_array_equal(getattr(part, name), column[[4, 0, 2]])
    np.testing.assert_array_equal(part.read(np.arange(3)), both.read(np.array([4, 0, 2])))


def test_large_integers_keep_their_contrast():
    x = np.random.default_rng(0).integers(60000, 60010, (1, 8, 8, 8)).astype(np.uint16)
    read = pool_of(x).read(np.array([0]))
    expected = (x - x.mean(dtype=np.float64)) / x.std(dtype=np.float64)
    np.testing.assert_allclose(read[0, 0], expected[0], atol=1e-4)


def test_twins_are_exact_duplicates_of_the_first():
    x = np.random.default_rng(0).normal(size=(6, 4, 4, 4))
    x[4] = x[1]
    x[5] = x[1]
    reported = []
    twin_N = find_twins(pool_of(x), lambda p: reported.append((p.done, p.total)), batch_size=4)
    assert twin_N.tolist() == [0, 1, 2, 3, 1, 1]
    assert reported == [(4, 6), (6, 6)]
