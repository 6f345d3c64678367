"""check_gradient: functions nobody here wrote pass as they are, and fail with the least mistake in them."""

from functools import partial
from hashlib import blake2b
from itertools import pairwise
import warnings

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient


def points(seed=0, n=8):
    return np.random.default_rng(seed).standard_normal(n)


# Functions nobody here wrote


def scipy_cases():
    """name: (function, its gradient, where), all from scipy."""
    try:
        from scipy import integrate, interpolate, linalg, optimize, spatial, special, stats
    except ImportError:
        return {}
    x, positive = points(), np.abs(points(1)) + 0.1
    square = points(2, 36).reshape(6, 6)
    definite = square @ square.T + 6 * np.eye(6)
    knots = np.linspace(0, 4, 9)
    cubic = interpolate.CubicSpline(knots, np.sin(3 * knots))
    quartic = interpolate.make_interp_spline(knots, np.cos(knots), k=4)
    pchip = interpolate.PchipInterpolator(knots, np.sin(knots))
    bounds = optimize.Bounds(-np.ones(8), np.ones(8))

    def root(theta, *, tolerance):
        return np.array([optimize.brentq(lambda y, t=t: y**3 + y - t, -10, 10, xtol=tolerance) for t in theta])

    def minimum(theta):
        return optimize.minimize_scalar(lambda y: (y - theta[0]) ** 2 + (y * theta[1]) ** 2, tol=1e-10)

    def at_minimum(theta):  # the envelope theorem: the derivative at a fixed y
        y = minimum(theta).x
        return np.array([-2 * (y - theta[0]), 2 * y * y * theta[1]])

    def integral(theta):
        return integrate.quad(lambda t: np.exp(-theta[0] * t) * np.cos(theta[1] * t), 0, 3)[0]

    def under_integral(theta):
        parts = (np.cos, np.sin)
        return np.array(
            [integrate.quad(lambda t, f=f: -t * np.exp(-theta[0] * t) * f(theta[1] * t), 0, 3)[0] for f in parts]
        )

    return {
        "optimize.rosen": (optimize.rosen, optimize.rosen_der, x),
        "optimize.rosen, 300 entries": (optimize.rosen, optimize.rosen_der, points(3, 300)),
        "optimize.rosen, far": (optimize.rosen, optimize.rosen_der, 1e3 * x),
        "optimize.rosen_hess_prod": (
            lambda t: optimize.rosen_der(t) @ x,
            lambda t: optimize.rosen_hess_prod(t, x),
            x + 1,
        ),
        "optimize.brentq": (
            lambda t: root(t, tolerance=1e-10).sum(),
            lambda t: 1 / (3 * root(t, tolerance=1e-14) ** 2 + 1),
            x,
        ),
        "optimize.minimize_scalar": (lambda t: minimum(t).fun, at_minimum, positive[:2]),
        "optimize.Bounds": (lambda t: (bounds.residual(t)[0] ** 2).sum(), lambda t: 2 * bounds.residual(t)[0], x),
        "optimize.LbfgsInvHessProduct": (
            lambda t: optimize.LbfgsInvHessProduct(definite[:2, :6], definite[:2, :6])(t) @ t / 2,
            lambda t: optimize.LbfgsInvHessProduct(definite[:2, :6], definite[:2, :6])(t),
            x[:6],
        ),
        "special.gammaln": (lambda t: special.gammaln(t).sum(), special.digamma, positive),
        "special.digamma": (lambda t: special.digamma(t).sum(), lambda t: special.polygamma(1, t), positive),
        "special.erf": (lambda t: special.erf(t).sum(), lambda t: 2 * stats.norm.pdf(t * 2**0.5) * 2**0.5, x),
        "special.logsumexp": (special.logsumexp, special.softmax, 30 * x),
        "special.entr": (lambda t: special.entr(t).sum(), lambda t: -special.xlog1py(1, t - 1) - 1, positive),
        "special.log_expit": (lambda t: special.log_expit(t).sum(), lambda t: special.expit(-t), x),
        "special.ndtri": (
            lambda t: special.ndtri(t).sum(),
            lambda t: 1 / stats.norm.pdf(special.ndtri(t)),
            positive / 3,
        ),
        "special.j0": (lambda t: special.j0(t).sum(), lambda t: -special.j1(t), 10 * x),
        "special.huber": (lambda t: special.huber(1.0, t).sum(), lambda t: np.clip(t, -1, 1), x),
        "special.sici": (lambda t: special.sici(t)[0].sum(), lambda t: special.spherical_jn(0, t), positive),
        "stats.norm.logcdf": (lambda t: stats.norm.cdf(t).sum(), stats.norm.pdf, x),
        "stats.multivariate_normal": (
            lambda t: stats.multivariate_normal.logpdf(t, np.zeros(6), definite),
            lambda t: -linalg.solve(definite, t),
            x[:6],
        ),
        "interpolate.CubicSpline": (lambda t: cubic(t).sum(), cubic.derivative(), positive),
        "interpolate.BSpline": (lambda t: quartic(t).sum(), quartic.derivative(), positive),
        "interpolate.Pchip": (lambda t: pchip(t).sum(), pchip.derivative(), positive),
        "integrate.quad": (integral, under_integral, positive[:2]),
        "linalg.det": (lambda t: np.log(linalg.det(t)), lambda t: linalg.inv(t).T, definite),
        "linalg.expm": (lambda t: np.trace(linalg.expm(t)), lambda t: linalg.expm(t).T, square / 3),
        "linalg.svdvals": (
            lambda t: linalg.svdvals(t).sum(),
            lambda t: linalg.polar(t)[0],
            square,
        ),
        "spatial.distance.pdist": (
            lambda t: spatial.distance.pdist(t, "sqeuclidean").sum(),
            lambda t: 2 * (len(t) * t - t.sum(axis=0)),
            square,
        ),
    }


SCIPY = scipy_cases()


@pytest.mark.parametrize("name", SCIPY or [pytest.param("", marks=pytest.mark.skip("SciPy is not installed"))])
def test_gradients_of_scipy(name, assert_judged) -> None:
    assert_judged(*SCIPY[name])


def test_losses_in_pytorch(assert_judged) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    x, y = torch.asarray(rng.standard_normal((6, 5))), torch.asarray(rng.integers(0, 4, 6))
    functional = torch.nn.functional
    losses = [
        lambda p: functional.cross_entropy(torch.tanh(x @ p["w"] + p["b"]), y),
        lambda p: functional.mse_loss(torch.relu(x @ p["w"] + p["b"]), functional.one_hot(y, 4).double()),
        lambda p: functional.smooth_l1_loss(functional.gelu(x @ p["w"]) + p["b"], torch.ones(6, 4).double()),
        lambda p: (x @ p["w"] + p["b"]).norm() + 1e-3 * p["w"].abs().sum(),
    ]
    theta = {"w": torch.asarray(rng.standard_normal((5, 4)), dtype=torch.float32), "b": torch.zeros(4)}

    def autograd(loss):
        def grad(p):
            leaves = {name: tensor.detach().requires_grad_() for name, tensor in p.items()}
            return dict(zip(leaves, torch.autograd.grad(loss(leaves), list(leaves.values())), strict=True))

        return grad

    for loss in losses:
        assert_judged(loss, autograd(loss), theta)


def test_a_loss_in_pytorch_that_cannot_leave_float32(scaled) -> None:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(6, 5, generator=generator), torch.randn(5, 4, generator=generator)

    def loss(w):
        return torch.nn.functional.cross_entropy(x @ w, torch.tensor([0, 1, 2, 3, 1, 2]))

    def grad(w):
        w = w.detach().requires_grad_()
        return torch.autograd.grad(loss(w), w)[0]

    report = check_gradient(loss, grad, w)
    assert (report.verdict, report.precision) == ("PASS", "float32"), str(report)
    assert report.notes[0] == "float64 raises RuntimeError: judged in float32"
    assert check_gradient(loss, scaled(grad, 1.01), w).verdict == "FAIL"


@pytest.mark.parametrize("x64", [True, False])
def test_losses_in_jax(x64, scaled) -> None:
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(6)
    with jax.enable_x64(x64):
        x, labels = jax.numpy.asarray(rng.standard_normal((6, 5))), jax.numpy.asarray(rng.integers(0, 4, 6))
        theta = jax.numpy.asarray(rng.standard_normal((5, 4)))
        losses = [
            lambda w: -jax.numpy.mean(jax.nn.log_softmax(x @ w)[jax.numpy.arange(6), labels]),
            lambda w: jax.numpy.sum(jax.nn.relu(x @ w) ** 2),
        ]
        for loss in map(jax.jit, losses):
            grad = jax.jit(jax.grad(loss))
            report = check_gradient(loss, grad, theta)
            assert (report.verdict, report.precision) == ("PASS", "float64" if x64 else "float32"), str(report)
            assert x64 or "float64 is not available" in report.notes[0]
            wrong = check_gradient(loss, scaled(grad, 1 + 1e-6 if x64 else 1.01), theta)
            assert wrong.verdict == "FAIL", str(wrong)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
def test_the_loss_of_scikit_learns_networks(activation, assert_judged) -> None:
    """The test checks the function that their L-BFGS solver minimises, with its gradient."""
    neural = pytest.importorskip("sklearn.neural_network")
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((20, 4)), rng.integers(0, 3, 20)
    net = neural.MLPClassifier((5,), activation=activation, solver="lbfgs", max_iter=2, alpha=0.1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(x, y)
    target = net._label_binarizer.transform(y).astype(float)
    start = np.concatenate([a.ravel() for a in net.coefs_ + net.intercepts_])
    units = [4, 5, 3]

    def loss_and_grad(theta):
        activations = [x, np.empty((20, 5)), np.empty((20, 3))]
        deltas = [np.empty_like(a) for a in activations[1:]]
        grads = [np.empty((n, m)) for n, m in pairwise(units)], [np.empty(m) for m in units[1:]]
        return net._loss_grad_lbfgs(theta.copy(), x, target, None, activations, deltas, *grads)

    assert_judged(lambda t: loss_and_grad(t)[0], lambda t: loss_and_grad(t)[1], start)


# No correct gradient is accused


def step(theta):
    return (theta > 0) * 1.0


FUNCTIONS = {  # name: function, gradient
    "abs": (lambda t: np.abs(t).sum(), np.sign),
    "relu, 0 at 0": (lambda t: np.maximum(t, 0).sum(), step),
    "relu, 1 at 0": (lambda t: np.maximum(t, 0).sum(), lambda t: (t >= 0) * 1.0),
    "max": (np.max, lambda t: (np.arange(t.size) == t.argmax()).reshape(t.shape) * 1.0),
    "norm": (np.linalg.norm, lambda t: t / (np.linalg.norm(t) or 1)),
    "clip": (lambda t: (np.clip(t, -1, 1) ** 2).sum(), lambda t: 2 * t * (np.abs(t) < 1)),
    "squares": (lambda t: (t * t).sum(), lambda t: 2 * t),
    "squares by abs": (lambda t: (np.abs(t) ** 2).sum(), lambda t: 2 * t),
    "fourth power": (lambda t: (t**4).sum(), lambda t: 4 * t**3),
    "variance": (lambda t: np.var(t + 10), lambda t: 2 * (t - t.mean()) / t.size),
    "waves": (lambda t: np.sin(t).sum(), np.cos),
    "exp": (lambda t: np.exp(t / 1e5).sum(), lambda t: np.exp(t / 1e5) / 1e5),
    "constant": (lambda t: 3.0, np.zeros_like),
    "elastic net": (lambda t: (t * t).sum() + 1e-9 * np.abs(t).sum(), lambda t: 2 * t + 1e-9 * np.sign(t)),
    "a Python float": (lambda t: float(np.sum(np.tanh(t))), lambda t: 1 - np.tanh(t) ** 2),
    "a 0-d array": (lambda t: np.asarray(np.sum(np.tanh(t))), lambda t: 1 - np.tanh(t) ** 2),
    "offset": (lambda t: 1e8 + (t * t).sum(), lambda t: 2 * t),
}


PLACES = {
    "8 entries": lambda: points(10),
    "1e3": lambda: 1e3 * points(11),
    "1e6": lambda: 1e6 * points(12),
    "1e-3": lambda: 1e-3 * points(13),
    "zero": lambda: np.zeros(8),
    "kinks": lambda: np.array([0, 1, -1, 0, 2.0, 1, 0.5, -3]),
    "16 decades": lambda: points(14) * 10.0 ** np.arange(-8, 8, 2),
    "400 entries": lambda: points(15, 400),
    "400 entries, half of them 0": lambda: points(16, 400) * (np.arange(400) % 2),
    "one": lambda: np.array(0.7),
}


HOPELESS = {
    ("waves", "1e6", "float32"),  # float32 has 0.06 between neighbours there
    ("elastic net", "16 decades", "float64"),  # a part of J = 1e12 that is 1e-17
}


HIDDEN = {("norm", "16 decades"), ("squares by abs", "16 decades")}
"""Without a complex step, rounding of J hides entries that are 1e-16 times as large as others."""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_correct_gradient_is_accused(name, place, dtype) -> None:
    if (name, place, dtype) in HOPELESS:
        pytest.skip("nobody can tell")
    fun, grad = FUNCTIONS[name]
    report = check_gradient(fun, grad, PLACES[place](), dtype=dtype)
    assert report.verdict != "FAIL", str(report)
    hides = dtype == "float32" or name == "offset" or (name, place) in HIDDEN
    assert report.verdict == "PASS" or hides, str(report)


def noise(theta, size, draw):
    """A number in [-size, size] that changes with every bit of theta, in another way for each draw."""
    digest = blake2b(np.asarray(theta).real.tobytes(), digest_size=8, salt=bytes([draw])).digest()
    return size * (int.from_bytes(digest, "big") % 2001 / 1000 - 1)


DRAWS = 20


@pytest.mark.parametrize("size", [1e-12, 1e-10, 1e-8])
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 1e3])
def test_noise_is_neither_accused_nor_taken_for_precision(size, scale) -> None:
    theta = scale * points(20)
    for draw in range(DRAWS):
        here = partial(noise, size=size, draw=draw)
        noisy = {
            "real": (lambda t: (np.abs(t) ** 2).sum() + here(t), lambda t: 2 * t),  # noqa: B023
            "complex": (lambda t: (t * t).sum() + here(t), lambda t: 2 * t),  # noqa: B023
            "gradient": (lambda t: (t * t).sum() + here(t), lambda t: 2 * t + here(t)),  # noqa: B023
        }
        for name, (fun, grad) in noisy.items():
            report = check_gradient(fun, grad, theta)
            assert report.verdict != "FAIL", f"draw {draw}, {name}\n{report}"


@pytest.mark.parametrize(
    ("size", "scale", "least"), [(1e-12, 1.0, 20), (1e-10, 1.0, 20), (1e-8, 1.0, 15), (1e-8, 1e3, 20)]
)
def test_a_wrong_factor_is_seen_through_noise(size, scale, least) -> None:
    """Five per cent.  A draw whose first samples are small by chance widens the bars: then a note says what passes."""
    theta, missed = scale * points(20), []
    for draw in range(DRAWS):
        here = partial(noise, size=size, draw=draw)
        report = check_gradient(lambda t: (np.abs(t) ** 2).sum() + here(t), lambda t: 2.1 * t, theta)  # noqa: B023
        missed += [report] if report.verdict != "FAIL" else []
    assert DRAWS - len(missed) >= least
    assert all("are below their error bars" in str(report) for report in missed)


def random_network(seed):
    """A loss of random tensors, kinks and scales among them, with the gradient by hand."""
    rng = np.random.default_rng(seed)
    d, m, n = (int(k) for k in rng.integers(1, 9, 3))
    x = rng.standard_normal((n, d)) * 10.0 ** rng.integers(-1, 2)
    f, fprime = {
        "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        "relu": (lambda z: z * (z.real > 0), step),
        "abs": (np.abs, np.sign),
        "sin": (np.sin, np.cos),
        "square": (lambda z: z * z, lambda z: 2 * z),
    }[str(rng.choice(["tanh", "relu", "abs", "sin", "square"]))]
    l1, offset = rng.choice([0, 1e-4]), rng.choice([0, 1e4])

    def fun(p):
        return (f(x @ p["w"] + p["b"]) ** 2).sum() / n + l1 * np.abs(p["w"]).sum() + offset

    def grad(p):
        z = x @ p["w"] + p["b"]
        dz = 2 * f(z) * fprime(z) / n
        return {"w": x.T @ dz + l1 * np.sign(p["w"]), "b": dz.sum(axis=0)}

    w = rng.standard_normal((d, m)) * 10.0 ** rng.integers(-2, 3) * (rng.random((d, m)) < rng.choice([0.5, 1]))
    return fun, grad, {"w": w, "b": rng.choice([0, 1]) * rng.standard_normal(m)}, rng


def test_random_networks_are_not_accused_and_their_wrong_entries_are_seen(with_entry) -> None:
    seen = []
    for seed in range(60):
        fun, grad, theta, rng = random_network(seed)
        report = check_gradient(fun, grad, theta, seed=seed)
        assert report.verdict != "FAIL", f"seed {seed}\n{report}"
        largest = int(np.argmax(np.abs(grad(theta)["w"])))
        if grad(theta)["w"].flat[largest] == 0:
            continue
        factor = 1 + rng.choice([1e-3, 1.0, -2.0])
        wrong = check_gradient(
            fun, lambda t, g=grad, k=largest, c=factor: {**g(t), "w": with_entry(lambda s: g(s)["w"], k, c)(t)}, theta
        )
        seen.append(wrong.verdict == "FAIL" or wrong.parameters["w"].worst.index)
    assert sum(verdict is True for verdict in seen) >= 0.95 * len(seen), seen


# Methods, libraries, budget, seeds, progress, errors


def test_methods_are_named_and_can_be_chosen() -> None:
    fun, grad = FUNCTIONS["squares"]
    assert check_gradient(fun, grad, points()).method == "complex step"
    assert check_gradient(fun, grad, points(), method="central").method == "central differences"
    assert check_gradient(fun, grad, points(), method="complex").method == "complex step"

    def conj(theta):
        return (np.conj(theta) * theta).sum()

    report = check_gradient(conj, grad, points())
    assert report.method == "central differences"
    assert "central differences, because for complex numbers fun" in report.notes[0]
    with pytest.raises(ValueError, match="method 'complex' is not possible for theta: for complex numbers fun gives"):
        check_gradient(conj, grad, points(), method="complex")
    mixed = check_gradient(
        lambda p: (p["a"] ** 2).sum() + (np.abs(p["b"]) ** 2).sum(),
        lambda p: {name: 2 * t for name, t in p.items()},
        {"a": points(), "b": points(1)},
    )
    assert mixed.method == "complex step (a), central differences (b)"


def test_any_library(lib) -> None:
    """The check uses float64 if the device has it, else float32; the report says which."""
    if lib.jitted:
        pytest.skip("a check is not traced")
    xp = lib.backend.xp
    theta = {"a": lib.put(points(50)), "b": lib.put(points(51))}
    with lib.backend.activate():
        right = check_gradient(
            lambda p: xp.sum(p["a"] * p["b"] * p["b"]),
            lambda p: {"a": p["b"] * p["b"], "b": 2.0 * p["a"] * p["b"]},
            theta,
        )
        wrong = check_gradient(lambda p: xp.sum(p["a"] * p["b"]), lambda p: {"a": 1.01 * p["b"], "b": p["a"]}, theta)
        kinks = check_gradient(lambda t: xp.sum(xp.abs(t)), xp.sign, lib.put(np.array([0.0, 1.0, -2.0])))
    assert (right.verdict, right.precision, right.method) == ("PASS", lib.dtype, "complex step"), str(right)
    assert [p.verdict for p in wrong.parameters.values()] == ["FAIL", "PASS"], str(wrong)
    assert kinks.verdict == "PASS", str(kinks)
    assert (lib.dtype == "float64") or "float64 is not available" in right.notes[0]


def test_a_remainder_between_h_and_h_squared_says_nothing() -> None:
    report = check_gradient(lambda t: (np.abs(t) ** 1.5).sum(), np.zeros_like, np.zeros(2), method="taylor")
    assert report.verdict == "INCONCLUSIVE", str(report)
    assert "h^1.50" in report.notes[0]


def test_a_seed_is_one_check() -> None:
    fun, grad = FUNCTIONS["squares"]
    reports = [check_gradient(fun, grad, points(61, 600), seed=seed).parameters["theta"].numeric for seed in (1, 1, 2)]
    assert np.array_equal(reports[0], reports[1])
    assert not np.array_equal(reports[1], reports[2])


def test_progress_counts_the_directions(monkeypatch) -> None:
    class Counter:
        done = 0

        def __init__(self, total, label, *, shown):
            assert (total, shown) == (8 + 11, True)

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            assert self.done == 8 + 11

        def advance(self, amount):
            self.done += amount

    monkeypatch.setattr("xpdl.gradcheck.function.check.reported", Counter)
    theta = {"a": points(), "b": points(1, 400)}
    assert check_gradient(
        lambda p: (p["a"] ** 2).sum() + (p["b"] ** 2).sum(),
        lambda p: {n: 2 * t for n, t in p.items()},
        theta,
        progress=True,
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"fun": 3}, TypeError, "fun must be a function of theta, got 3"),
        ({"grad": 3}, TypeError, "grad must be a function of theta, got 3"),
        ({"grad": None}, TypeError, "grad=None asks for the derivatives of PyTorch or JAX, and numpy has none"),
        ({"theta": "a"}, TypeError, "theta must be an array or a floating number, got 'a'"),
        ({"theta": 3}, TypeError, "theta must be a floating number, got 3"),
        ({"theta": np.arange(3)}, TypeError, "theta must have a real floating dtype, got int64"),
        ({"theta": {}}, ValueError, "theta must hold at least one array"),
        ({"theta": np.zeros(0)}, ValueError, r"theta must have entries, got shape \(0,\)"),
        ({"theta": np.array([1, np.nan])}, ValueError, r"theta must be finite, got nan at \[1\]"),
        (
            {"theta": np.array([1, 1e300]), "dtype": "float32"},
            ValueError,
            r"in float32, theta must be finite, got 1e\+300 at \[1\]",
        ),
        ({"fun": lambda t: t}, ValueError, r"fun must return a scalar, got an array of shape \(3,\)"),
        ({"fun": lambda t: "a"}, TypeError, "fun must return a scalar, got 'a'"),
        ({"fun": lambda t: np.nan}, ValueError, "fun must be finite at theta, got nan"),
        ({"fun": lambda t: 1j}, TypeError, "fun must return a real scalar, got 1j"),
        ({"fun": lambda t: 1 / 0}, ZeroDivisionError, "division by zero"),
        ({"grad": lambda t: t[:2]}, ValueError, r"grad\(theta\) must have the shape of theta, \(3,\), got \(2,\)"),
        ({"grad": lambda t: [1, 2]}, TypeError, r"grad\(theta\) must be an array, got \[1, 2\]"),
        ({"grad": lambda t: 1j * t}, TypeError, r"grad\(theta\) must be real, got dtype complex128"),
        (
            {"theta": {"a": np.ones(3)}, "fun": lambda p: 0.0, "grad": lambda p: p["a"]},
            TypeError,
            "grad must return a dict",
        ),
        (
            {"theta": {"a": np.ones(3)}, "fun": lambda p: 0.0, "grad": lambda p: {"b": 0}},
            ValueError,
            r'grad must return the keys of theta, \["a"\], got \["b"\]',
        ),
        ({"method": "complx"}, ValueError, "method must be one of .*'complx'; did you mean 'complex'"),
        ({"dtype": "float16"}, ValueError, "dtype must be float32 or float64, got 'float16'"),
        ({"seed": 1.5}, TypeError, "seed must be an integer, got 1.5"),
        ({"budget": 3}, ValueError, "budget must allow 92 evaluations of fun, got 3"),
        ({"budget": 0}, ValueError, "budget must be at least 1, got 0"),
    ],
)
def test_bad_input_is_named(change, error, message) -> None:
    given = {"fun": lambda t: (t * t).sum(), "grad": lambda t: 2 * t, "theta": np.ones(3)} | change
    with pytest.raises(error, match=message):
        check_gradient(given.pop("fun"), given.pop("grad"), given.pop("theta"), **given)
