"""Chains of operations as CUDA C: what joins what, and the same numbers, to rounding, as one by one.

g++ compiles the kernels, and runs them in threads that are threads; NVRTC compiles them for GPUs.
"""

from functools import partial
import re

import numpy as np
from pretend_cupy import Team, elementwise
import pytest

import xpdl
from xpdl import Network
from xpdl.activations import ACTIVATIONS
from xpdl.arrays import namespace
from xpdl.backends.cuda import multi_stage
from xpdl.backends.cuda.multi_stage import Blocks, Chained, Launch, in_columns
from xpdl.backends.kernels import operations
from xpdl.backends.numpy_replay import TARGET
from xpdl.backends.replay.plan import Plan
from xpdl.backends.replay.replayed import Replayed
from xpdl.files.train_state import Carry
from xpdl.optimizers import OPTIMIZERS
from xpdl.pytree import flatten, tree_map
from xpdl.training.step import Data, make_step


@pytest.fixture
def team(raw_kernel):
    return Team(raw_kernel)


def chained(step, compiler):
    """The step with chains."""
    fusion = Chained(TARGET.library, elementwise, compiler)
    return Replayed(TARGET._replace(fusion=fusion, exact=False, notice=pytest.fail), step)


def planned(step):
    """The functions of the step's plan, without those that copy nothing."""
    [plan] = step.runs.values()
    assert isinstance(plan, Plan)
    functions = [plan.record[number].function for number in plan.calls]
    return [function for function in functions if function is not TARGET.library.xp.concat]


def stages(step):
    """The blocks of each chain and the number of its stages, in order."""
    return [(f.blocks, len(f.stages)) for f in planned(step) if isinstance(f, Launch)]


def train_by(wrap, net, optimizer, dtype="float32", *, steps=5, batch=8, weighted=False):
    """theta, the state and the counters after some steps, and the step."""
    rng = np.random.default_rng(0)
    n, d, k = steps * batch, net.sizes[0], net.sizes[-1]
    x = rng.integers(0, 256, (n, d)).astype(np.uint8)
    y = net.targets(np.zeros(1, dtype), x, np.eye(k, dtype=dtype)[rng.integers(0, k, n)])
    masks = [(rng.random((batch, units)) > 0.5).astype(dtype) for units in net.sizes[1:-1]]
    weight = rng.exponential(size=n).astype(dtype) if weighted else None
    theta = net.initialize(0, dtype)
    step = wrap(make_step(net, optimizer.update))
    run = Carry(theta, optimizer.init(theta), *(np.zeros((), t) for t in ("int32", dtype, "int32")))
    data = Data(x, y, rng.permutation(n).astype(np.int32), np.arange(batch, dtype=np.int32), weight)
    for _ in range(steps):
        run = step(run, data, masks)
    return [np.array(leaf) for leaf in flatten(run)], step


IMAGES = xpdl.Scaling.images
CASES = {
    **{name: (Network([6, 5, 4, 3], hidden=name, l2=0.1, inputs=IMAGES), xpdl.momentum(1e-2)) for name in ACTIVATIONS},
    **{name: (Network([6, 3], output="sigmoid", inputs=IMAGES), make(1e-2)) for name, make in OPTIMIZERS.items()},
    "linear": (Network([6, 7, 2], output="linear", inputs=IMAGES), xpdl.momentum(1e-2)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_a_step_in_chains_gives_the_same_numbers(team, name, dtype):
    for weighted in (False, True):
        expected, _ = train_by(lambda step: step, *CASES[name], dtype, weighted=weighted)
        actual, step = train_by(partial(chained, compiler=team), *CASES[name], dtype, weighted=weighted)
        assert stages(step)
        for a, b in zip(expected, actual, strict=True):
            np.testing.assert_allclose(b, a, rtol=2e3 * np.finfo(dtype).eps, atol=20 * np.finfo(dtype).eps)


def test_results_do_not_depend_on_the_number_of_threads(raw_kernel):
    """If a barrier were missing, results would depend on it sooner or later."""
    net = Network([9, 40, 30, 10])
    runs = [
        train_by(partial(chained, compiler=Team(raw_kernel, threads)), net, xpdl.adam(), batch=48)[0]
        for threads in (1, 2, 7, 16)
    ]
    for run in runs[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(runs[0], run, strict=True))


def test_recorded_steps_round_as_the_later_ones(team):
    """A resumed run records its first steps again, and must have the same bits."""
    net, optimizer = CASES["tanh"]
    step = chained(make_step(net, optimizer.update), team)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 6)).astype("f4"), np.eye(3, dtype="f4")[rng.integers(0, 3, 16)]
    data = Data(x, y, rng.permutation(16).astype("i4"), np.arange(16, dtype="i4"))
    theta = net.initialize(0)
    start = Carry(theta, optimizer.init(theta), *(np.zeros((), t) for t in ("int32", "float32", "int32")))
    seen = []
    for _ in range(6):
        run = tree_map(np.copy, start)
        seen.append([np.copy(leaf) for leaf in flatten(step(run, data, None))])
        if len(seen) == 4:
            step.invalidate()
    for other in seen[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(seen[0], other, strict=True))


@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_every_kernel_compiles_for_gpus_and_stays_in_registers(team, architecture):
    nvrtc = pytest.importorskip("cupy.cuda", reason="compiling for GPUs needs CuPy").nvrtc
    if architecture not in nvrtc.getSupportedArchs():
        pytest.skip(f"NVRTC does not know sm_{architecture}")
    for net, optimizer in CASES.values():
        for dtype in ("float32", "float64"):
            train_by(partial(chained, compiler=team), net, optimizer, dtype, steps=2)
    options = (f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v", *operations.OPTIONS)
    for text in dict.fromkeys(team.texts):
        program = nvrtc.createProgram(text, "chain.cu", (), ())
        nvrtc.compileProgram(program, options)
        assert nvrtc.getCUBIN(program)
        assert set(re.findall(r"(\d+) bytes spill", nvrtc.getProgramLog(program))) == {"0"}, text


# What joins what


def check(step, theta, *others, compiler, chains, calls, runs=4):
    """The numbers are the same, and there are these chains and so many calls."""
    fused, expected, actual = chained(step, compiler), theta.copy(), theta.copy()
    for _ in range(runs):
        expected, actual = step(expected, *others), fused(actual, *others)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13 * np.abs(expected).max())
    assert (stages(fused), len(planned(fused))) == (chains, calls)


SQUARE = np.linspace(-1, 1, 25).reshape(5, 5)
WIDE = np.linspace(-1, 1, 300 * 64).reshape(300, 64)


def test_reductions_and_other_shapes_follow_each_other(team):
    def step(theta, x):
        xp = namespace(theta)
        shifted = x - xp.max(x, axis=-1, keepdims=True)
        theta += shifted * xp.min(xp.sum(xp.exp(shifted), axis=0))
        return theta

    check(step, SQUARE, SQUARE.T * 2, compiler=team, chains=[(Blocks(), 5)], calls=1)


@pytest.mark.parametrize(("axis", "keepdims"), [(0, False), (1, True), (-1, False), (-2, True), (2, False)])
def test_a_sum_over_any_axis(team, axis, keepdims):
    x = np.random.default_rng(0).normal(size=(4, 37, 3))

    def step(theta, x):
        xp = namespace(theta)
        theta += xp.sum(xp.sum(x, axis=axis, keepdims=keepdims) * 2.0)
        return theta

    fused, theta = chained(step, team), np.zeros(3)
    for _ in range(3):
        theta = fused(theta, x)
    np.testing.assert_allclose(theta, 3 * 2 * x.sum(), rtol=1e-12)


def test_nan_passes_a_maximum(team):
    def step(theta, x):
        theta += namespace(x).max(x * 1.0, axis=1) + namespace(x).min(x, axis=1)
        return theta

    x = np.where(np.eye(5), np.nan, SQUARE)[:, :4]
    fused, theta = chained(step, team), np.zeros(5)
    for _ in range(3):
        theta = fused(theta, x)
    assert np.isnan(theta).tolist() == [True] * 4 + [False]


def test_a_derivative_and_its_sum_are_shared_out_by_columns(team):
    def step(theta, x):
        dz = x * 2.0
        dz *= x
        theta += namespace(x).sum(dz, axis=0)
        return theta + 0.0 * namespace(x).sum(dz @ namespace(x).matrix_transpose(dz))

    fused, theta = chained(step, team), np.zeros(64)
    for _ in range(3):
        theta = fused(theta, WIDE)
    np.testing.assert_allclose(theta, 3 * 2 * (WIDE**2).sum(axis=0), rtol=1e-12)
    assert stages(fused)[0] == (in_columns(64), 3)


def test_a_sum_along_the_rows_is_not_shared_out_by_columns(team):
    def step(theta, x):
        theta += namespace(x).sum(x * 2.0, axis=1)
        return theta

    check(step, np.zeros(300), WIDE, compiler=team, chains=[], calls=3)


def test_columns_that_are_read_across_are_not_shared_out(team):
    """With a square matrix and its transpose, one block would read entries that another block writes."""
    square = np.linspace(-1, 1, 128 * 128).reshape(128, 128)

    def read(theta, x):
        y = x * 2.0
        z = namespace(x).matrix_transpose(y) * 1.0
        theta += namespace(x).sum(z, axis=0)
        return theta

    def written(theta, x):
        z = namespace(theta).matrix_transpose(theta) * 0.01
        theta += x
        theta += namespace(x).sum(z, axis=0)
        return theta

    check(read, np.zeros(128), square, compiler=team, chains=[(in_columns(128), 3)], calls=2)
    check(written, square, square / 9, compiler=team, chains=[(in_columns(128), 3)], calls=2)


def test_a_chain_waits_for_a_product(team):
    def step(theta, x):
        y = namespace(x).sum(x * 2.0, axis=0) @ x
        theta += namespace(x).sum(y) * y
        return theta

    check(step, np.zeros(5), SQUARE, compiler=team, chains=[(Blocks(), 2), (Blocks(), 2)], calls=3)


def test_a_chain_reads_before_it_overwrites(team):
    """Each entry of the first stage reads another entry, which the second stage changes."""

    def step(theta, x):
        a = x * theta[::-1]
        theta += 1.0
        theta += namespace(x).sum(a)
        return theta

    check(step, np.linspace(0, 1, 700), np.ones(700), compiler=team, chains=[(Blocks(), 4)], calls=1, runs=3)


def test_rows_are_taken_where_they_are_computed(team):
    x, order = np.random.default_rng(0).normal(size=(9, 4)), np.array([3, 1, 7, 0, 5, 5, 2, 7, 6])

    def step(theta, x, order):
        xp = namespace(theta)
        rows = xp.take(order, order + 1)
        theta += xp.take(x, rows, axis=0)
        return theta

    check(step, np.zeros((9, 4)), x, order, compiler=team, chains=[(Blocks(), 2)], calls=1)


def test_views_of_what_a_chain_makes_are_read_in_it(team):
    def step(theta, x):
        xp = namespace(x)
        row = xp.sum(x * 2.0, axis=0)
        theta += xp.reshape(row, (5, 1)) * x[1:2, :]
        return theta

    check(step, SQUARE, SQUARE, compiler=team, chains=[(Blocks(), 3)], calls=1)


def test_what_is_large_is_in_no_chain(team):
    def step(theta, x):
        theta += namespace(x).sum(namespace(x).exp(x), axis=0)
        return theta

    x = np.zeros((multi_stage.LARGE // 8 + 1, 8))
    check(step, np.zeros(8), x, compiler=team, chains=[], calls=3)


def test_a_usual_step_is_eight_products_and_eight_other_launches(team):
    """For 784-256-128-10 in batches of 128, it takes 75 launches without fusion."""
    _, step = train_by(partial(chained, compiler=team), Network([784, 256, 128, 10]), xpdl.adam(), batch=128, steps=3)
    products = [function for function in planned(step) if function is np.matmul]
    assert (len(products), len(planned(step)) - len(products)) == (8, 8)


@pytest.mark.parametrize(("columns", "width"), [(256, 8), (10, 5), (7, 7), (11, 1), (1, 1)])
def test_blocks_divide_the_columns(columns, width):
    blocks = in_columns(columns)
    assert blocks == Blocks(columns, width)
    j = np.arange(blocks.count(3 * columns))
    namespaces = [{"j": j, "blockIdx": type("", (), {"x": b})} for b in range(blocks.number)]
    entries = np.concatenate([eval(blocks.entry("j").replace("/", "//"), scope) for scope in namespaces])
    assert sorted(entries) == list(range(3 * columns))
