"""Codes of several bits: odd levels times one scale a channel."""

import itertools
import os

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from solver.problems import layer, objective

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.solver import hashing
from hashbwn_keras.solver.babai import babai
from hashbwn_keras.solver.hashing import solve

SEARCHES = ("dcc", "one_opt", "tabu")


def levels_of(bits):
    return np.arange(1 - 2**bits, 2**bits, 2)


def best_of_all(G, g, bits):
    trials = np.array(list(itertools.product(levels_of(bits), repeat=len(G))), np.float64).T
    q = ((G @ trials) * trials).sum(0)
    return np.array([((column @ trials) ** 2 / q).max() for column in g.T])


@pytest.mark.parametrize(("K", "bits"), [(1, 2), (1, 4), (2, 3), (3, 4), (5, 3), (7, 2)])
def test_exact_is_the_best_of_all_levels(K, bits):
    G, g, _, w = layer(K, 4, seed=K)
    for method in ("exact", "auto"):
        found = solve(G, g, method=method, init=w, bits=bits)
        np.testing.assert_allclose(found.objective, best_of_all(G, g, bits), rtol=1e-9)


@pytest.mark.parametrize("method", ["sign", *SEARCHES])
def test_no_method_beats_enumeration_and_none_falls_below_rounding(method):
    G, g, _, w = layer(5, 8)
    start = solve(G, g, method="sign", init=w, bits=3).objective
    found = solve(G, g, method=method, init=w, bits=3).objective
    assert (found <= best_of_all(G, g, 3) * (1 + 1e-12)).all()
    assert (found >= start).all()


def test_tabu_finds_the_best_of_small_problems():
    for seed in range(5):
        G, g, _, w = layer(7, 8, seed=seed)
        found = solve(G, g, method="tabu", init=w, bits=2)
        np.testing.assert_allclose(found.objective, best_of_all(G, g, 2), rtol=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 40),
    st.integers(2, 4),
    st.integers(0, 10**6),
    st.sampled_from(("auto", "sign", *SEARCHES)),
)
def test_codes_are_odd_levels_and_scales_and_objective_theirs(K, bits, seed, method):
    G, g, v, w = layer(K, 3, seed)
    found = solve(G, g, method=method, init=w, bits=bits, damping=1e-3)
    b = found.codes.astype(float)
    assert found.codes.dtype == np.int8 and np.isin(found.codes, levels_of(bits)).all()
    p, q = (g * b).sum(0), ((G @ b) * b).sum(0)
    assert (p > 0).all() and (found.objective <= v * (1 + 1e-9)).all()
    np.testing.assert_allclose(found.scales, p / q, rtol=1e-12)
    np.testing.assert_allclose(found.objective, p**2 / q, rtol=1e-12)


@pytest.mark.parametrize("method", ["one_opt", "tabu"])
@pytest.mark.parametrize("bits", [2, 4])
def test_no_single_move_improves_a_search(method, bits):
    G, g, _, w = layer(60, 6)
    found = solve(G, g, method=method, init=w, bits=bits)
    for j, step in itertools.product(range(60), (-2, 2)):
        moved = found.codes.copy()
        moved[j] = np.clip(moved[j] + step, 1 - 2**bits, 2**bits - 1)
        assert (objective(G, g, moved) <= found.objective * (1 + 1e-5)).all()


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 4), st.integers(0, 10**6))
def test_more_bits_never_do_worse_where_all_codes_are_tried(K, seed):
    G, g, _, w = layer(K, 3, seed)
    kept = [solve(G, g, method="exact", init=w, bits=bits).objective for bits in (1, 2, 3, 4)]
    for few, more in itertools.pairwise(kept):
        assert (more >= few * (1 - 1e-12)).all()


def test_each_bit_leaves_at_most_half_of_the_error():
    G, g, v, w = layer(100, 8)
    left = [(v - solve(G, g, init=w, bits=bits).objective).sum() / v.sum() for bits in (1, 2, 3, 4)]
    for few, more in itertools.pairwise(left):
        assert more < few / 2


def test_deeper_searches_do_better():
    G, g, v, w = layer(100, 16)
    left = [
        (v - solve(G, g, method=m, init=w, bits=2).objective).mean() for m in ("sign", *SEARCHES)
    ]
    assert left == sorted(left, reverse=True)


def plain_babai(G, w, scale, top):
    """Each code is rounded with those before it held: the best float rest is solved for anew."""
    w = w.copy()
    for j in range(len(w) - 1, -1, -1):
        level = np.clip(2 * np.floor(w[j] / scale / 2) + 1, -top, top)
        error = w[j] - scale * level
        w[:j] += np.linalg.solve(G[:j, :j], G[:j, j]) * error
        w[j] = level
    return w


def test_babai_is_rounding_with_the_rest_solved_for_anew():
    G, _, _, w = layer(30, 1)
    U = np.linalg.cholesky(G[::-1, ::-1])[::-1, ::-1]
    assert np.allclose(U @ U.T, G)  # of the other order: solving for what comes before
    scales = np.array([0.2, 0.4], np.float32)
    levels = np.empty((2, 30), np.float32)
    factor = np.linalg.cholesky(G).T.astype(np.float32)
    babai(factor, w[:, 0].astype(np.float32), scales, np.float32(3), levels)
    for found, scale in zip(levels, scales, strict=True):
        assert (found == plain_babai(G, w[:, 0], scale, 3)).all()


def gptq(G, w, scale, top):
    """GPTQ as published: factor of the inverse, errors handed on in the order of the inputs."""
    w = w.copy()
    upper = np.linalg.cholesky(np.linalg.inv(G)).T
    for j in range(len(w)):
        level = np.clip(2 * np.floor(w[j] / scale / 2) + 1, -top, top)
        w[j + 1 :] -= upper[j, j + 1 :] * ((w[j] - scale * level) / upper[j, j])
        w[j] = level
    return w


@pytest.mark.parametrize("bits", [2, 3])
def test_leaves_less_than_gptq_in_every_channel(bits):
    G, g, v, w = layer(80, 8, patches=4000)
    found = solve(G, g, init=w, bits=bits)
    top = 2**bits - 1
    for t in range(8):
        steps = np.abs(w[:, t]).max() * np.linspace(0.25, 1, 16) / top
        best = max(objective(G, g[:, t], gptq(G, w[:, t], step, top)) for step in steps)
        assert v[t] - found.objective[t] < v[t] - best


@pytest.mark.parametrize("method", ["sign", *SEARCHES])
def test_finds_levels_that_fit_without_error(method):
    G, _, _, w = layer(64, 8)
    planted = np.clip(2 * np.floor(w) + 1, -3, 3)
    found = solve(G, 0.3 * G @ planted, method=method, init=0.3 * planted, bits=2)
    assert (found.codes == planted).all()
    np.testing.assert_allclose(found.scales, 0.3)


def test_finds_planted_levels_from_a_start_that_is_wrong_in_many():
    G, _, _, w = layer(64, 8)
    planted = np.clip(2 * np.floor(w) + 1, -3, 3)
    random = np.random.default_rng(3)
    start = np.where(random.random(w.shape) < 0.3, random.standard_normal(w.shape), planted)
    assert (solve(G, 0.3 * G @ planted, init=start, bits=2).codes == planted).all()


def test_start_is_init_then_the_sign_of_cross():
    G, g = np.eye(4), np.array([[1.0], [-2.0], [3.0], [0.0]])
    init = np.array([[-0.1], [0.0], [3.0], [0.0]])
    assert solve(G, g, method="sign", init=init, bits=2).codes[:, 0].tolist() == [-1, -1, 3, 1]


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 40), st.integers(2, 3), st.integers(0, 10**6), st.sampled_from(SEARCHES))
def test_symmetries(K, bits, seed, method):
    """Order of channels, sign of inputs and units change nothing but what they must."""
    G, g, _, w = layer(K, 3, seed)
    random = np.random.default_rng(seed)
    found = solve(G, g, method=method, init=w, bits=bits)
    order = random.permutation(3)
    signs = np.sign(random.standard_normal((K, 1)))
    unit = 2.0 ** random.integers(-60, 60)
    permuted = solve(G, g[:, order], method=method, init=w[:, order], bits=bits)
    mirrored = solve(G * signs * signs.T, g * signs, method=method, init=w * signs, bits=bits)
    larger = solve(unit**2 * G, unit * g, method=method, init=w, bits=bits)
    assert (permuted.codes == found.codes[:, order]).all()
    assert (mirrored.codes == found.codes * signs).all()
    assert (larger.codes == found.codes).all()


@pytest.mark.parametrize("method", SEARCHES)
def test_same_result_for_any_threads_and_company(method, monkeypatch):
    G, g, _, w = layer(80, 12)
    found = solve(G, g, method=method, init=w, seed=5, bits=2)
    some = solve(G, g[:, 3:5], method=method, init=w[:, 3:5], seed=5, bits=2)
    assert (some.codes == found.codes[:, 3:5]).all()
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert (solve(G, g, method=method, init=w, seed=5, bits=2).codes == found.codes).all()


@pytest.mark.parametrize("method", ["auto", "sign", *SEARCHES])
def test_a_batch_is_its_problems_one_by_one(method):
    problems = [layer(9, 2, seed) for seed in range(5)]
    G, g, w = (np.stack([p[i] for p in problems]) for i in (0, 1, 3))
    found = solve(G, g, method=method, init=w, bits=3)
    for i in range(5):
        alone = solve(G[i], g[i], method=method, init=w[i], bits=3)
        assert (found.codes[i] == alone.codes).all()


@pytest.mark.parametrize("method", ["auto", "sign", "exact", *SEARCHES])
def test_dead_channels_and_dead_inputs(method):
    K = 8 if method == "exact" else 12
    G, g, _, w = layer(K, 3)
    g[:, 1] = 0  # a channel that depends on nothing
    dead = [2, 7]  # inputs that never vary
    G[dead] = G[:, dead] = g[dead] = 0
    start = solve(G, g, method="sign", init=w, bits=2)
    found = solve(G, g, method=method, init=w, bits=2)
    assert (found.codes[:, 1] == start.codes[:, 1]).all()
    assert found.objective[1] == 0
    assert found.scales[1] == hashing.MIN_SCALE
    agreeing = found.codes[dead] == start.codes[dead]
    assert agreeing.all()


@pytest.mark.parametrize("method", ["auto", "sign", *SEARCHES])
def test_all_zero_layer(method):
    found = solve(np.zeros((9, 9)), np.zeros((9, 2)), method=method, init=-np.ones((9, 2)), bits=2)
    assert (found.codes < 0).all() and (found.scales > 0).all() and (found.objective == 0).all()


@pytest.mark.parametrize("method", SEARCHES)
def test_inputs_that_repeat_each_other(method):
    G, g, v, w = layer(20, 4)
    twice = np.tile(np.arange(20), 2)
    found = solve(G[twice][:, twice], g[twice], method=method, init=w[twice], bits=3)
    assert np.isfinite(found.scales).all() and (found.objective <= v * (1 + 1e-9)).all()


@pytest.mark.parametrize("bits", [0, 5, 1.5, "2"])
def test_other_numbers_of_bits_are_refused(bits):
    with pytest.raises(HashBWNError, match=r"bits=.*choose 1 to 4"):
        solve(np.eye(2), np.ones((2, 1)), bits=bits)


def test_too_many_bits_for_exact_are_refused():
    with pytest.raises(HashBWNError, match="K=9 inputs of 2 bits"):
        solve(np.eye(9), np.ones((9, 1)), bits=2, method="exact")
