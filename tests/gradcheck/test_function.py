"""check_gradient: functions nobody here wrote pass as they are, and fail with the least mistake in them."""

from functools import partial
from hashlib import blake2b
from itertools import pairwise
import warnings

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient

SLIGHTLY = 1 + 1e-6


def points(seed=0, n=8):
    return np.random.default_rng(seed).standard_normal(n)


def scaled(grad, factor):
    """A gradient that is wrong by a factor."""

    def wrong(theta):
        answer = grad(theta)
        return {name: factor * g for name, g in answer.items()} if isinstance(answer, dict) else factor * answer

    return wrong


def with_entry(grad, place, factor):
    """A gradient with one wrong entry."""

    def wrong(theta):
        answer = np.array(grad(theta))
        answer.flat[place] *= factor
        return answer

    return wrong


def assert_judged(fun, grad, theta, **options) -> None:
    """Right as it is, wrong when it is scaled by 1 + 1e-6."""
    right = check_gradient(fun, grad, theta, **options)
    assert right.verdict == "PASS", f"{options}\n{right}"
    wrong = check_gradient(fun, scaled(grad, SLIGHTLY), theta, **options)
    assert wrong.verdict == "FAIL", f"{options}\n{wrong}"


# --- functions nobody here wrote: scipy


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
def test_gradients_of_scipy(name) -> None:
    assert_judged(*SCIPY[name])


# --- functions nobody here wrote: PyTorch, JAX, scikit-learn


def test_losses_in_pytorch() -> None:
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


def test_a_loss_in_pytorch_that_cannot_leave_float32() -> None:
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
def test_losses_in_jax(x64) -> None:
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
            wrong = check_gradient(loss, scaled(grad, SLIGHTLY if x64 else 1.01), theta)
            assert wrong.verdict == "FAIL", str(wrong)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
def test_the_loss_of_scikit_learns_networks(activation) -> None:
    """The function that its L-BFGS minimises, with the gradient it has."""
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


# --- no correct gradient is accused


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


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_correct_gradient_is_accused(name, place, dtype) -> None:
    if (name, place, dtype) in HOPELESS:
        pytest.skip("nobody can tell")
    fun, grad = FUNCTIONS[name]
    report = check_gradient(fun, grad, PLACES[place](), dtype=dtype)
    assert report.verdict != "FAIL", str(report)
    assert report.verdict == "PASS" or dtype == "float32" or name == "offset", str(report)


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
    f, slope = {
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
        dz = 2 * f(z) * slope(z) / n
        return {"w": x.T @ dz + l1 * np.sign(p["w"]), "b": dz.sum(axis=0)}

    w = rng.standard_normal((d, m)) * 10.0 ** rng.integers(-2, 3) * (rng.random((d, m)) < rng.choice([0.5, 1]))
    return fun, grad, {"w": w, "b": rng.choice([0, 1]) * rng.standard_normal(m)}, rng


def test_random_networks_are_not_accused_and_their_wrong_entries_are_seen() -> None:
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


# --- no wrong gradient passes


@pytest.mark.parametrize("n", [8, 300, 100_000])
@pytest.mark.parametrize("relative", [1e-6, 1e-4, 1e-2, 1.0])
def test_one_wrong_entry_is_named(n, relative) -> None:
    theta, rng = points(30, n), np.random.default_rng(n)
    place = int(rng.choice(np.flatnonzero(np.abs(theta) > 0.3)))
    grad = with_entry(lambda t: np.exp(t / 3) / 3, place, 1 + relative)
    report = check_gradient(lambda t: np.exp(t / 3).sum(), grad, theta)
    parameter = report.parameters["theta"]
    assert (report.verdict, parameter.failing, parameter.worst.index) == ("FAIL", 1, (place,)), str(report)
    assert parameter.diagnosis == f"only 1 of {n} entries wrong: [{place}]"
    assert report.evaluations < 50 * n + 1000
    differences = check_gradient(lambda t: float(np.exp(t / 3).sum()), grad, theta)
    if n < 100_000 or relative > 1e-4:  # J is known to 1e-11 there, a slope of it to 1e-6
        assert differences.parameters["theta"].worst.index == (place,), str(differences)


def test_several_wrong_entries_are_named_the_worst_first() -> None:
    def grad(theta):
        answer = np.exp(theta)
        answer[3, 4] *= 1.01
        answer[5, 6] *= -1
        return answer

    parameter = check_gradient(lambda t: np.exp(t).sum(), grad, points(31, 600).reshape(20, 30)).parameters["theta"]
    assert (parameter.verdict, parameter.worst.index, parameter.failing) == ("FAIL", (5, 6), 2)
    assert parameter.diagnosis == "only 2 of 600 entries wrong: [5, 6], [3, 4]"


SQUARE = points(32, 900).reshape(30, 30)
MISTAKES = {  # diagnosis: what it does to the gradient
    "-1 x the numeric gradient: the sign is wrong": lambda g: -g,
    "2 x the numeric gradient: counted twice": lambda g: 2 * g,
    "30 x the numeric gradient: the length of axis 0 is 30": lambda g: 30 * g,
    "1.000001 x the numeric gradient": lambda g: SLIGHTLY * g,
    "the transpose of the numeric gradient": lambda g: g.T,
    "the numeric gradient in reverse order": lambda g: g[::-1, ::-1],
    "the numeric gradient + 0.25 in every entry": lambda g: g + 0.25,
    "all zero": lambda g: 0 * g,
    "not finite": lambda g: np.where(g > 1, np.nan, g),
}


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("diagnosis", MISTAKES)
def test_common_mistakes_are_diagnosed(diagnosis, full) -> None:
    theta = SQUARE[:9, :9] if full else SQUARE
    cause = diagnosis.replace("30", "9") if full else diagnosis
    weights = np.arange(theta.size).reshape(theta.shape) / theta.size
    grad = lambda t: MISTAKES[diagnosis](weights + 3 * t * t) * (9 / 30 if full and "30" in diagnosis else 1)  # noqa: E731
    report = check_gradient(lambda t: (weights * t).sum() + (t**3).sum(), grad, theta)
    assert report.verdict == "FAIL", str(report)
    assert report.parameters["theta"].diagnosis == cause


def test_tiny_entries_among_large_ones() -> None:
    """Each of eight entries, with slopes of 1e-8 to 1e6: the complex step has no rounding of J to hide them."""
    weights, theta = 10.0 ** np.arange(-8, 8, 2), points(33)
    for place in range(8):
        grad = with_entry(lambda t: 2 * weights * t, place, SLIGHTLY)
        report = check_gradient(lambda t: (weights * t * t).sum(), grad, theta)
        assert report.parameters["theta"].worst.index == (place,), str(report)
        assert report.verdict == "FAIL"


@pytest.mark.parametrize("value", [1.2, -0.01])
def test_a_kink_excuses_nothing_outside_its_one_sided_derivatives(value) -> None:
    relu = FUNCTIONS["relu, 0 at 0"][0]
    assert check_gradient(relu, lambda t: np.full(8, value), np.zeros(8)).verdict == "FAIL"
    assert check_gradient(relu, lambda t: np.full(8, 0.3), np.zeros(8)).verdict == "PASS"


def test_kinks_are_noted_and_do_not_hide_a_wrong_entry() -> None:
    theta = np.concatenate([np.ones(890), np.zeros(10)])

    def fun(t):
        return np.maximum(t, 0).sum() + (t[:5] ** 2).sum()

    def grad(t):
        answer = step(t)
        answer[:5] += 2 * t[:5]
        return answer

    report = check_gradient(fun, grad, theta)
    assert report.verdict == "PASS", str(report)
    assert any("at a kink, accepted between one-sided derivatives" in note for note in report.notes)
    wrong = check_gradient(fun, with_entry(grad, 3, 1.01), theta)
    assert (wrong.verdict, wrong.parameters["theta"].worst.index) == ("FAIL", (3,)), str(wrong)


def test_what_rounding_hides_is_inconclusive() -> None:
    """J = 1e8 + something of 1e-9: neither right nor wrong can be seen by differences."""

    def fun(t):
        return 1e8 + 1e-3 * (np.abs(t) ** 2).sum()

    for factor in (1.0, 1.25):
        report = check_gradient(fun, scaled(lambda t: 2e-3 * t, factor), 1e-3 * points())
        assert report.verdict == "INCONCLUSIVE", str(report)


# --- methods are chosen, named, and not trusted

NOT_ANALYTIC = {  # name: (function that loses the imaginary part or turns it round, gradient)
    "conj": (lambda t: (np.conj(t) * t).sum(), lambda t: 2 * t),
    "conj, real": (lambda t: (np.conj(t) * t).real.sum(), lambda t: 2 * t),
    "conj, twice": (lambda t: (np.conj(t) ** 2).sum(), lambda t: 2 * t),
    "conj of one entry": (
        lambda t: (t**2).sum() + 1e-3 * np.conj(t[0]) ** 2,
        lambda t: 2 * t + 2e-3 * t * (np.arange(8) == 0),
    ),
    "abs": (lambda t: (np.abs(t) ** 2).sum(), lambda t: 2 * t),
    "abs of a half": (lambda t: (t[:4] ** 2).sum() + (np.abs(t[4:]) ** 2).sum(), lambda t: 2 * t),
    "abs, tiny": (
        lambda t: (t[:-1] ** 2).sum() + 1e-9 * np.abs(t[-1]),
        lambda t: np.r_[2 * t[:-1], 1e-9 * np.sign(t[-1])],
    ),
    "real": (lambda t: (t.real**2).sum(), lambda t: 2 * t),
    "float": (lambda t: float((t**2).sum()), lambda t: 2 * t),
    "max": (lambda t: np.max(t) ** 2, lambda t: 2 * t * (t == t.max())),
    "norm": (lambda t: np.linalg.norm(t) ** 2 + (t**2).sum(), lambda t: 4 * t),
    "raises": (lambda t: np.arctan2(t, 1).sum(), lambda t: 1 / (1 + t * t)),
    "a real buffer": (lambda t: np.multiply(t, t, out=np.empty(8)).sum(), lambda t: 2 * t),
}


@pytest.mark.parametrize("name", NOT_ANALYTIC)
def test_the_complex_step_is_verified(name) -> None:
    fun, grad = NOT_ANALYTIC[name]
    assert_judged(fun, grad, points(40))
    place = int(np.argmax(points(40)))
    assert check_gradient(fun, with_entry(grad, place, -1), points(40)).verdict == "FAIL"


@pytest.mark.parametrize("frequency", [0.1, 1.0, 30.0, 300.0])
@pytest.mark.parametrize("offset", [1.0, 1e4, 1e6])
def test_a_part_that_loses_the_imaginary_part_is_noticed_below_the_rounding_of_differences(offset, frequency) -> None:
    """1e-5 |theta| beside J = 1e6: differences do not see it, the complex step does not have it, waves hide it."""

    def fun(t):
        return offset + np.sin(frequency * t).sum() + 1e-5 * np.abs(t).sum()

    def grad(t):
        return frequency * np.cos(frequency * t) + 1e-5 * np.sign(t)

    for seed in range(10):
        report = check_gradient(fun, grad, points(seed))
        assert report.verdict == "PASS", f"seed {seed}\n{report}"
    assert check_gradient(fun, with_entry(grad, 3, 1.01), points()).verdict == "FAIL"


def test_methods_are_named_and_can_be_chosen() -> None:
    fun, grad = FUNCTIONS["squares"]
    assert check_gradient(fun, grad, points()).method == "complex step"
    assert check_gradient(fun, grad, points(), method="central").method == "central differences"
    assert check_gradient(fun, grad, points(), method="complex").method == "complex step"
    conj, _ = NOT_ANALYTIC["conj"]
    report = check_gradient(conj, grad, points())
    assert report.method == "central differences"
    assert "central differences, as fun of complex numbers" in report.notes[0]
    with pytest.raises(ValueError, match="method 'complex' is not possible for theta: fun of complex numbers gives"):
        check_gradient(conj, grad, points(), method="complex")
    mixed = check_gradient(
        lambda p: (p["a"] ** 2).sum() + (np.abs(p["b"]) ** 2).sum(),
        lambda p: {name: 2 * t for name, t in p.items()},
        {"a": points(), "b": points(1)},
    )
    assert mixed.method == "complex step (a), central differences (b)"


def test_the_taylor_remainder_is_a_second_opinion() -> None:
    fun, grad = FUNCTIONS["fourth power"]
    slopes = [
        float(check_gradient(fun, g, points()).notes[-1].partition("h^")[2].split()[0])
        for g in (grad, scaled(grad, 1.1))
    ]
    assert slopes == pytest.approx([2, 1], abs=0.05)


def test_every_entry_has_an_error_bar_that_holds() -> None:
    theta = points(41)
    for method, least in (("complex", 1e-9), ("central", 1e-6)):
        parameter = check_gradient(lambda t: np.exp(t).sum(), np.exp, theta, method=method).parameters["theta"]
        assert parameter.bar.shape == theta.shape
        assert np.all(np.abs(parameter.numeric - np.exp(theta)) <= parameter.bar)
        assert np.all(parameter.bar < least * np.exp(theta))


# --- any library


def test_any_library(lib) -> None:
    """float64 where the device has it, else float32, and the report says so."""
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


def test_float32_that_is_not_admitted_is_found_out() -> None:
    def fun(theta):
        return np.sum(theta.astype(np.float32) ** 3)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = check_gradient(fun, lambda t: 3 * t * t, points())
    assert (report.verdict, report.precision) == ("PASS", "float32"), str(report)
    assert "fun answers in float32" in report.notes[0]


# --- functions that are none


def test_functions_that_change_their_argument_are_reported() -> None:
    def doubling(theta):
        theta *= 2
        return (theta * theta).sum()

    def adding(p):
        p["new"] = 1
        return (p["a"] ** 2).sum()

    def clipping(theta):
        np.clip(theta, -1, 1, out=theta)
        return 2 * theta

    cases = [
        (doubling, lambda t: 2 * t, 3 * points(), "fun changes its argument theta"),
        (lambda t: (t * t).sum(), clipping, 3 * points(), "grad changes its argument theta"),
        (adding, lambda p: {"a": 2 * p["a"]}, {"a": points()}, "fun changes its argument theta"),
        (lambda p: doubling(p["a"]), lambda p: {"a": p["a"]}, {"a": points()}, "fun changes its argument theta['a']"),
    ]
    for fun, grad, theta, complaint in cases:
        kept = np.array(theta["a"] if isinstance(theta, dict) else theta)
        report = check_gradient(fun, grad, theta)
        assert report.verdict == "INCONCLUSIVE"
        assert f"{complaint}: nothing can be judged" in report.notes, str(report)
        assert np.array_equal(kept, theta["a"] if isinstance(theta, dict) else theta)


def test_functions_that_answer_differently_are_reported() -> None:
    rng = np.random.default_rng(0)
    report = check_gradient(lambda t: (t * t).sum() + rng.random(), lambda t: 2 * t + rng.random(), points())
    assert report.verdict == "INCONCLUSIVE"
    assert "fun answers differently for the same theta" in report.notes[0]
    assert "grad answers differently for the same theta (theta)" in report.notes[1]


# --- functions that jump, move in steps, or change their mind


def leaping(theta):
    return np.where(theta > 0, theta + 1, theta).sum()


LEAPS = {  # name: (function that jumps where theta is 0, gradient elsewhere)
    "up on one side": (leaping, np.ones_like),
    "on both sides": (lambda t: (np.sign(t) + t * t).sum(), lambda t: 2 * t),
    "down": (lambda t: (np.cos(t) - (t >= 0)).sum(), lambda t: -np.sin(t)),
}


@pytest.mark.parametrize("n", [3, 400])
@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("name", LEAPS)
def test_nothing_passes_where_the_function_jumps(name, method, n) -> None:
    fun, grad = LEAPS[name]
    theta = np.r_[points(70, n - 3), 1.0, 0.0, -1.0]
    for value in (None, 1e6, 7.0, -3.0):

        def given(t, value=value):
            return grad(t) if value is None else np.where(t == 0, value, grad(t))

        report = check_gradient(fun, given, theta, method=method, full=n < 400)
        assert report.verdict == "INCONCLUSIVE", f"{value}\n{report}"
        assert any("fun jumps at theta" in note and f"[{n - 2}]" in note for note in report.notes), str(report)


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("value", [1e6, 7.0, -3.0])
def test_a_step_and_a_small_jump_excuse_nothing(value, method) -> None:
    theta = np.array([0.0, 1.0, -1.0])
    steps = check_gradient(lambda t: 1.0 * (t > 0).sum(), lambda t: np.array([value, 0, 0]), theta, method=method)
    assert steps.verdict == "INCONCLUSIVE", str(steps)
    for size in 10.0 ** np.arange(-15, -2):
        report = check_gradient(
            lambda t, size=size: np.where(t > 0, t + size, t).sum(),
            lambda t: np.array([value, 1, 1]),
            theta,
            method=method,
        )
        assert report.verdict != "PASS", f"{size}\n{report}"


def test_a_jump_excuses_no_other_entry() -> None:
    for theta, full in ((np.array([1.0, 0.0, -1.0]), False), (np.r_[points(70, 397), 1.0, 0.0, -1.0], True)):
        place = theta.size - 1
        parameter = check_gradient(leaping, with_entry(np.ones_like, place, 1.1), theta, full=full).parameters["theta"]
        assert (parameter.verdict, parameter.worst.index, parameter.failing) == ("FAIL", (place,), 1)


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("distance", [0.0, 1e-16, 1e-13, 1e-11, 1e-9, 1e-8, 1e-7, 1e-5])
def test_a_kink_nearby_is_no_jump(distance, method) -> None:
    for sign in (-1, 1):
        theta = np.array([sign * distance, 1.0, -1.0])
        report = check_gradient(
            lambda t: (np.where(t > 0, t, 0) + 0.1 * t * t).sum(), lambda t: step(t) + 0.2 * t, theta, method=method
        )
        assert report.verdict == "PASS", str(report)
        assert not any("jump" in note for note in report.notes), str(report)


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("decimals", [1, 3, 4, 6, 8, 9, 10, 11, 12, 13])
def test_a_rounded_function_is_judged_by_what_it_shows(decimals, method) -> None:
    functions = {
        "np.round": lambda t: np.round((t**2).sum(), decimals),
        "round": lambda t: round(sum((t**2).tolist()), decimals),
        "of theta": lambda t: (np.round(t, decimals) ** 2).sum(),
    }
    for seed in range(3):
        for name, fun in functions.items():
            right = check_gradient(fun, lambda t: 2 * t, points(seed), method=method)
            assert right.verdict != "FAIL", f"{name}\n{right}"
            assert decimals > 3 or right.verdict == "INCONCLUSIVE", f"{name}\n{right}"
            wrong = check_gradient(fun, lambda t: 3 * t, points(seed), method=method)
            assert wrong.verdict != "PASS", f"{name}\n{wrong}"
            assert decimals < 6 or wrong.verdict == "FAIL", f"{name}\n{wrong}"
            assert decimals > 12 or any("fun moves in steps of" in note for note in right.notes), f"{name}\n{right}"


def test_a_function_that_stands_still_only_at_theta_does_not_move_in_steps() -> None:
    def dead(theta):
        return 3 + np.maximum(theta - 1e-3, 0).sum()

    report = check_gradient(dead, np.zeros_like, np.zeros(5))
    assert report.verdict == "PASS"
    assert not any("steps" in note for note in report.notes), str(report)
    assert check_gradient(dead, lambda t: t + 0.1, np.zeros(5)).verdict == "FAIL"


def counting(function, k, change):
    """A function whose answers change from its k-th call on."""
    calls = 0

    def answer(theta):
        nonlocal calls
        calls += 1
        return function(theta) if calls < k else change(function(theta))

    return answer


@pytest.mark.parametrize("change", [lambda a: a + 0.01, lambda a: 1.5 * a])
def test_functions_that_change_their_mind_later_are_reported(change) -> None:
    fun, grad = FUNCTIONS["squares"]
    for k in (*range(4, 51, 3), 50):
        for method in ("auto", "central"):
            report = check_gradient(counting(fun, k, change), grad, points(), method=method)
            assert report.verdict == "INCONCLUSIVE", f"{k}\n{report}"
            assert "fun answers differently for the same theta" in report.notes[0], str(report)
    report = check_gradient(fun, counting(grad, 4, change), points())
    assert report.verdict == "INCONCLUSIVE"
    assert "grad answers differently for the same theta" in report.notes[0], str(report)


def test_a_large_difference_that_passes_is_explained() -> None:
    """An entry that float32 does not show, and one at a kink."""
    unseen = check_gradient(
        lambda t: 1 + t.sum(), lambda t: np.array([1.0, 9.0]), np.array([1, 1e-9]), dtype="float32", method="central"
    )
    kink = check_gradient(lambda t: np.abs(t).sum(), lambda t: np.array([0.9, 1.0]), np.array([0.0, 1.0]))
    for report, reason in ((unseen, "1 of 2 are below their error bars"), (kink, "1 at a kink")):
        assert report.verdict == "PASS", str(report)
        assert report.difference > 1e-2
        assert any("passes with a difference of" in note and reason in note for note in report.notes), str(report)


def test_a_factor_is_told_from_1_and_is_not_that_of_nothing() -> None:
    fun, grad = FUNCTIONS["squares"]
    for factor, text in ((1 + 1e-9, "1 + 1.0e-09 times"), (1 - 3e-8, "1 - 3.0e-08 times")):
        parameter = check_gradient(fun, scaled(grad, factor), points()).parameters["theta"]
        assert parameter.diagnosis == f"{text} the numeric gradient"
    optimize = pytest.importorskip("scipy.optimize")
    parameter = check_gradient(optimize.rosen, lambda t: optimize.rosen_der(t) + 1e-7, np.ones(6)).parameters["theta"]
    assert parameter.verdict == "FAIL"
    assert parameter.diagnosis.endswith("in every entry"), parameter.diagnosis
    assert float(parameter.diagnosis.split()[4]) == pytest.approx(1e-7, rel=1e-3)


@pytest.mark.parametrize("n", [8, 3000])
def test_the_taylor_remainder_judges_whole_tensors(n) -> None:
    fun, grad = FUNCTIONS["fourth power"]
    for factor, verdict in ((1.0, "PASS"), (1.1, "FAIL"), (-1.0, "FAIL"), (np.nan, "FAIL")):
        report = check_gradient(fun, scaled(grad, factor), points(71, n), method="taylor")
        assert (report.verdict, report.method) == (verdict, "Taylor remainder"), str(report)
        assert report.evaluations < 150
    mixed = check_gradient(
        lambda p: (p["a"] ** 2).sum() + (p["b"] ** 3).sum(),
        lambda p: {"a": 2 * p["a"], "b": 2 * p["b"] ** 2},
        {"a": points(), "b": points(1)},
        method="taylor",
    )
    assert [p.verdict for p in mixed.parameters.values()] == ["PASS", "FAIL"], str(mixed)


def test_the_taylor_remainder_is_not_always_visible() -> None:
    cases = {
        "at a kink": (lambda t: np.abs(t).sum(), np.sign, np.zeros(3)),
        "at a jump": (leaping, lambda t: np.array([1e6, 1.0, 1.0]), np.array([0.0, 1.0, -1.0])),
        "too small to be seen": (np.sum, np.ones_like, points()),
    }
    for why, case in cases.items():
        report = check_gradient(*case, method="taylor")
        assert report.verdict == "INCONCLUSIVE", str(report)
        assert why in report.notes[0], str(report)


# --- budget, seeds, progress, errors


def test_large_tensors_take_directions_unless_all_entries_are_asked_for() -> None:
    theta = points(60, 600)
    fun, grad = FUNCTIONS["squares"]
    some, every = check_gradient(fun, grad, theta), check_gradient(fun, grad, theta, full=True)
    assert (some.parameters["theta"].bar.shape, every.parameters["theta"].bar.shape) == ((11,), (600,))
    assert some.evaluations < 150
    assert "11 directions" in some.notes[0]
    with pytest.raises(ValueError, match="budget must allow 2,480 evaluations of fun, got 2,000"):
        check_gradient(fun, grad, theta, full=True, budget=2000)


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
        ({"grad": None}, TypeError, "grad must be a function of theta, got None"),
        ({"theta": [1.0, 2.0]}, TypeError, r"theta must be an array, got \[1.0, 2.0\]"),
        ({"theta": np.arange(3)}, TypeError, "theta must have a real floating dtype, got int64"),
        ({"theta": {}}, ValueError, "theta must hold at least one array"),
        ({"theta": np.zeros(0)}, ValueError, r"theta must have entries, got shape \(0,\)"),
        ({"theta": np.array([1, np.nan])}, ValueError, r"theta must be finite, got nan at \[1\]"),
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
            r"grad must return the keys of theta, \['a'\], got \['b'\]",
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
