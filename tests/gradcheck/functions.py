"""Functions of all kinds with gradients, for tests of what must hold for any: smooth, kinked, noisy, at an edge."""

import math

import numpy as np


def complex_relu(t):
    return np.where(t.real > 0, t, 0 * t)


def shaken(t):
    """A number from -1/2 to 1/2 that is another one for every theta."""
    return hash(np.asarray(t).real.tobytes()) % 1000 / 1000 - 0.5


def raises_below_0(t):
    if np.any(t < 0):
        raise ValueError("t must not be negative")
    return float((t * t + t).sum())


class WarmStart:
    """sum x^2 at the fixed point x = tanh(w x + 1), found from where the last call ended."""

    x = np.zeros(1)

    def loss(self, w):
        self.x = self.x[:1] + 0 * w
        for _ in range(200):
            self.x = np.tanh(w * self.x + 1)
        return (self.x**2).sum()

    def grad(self, w):
        self.loss(w)
        s = 1 - self.x**2
        return 2 * self.x * s * self.x / (1 - s * w)


def some_zeros(t):
    return np.where(np.arange(t.size) % 3 == 0, 0.0, t)


def fast(t, rate):
    return rate * np.cos(rate * t)


warm = WarmStart()
EASY, HARD = 1e-7, math.inf
FUNCTIONS = {  # name: (function, gradient, where, the most that may be detected by the complex step, by differences)
    "waves": (lambda t: np.sin(t).sum(), np.cos, None, EASY, 1e-4),
    "powers": (lambda t: (t**3).sum(), lambda t: 3 * t * t, None, 1e-4, 1e-1),
    "exp": (lambda t: np.exp(t).sum(), np.exp, None, EASY, 1e-5),
    "log": (lambda t: np.log(t).sum(), lambda t: 1 / t, lambda t: np.exp(3 * t), 1e-4, 1e-4),
    "norm": (lambda t: np.sqrt((t * t).sum()), lambda t: t / np.sqrt((t * t).sum()), None, 1e-5, 1e-3),
    "fast waves": (lambda t: np.sin(50 * t).sum(), lambda t: fast(t, 50), None, 1e-2, 1e-4),
    "faster waves": (lambda t: np.sin(300 * t).sum(), lambda t: fast(t, 300), None, 1e-2, 1e-2),
    "slopes": (
        lambda t: (10.0 ** (-np.arange(t.size) % 12) * t * t).sum(),
        lambda t: 2 * 10.0 ** (-np.arange(t.size) % 12) * t,
        None,
        HARD,
        HARD,
    ),
    "real": (lambda t: float((t.real**2).sum()), lambda t: 2 * t, None, 1e-3, 1e-3),
    "absolute values": (lambda t: np.abs(t).sum(), np.sign, some_zeros, 10, 10),
    "kinks": (lambda t: complex_relu(t).sum(), lambda t: (t > 0) * 1.0, some_zeros, 10, 10),
    "chosen kinks": (lambda t: complex_relu(t).sum(), lambda t: np.where(t, t > 0, 0.3), some_zeros, 30, 30),
    "kinks up and down": (
        lambda t: (complex_relu(t) * (-1.0) ** np.arange(t.size) + t * t).sum(),
        lambda t: (t > 0) * (-1.0) ** np.arange(t.size) + 2 * t,
        some_zeros,
        1e4,
        1e4,
    ),
    "a tie": (np.max, lambda t: (t == np.max(t)) / np.sum(t == np.max(t)), lambda t: np.minimum(t, t[0]), HARD, HARD),
    "a median of equals": (
        np.median,
        lambda t: (np.arange(t.size) == 0) * 1.0 if t.size % 2 else np.full(t.size, 1 / t.size),
        lambda t: 0 * t + 2,
        HARD,
        HARD,
    ),
    "units at kinks": (
        lambda t: (complex_relu(np.outer(t, [1, 2])) @ [1.0, -0.7]).sum() + t.sum() + complex_relu(t.sum() - t[0]),
        lambda t: (t > 0) * -0.4 + 1 + (t.sum() > t[0]) * (np.arange(t.size) > 0),
        some_zeros,
        HARD,
        HARD,
    ),
    "a tiny kink": (
        lambda t: (t * t).sum() + 1e-7 * complex_relu(t - 0.5).sum(),
        lambda t: 2 * t + 1e-7 * (t > 0.5),
        lambda t: np.where(np.arange(t.size), t, 0.5),
        1e-3,
        1e-3,
    ),
    "a part without the complex step": (
        lambda t: (t**2).sum() + 1e-9 * float(np.abs(t.real).sum()),
        lambda t: 2 * t + 1e-9 * np.sign(t),
        None,
        1e-3,
        1e-3,
    ),
    "noise": (lambda t: (t**2).sum() * (1 + 1e-9 * shaken(t)), lambda t: 2 * t, None, HARD, HARD),
    "an edge": (raises_below_0, lambda t: 2 * t + 1, lambda t: some_zeros(np.abs(t)), 1e-4, 1e-4),
    "a state": (warm.loss, warm.grad, lambda t: np.tanh(t) / 2, 1e-3, 1e-3),
    "a large constant": (lambda t: 1e6 + (t**2).sum(), lambda t: 2 * t, None, 1e-5, HARD),
    "float32": (lambda t: np.float32((t.astype(np.float32) ** 2).sum()), lambda t: 2 * t, None, HARD, HARD),
}
