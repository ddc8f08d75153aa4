"""A descriptor's cut of the neighbour table: the two-step rule against a plain loop."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.descriptors.neighborhood import may_truncate, ordered_pairs, sections

RCUT = 3.0
NBRS = (6, 9)


def table(seed: int):
    """Random neighbours of 12 atoms in two sections, unused slots full of rubbish that lies near."""
    rng = np.random.default_rng(seed)
    disp = rng.uniform(-2.2, 2.2, (12, sum(NBRS), 3))
    count = np.stack([rng.integers(0, k + 1, 12) for k in NBRS], axis=1).astype(np.int32)
    count[0], count[1] = NBRS, 0
    return disp, count


def plain_rule(disp, count, sel):
    """Kept displacements of one atom for each section, nearest first: nearest sum(sel) of all, then sel[t] of each type."""
    found = [(np.linalg.norm(disp[s + k]), t, s + k) for t, s in enumerate((0, NBRS[0])) for k in range(count[t])]
    found = sorted(f for f in found if f[0] < RCUT)[: sum(sel)]
    return [[disp[slot] for _, kind, slot in found if kind == t][: sel[t]] for t in range(2)]


@pytest.mark.parametrize("sel", [(6, 9), (20, 20), (2, 3), (1, 9), (6, 1), (0, 4), (4, 0)])
def test_the_nearest_are_kept(sel):
    disp, count = table(sum(sel))
    parts = jax.jit(lambda d, c: sections(d, c, NBRS, sel, RCUT))(disp, count)
    for i in range(len(disp)):
        for part, want in zip(parts, plain_rule(disp[i], count[i], sel)):
            kept = np.asarray(part.disp[i])[np.asarray(part.mask[i])]
            kept = kept[np.argsort(np.linalg.norm(kept, axis=1))]
            assert part.kept[i] == len(want)
            np.testing.assert_array_equal(kept, np.reshape(want, (-1, 3)))


def test_truncation_is_compiled_only_where_it_can_happen():
    assert may_truncate((6, 9), (6, 8)) and not may_truncate((6, 9), (6, 9))
    disp, count = table(0)

    def text(sel):
        return str(jax.make_jaxpr(lambda d: [s.disp for s in sections(d, count, NBRS, sel, RCUT)])(disp))

    assert "sort" in text((6, 8))
    assert "sort" not in text((6, 9))


def test_room_that_is_not_needed_changes_nothing():
    """Slots wider than ``sel`` but with few neighbours in them: cut and uncut code agree."""
    disp, count = table(3)
    count = np.minimum(count, 2)
    plain, cut = (sections(disp, count, NBRS, sel, RCUT) for sel in ((6, 9), (5, 5)))
    for a, b in zip(plain, cut):
        np.testing.assert_array_equal(a.kept, b.kept)
        np.testing.assert_allclose(
            jnp.sum(jnp.where(a.mask[..., None], a.disp, 0), axis=1),
            jnp.sum(jnp.where(b.mask[..., None], b.disp, 0), axis=1),
            atol=1e-14,
        )


def test_pairs_become_ordered_both_ways():
    assert ordered_pairs([(0, 1), [2, 2]]) == {(0, 1), (1, 0), (2, 2)}
