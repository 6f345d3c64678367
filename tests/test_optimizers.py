"""Optimizers against the textbook, one number at a time, and against PyTorch's.

A new optimizer needs one line in ``VARIANTS`` (with its textbook recurrence) and one in ``RATES``.
"""

from collections import defaultdict
from itertools import combinations
import math

import numpy as np
import pytest

import xpdl
from xpdl import Network, Optimizer, adam, adamw, momentum, rmsprop, schedules, sgd, train
from xpdl.optimizers import BETAS, OPTIMIZERS, by_name

SEED = 20240609
P, STEPS = 7, 20

# The textbook: rule(p, g, s, t, lr) -> p, with s a memory that starts at 0 and t counted from 1


def descent(p, g, s, t, lr):
    return p - lr * g


def heavy_ball(p, g, s, t, lr):
    """Polyak 1964."""
    s["v"] = 0.9 * s["v"] - lr * g
    return p + s["v"]


def look_ahead(p, g, s, t, lr):
    """Sutskever et al. 2013, equations 3 and 4; our theta is the point where the gradient is taken, q + 0.9 v."""
    q = p - 0.9 * s["v"]
    s["v"] = 0.9 * s["v"] - lr * g
    return q + s["v"] + 0.9 * s["v"]


def momentum_of_the_origin(p, g, s, t, lr):
    """An exponential average of the gradients."""
    s["v"] = 0.9 * s["v"] + (1 - 0.9) * g
    return p - lr * s["v"]


def root_mean_square(p, g, s, t, lr):
    """Tieleman & Hinton 2012."""
    s["v"] = 0.9 * s["v"] + (1 - 0.9) * g**2
    return p - lr * g / (math.sqrt(s["v"]) + 1e-8)


def root_mean_square_of_the_origin(p, g, s, t, lr):
    s["v"] = 0.8 * s["v"] + (1 - 0.8) * g**2
    return p - lr * g / math.sqrt(s["v"] + 1e-3)


def moments(g, s, t, beta1, beta2):
    """The two averages of Adam, corrected for their start at 0."""
    s["m"] = beta1 * s["m"] + (1 - beta1) * g
    s["v"] = beta2 * s["v"] + (1 - beta2) * g**2
    return s["m"] / (1 - beta1**t), s["v"] / (1 - beta2**t)


def kingma_ba(p, g, s, t, lr):
    """Kingma & Ba 2015, Algorithm 1."""
    m, v = moments(g, s, t, 0.9, 0.999)
    return p - lr * m / (math.sqrt(v) + 1e-8)


def kingma_ba_of_the_origin(p, g, s, t, lr):
    m, v = moments(g, s, t, 0.8, 0.99)
    return p - lr * m / math.sqrt(v + 1e-3)


def both_epsilons(p, g, s, t, lr):
    m, v = moments(g, s, t, 0.9, 0.999)
    return p - lr * m / (math.sqrt(v + 0.2) + 0.1)


def no_memory(p, g, s, t, lr):
    """Adam with beta1 = beta2 = 0: the sign of the gradient."""
    return p - lr * g / (abs(g) + 1e-8)


def loshchilov_hutter(p, g, s, t, lr):
    """Loshchilov & Hutter 2019, Algorithm 2."""
    m, v = moments(g, s, t, 0.9, 0.999)
    return p - lr * (m / (math.sqrt(v) + 1e-8) + 0.3 * p)


VARIANTS = {  # label, the optimizer's name first: (ours with a rate, the textbook)
    "sgd": (sgd, descent),
    "momentum": (momentum, heavy_ball),
    "momentum, nesterov": (lambda lr: momentum(lr, nesterov=True), look_ahead),
    "momentum, average": (lambda lr: momentum(lr, average=True), momentum_of_the_origin),
    "rmsprop": (rmsprop, root_mean_square),
    "rmsprop, origin": (lambda lr: rmsprop(lr, decay=0.8, eps=0, eps_root=1e-3), root_mean_square_of_the_origin),
    "adam": (adam, kingma_ba),
    "adam, origin": (lambda lr: adam(lr, beta1=0.8, beta2=0.99, eps=0, eps_root=1e-3), kingma_ba_of_the_origin),
    "adam, both epsilons": (lambda lr: adam(lr, eps=0.1, eps_root=0.2), both_epsilons),
    "adam, no memory": (lambda lr: adam(lr, beta1=0, beta2=0), no_memory),
    "adamw": (lambda lr: adamw(lr, weight_decay=0.3), loshchilov_hutter),
}
TORCH = {  # ours, and PyTorch's for the parameters p
    "sgd": (sgd(0.1), lambda o, p: o.SGD(p, lr=0.1)),
    "momentum": (momentum(0.1), lambda o, p: o.SGD(p, lr=0.1, momentum=0.9)),
    "nesterov": (momentum(0.1, nesterov=True), lambda o, p: o.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
    "rmsprop": (rmsprop(0.1), lambda o, p: o.RMSprop(p, lr=0.1, alpha=0.9)),
    "adam": (adam(0.1), lambda o, p: o.Adam(p, lr=0.1)),
    "adamw": (adamw(0.1), lambda o, p: o.AdamW(p, lr=0.1)),
    "adamw, options": (
        adamw(0.1, beta1=0.7, beta2=0.8, eps=0.1, weight_decay=0.2),
        lambda o, p: o.AdamW(p, lr=0.1, betas=(0.7, 0.8), eps=0.1, weight_decay=0.2),
    ),
}
RATES = {  # learning rates at which (quadratic, Rosenbrock) converge
    "sgd": (0.1, 1.8e-3),
    "momentum": (0.02, 1e-3),
    "rmsprop": (0.05, 0.01),
    "adam": (0.1, 0.1),
    "adamw": (0.1, 0.1),
}

every_variant = pytest.mark.parametrize("label", VARIANTS)


def decaying(t):
    """A schedule, in plain Python: t counts from 1."""
    return 0.1 * 0.9 ** (t - 1)


def problem(size=P, steps=STEPS):
    """theta and the gradients of some steps, float64; one gradient is 0."""
    rng = np.random.default_rng(SEED)
    theta, grads = rng.normal(size=size), rng.normal(size=(steps, size))
    grads[0, 0] = 0.0
    return theta, grads


def textbook(rule, rate, theta, grads):
    """Parameter by parameter: theta after all steps."""
    result = []
    for i, p in enumerate(theta.tolist()):
        memory = defaultdict(float)
        for t, g in enumerate(grads[:, i].tolist(), start=1):
            p = rule(p, g, memory, t, rate(t))
        result.append(p)
    return np.array(result)


def writable(lib, x):
    """x as an array that an update may consume, on the library that hands out read-only ones too."""
    array = lib.put(x)
    return array.copy() if isinstance(array, np.ndarray) else array


def run(optimizer, theta, grads, update=None):
    """theta and state after a step with each gradient."""
    state, update = optimizer.init(theta), update or optimizer.update
    for grad in grads:
        theta, state = update(theta, grad, state)
    return theta, state


def address(array):
    """Where the numbers of an array lie."""
    if isinstance(array, np.ndarray):
        return array.__array_interface__["data"][0]
    return array.data_ptr() if hasattr(array, "data_ptr") else array.unsafe_buffer_pointer()


# What they compute


def test_every_optimizer_has_its_lines_here() -> None:
    assert {label.partition(",")[0] for label in VARIANTS} == OPTIMIZERS.keys() == RATES.keys()


@every_variant
@pytest.mark.parametrize("steps", [1, 2, STEPS])
def test_updates_are_those_of_the_textbook(label, steps) -> None:
    make, rule = VARIANTS[label]
    theta, grads = problem(steps=steps)
    expected = textbook(rule, lambda t: 0.1, theta, grads)
    np.testing.assert_allclose(run(make(0.1), theta, grads)[0], expected, rtol=0, atol=1e-13)


@every_variant
def test_updates_follow_a_schedule(label) -> None:
    """The first step has the rate of step 0."""
    make, rule = VARIANTS[label]
    theta, grads = problem()
    expected = textbook(rule, decaying, theta, grads)
    got, _ = run(make(schedules.exponential(0.1, 0.9)), theta, grads)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("label", TORCH)
@pytest.mark.parametrize("steps", [1, STEPS])
def test_updates_are_those_of_pytorch(label, steps) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = TORCH[label]
    theta, grads = problem(steps=steps)
    leaf = torch.tensor(theta, requires_grad=True)
    peer = theirs(torch.optim, [leaf])
    for grad in grads:
        leaf.grad = torch.tensor(grad)
        peer.step()
    np.testing.assert_allclose(run(ours, theta, grads)[0], leaf.detach().numpy(), rtol=0, atol=1e-12)


@every_variant
def test_updates_are_the_same_on_every_library(lib, label) -> None:
    """As they stand and fused by the backend, in the dtype of theta, and leaving the gradient alone."""
    optimizer = VARIANTS[label][0](schedules.exponential(0.1, 0.9))
    theta, grads = problem(steps=4)
    double = [a.astype(lib.dtype).astype(float) for a in (theta, grads)]
    expected, _ = run(optimizer, *double)
    for update in (optimizer.update, optimizer.fused(lib.backend.fuse)):
        got, state = run(
            optimizer, writable(lib, theta), map(lib.put, grads), lambda *a, update=update: lib.call(update, *a)
        )
        lib.close(got, expected)
        assert {str(lib.host(a).dtype) for a in (got, *state[1:])} == {lib.dtype}
        assert int(lib.host(state[0])) == 4


@pytest.mark.parametrize("t", [1, 2, 10, 1000, 10**6, 2**24])
def test_bias_correction_is_accurate_in_float32(t) -> None:
    """A first gradient of 1 that arrives in step t: the step is known in closed form.

    1 - beta2^t taken literally in float32 is wrong by 2e-5 at t = 1.
    """
    optimizer = adam(1.0)
    theta = np.zeros(1, dtype=np.float32)
    count, *slots = optimizer.init(theta)
    theta, _ = optimizer.update(theta, np.ones_like(theta), (count + (t - 1), *slots))
    exact = (0.1 / (1 - 0.9**t)) / math.sqrt(0.001 / -math.expm1(t * math.log(0.999)))
    assert -theta[0] == pytest.approx(exact, rel=5e-7)


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop"])
def test_a_gradient_of_zero_moves_nothing(name) -> None:
    """No 0 / 0 in the first step."""
    theta, _ = run(OPTIMIZERS[name](0.1), np.zeros(3), np.zeros((3, 3)))
    assert theta.tolist() == [0.0, 0.0, 0.0]


@every_variant
@pytest.mark.parametrize("rate", [0.1, schedules.warmup(schedules.cosine(0.1, 50), 10)], ids=["float", "schedule"])
def test_rates_do_not_widen_float32(label, rate) -> None:
    """They are plain numbers, or have the dtype of theta: a float64 scalar would make the vector work float64."""
    seen = []

    def spy(kernel):
        def run(theta, grad, *rest):
            seen.extend(a for a in rest if np.ndim(a) == 0)
            return kernel(theta, grad, *rest)

        return run

    theta, grads = (a.astype("float32") for a in problem(steps=2))
    optimizer = VARIANTS[label][0](rate)
    run(optimizer, theta, grads, optimizer.fused(spy))
    assert seen
    assert {"number" if type(a) is float else str(a.dtype) for a in seen} <= {"number", "float32"}


@every_variant
def test_the_same_gradients_give_the_same_bits_again(label) -> None:
    theta, grads = problem()
    results = [run(VARIANTS[label][0](0.1), theta.copy(), grads)[0].tobytes() for _ in range(2)]
    assert results[0] == results[1]


# How they use memory


@every_variant
def test_update_reuses_its_memory(label) -> None:
    theta, grads = problem()
    optimizer = VARIANTS[label][0](0.1)
    state = optimizer.init(theta)
    before = [address(a) for a in (theta, *state[1:])]
    for grad in grads[:3]:
        theta, state = optimizer.update(theta, grad, state)
        assert [address(a) for a in (theta, *state[1:])] == before


@every_variant
@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_state_never_shares_memory(label, library) -> None:
    """Not two slots with each other, nor one with theta or the gradient: JAX could not donate them."""
    pytest.importorskip(library)
    from xpdl import backend

    put = backend(library).asarray
    theta, grads = (put(a, "float64", copy=True) for a in problem())
    optimizer = VARIANTS[label][0](0.1)
    state = optimizer.init(theta)
    for _ in range(2):
        arrays = [theta, *state, grads]
        assert len({address(a) for a in arrays}) == len(arrays)
        if library == "numpy":
            assert not any(np.shares_memory(a, b) for a, b in combinations(arrays, 2))
        theta, state = optimizer.update(theta, grads[0], state)


@every_variant
def test_a_jitted_update_is_compiled_once(label) -> None:
    """Counters and rates live on the device: a step that baked one in would be compiled again each time."""
    jax = pytest.importorskip("jax")
    from xpdl import backend

    optimizer, traces = VARIANTS[label][0](schedules.warmup(schedules.cosine(0.1, 50), 10)), []
    theta, grads = (backend("jax").asarray(a, "float32") for a in problem())

    @jax.jit
    def update(theta, grad, state):
        traces.append(label)
        return optimizer.update(theta, grad, state)

    state = jax.jit(optimizer.init)(theta)
    for grad in grads:
        theta, state = update(theta, grad, state)
    assert len(traces) == 1
    assert int(state[0]) == STEPS
    assert theta.dtype == grads.dtype


# What they are for


def quadratic(p):
    """1/2 (x - 1)^2 + 5 (y + 2)^2, and its gradient."""
    return 0.5 * (p[0] - 1) ** 2 + 5 * (p[1] + 2) ** 2, np.array([p[0] - 1, 10 * (p[1] + 2)])


def rosenbrock(p):
    """(1 - x)^2 + 100 (y - x^2)^2, and its gradient (Rosenbrock 1960)."""
    x, y = p
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2, np.array([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])


PROBLEMS = {  # name: (cost and gradient, start, minimum, steps)
    "quadratic": (quadratic, (-1.0, 1.0), (1.0, -2.0), 500),
    "rosenbrock": (rosenbrock, (0.0, 0.0), (1.0, 1.0), 16_000),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("task", PROBLEMS)
def test_minima_are_found(name, task) -> None:
    """Within 1 % of the way, with a rate that goes down to 0."""
    function, start, minimum, steps = PROBLEMS[task]
    rate = RATES[name][list(PROBLEMS).index(task)]
    options = {"weight_decay": 0.0} if name == "adamw" else {}
    optimizer = OPTIMIZERS[name](schedules.cosine(rate, steps), **options)
    theta = np.array(start)
    state = optimizer.init(theta)
    for _ in range(steps):
        theta, state = optimizer.update(theta, function(theta)[1], state)
    way = np.linalg.norm(np.subtract(start, minimum))
    assert np.linalg.norm(theta - minimum) < 0.01 * way


def test_the_problems_have_the_gradients_they_claim() -> None:
    for function, start, minimum, _ in PROBLEMS.values():
        point = np.array(start)
        stepped = [function(point + 1e-100j * np.eye(2)[i])[0].imag / 1e-100 for i in range(2)]
        assert function(point)[1] == pytest.approx(stepped, rel=1e-14)
        assert function(np.array(minimum))[1].tolist() == [0.0, 0.0]


def test_weight_decay_alone_shrinks_theta() -> None:
    """theta <- (1 - lr decay) theta, untouched by the gradient's averages (Loshchilov & Hutter 2019)."""
    theta, _ = run(adamw(0.1, weight_decay=0.5), np.ones(2), np.zeros((3, 2)))
    assert theta == pytest.approx(0.95**3, rel=1e-15)


def test_an_optimizer_of_your_own(lib) -> None:
    """Two functions, without ``fused``; here AdaGrad (Duchi, Hazan & Singer 2011) with a state of its own shape."""

    def update(theta, grad, state):
        state["sum"] = state["sum"] + grad * grad
        return theta - 0.5 * grad / (state["sum"] ** 0.5 + 1e-8), state

    mine = Optimizer(lambda theta: {"sum": 0 * theta}, update)
    x = np.random.default_rng(SEED).normal(size=(64, 2))
    y = (x[:, 0] > x[:, 1]).astype(int)
    result = train(
        Network([2, 2]), x, y, optimizer=mine, epochs=5, backend=lib.backend, dtype=lib.dtype, progress=False
    )
    assert mine.fused is None
    assert result.history[-1]["loss"] < 0.5 * result.history[0]["loss"]


# Errors


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: sgd(-0.1), ValueError, "lr must be finite and at least 0, got -0.1"),
        (lambda: sgd("0.1"), TypeError, "lr must be a number, got '0.1'"),
        (lambda: sgd(math.nan), ValueError, "lr must be finite and at least 0, got nan"),
        (lambda: momentum(0.1, beta=1.0), ValueError, r"beta must be finite and in \[0, 1\), got 1.0"),
        (lambda: momentum(0.1, 0.9), TypeError, "positional"),
        (lambda: rmsprop(0.1, decay=1.5), ValueError, r"decay must be finite and in \[0, 1\), got 1.5"),
        (lambda: rmsprop(0.1, eps=-1e-8), ValueError, "eps must be finite and at least 0, got -1e-08"),
        (lambda: rmsprop(0.1, eps_root=None), TypeError, "eps_root must be a number, got None"),
        (lambda: adam(True), TypeError, "lr must be a number, got True"),
        (lambda: adam(beta1=1), ValueError, r"beta1 must be finite and in \[0, 1\), got 1.0"),
        (lambda: adam(beta2=-0.5), ValueError, r"beta2 must be finite and in \[0, 1\), got -0.5"),
        (lambda: adam(eps_root=-1), ValueError, "eps_root must be finite and at least 0, got -1.0"),
        (lambda: adam(1e-3, 0.9), TypeError, "positional"),
        (lambda: adamw(weight_decay=math.inf), ValueError, "weight_decay must be finite and at least 0, got inf"),
    ],
)
def test_wrong_arguments_are_refused(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_by_its_name_has_the_averages_it_is_given(name) -> None:
    """Called as the optimizer calls them; an average that it does not have is refused."""
    grads = np.random.default_rng(0).normal(size=(3, 4))
    given = dict(zip(BETAS[name], (0.7, 0.8), strict=False))
    direct = OPTIMIZERS[name](0.1, **{BETAS[name][argument]: beta for argument, beta in given.items()})
    thetas = [run(optimizer, np.zeros(4), grads)[0] for optimizer in (direct, by_name(name, 0.1, **given))]
    assert np.array_equal(*thetas)
    assert given == {} or not np.array_equal(thetas[0], run(by_name(name, 0.1), np.zeros(4), grads)[0])
    for argument in {"beta1", "beta2"} - BETAS[name].keys():
        with pytest.raises(ValueError, match=f"{argument} is not an option of '{name}', got 0.5"):
            by_name(name, 0.1, **{argument: 0.5})


@pytest.mark.parametrize("scale", [1e-30, 1.0, 3.0, 1e30])
def test_clipped_gradients_have_at_most_the_norm(scale, lib) -> None:
    """The direction stays, also where squares of the gradient overflow, and a short gradient is unchanged."""
    grad = scale * np.array([3.0, -4.0, 0.0])
    optimizer = xpdl.optimizers.clipped(xpdl.sgd(1.0), norm=10.0)
    theta = lib.put(np.zeros(3))
    found, _ = lib.call(optimizer.update, writable(lib, np.zeros(3)), lib.put(grad), optimizer.init(theta))
    expected = -grad * min(1.0, 10.0 / (5 * scale))
    lib.close(found, expected)
    again, _ = lib.call(
        optimizer.fused(lambda kernel: kernel), writable(lib, np.zeros(3)), lib.put(grad), optimizer.init(theta)
    )
    lib.close(again, expected)
    zero, _ = lib.call(optimizer.update, writable(lib, np.zeros(3)), lib.put(np.zeros(3)), optimizer.init(theta))
    assert not lib.host(zero).any()


def test_a_stack_of_gradients_is_clipped_one_by_one() -> None:
    optimizer = xpdl.optimizers.clipped(xpdl.sgd(1.0))
    theta, _ = optimizer.update(
        np.zeros((2, 2)), np.array([[30.0, 40.0], [0.3, 0.4]]), optimizer.init(np.zeros((2, 2)))
    )
    np.testing.assert_allclose(theta, [[-0.6, -0.8], [-0.3, -0.4]])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_clipping_by_a_large_norm_changes_no_run(name) -> None:
    x, y, net = np.linspace(-1, 1, 60).reshape(20, 3), np.arange(20) % 3, xpdl.Network([3, 4, 3])
    options = {"epochs": 3, "batch_size": 8, "backend": "numpy", "progress": False}
    plain, clipped, short = (
        xpdl.train(net, x, y, optimizer=optimizer, **options).theta
        for optimizer in (
            OPTIMIZERS[name](0.01),
            xpdl.optimizers.clipped(OPTIMIZERS[name](0.01), 1e6),
            xpdl.optimizers.clipped(OPTIMIZERS[name](0.01), norm=1e-3),
        )
    )
    assert np.array_equal(plain, clipped)
    assert not np.array_equal(plain, short)


def test_an_optimizer_of_ones_own_is_clipped() -> None:
    own = xpdl.Optimizer(lambda theta: None, lambda theta, grad, state: (theta - grad, state))
    clipped = xpdl.optimizers.clipped(own, 1.0)
    assert clipped.fused is None
    assert clipped.update(np.zeros(2), np.array([3.0, 4.0]), None)[0].tolist() == pytest.approx([-0.6, -0.8])


@pytest.mark.parametrize(
    ("given", "message"), [((xpdl.sgd(1.0), 0.0), "greater than 0"), ((0.1,), "must be an xpdl.Optimizer")]
)
def test_wrong_clipping_is_refused(given, message) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        xpdl.optimizers.clipped(*given)
