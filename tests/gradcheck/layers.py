"""Layers written by hand in NumPy, their backward passes, and six bugs in each: what people bring to a checker.

``forward(*arguments)`` returns an array, ``backward(dout, *arguments)`` the gradient of each argument.  A bug is a
change of the text of ``backward``, with the arguments whose gradient it spoils, and for each of them what must be said
about it: a regular expression, or "" where no cause can be seen from outside.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import inspect
import textwrap

import numpy as np

draw = np.random.default_rng(7).standard_normal


@dataclass(frozen=True)
class Bug:
    """A change of the text of a backward pass, and {argument: what is said about its gradient}."""

    old: str
    new: str
    says: Mapping[str, str]


@dataclass(frozen=True)
class Layer:
    """A layer with a right backward pass, its arguments by name, and bugs."""

    forward: Callable
    backward: Callable
    arguments: Mapping[str, np.ndarray]
    bugs: Sequence[Bug]

    def loss(self):
        """(theta, a dict of the arguments) -> a scalar: the output along one cotangent; and the cotangent."""
        dout = np.asarray(np.random.default_rng(3).standard_normal(np.shape(self.forward(*self.arguments.values()))))
        return lambda theta: (self.forward(*theta.values()) * dout).sum(), dout

    def gradient(self, dout, bug: Bug | None = None):
        """theta -> {argument: gradient}, right or with a bug."""
        backward = self.backward if bug is None else changed(self.backward, bug)
        return lambda theta: dict(zip(theta, backward(dout, *theta.values()), strict=True))


def changed(function: Callable, bug: Bug) -> Callable:
    """The function with one text in it replaced."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(bug.old) == 1, f"{bug.old!r} is {source.count(bug.old)} times in {function.__name__}"
    names = {**function.__globals__}
    exec(source.replace(bug.old, bug.new), names)
    return names[function.__name__]


def every(text: str, *names: str) -> dict[str, str]:
    """The same for some arguments."""
    return dict.fromkeys(names, text)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# Dense


def dense(x, w, b):
    return x @ w + b


def dense_backward(dout, x, w, b):
    dx = dout @ w.T
    dw = x.T @ dout
    db = dout.sum(0)
    return dx, dw, db


DENSE = Layer(
    dense,
    dense_backward,
    {"x": draw((5, 4)), "w": draw((4, 4)), "b": draw(4)},
    [
        Bug("dout @ w.T", "dout @ w", {"x": "matrix w were transposed"}),
        Bug("x.T @ dout", "dout.T @ x", {"w": "transpose"}),
        Bug("x.T @ dout", "x.T @ dout / len(x)", {"w": "1 / 5, the length of axis 0 of x"}),
        Bug("x.T @ dout", "x.T @ dout + 0.01 * w", {"w": r"\+ 0.01 theta"}),
        Bug("dout.sum(0)", "dout.mean(0)", {"b": "1 / 5, the length of axis 0 of x"}),
        Bug("dout.sum(0)", "np.full(4, dout.sum())", {"b": "same at every .* sum of the numeric gradient"}),
    ],
)


# Convolution, 2-d


def windows(size, kernel=3):
    """(i, j, the part of an image that entry (i, j) of a kernel sees)."""
    n = size - kernel + 1
    return [(i, j, np.s_[:, :, i : i + n, j : j + n]) for i in range(kernel) for j in range(kernel)]


def convolution(x, w, b):
    return sum(np.einsum("nchw,oc->nohw", x[see], w[:, :, i, j]) for i, j, see in windows(5)) + b[:, None, None]


def convolution_backward(dout, x, w, b):
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i, j, see in windows(5):
        dx[see] += np.einsum("nohw,oc->nchw", dout, w[:, :, i, j])
        dw[:, :, i, j] = np.einsum("nohw,nchw->oc", dout, x[see])
    db = dout.sum((0, 2, 3))
    return dx, dw, db


CONVOLUTION = Layer(
    convolution,
    convolution_backward,
    {"x": draw((2, 2, 5, 5)), "w": draw((3, 2, 3, 3)), "b": draw(3)},
    [
        Bug("dw[:, :, i, j]", "dw[:, :, 2 - i, 2 - j]", {"w": "flipped along axes 2 and 3"}),
        Bug("dw[:, :, i, j]", "dw[:, :, j, i]", {"w": "axes 2 and 3 swapped"}),
        Bug("windows(5):", "windows(5)[:6]:", {"x": "indices 2 to 4 of axis 2", "w": "0 in index 2 of axis 2"}),
        Bug("dx[see] +=", "dx[see] =", {"x": ""}),
        Bug("dout, w[:, :, i, j]", "dout, w[:, :, -1 - i, -1 - j]", {"x": ""}),
        Bug("dout.sum((0, 2, 3))", "dout.mean((0, 2, 3))", {"b": "divided by 18 once too often"}),
    ],
)


# Pooling


def tiles(x):
    """(n, c, h, w) -> (n, c, h / 2, 2, w / 2, 2)."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2)


def max_pool(x):
    return tiles(x).max((3, 5))


def max_pool_backward(dout, x):
    largest = tiles(x).max((3, 5), keepdims=True)
    d = (tiles(x) == largest) * dout[:, :, :, None, :, None]
    return (d.reshape(x.shape),)


MAX_POOL = Layer(
    max_pool,
    max_pool_backward,
    {"x": draw((2, 3, 4, 4))},
    [
        Bug("(tiles(x) == largest)", "np.ones_like(tiles(x))", {"x": "not 0 .* where the numeric gradient is 0"}),
        Bug("(tiles(x) == largest)", "(tiles(x) == largest) / 4", {"x": "4"}),
        Bug("(tiles(x) == largest)", "-1.0 * (tiles(x) == largest)", {"x": "sign is wrong"}),
        Bug("tiles(x).max(", "tiles(x).min(", {"x": "right numbers in the wrong places"}),
        Bug("d.reshape(x.shape)", "np.roll(d.reshape(x.shape), 1, 3)", {"x": r"shifted by \+1 along axis 3"}),
        Bug("d.reshape(x.shape)", "np.swapaxes(d.reshape(x.shape), 2, 3)", {"x": "axes 2 and 3 swapped"}),
    ],
)


def mean_pool(x):
    return tiles(x).mean((3, 5))


def mean_pool_backward(dout, x):
    dx = np.repeat(np.repeat(dout, 2, 2), 2, 3) / 4
    return (dx,)


MEAN_POOL = Layer(
    mean_pool,
    mean_pool_backward,
    {"x": draw((2, 3, 4, 4))},
    [
        Bug(" / 4", "", {"x": "4 x the numeric gradient"}),
        Bug(" / 4", " / 2", {"x": "counted twice"}),
        Bug("dx = ", "dx = -", {"x": "sign is wrong"}),
        Bug("np.repeat(np.repeat(dout, 2, 2), 2, 3)", "np.tile(dout, (1, 1, 2, 2))", {"x": ""}),
        Bug("/ 4", "/ 4; dx[:, :, -1] = 0", {"x": "0 in index 3 of axis 2"}),
        Bug("/ 4", "/ 4 * (x > 0)", {"x": "0 in the entries where theta is negative"}),
    ],
)


# Norms


def batch_norm(x, gamma, beta):
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) + beta


def batch_norm_backward(dout, x, gamma, beta):
    deviation = np.sqrt(x.var(0) + 1e-5)
    xhat = (x - x.mean(0)) / deviation
    dxhat = dout * gamma
    dx = (dxhat - dxhat.mean(0) - xhat * (dxhat * xhat).mean(0)) / deviation
    dgamma = (dout * xhat).sum(0)
    dbeta = dout.sum(0)
    return dx, dgamma, dbeta


BATCH_NORM = Layer(
    batch_norm,
    batch_norm_backward,
    {"x": draw((6, 3)), "gamma": draw(3), "beta": draw(3)},
    [
        Bug(" - dxhat.mean(0)", "", {"x": "mean along axis 0"}),
        Bug(" - xhat * (dxhat * xhat).mean(0)", "", {"x": "multiples of .*theta.* columns 0 to 2"}),
        Bug("dxhat = dout * gamma", "dxhat = dout", {"x": "factor of its own in each of columns 0 to 2"}),
        Bug(") / deviation\n    dgamma", ")\n    dgamma", {"x": "factor of its own in each of columns 0 to 2"}),
        Bug("(dout * xhat).sum(0)", "dout.sum(0)", {"gamma": "same numbers as the gradient of beta"}),
        Bug("dbeta = dout.sum(0)", "dbeta = dout.mean(0)", {"beta": "1 / 6, the length of axis 0 of x"}),
    ],
)


def layer_norm(x, gamma, beta):
    return gamma * (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) + beta


def layer_norm_backward(dout, x, gamma, beta):
    deviation = np.sqrt(x.var(1, keepdims=True) + 1e-5)
    xhat = (x - x.mean(1, keepdims=True)) / deviation
    dxhat = dout * gamma
    dx = (dxhat - dxhat.mean(1, keepdims=True) - xhat * (dxhat * xhat).mean(1, keepdims=True)) / deviation
    dgamma = (dout * xhat).sum(0)
    dbeta = dout.sum(0)
    return dx, dgamma, dbeta


LAYER_NORM = Layer(
    layer_norm,
    layer_norm_backward,
    {"x": draw((4, 6)), "gamma": draw(6), "beta": draw(6)},
    [
        Bug(" - dxhat.mean(1, keepdims=True)", "", {"x": "mean along axis 1"}),
        Bug(" - xhat * (dxhat * xhat).mean(1, keepdims=True)", "", {"x": "multiples of .*theta.* rows 0 to 3"}),
        Bug("dxhat = dout * gamma", "dxhat = dout", {"x": ""}),
        Bug(") / deviation\n    dgamma", ")\n    dgamma", {"x": "factor of its own in each of rows 0 to 3"}),
        Bug("return dx, dgamma, dbeta", "return dx, dbeta, dgamma", every("swapped", "gamma", "beta")),
        Bug("(dout * xhat).sum(0)", "(dout * xhat).mean(0)", {"gamma": "1 / 4, the length of axis 0 of x"}),
    ],
)


# Attention with a causal mask


def attention_weights(q, k):
    scores = q @ k.T / np.sqrt(q.shape[1])
    scores = np.where(np.tri(len(q)) > 0, scores, -1e30)
    e = np.exp(scores - scores.real.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def attention(q, k, v):
    return attention_weights(q, k) @ v


def attention_backward(dout, q, k, v):
    p = attention_weights(q, k)
    dp = dout @ v.T
    ds = p * (dp - (p * dp).sum(1, keepdims=True)) / np.sqrt(q.shape[1])
    dq = ds @ k
    dk = ds.T @ q
    dv = p.T @ dout
    return dq, dk, dv


ATTENTION = Layer(
    attention,
    attention_backward,
    {"q": draw((5, 3)), "k": draw((5, 3)), "v": draw((5, 3))},
    [
        Bug(" / np.sqrt(q.shape[1])", "", every("the root of 3", "q", "k")),
        Bug(" - (p * dp).sum(1, keepdims=True)", "", every("", "q", "k")),
        Bug("ds.T @ q", "ds @ q", {"k": ""}),
        Bug("p.T @ dout", "p @ dout", {"v": ""}),
        Bug("return dq, dk, dv", "return dk, dq, dv", every("swapped", "q", "k")),
        Bug("dv = p.T @ dout", "dv = p.T @ dout; dv[-1] = 0", {"v": "0 in row 4"}),
    ],
)


# LSTM: one step, and over time


def step(x, h, c, w, u, b):
    """(h, c) and the gates i, f, g, o of a step."""
    z = x @ w + h @ u + b
    i, f, g, o = np.split(z, 4, -1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c + i * g
    return o * np.tanh(c), c, (i, f, g, o)


def lstm_cell(x, h, c, w, u, b):
    return np.stack(step(x, h, c, w, u, b)[:2])


def lstm_cell_backward(dout, x, h, c, w, u, b):
    _, after, (i, f, g, o) = step(x, h, c, w, u, b)
    dh, dc = dout
    dc = dc + dh * o * (1 - np.tanh(after) ** 2)
    di = dc * g * i * (1 - i)
    df = dc * c * f * (1 - f)
    dg = dc * i * (1 - g**2)
    do = dh * np.tanh(after) * o * (1 - o)
    dz = np.concatenate([di, df, dg, do], -1)
    return dz @ w.T, dz @ u.T, dc * f, x.T @ dz, h.T @ dz, dz.sum(0)


CELL = {"x": (2, 3), "h": (2, 3), "c": (2, 3), "w": (3, 12), "u": (3, 12), "b": (12,)}
LSTM_CELL = Layer(
    lstm_cell,
    lstm_cell_backward,
    {name: draw(shape) for name, shape in CELL.items()},
    [
        Bug(
            "np.tanh(after) * o * (1 - o)",
            "np.tanh(after) * o",
            every("", "x", "h") | every("fourth of 4", "w", "u", "b"),
        ),
        Bug("i * (1 - g**2)", "i * g", every("", "x", "h") | every("third of 4", "w", "u", "b")),
        Bug("[di, df, dg, do]", "[df, di, dg, do]", every("", "x", "h") | every("order|swapped|hold", "w", "u", "b")),
        Bug("dc * c * f", "dc * g * f", every("", "x", "h") | every("second of 4", "w", "u", "b")),
        Bug("dc = dc + dh", "dc = dh", every("", "x", "h", "c") | every("first, second and third of 4", "w", "u", "b")),
        Bug("dc * f, x.T", "dc, x.T", {"c": ""}),
    ],
)


def lstm(x, w, u, b):
    h = c = np.zeros((x.shape[1], u.shape[0]))
    out = []
    for x_t in x:
        h, c, _ = step(x_t, h, c, w, u, b)
        out.append(h)
    return np.stack(out)


def lstm_backward(dout, x, w, u, b):
    zero = np.zeros((x.shape[1], u.shape[0]))
    states = [(zero, zero)]
    for x_t in x:
        states.append(step(x_t, *states[-1], w, u, b)[:2])
    dx, dw, du, db = np.zeros_like(x), 0, 0, 0
    dh, dc = zero, zero
    for t in reversed(range(len(x))):
        dh = dout[t] + dh
        _, c, (i, f, g, o) = step(x[t], *states[t], w, u, b)
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        gates = [
            dc * g * i * (1 - i),
            dc * states[t][1] * f * (1 - f),
            dc * i * (1 - g**2),
            dh * np.tanh(c) * o * (1 - o),
        ]
        dz = np.concatenate(gates, -1)
        dx[t], dw, du, db = dz @ w.T, dw + x[t].T @ dz, du + states[t][0].T @ dz, db + dz.sum(0)
        dh, dc = dz @ u.T, dc * f
    return dx, dw, du, db


AT_THE_END = "right elsewhere: if axis 0 is time, what the last step carries back"
LSTM = Layer(
    lstm,
    lstm_backward,
    {"x": draw((5, 2, 3)), "w": draw((3, 8)), "u": draw((2, 8)), "b": draw(8)},
    [
        Bug("dz @ u.T, dc * f", "dz @ u.T, zero", {"x": AT_THE_END} | every("", "w", "u", "b")),
        Bug("dz @ u.T, dc * f", "zero, dc * f", {"x": AT_THE_END} | every("", "w", "u", "b")),
        Bug("dh = dout[t] + dh", "dh = dout[t] + 2 * dh", {"x": AT_THE_END} | every("", "w", "u", "b")),
        Bug("du + states[t][0]", "du + states[t + 1][0]", {"u": ""}),
        Bug("db + dz.sum(0)", "db + dz.mean(0)", {"b": "half of it is missing"}),
        Bug("dh, dc = dz @ u.T", "dw, du, db = dw / 2, du / 2, db / 2; dh, dc = dz @ u.T", every("", "w", "u", "b")),
    ],
)


# Embedding

IDS = np.array([4, 1, 2, 1, 0, 5, 4])
PADDING = 0


def embedding(table):
    return table[IDS] * (IDS != PADDING)[:, None]


def embedding_backward(dout, table):
    dtable = np.zeros_like(table)
    d = dout * (IDS != PADDING)[:, None]
    np.add.at(dtable, IDS, d)
    return (dtable,)


EMBEDDING = Layer(
    embedding,
    embedding_backward,
    {"table": draw((7, 3))},
    [
        Bug("np.add.at(dtable, IDS, d)", "dtable[IDS] = d", {"table": "rows 1 and 4"}),
        Bug("d = dout * (IDS != PADDING)[:, None]", "d = dout", {"table": "not 0 in row 0"}),
        Bug("IDS, d)", "(IDS + 1) % 7, d)", {"table": r"shifted by \+1 along axis 0"}),
        Bug("IDS, d)", "IDS, d / 7)", {"table": "1 / 7, the length of axis 0"}),
        Bug("IDS, d)", "IDS, np.where(IDS == 5, 0, d.T).T)", {"table": "0 in row 5"}),
        Bug("IDS, d)", "IDS, d[::-1])", {"table": "rows 0 to 2 and 5"}),
    ],
)


# GELU


def erf(t):
    from scipy.special import erf

    return erf(t)


def gelu(x):
    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


def gelu_backward(dout, x):
    cumulative = 0.5 * (1 + erf(x / np.sqrt(2)))
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    return (dout * (cumulative + x * density),)


GELU = Layer(
    gelu,
    gelu_backward,
    {"x": draw((4, 5))},
    [
        Bug("(cumulative + x * density)", "cumulative", {"x": r"Phi\(t\) were gelu'\(t\)"}),
        Bug("(cumulative + x * density)", "sigmoid(x) * (1 + x * sigmoid(-x))", {"x": r"silu'\(t\) were gelu'\(t\)"}),
        Bug("dout * (cumulative", "2 * dout * (cumulative", {"x": "counted twice"}),
        Bug("dout * (cumulative", "dout * (x > 0) * (cumulative", {"x": "0 in the entries where theta is negative"}),
        Bug("dout * (cumulative", "dout.mean(0) * (cumulative", {"x": ""}),
        Bug("dout * (cumulative + x * density)", "dout.T.reshape(x.shape) * (cumulative + x * density)", {"x": ""}),
    ],
)


# Cholesky


def log_det(a):
    return 2 * np.log(np.diagonal(np.linalg.cholesky((a + a.T) / 2))).sum()


def log_det_backward(dout, a):
    da = dout * np.linalg.inv((a + a.T) / 2)
    return (da,)


SQUARE = draw((4, 4))
LOG_DET = Layer(
    log_det,
    log_det_backward,
    {"a": SQUARE @ SQUARE.T + 4 * np.eye(4)},
    [
        Bug("return (da,)", "return (da / 2,)", {"a": "half of it is missing"}),
        Bug("return (da,)", "return (-da,)", {"a": "sign is wrong"}),
        Bug("return (da,)", "return (np.tril(da),)", {"a": "lower triangle of a gradient that is symmetric"}),
        Bug("return (da,)", "return (2 * da - np.diag(np.diag(da)),)", {"a": "off the diagonal counted twice"}),
        Bug("return (da,)", "return (da - np.diag(np.diag(da)),)", {"a": "0 in the diagonal"}),
        Bug("return (da,)", "return (da @ da,)", {"a": ""}),
    ],
)


def product(l):
    return np.tril(l) @ np.tril(l).T


def product_backward(dout, l):
    dl = np.tril((dout + dout.T) @ np.tril(l))
    return (dl,)


PRODUCT = Layer(
    product,
    product_backward,
    {"l": draw((4, 4))},
    [
        Bug(
            "dl = np.tril((dout + dout.T) @ np.tril(l))",
            "dl = (dout + dout.T) @ np.tril(l)",
            {"l": "not 0 above the diagonal"},
        ),
        Bug("return (dl,)", "return ((dl + dl.T) / 2,)", {"l": r"\(g \+ g\^T\) / 2 .* lower triangular"}),
        Bug("return (dl,)", "return (dl.T,)", {"l": "transpose"}),
        Bug("return (dl,)", "return (np.tril(dl, -1),)", {"l": "0 in the diagonal"}),
        Bug("(dout + dout.T)", "dout", {"l": ""}),
        Bug("return (dl,)", "return (dl + np.tril(dl, -1).T,)", {"l": "not 0 above the diagonal"}),
    ],
)


# Huber


def huber(r):
    return np.where(np.abs(r) < 1, r * r / 2, np.abs(r) - 0.5).mean()


def huber_backward(dout, r):
    slope = np.where(np.abs(r) < 1, r, np.sign(r))
    return (dout * slope / len(r),)


HUBER = Layer(
    huber,
    huber_backward,
    {"r": 1.5 * draw(20)},
    [
        Bug("np.sign(r))", "r)", {"r": r"where \|theta\| is above"}),
        Bug("np.sign(r))", "0.0)", {"r": r"0 in .*where \|theta\| is above"}),
        Bug("np.abs(r) < 1, r,", "np.abs(r) < 1, 2 * r,", {"r": r"2 x .*where \|theta\| is below"}),
        Bug(" / len(r)", "", {"r": "20 x the numeric gradient: the number of entries is 20"}),
        Bug("np.sign(r))", "1.0)", {"r": "-1 x the numeric gradient in"}),
        Bug("dout * slope", "dout * np.abs(slope)", {"r": "-1 x .* where theta is negative"}),
    ],
)


# CRF

LABELS = np.array([0, 2, 1, 1, 2])


def log_sum_exp(z, axis):
    top = z.real.max(axis, keepdims=True)
    return (top + np.log(np.exp(z - top).sum(axis, keepdims=True))).squeeze(axis)


def crf(e, a):
    """-log p(LABELS) with emissions e (T, K) and transitions a (K, K)."""
    alpha = e[0]
    for row in e[1:]:
        alpha = log_sum_exp(alpha[:, None] + a, 0) + row
    return log_sum_exp(alpha, 0) - e[np.arange(len(e)), LABELS].sum() - a[LABELS[:-1], LABELS[1:]].sum()


def crf_backward(dout, e, a):
    alpha, beta = [e[0]], [np.zeros(e.shape[1])]
    for t in range(1, len(e)):
        alpha.append(log_sum_exp(alpha[-1][:, None] + a, 0) + e[t])
        beta.insert(0, log_sum_exp(a + e[-t] + beta[0], 1))
    z = log_sum_exp(alpha[-1], 0)
    de, da = np.exp(np.array(alpha) + np.array(beta) - z), np.zeros_like(a)
    for t in range(1, len(e)):
        da += np.exp(alpha[t - 1][:, None] + a + e[t] + beta[t] - z)
    de[np.arange(len(e)), LABELS] -= 1
    before, after = LABELS[:-1], LABELS[1:]
    np.add.at(da, (before, after), -1)
    return dout * de, dout * da


CRF = Layer(
    crf,
    crf_backward,
    {"e": draw((5, 3)), "a": draw((3, 3))},
    [
        Bug("return dout * de, dout * da", "return dout * de, dout * da.T", {"a": "transpose"}),
        Bug("return dout * de", "return -dout * de", {"e": "sign is wrong"}),
        Bug("de[np.arange(len(e)), LABELS] -= 1", "", {"e": r"numeric gradient \+ .* in one entry of each row"}),
        Bug("np.add.at(da, (before, after), -1)", "", {"a": r"numeric gradient \+ .* in "}),
        Bug("dout * de,", "dout * de / len(e),", {"e": "1 / 5, the length of axis 0"}),
        Bug(
            "np.add.at(da, (before, after), -1)",
            "np.add.at(da, (after, before), -1)",
            {"a": r"counts or labels"},
        ),
    ],
)

LAYERS = {
    "dense": DENSE,
    "convolution": CONVOLUTION,
    "max pool": MAX_POOL,
    "mean pool": MEAN_POOL,
    "batch norm": BATCH_NORM,
    "layer norm": LAYER_NORM,
    "attention": ATTENTION,
    "LSTM cell": LSTM_CELL,
    "LSTM": LSTM,
    "embedding": EMBEDDING,
    "GELU": GELU,
    "log det": LOG_DET,
    "triangular product": PRODUCT,
    "Huber": HUBER,
    "CRF": CRF,
}
