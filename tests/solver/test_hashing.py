"""The solver against enumeration, the paper's stated rule, and symmetries of the problem."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from solver.problems import layer, objective

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.solver import hashing
from hashbwn_keras.solver.descent import WAIT, slow_descent
from hashbwn_keras.solver.group import new_group, set_r
from hashbwn_keras.solver.hashing import METHODS, HashCodes, solve

SEARCHES = ("one_opt", "tabu")
LARGE = tuple(m for m in METHODS if m != "exact")


def best_of_all(G, g):
    K = len(G)
    trials = np.array(list(itertools.product([1.0], *[[-1.0, 1.0]] * (K - 1)))).T
    q = ((G @ trials) * trials).sum(0)
    return np.array([((column @ trials) ** 2 / q).max() for column in g.T])


def test_needs_no_tensorflow():
    code = "import sys, hashbwn_keras.hashing; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_needs_no_place_to_keep_compiled_code():
    code = (
        "from numba.core.caching import CacheImpl; CacheImpl._locator_classes = []\n"
        "from hashbwn_keras.solver.hashing import solve; print(solve([[2.0]], [[-1.0]]).scales)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "[0.5]\n"


@pytest.mark.parametrize("K", [1, 2, 5, 9, 14])
def test_exact_is_the_best_of_all_codes(K):
    G, g, _, w = layer(K, 5, seed=K)
    for method in ("exact", "auto"):
        found = solve(G, g, method=method, init=w)
        np.testing.assert_allclose(found.objective, best_of_all(G, g), rtol=1e-9)


@pytest.mark.parametrize("method", LARGE)
@pytest.mark.parametrize("K", [3, 8, 14])
def test_no_method_beats_enumeration_and_none_falls_below_the_start(method, K):
    G, g, _, w = layer(K, 8, seed=K)
    found = solve(G, g, method=method, init=w)
    assert (found.objective <= best_of_all(G, g) * (1 + 1e-12)).all()
    assert (found.objective >= objective(G, g, np.where(w < 0, -1, 1))).all()


def test_tabu_finds_the_best_of_small_problems():
    for seed in range(5):
        G, g, _, w = layer(14, 8, seed=seed)
        found = solve(G, g, method="tabu", init=w, steps=200)
        np.testing.assert_allclose(found.objective, best_of_all(G, g), rtol=1e-3)


def paper(G, g, w):
    """The paper's alternation for one channel, in the plainest form."""
    b = np.where(w < 0, -1.0, 1.0)
    while True:
        alpha = g @ b / (b @ G @ b)
        before = b.copy()
        while True:
            last = b.copy()
            for j in range(len(b)):
                others = G[j] @ b - G[j, j] * b[j]
                b[j] = np.sign(alpha * g[j] - alpha**2 * others) or b[j]
            if (b == last).all():
                break
        if (b == before).all():
            return b


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("K", [6, 14, 40])
def test_dcc_is_the_papers_rule(K, centred):
    G, g, _, w = layer(K, 6, seed=K)
    if not centred:
        mean = np.random.default_rng(1).uniform(0, 1, K)
        G = G + np.outer(mean, mean)
        g = G @ w
    found = solve(G, g, method="dcc", init=w)
    for t in range(6):
        assert (found.codes[:, t] == paper(G, g[:, t], w[:, t])).all()


def plain_slow_descent(G, g, alpha, b, sweeps, top):
    """The slow descent's rule for one channel, in the plainest form."""
    for sweep in range(sweeps):
        mu = sweep / (sweeps - 1)
        for j in range(len(b)):
            best = (g[j] / alpha - (G[j] @ b - G[j, j] * b[j])) / G[j, j]
            middle = np.clip(2 * np.floor((best + 1) / 2), 1 - top, top - 1)
            relaxed = middle + np.clip((best - middle) / max(1 - mu, 1e-6), -1, 1)
            if abs(relaxed - b[j]) > WAIT:
                b[j] = relaxed
    return np.clip(2 * np.floor(b / 2) + 1, -top, top)


@pytest.mark.parametrize("top", [1, 3])
@pytest.mark.parametrize("K", [40, 150])  # one block of inputs, and three
def test_the_slow_descent_is_its_stated_rule(K, top):
    G, g, _, w = layer(K, 6)
    start = np.clip(2 * np.floor(w) + 1, -top, top)
    alpha = (g * start).sum(0) / ((G @ start) * start).sum(0)
    gram, cross, codes = (np.array(v, np.float32) for v in (G, g.T, start.T))
    group = new_group(gram, np.diag(gram).copy(), cross, codes, np.float32(top), 0.0)
    set_r(group)
    slow_descent(group, (1 / alpha).astype(np.float32), 12)
    for t in range(6):
        expected = plain_slow_descent(G, g[:, t], alpha[t], start[:, t].copy(), 12, top)
        assert (group.b[t] == expected).mean() > 0.99  # float32 may fall on the other side of WAIT
    np.testing.assert_allclose(group.r, group.b @ gram, atol=1e-3)


@pytest.mark.parametrize("method", SEARCHES)
def test_no_single_flip_improves_a_search(method):
    G, g, _, w = layer(60, 6)
    found = solve(G, g, method=method, init=w)
    for j in range(60):
        flipped = found.codes.copy()
        flipped[j] *= -1
        assert (objective(G, g, flipped) <= found.objective * (1 + 1e-5)).all()


def test_deeper_searches_do_better():
    G, g, v, w = layer(100, 16)
    left = [
        (v - solve(G, g, method=m, init=w).objective).mean() for m in ("sign", "dcc", *SEARCHES)
    ]
    assert left == sorted(left, reverse=True)


@pytest.mark.parametrize("method", METHODS)
def test_scales_and_objective_are_those_of_the_codes(method):
    G, g, _, w = layer(12, 4)
    found = solve(G, g, method=method, init=w, damping=0.01)
    b = found.codes.astype(float)
    p, q = (g * b).sum(0), ((G @ b) * b).sum(0)
    assert found.codes.dtype == np.int8 and (abs(found.codes) == 1).all()
    assert found.codes.shape == (12, 4) and found.scales.shape == found.objective.shape == (4,)
    assert (p > 0).all()
    np.testing.assert_allclose(found.scales, p / q, rtol=1e-12)
    np.testing.assert_allclose(found.objective, p**2 / q, rtol=1e-12)


@pytest.mark.parametrize("method", LARGE)
def test_finds_codes_that_fit_without_error(method):
    G, _, _, w = layer(64, 8)
    planted = np.where(w < 0, -1, 1)
    found = solve(G, 0.3 * G @ planted, method=method, init=w)
    assert (found.codes == planted).all()
    np.testing.assert_allclose(found.scales, 0.3)


def test_finds_planted_codes_from_a_start_that_is_wrong_in_many():
    G, _, _, w = layer(64, 8)
    planted = np.where(w < 0, -1, 1)
    start = planted * np.where(np.random.default_rng(3).random(planted.shape) < 0.3, -1, 1)
    assert (solve(G, 0.3 * G @ planted, init=start).codes == planted).all()


def test_start_is_init_then_cross_then_plus_one():
    G = np.eye(4)
    g = np.array([[1.0], [-2.0], [3.0], [0.0]])
    init = np.array([[-0.1], [0.0], [5.0], [0.0]])
    assert solve(G, g, method="sign", init=init).codes[:, 0].tolist() == [-1, -1, 1, 1]
    assert solve(G, g, method="sign").codes[:, 0].tolist() == [1, -1, 1, 1]


@pytest.mark.parametrize("method", METHODS)
def test_a_start_of_the_wrong_sign_is_turned_round(method):
    G, g, _, w = layer(12, 4)
    right, wrong = (solve(G, g, method=method, init=sign * w) for sign in (1, -1))
    assert (right.codes == wrong.codes).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 40), st.integers(0, 10**6), st.sampled_from(METHODS))
def test_symmetries(K, seed, method):
    """Order of channels, sign of inputs and units change nothing but what they must."""
    if method == "exact":
        K = min(K, 10)
    G, g, _, w = layer(K, 3, seed)
    random = np.random.default_rng(seed)
    found = solve(G, g, method=method, init=w)
    order = random.permutation(3)
    signs = np.sign(random.standard_normal((K, 1)))
    unit = 2.0 ** random.integers(-60, 60)
    permuted = solve(G, g[:, order], method=method, init=w[:, order])
    mirrored = solve(G * signs * signs.T, g * signs, method=method, init=w * signs)
    larger = solve(unit**2 * G, unit * g, method=method, init=w)
    assert (permuted.codes == found.codes[:, order]).all()
    assert (mirrored.codes == found.codes * signs).all()
    assert (larger.codes == found.codes).all()
    np.testing.assert_allclose(larger.objective, found.objective)
    scales = np.maximum(found.scales / unit, hashing.MIN_SCALE)
    np.testing.assert_allclose(larger.scales, scales)


def test_order_of_inputs_does_not_matter_to_exact():
    G, g, _, w = layer(10, 3)
    order = np.random.default_rng(0).permutation(10)
    found = solve(G, g, init=w)
    shuffled = solve(G[order][:, order], g[order], init=w[order])
    assert (shuffled.codes == found.codes[order]).all()


@pytest.mark.parametrize("method", LARGE)
def test_same_result_for_any_threads_and_company(method, monkeypatch):
    G, g, _, w = layer(80, 12)
    found = solve(G, g, method=method, init=w, seed=5)
    some = solve(G, g[:, 3:5], method=method, init=w[:, 3:5], seed=5)
    assert (some.codes == found.codes[:, 3:5]).all()
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    again = solve(G, g, method=method, init=w, seed=5)
    assert (again.codes == found.codes).all()


def test_the_seed_matters_and_steps_pay():
    G, g, _, w = layer(120, 12)
    first, second = (solve(G, g, init=w, seed=seed, steps=100) for seed in (0, 1))
    assert (first.codes != second.codes).any()
    none, many = (solve(G, g, method="tabu", init=w, steps=steps) for steps in (0, 5000))
    assert (none.codes == solve(G, g, method="one_opt", init=w).codes).all()
    assert many.objective.sum() > none.objective.sum()


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_problems_one_by_one(method):
    problems = [layer(9, 2, seed) for seed in range(7)]
    G, g, w = (np.stack([p[i] for p in problems]) for i in (0, 1, 3))
    found = solve(G, g, method=method, init=w)
    assert found.codes.shape == (7, 9, 2) and found.scales.shape == (7, 2)
    for i in range(7):
        alone = solve(G[i], g[i], method=method, init=w[i])
        assert (found.codes[i] == alone.codes).all()
        np.testing.assert_allclose(found.scales[i], alone.scales)


@pytest.mark.parametrize("method", METHODS)
def test_dead_channels_and_dead_inputs(method):
    G, g, _, w = layer(12, 3)
    g[:, 1] = 0  # a channel that depends on nothing
    dead = [2, 7]  # inputs that never vary
    G[dead] = G[:, dead] = g[dead] = 0
    found = solve(G, g, method=method, init=w)
    start = np.where(w < 0, -1, 1)
    assert (found.codes[:, 1] == start[:, 1]).all()
    assert found.objective[1] == 0
    assert found.scales[1] == hashing.MIN_SCALE > 1.2e-7
    agreeing = found.codes[dead] == start[dead]
    assert agreeing.all()


@pytest.mark.parametrize("method", METHODS)
def test_all_zero_layer(method):
    w = -np.ones((6, 2))
    found = solve(np.zeros((6, 6)), np.zeros((6, 2)), method=method, init=w)
    assert (found.codes == -1).all() and (found.scales > 0).all() and (found.objective == 0).all()


@pytest.mark.parametrize("method", LARGE)
def test_inputs_that_repeat_each_other(method):
    G, g, v, w = layer(20, 4)
    twice = np.tile(np.arange(20), 2)
    found = solve(G[twice][:, twice], g[twice], method=method, init=w[twice])
    assert np.isfinite(found.scales).all() and (found.objective <= v * (1 + 1e-9)).all()


def test_float32_and_lists_are_fine():
    G, g, _, w = layer(8, 2)
    found = solve(G.astype(np.float32), g.astype(np.float32), init=w.astype(np.float32))
    assert isinstance(found, HashCodes) and found.scales.dtype == np.float64
    assert solve([[2.0, 0.0], [0.0, 1.0]], [[1.0], [-1.0]]).codes.tolist() == [[1], [-1]]


def test_damping_leads_from_the_best_codes_to_the_sign_of_cross():
    G, g, _, w = layer(30, 6)
    gentle, strong = (solve(G, g, init=w, damping=damping) for damping in (1e-6, 1e6))
    assert (strong.codes == np.sign(g)).all()
    assert (gentle.objective > strong.objective).all()
    np.testing.assert_allclose(strong.objective, objective(G, g, strong.codes))


NAN = np.array([[np.nan, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("gram", "cross", "options", "says"),
    [
        (np.eye(3)[:2], np.ones((2, 1)), {}, r"\(2, 3\)"),
        (np.eye(3), np.ones((2, 1)), {}, r"\(2, 1\)"),
        (np.eye(3), np.ones(3), {}, r"\(3,\)"),
        (np.eye(3), np.ones((3, 0)), {}, r"\(3, 0\)"),
        (np.eye(3)[None], np.ones((2, 3, 1)), {}, r"\(2, 3, 1\)"),
        (np.eye(3), np.ones((3, 2)), {"init": np.ones((3, 1))}, r"init .*\(3, 1\)"),
        (NAN, np.ones((2, 1)), {}, "gram holds NaN"),
        (np.eye(2), NAN, {}, "cross holds NaN"),
        (np.eye(2), np.ones((2, 1)), {"init": [[np.inf], [1]]}, "init holds NaN"),
        (np.array([[1, 0.5], [0, 1]]), np.ones((2, 1)), {}, "not symmetric"),
        (np.array([[1, 2], [2, 1]]), np.ones((2, 1)), {}, "negative eigenvalues"),
        (np.array([[1, 2], [2, 1]]), np.ones((2, 1)), {"damping": 9.0}, "negative eigenvalues"),
        (np.array([[0, 1], [1, 0]]), np.ones((2, 1)), {}, "negative eigenvalues"),
        (-np.eye(2), np.ones((2, 1)), {}, "negative eigenvalues"),
        (np.eye(2), np.ones((2, 1)), {"method": "magic"}, "'magic'.*one_opt"),
        (np.eye(17), np.ones((17, 1)), {"method": "exact"}, "K=17"),
        (np.eye(2), np.ones((2, 1)), {"steps": -1}, "steps=-1"),
        (np.eye(2), np.ones((2, 1)), {"damping": np.nan}, "damping=nan"),
    ],
)
def test_bad_input_is_one_sentence(gram, cross, options, says):
    with pytest.raises(HashBWNError, match=says) as caught:
        solve(gram, cross, **options)
    assert "\n" not in str(caught.value)
