"""Two tables: input that is wrong, with its error; and input that looks odd, with the plain input it stands for."""

from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import pytest

import xpdl
from xpdl import Activation, EarlyStopping, KeepBest, Loss, Network, Optimizer, adam, evaluate, schedules, sgd, train
from xpdl.training.evaluation import predict

NET = Network([3, 4, 3])
DEEP = Network([3, 4, 5, 3])
SIGMOID = Network([3, 1], output="sigmoid")
LINEAR = Network([3, 2], output="linear")
OWN = Network([3, 4, 3], hidden=Activation(lambda z: z, lambda da, z, a: da))
X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.array([0, 1, 2, 0, 1, 2])
ONES = np.ones((6, 4))
ERRORS = (TypeError, ValueError)


def place(lib, value):
    """NumPy arrays of numbers on the device of lib; anything else as it is."""
    return lib.put(value) if type(value) is np.ndarray and value.dtype.kind in "bfiu" else value


def fit(lib, x=X, y=Y, net=NET, **options):
    """Train for one epoch."""
    options = {"epochs": 1, "progress": False, "backend": lib.backend, "dtype": lib.dtype} | options
    if isinstance(options.get("theta"), np.ndarray):
        options["theta"] = place(lib, options["theta"])
    return train(net, place(lib, x), place(lib, y), **options)


def with_value(value, like=X):
    """The array with one entry, at 2 or (2, 1), replaced."""
    array = like.astype("float64")
    array[(2, 1)[: like.ndim]] = value
    return array


def loss(lib, x=X, y=Y, theta=None, masks=None, net=NET, weight=None):
    """``net.loss``, traced where that is what is tested."""
    theta = net.initialize(0, "float64") if theta is None else theta
    masks = [place(lib, mask) for mask in masks] if isinstance(masks, list) else masks
    if masks is None:
        return lib.call(net.loss, place(lib, theta), place(lib, x), place(lib, y), None, place(lib, weight))
    return lib.call(lambda t, x, y: net.loss(t, x, y, masks), place(lib, theta), place(lib, x), place(lib, y))


def foreign(lib, array):
    """The array in another library than lib's."""
    return xpdl.backend("array_api_strict" if lib.backend.name == "numpy" else "numpy").asarray(array)


class Bad(NamedTuple):
    """A call that must fail; it takes ``lib`` if it is to be made on every backend."""

    name: str
    call: Callable[..., Any]
    error: type[Exception] | tuple[type[Exception], ...]
    message: str  # a pattern; it names the argument, the value and what was expected


TABLE = [
    # the network
    ("sizes empty", lambda: Network([]), ValueError, r"sizes must hold at least an input .*got \[\]"),
    ("sizes one", lambda: Network([3]), ValueError, r"sizes must hold at least an input .*got \[3\]"),
    ("sizes zero", lambda: Network([3, 0, 2]), ValueError, r"sizes must be at least 1, got 0"),
    ("sizes negative", lambda: Network([3, -1, 2]), ValueError, r"sizes must be at least 1, got -1"),
    ("sizes float", lambda: Network([3, 4.0, 2]), TypeError, r"sizes must hold integers.*got \[3, 4\.0, 2\]"),
    ("sizes bool", lambda: Network([3, True, 2]), TypeError, r"sizes must hold integers.*got \[3, True, 2\]"),
    ("sizes string", lambda: Network("342"), TypeError, r"sizes must hold integers.*got '342'"),
    ("sizes strings", lambda: Network(["3", "2"]), TypeError, r"sizes must hold integers.*got \['3', '2'\]"),
    ("sizes a number", lambda: Network(5), TypeError, r"sizes must hold integers.*got 5"),
    ("sizes nothing", lambda: Network(None), TypeError, r"sizes must hold integers.*got None"),
    ("hidden no functions", lambda: Network([3, 2], hidden=Activation("relu", 1)), TypeError, r"forward, got .relu"),
    ("output no functions", lambda: Network([3, 2], output=Loss("mse")), TypeError, r"output must.*cost, got 'mse'"),
    ("output without a cost", lambda: Network([3, 2], output=Loss(None)), TypeError, r"output must.*cost, got None"),
    ("output a function", lambda: Network([3, 2], output=max), TypeError, r"output must be one of .*got .*max"),
    ("hidden misspelt", lambda: Network([3, 2], hidden="rleu"), ValueError, r"hidden must be one of .*'rleu'.*'relu'"),
    ("hidden in capitals", lambda: Network([3, 2], hidden="ReLU"), ValueError, r"hidden must .*'ReLU'.*mean 'relu'"),
    ("hidden a function", lambda: Network([3, 2], hidden=max), TypeError, r"hidden must be one of .*got .*max"),
    ("output misspelt", lambda: Network([3, 2], output="sofmax"), ValueError, r"output .*'sofmax'.*'softmax'"),
    ("output nothing", lambda: Network([3, 2], output=None), TypeError, r"output must be one of .*got None"),
    ("init misspelt", lambda: Network([3, 2], init="xaver"), ValueError, r"init must be one of .*'xaver'.*'xavier'"),
    ("init negative", lambda: Network([3, 2], init=-1.0), ValueError, r"init must be .*at least 0, got -1\.0"),
    ("init nothing", lambda: Network([3, 2], init=None), TypeError, r"init must be a number, got None"),
    ("l2 negative", lambda: Network([3, 2], l2=-0.1), ValueError, r"l2 must be .*at least 0, got -0\.1"),
    ("l2 NaN", lambda: Network([3, 2], l2=np.nan), ValueError, r"l2 must be finite.*got nan"),
    ("l2 beyond floats", lambda: Network([3, 2], l2=10**400), ERRORS, r"l2 must be .*got"),
    ("l2 a string", lambda: Network([3, 2], l2="0.1"), TypeError, r"l2 must be a number, got '0\.1'"),
    ("dropout negative", lambda: Network([3, 4, 2], dropout=-0.1), ValueError, r"dropout must .*\[0, 1\), got -0\.1"),
    ("dropout 1", lambda: Network([3, 4, 2], dropout=1), ValueError, r"dropout must be .*\[0, 1\), got 1"),
    ("dropout NaN", lambda: Network([3, 4, 2], dropout=np.nan), ValueError, r"dropout must be finite.*got nan"),
    ("dropout a string", lambda: Network([3, 4, 2], dropout="0.5"), TypeError, r"dropout must be a number, got '0\.5'"),
    ("dropout nothing", lambda: Network([3, 4, 2], dropout=None), TypeError, r"dropout must be a number, got None"),
    ("dropout count", lambda: Network([3, 4, 2], dropout=[0.1, 0.2]), ValueError, r"dropout .*1 hidden.*0\.1, 0\.2"),
    ("dropout without layers", lambda: Network([3, 2], dropout=2.0), ValueError, r"dropout must be .*got 2\.0"),
    ("initialize dtype", lambda: NET.initialize(0, "flaot32"), ValueError, r"dtype must be float32 or .*'flaot32'"),
    ("initialize seed", lambda: NET.initialize(-1), ValueError, r"seed must be in \[0, 2\*\*64\), got -1"),
    ("unpack too short", lambda: NET.unpack(np.zeros(5)), ValueError, r"theta must hold 31 parameters.*\(5,\)"),
    # optimizers, schedules, callbacks
    ("lr negative", lambda: sgd(-0.1), ValueError, r"lr must be .*at least 0, got -0\.1"),
    ("lr NaN", lambda: adam(np.nan), ValueError, r"lr must be finite.*got nan"),
    ("lr a string", lambda: adam("0.1"), TypeError, r"lr must be a number, got '0\.1'"),
    ("beta 1", lambda: xpdl.momentum(0.1, beta=1), ValueError, r"beta must be .*\[0, 1\), got 1\.0"),
    ("decay above 1", lambda: xpdl.rmsprop(0.1, decay=1.5), ValueError, r"decay must be .*\[0, 1\), got 1\.5"),
    ("beta1 negative", lambda: adam(beta1=-0.1), ValueError, r"beta1 must be .*\[0, 1\), got -0\.1"),
    ("beta2 NaN", lambda: adam(beta2=np.nan), ValueError, r"beta2 must be finite.*got nan"),
    ("eps negative", lambda: adam(eps=-1e-8), ValueError, r"eps must be .*at least 0, got -1e-08"),
    ("weight_decay negative", lambda: xpdl.adamw(weight_decay=-1), ValueError, r"weight_decay must .*got -1"),
    ("exponential decay 0", lambda: schedules.exponential(0.1, 0), ValueError, r"decay must be greater than 0, got 0"),
    ("cosine without steps", lambda: schedules.cosine(0.1, 0), ValueError, r"steps must be .*at least 1, got 0"),
    ("step every 0", lambda: schedules.step(0.1, every=0), ValueError, r"every must be .*at least 1, got 0"),
    ("warmup a string", lambda: schedules.warmup("fast", 5), TypeError, r"lr must be a number, got 'fast'"),
    ("patience 0", lambda: EarlyStopping(0), ValueError, r"patience must be at least 1, got 0"),
    ("patience float", lambda: EarlyStopping(1.5), TypeError, r"patience must be an integer, got 1\.5"),
    # the options of train
    ("net a list", lambda lib: fit(lib, net=[3, 4, 3]), TypeError, r"net must be a.*Network, got \[3, 4, 3\]"),
    ("optimizer a name", lambda lib: fit(lib, optimizer="adam"), TypeError, r"optimizer must be .*got 'adam'"),
    ("optimizer not called", lambda lib: fit(lib, optimizer=adam), TypeError, r"optimizer must .*got <function adam"),
    ("epochs negative", lambda lib: fit(lib, epochs=-1), ValueError, r"epochs must be at least 0, got -1"),
    ("epochs float", lambda lib: fit(lib, epochs=1.5), TypeError, r"epochs must be an integer, got 1\.5"),
    ("epochs a string", lambda lib: fit(lib, epochs="1"), TypeError, r"epochs must be an integer, got '1'"),
    ("epochs nothing", lambda lib: fit(lib, epochs=None), TypeError, r"epochs must be an integer, got None"),
    ("epochs bool", lambda lib: fit(lib, epochs=True), TypeError, r"epochs must be an integer, got True"),
    ("batch_size 0", lambda lib: fit(lib, batch_size=0), ValueError, r"batch_size must be at least 1, got 0"),
    ("batch_size float", lambda lib: fit(lib, batch_size=2.0), TypeError, r"batch_size must be an integer, got 2\.0"),
    ("batch_size a string", lambda lib: fit(lib, batch_size="all"), TypeError, r"batch_size must be .*got 'all'"),
    ("seed negative", lambda lib: fit(lib, seed=-1), ValueError, r"seed must be in \[0, 2\*\*64\), got -1"),
    ("seed too large", lambda lib: fit(lib, seed=2**64), ValueError, r"seed must be in .*got 18446744073709551616"),
    ("seed float", lambda lib: fit(lib, seed=1.5), TypeError, r"seed must be an integer, got 1\.5"),
    ("seed nothing", lambda lib: fit(lib, seed=None), TypeError, r"seed must be an integer, got None"),
    ("dtype misspelt", lambda lib: fit(lib, dtype="flaot32"), ValueError, r"dtype must be float32 or .*'flaot32'"),
    ("dtype float16", lambda lib: fit(lib, dtype="float16"), ValueError, r"dtype must be float32 or .*'float16'"),
    ("dtype int", lambda lib: fit(lib, dtype=int), ValueError, r"dtype must be float32 or float64, got .*int"),
    ("dtype nothing", lambda lib: fit(lib, dtype=None), ERRORS, r"dtype must be float32 or float64, got None"),
    ("backend misspelt", lambda: train(NET, X, Y, backend="nmupy"), ValueError, r"backend .*'nmupy'.*'numpy'"),
    ("backend nothing", lambda: train(NET, X, Y, backend=None), TypeError, r"backend must be one of .*got None"),
    ("backend a module", lambda: train(NET, X, Y, backend=np), TypeError, r"backend must be one of .*got <module"),
    ("backend device", lambda: train(NET, X, Y, backend="numpy:1"), ValueError, r"'numpy' has only .*'cpu', got '1'"),
    ("callbacks a function", lambda lib: fit(lib, callbacks=print), TypeError, r"callbacks must be .*got .*print"),
    ("callbacks numbers", lambda lib: fit(lib, callbacks=[1]), TypeError, r"callbacks must be .*got .*1"),
    ("callbacks a class", lambda lib: fit(lib, callbacks=[KeepBest]), TypeError, r"callbacks must be .*KeepBest"),
    ("monitor", lambda: fit_numpy(callbacks=[KeepBest("los")]), ValueError, r"monitor must be .*'los'.*mean 'loss'"),
    ("validation x alone", lambda lib: fit(lib, validation=X), ERRORS, r"validation must be .*\(x, y\)"),
    ("validation a share", lambda lib: fit(lib, validation=0.2), ERRORS, r"validation must be .*\(x, y\).*got 0\.2"),
    ("validation of four", lambda lib: fit(lib, validation=(X, Y, Y, Y)), ERRORS, r"validation must be .*\(x, y\)"),
    (
        *("validation weight", lambda lib: fit(lib, validation=(X, Y, -Y))),
        *(ValueError, r"validation sample_weight must be at least 0, got .*\[1\] = -1"),
    ),
    (
        *("optimizer that returns theta", lambda lib: fit(lib, optimizer=Optimizer(lambda t: None, lambda t, g, s: t))),
        *(TypeError, r"optimizer\.update must return \(theta, state\), got "),
    ),
    ("weight of a sample", lambda lib: fit(lib, sample_weight=2.0), ValueError, r"sample_weight .*\(6,\).*got \(\)"),
    ("weights n", lambda lib: fit(lib, sample_weight=Y[:5]), ValueError, r"sample_weight .*shape \(6,\).*got \(5,\)"),
    ("weights a column", lambda lib: fit(lib, sample_weight=Y[:, None]), ValueError, r"\(6,\).*got \(6, 1\)"),
    ("weights negative", lambda lib: fit(lib, sample_weight=Y - 1), ValueError, r"sample_weight .*at least 0.*= -1"),
    ("weights NaN", lambda lib: fit(lib, sample_weight=Y * np.nan), ValueError, r"sample_weight must be finite"),
    ("weights 0", lambda lib: fit(lib, sample_weight=0 * Y), ValueError, r"sample_weight must be above 0.*6 zeros"),
    ("weights words", lambda lib: fit(lib, sample_weight=["a"] * 6), TypeError, r"sample_weight .*real numbers"),
    ("weight n", lambda lib: loss(lib, weight=Y[:5] + 1.0), ValueError, r"weight must have shape \(6,\).*got \(5,\)"),
    ("weight foreign", lambda lib: mixed(lib, weight=foreign(lib, Y + 1.0)), TypeError, r"one library: .*weight"),
    ("validation d", lambda lib: fit(lib, validation=(X[:, :2], Y)), ValueError, r"validation x .*\(n, 3\).*\(6, 2\)"),
    ("validation n", lambda lib: fit(lib, validation=(X, Y[:5])), ValueError, r"validation y .*6 samples.*\(5,\)"),
    ("validation label", lambda lib: fit(lib, validation=(X, Y + 1)), ValueError, r"validation y .*0\.\.2.*= 3"),
    ("validation empty", lambda lib: fit(lib, validation=(X[:0], Y[:0])), ValueError, r"validation x .*\(0, 3\)"),
    ("validation NaN", lambda lib: fit(lib, validation=(X * np.nan, Y)), ValueError, r"validation x must be finite"),
    # theta
    ("theta short", lambda lib: fit(lib, theta=np.zeros(5)), ValueError, r"theta must have shape \(31,\).*got \(5,\)"),
    ("theta 3-D", lambda lib: fit(lib, theta=np.zeros((1, 1, 31))), ValueError, r"theta .*\(31,\).*got \(1, 1, 31\)"),
    ("theta NaN", lambda lib: fit(lib, theta=np.full(31, np.nan)), ValueError, r"theta must be finite, got nan at .*0"),
    ("theta inf", lambda lib: fit(lib, theta=np.full(31, np.inf)), ValueError, r"theta must be finite, got inf at"),
    ("theta strings", lambda lib: fit(lib, theta=["a"] * 31), TypeError, r"theta must hold real numbers, got .*U1"),
    ("theta complex", lambda lib: fit(lib, theta=np.ones(31) * 1j), TypeError, r"theta must .*real.*complex128"),
    ("theta pairs", lambda lib: fit(lib, theta=NET.unpack(np.zeros(31))), TypeError, r"theta must hold real .*object"),
    # x
    ("x 1-D", lambda lib: fit(lib, x=X[0]), ValueError, r"x must have shape \(n, 3\).*got shape \(3,\)"),
    ("x images", lambda lib: fit(lib, x=np.zeros((6, 28, 28))), ValueError, r"x must have .*\(n, 3\).*\(6, 28, 28\)"),
    ("x wrong d", lambda lib: fit(lib, x=X[:, :2]), ValueError, r"x must have shape \(n, 3\).*got shape \(6, 2\)"),
    ("x transposed", lambda lib: fit(lib, x=X.T), ValueError, r"x must have shape \(n, 3\), rows.*got shape \(3, 6\)"),
    ("x empty", lambda lib: fit(lib, x=X[:0], y=Y[:0]), ValueError, r"x must have shape \(n, 3\).*got shape \(0, 3\)"),
    ("x empty list", lambda lib: fit(lib, x=[], y=[]), ValueError, r"x must have shape \(n, 3\).*got shape \(0,\)"),
    ("x NaN", lambda lib: fit(lib, x=with_value(np.nan)), ValueError, r"x must be finite, got nan at x\[2, 1\]"),
    ("x inf", lambda lib: fit(lib, x=with_value(np.inf)), ValueError, r"x must be finite, got inf at x\[2, 1\]"),
    ("x -inf", lambda lib: fit(lib, x=with_value(-np.inf)), ValueError, r"x must be finite, got -inf at x\[2, 1\]"),
    ("x too large", lambda: fit_numpy(x=with_value(1e39)), ValueError, r"x must be finite.*x\[2, 1\]"),
    ("x strings", lambda lib: fit(lib, x=X.astype(str)), TypeError, r"x must hold real numbers, got dtype <U"),
    ("x complex", lambda lib: fit(lib, x=X + 0j), TypeError, r"x must hold real numbers, got dtype complex128"),
    ("x object", lambda lib: fit(lib, x=X.astype(object)), TypeError, r"x must hold real numbers, got dtype object"),
    ("x ragged", lambda lib: fit(lib, x=[[1, 2, 3], [1, 2]]), TypeError, r"x must hold real numbers, got dtype object"),
    ("x nothing", lambda lib: fit(lib, x=None), TypeError, r"x must hold real numbers, got dtype object"),
    ("x dates", lambda lib: fit(lib, x=X.astype("M8[s]")), TypeError, r"x must hold real numbers, got .*datetime64"),
    ("x masked", lambda lib: fit(lib, x=np.ma.masked_less(X, 0)), ERRORS, r"x must .*masked"),
    # y
    ("y short", lambda lib: fit(lib, y=Y[:5]), ValueError, r"y must hold one row .*6 samples, got shape \(5,\)"),
    ("y long", lambda lib: fit(lib, y=[*Y, 0]), ValueError, r"y must hold one row .*6 samples, got shape \(7,\)"),
    ("y a number", lambda lib: fit(lib, y=1), ValueError, r"y must hold one row .*6 samples, got shape \(\)"),
    ("y out of range", lambda lib: fit(lib, y=Y + 1), ValueError, r"y must be labels 0\.\.2 .*got y\[2\] = 3"),
    ("y negative", lambda lib: fit(lib, y=Y - 1), ValueError, r"y must be labels 0\.\.2 .*got y\[0\] = -1"),
    ("y fractional", lambda lib: fit(lib, y=Y + 0.5), ValueError, r"y must be labels 0\.\.2 .*got y\[0\] = 0\.5"),
    ("y NaN", lambda lib: fit(lib, y=with_value(np.nan, Y)), ValueError, r"y must be finite, got nan at y\[2\]"),
    ("y strings", lambda lib: fit(lib, y=list("abcabc")), TypeError, r"y must hold real numbers, got dtype <U1"),
    ("y nothing", lambda lib: fit(lib, y=None), TypeError, r"y must hold real numbers, got dtype object"),
    ("y masked", lambda lib: fit(lib, y=np.ma.masked_equal(Y, 2)), ERRORS, r"y must .*masked"),
    ("y one-hot width", lambda lib: fit(lib, y=np.eye(4)[Y]), ValueError, r"y must be .*\(6, 3\), got shape \(6, 4\)"),
    ("y not one-hot", lambda lib: fit(lib, y=np.ones((6, 3))), ValueError, r"y must be .*one-hot.*y\[0\] = \[1"),
    ("y one-hot of -1", lambda lib: fit(lib, y=2 * np.eye(3)[Y] - 1), ValueError, r"y must be .*one-hot.*y\[0\] = \["),
    ("y one-hot 3-D", lambda lib: fit(lib, y=np.eye(3)[Y][:, None]), ValueError, r"y must be .*got shape \(6, 1, 3\)"),
    ("y -1 and 1", lambda lib: fit(lib, y=(-1) ** Y, net=SIGMOID), ValueError, r"y must be 0 or 1, got y\[1\] = -1"),
    ("y 3 classes", lambda lib: fit(lib, y=Y, net=SIGMOID), ValueError, r"y must be 0 or 1, got y\[2\] = 2"),
    ("y two columns", lambda lib: fit(lib, y=np.eye(2)[Y % 2], net=SIGMOID), ValueError, r"y .*\(6, 1\).*\(6, 2\)"),
    ("y 3 for 2", lambda lib: fit(lib, y=X, net=LINEAR), ValueError, r"y must have shape \(6, 2\).*got \(6, 3\)"),
    ("y 1-D for 2", lambda lib: fit(lib, y=X[:, 0], net=LINEAR), ValueError, r"y must have shape \(6, 2\).*got \(6,\)"),
    ("y values NaN", lambda lib: fit(lib, y=with_value(np.nan)[:, :2], net=LINEAR), ValueError, r"y must .*nan at"),
    ("y too large", lambda: fit_numpy(y=with_value(1e39)[:, :2], net=LINEAR), ValueError, r"y must .*y\[2, 1\]"),
    # the functions of a network
    ("loss theta", lambda lib: loss(lib, theta=np.zeros(5)), ValueError, r"theta must hold 31 .*got shape \(5,\)"),
    ("loss theta 0-d", lambda lib: loss(lib, theta=np.array(1.0)), ValueError, r"theta must hold 31 .*got shape \(\)"),
    ("loss theta list", lambda: NET.loss([0.0] * 31, X, Y), TypeError, r"arrays of one library: theta is a .*list"),
    ("loss x 1-D", lambda lib: loss(lib, x=X[0]), ValueError, r"x must have shape \(n, 3\).*got shape \(3,\)"),
    ("loss x 3-D", lambda lib: loss(lib, x=X[None]), ValueError, r"x must have shape \(n, 3\).*got shape \(1, 6, 3\)"),
    ("loss x empty", lambda lib: loss(lib, x=X[:0], y=Y[:0]), ValueError, r"x must have shape .*got shape \(0, 3\)"),
    ("loss x list", lambda: NET.loss(np.zeros(31), X.tolist(), Y), TypeError, r"arrays of one library: .*x is .*list"),
    ("loss y short", lambda lib: loss(lib, y=Y[:5]), ValueError, r"y must be labels \(6,\) .*got shape \(5,\)"),
    ("loss y list", lambda: NET.loss(np.zeros(31), X, Y.tolist()), TypeError, r"arrays of one library: .*y is .*list"),
    ("loss x foreign", lambda lib: mixed(lib, x=foreign(lib, X)), TypeError, r"arrays of one library: .*x is "),
    ("loss y foreign", lambda lib: mixed(lib, y=foreign(lib, Y)), TypeError, r"arrays of one library: .*y is "),
    ("masks foreign", lambda lib: mixed(lib, masks=[foreign(lib, ONES)]), TypeError, r"arrays of one library: .*mask"),
    ("masks none", lambda lib: loss(lib, masks=[]), ValueError, r"masks must .*1 .*got 0"),
    ("masks too many", lambda lib: loss(lib, masks=[ONES, ONES]), ValueError, r"masks must .*1 .*got 2"),
    ("masks too few", lambda lib: loss(lib, masks=[ONES], net=DEEP), ValueError, r"masks must .*2 .*got 1"),
    ("masks one row", lambda lib: loss(lib, masks=[ONES[0]]), ValueError, r"masks\[0\] must .*\(6, 4\).*got .*\(4,\)"),
    ("masks a column", lambda lib: loss(lib, masks=[ONES[:, :1]]), ValueError, r"masks\[0\] .*\(6, 4\).*\(6, 1\)"),
    ("masks transposed", lambda lib: loss(lib, masks=[ONES.T]), ValueError, r"masks\[0\] .*\(6, 4\).*got .*\(4, 6\)"),
    ("masks an array", lambda: NET.loss(np.zeros(31), X, Y, ONES), ERRORS, r"masks must .*hidden layer, 1 "),
    ("dropout_masks dtype", lambda: masks_of(dtype="int32"), ValueError, r"dtype must be float32 or .*got 'int32'"),
    ("dropout_masks n", lambda: masks_of(n=2.5), TypeError, r"n must be an integer, got 2\.5"),
    ("dropout_masks step", lambda: masks_of(step=-1), ValueError, r"step must be at least 0, got -1"),
    ("evaluate theta", lambda lib: score(lib, theta=np.zeros(5)), ValueError, r"theta must have shape \(31,\).*\(5,\)"),
    ("evaluate label", lambda lib: score(lib, y=Y + 1), ValueError, r"y must be labels 0\.\.2 .*got y\[2\] = 3"),
    ("evaluate empty", lambda lib: score(lib, x=X[:0], y=Y[:0]), ValueError, r"x must have shape \(n, 3\).*\(0, 3\)"),
    ("predict NaN", lambda lib: label(lib, with_value(np.nan)), ValueError, r"x must be finite, got nan at x\[2, 1\]"),
    ("predict wrong d", lambda lib: label(lib, X[:, :2]), ValueError, r"x must have shape \(n, 3\).*\(6, 2\)"),
    # files and data
    ("save own activation", lambda: xpdl.save("no", OWN, np.zeros(31)), ValueError, r"hidden must be the name .*Activ"),
    ("save theta", lambda: xpdl.save("no", NET, np.zeros(5)), ValueError, r"theta must have shape \(31,\).*got \(5,\)"),
    ("save int theta", lambda: xpdl.save("no", NET, np.arange(31)), ValueError, r"dtype of theta must .*int64"),
    ("load no model", lambda: xpdl.load(__file__), xpdl.ModelFileError, r"test_bad_input.py is not an xpdl model"),
    ("load nothing", lambda: xpdl.load("no such file"), FileNotFoundError, r"no such file"),
    ("data misspelt", lambda: xpdl.data.load("mnsit"), ValueError, r"'mnsit' is no file.*did you mean 'mnist'"),
]  # fmt: skip


def fit_numpy(**options):
    """Train with the default dtype, float32."""
    return train(**{"net": NET, "x": X, "y": Y, "backend": "numpy", "epochs": 1, "progress": False, **options})


def mixed(lib, **foreigner):
    """``loss_and_grad`` where one argument is of another library; not traced, as tracing makes all of them JAX's."""
    arrays = {"theta": lib.put(np.zeros(31)), "x": lib.put(X), "y": lib.put(Y), **foreigner}
    return NET.loss_and_grad(**arrays)


def masks_of(n=2, step=0, dtype="float32"):
    return xpdl.dropout_masks(Network([3, 4, 2], dropout=0.5), n, seed=0, step=step, dtype=dtype)


def score(lib, theta=None, x=X, y=Y):
    theta = np.zeros(31) if theta is None else theta
    return evaluate(NET, lib.put(theta), lib.put(x), lib.put(y), backend=lib.backend, dtype=lib.dtype)


def label(lib, x):
    return predict(NET, lib.put(np.zeros(31)), lib.put(x), backend=lib.backend, dtype=lib.dtype)


def names(rows):
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


@names([Bad(*row) for row in TABLE if not signature(row[1]).parameters])
def test_bad_input_is_an_error_that_says_what_is_wrong(row, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(row.error, match=row.message) as caught:
        row.call()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@names([Bad(*row) for row in TABLE if signature(row[1]).parameters])
def test_bad_input_is_the_same_error_on_every_backend(lib, row) -> None:
    with pytest.raises(row.error, match=row.message) as caught:
        row.call(lib)
    assert "\n" not in str(caught.value)


def test_the_table_has_no_two_rows_of_one_name() -> None:
    assert len({name for name, *_ in TABLE}) == len(TABLE) >= 60


@pytest.mark.parametrize("label", [3, -1, 0.5, np.nan])
def test_the_cost_of_a_label_that_is_no_class_is_nan_and_never_a_number(lib, label) -> None:
    """Inside a step nothing can raise without waiting for the device, so the cost says it."""
    value = loss(lib, y=with_value(label, Y))
    assert np.isnan(lib.host(value))


# --- odd, but clear


PIXELS = np.random.default_rng(1).integers(0, 256, (6, 3)).astype("uint8")
IMAGES = replace(NET, inputs=xpdl.Scaling.images)
HALF = X.astype("float16")
WHOLE = np.round(3 * X)
REVERSED = {"x": PIXELS[:, ::-1], "y": Y[::-1]}


def padded(array):
    """The array as every second row and third column of a larger one."""
    return np.repeat(np.repeat(array, 2, axis=0), 3, axis=1)[::2, ::3]


def frozen(array):
    array = array.copy()
    array.flags.writeable = False
    return array


ODD = {
    # name: (net, what is given, the plain input it stands for)
    "uint8 images": (IMAGES, {"x": PIXELS}, {"x": PIXELS * 1.0}),
    "uint8 images reversed": (IMAGES, REVERSED, {"x": PIXELS[:, ::-1] * 1.0, "y": Y[::-1].copy()}),
    "uint8 images read-only": (IMAGES, {"x": frozen(PIXELS)}, {"x": PIXELS * 1.0}),
    "uint8 numbers": (NET, {"x": PIXELS // 3}, {"x": PIXELS // 3 * 1.0}),
    "int64 features": (NET, {"x": WHOLE.astype("int64")}, {"x": WHOLE}),
    "int8 features": (NET, {"x": WHOLE.astype("int8")}, {"x": WHOLE}),
    "bool features": (NET, {"x": X > 0}, {"x": (X > 0).astype("float64")}),
    "float16 features": (NET, {"x": HALF}, {"x": HALF.astype("float64")}),
    "float32 features": (NET, {"x": X.astype("float32")}, {"x": X.astype("float32").astype("float64")}),
    "longdouble features": (NET, {"x": X.astype(np.longdouble)}, {}),
    "big-endian": (NET, {"x": X.astype(">f8"), "y": Y.astype(">i4")}, {}),
    "lists": (NET, {"x": X.tolist(), "y": Y.tolist()}, {}),
    "tuples": (NET, {"x": tuple(map(tuple, X)), "y": tuple(Y)}, {}),
    "read-only": (NET, {"x": frozen(X), "y": frozen(Y), "theta": frozen(NET.initialize(0, "float64"))}, {}),
    "Fortran order": (NET, {"x": np.asfortranarray(X), "y": np.asfortranarray(np.eye(3)[Y])}, {}),
    "strided": (NET, {"x": padded(X), "y": np.repeat(Y, 2)[::2]}, {}),
    "float labels": (NET, {"y": Y.astype("float64")}, {}),
    "float32 labels": (NET, {"y": Y.astype("float32")}, {}),
    "uint8 labels": (NET, {"y": Y.astype("uint8")}, {}),
    "column of labels": (NET, {"y": Y[:, None]}, {}),
    "one-hot labels": (NET, {"y": np.eye(3)[Y]}, {}),
    "one-hot integers": (NET, {"y": np.eye(3, dtype="int64")[Y]}, {}),
    "one-hot bools": (NET, {"y": np.eye(3, dtype=bool)[Y]}, {}),
    "bool labels": (SIGMOID, {"y": Y > 0}, {"y": np.minimum(Y, 1)}),
    "float binary labels": (SIGMOID, {"y": (Y > 0) * 1.0}, {"y": np.minimum(Y, 1)}),
    "column of binary labels": (SIGMOID, {"y": (Y > 0)[:, None]}, {"y": np.minimum(Y, 1)}),
    "integer targets": (LINEAR, {"y": WHOLE[:, :2].astype("int64")}, {"y": WHOLE[:, :2]}),
    "flat targets": (Network([3, 1], output="linear"), {"y": X[:, 0]}, {"y": X[:, :1]}),
    "batch_size above n": (NET, {"batch_size": 1000}, {}),
    "batch_size nothing": (NET, {"batch_size": None}, {}),
    "numpy integers": (NET, {"epochs": np.int64(2), "seed": np.uint8(3)}, {"epochs": 2, "seed": 3}),
    "numpy batch_size": (NET, {"batch_size": np.int32(2)}, {"batch_size": 2}),
    "theta a list": (NET, {"theta": NET.initialize(0, "float64").tolist()}, {}),
    "theta strided": (NET, {"theta": np.repeat(NET.initialize(0, "float64"), 2)[::2]}, {}),
    "validation a list": (NET, {"validation": [X.tolist(), Y.tolist()]}, {"validation": (X, Y)}),
    "sizes an array": (Network(np.array([3, 4, 3])), {}, {}),
    "dropout a list": (Network([3, 4, 3], dropout=[0.5]), {}, {"net": Network([3, 4, 3], dropout=0.5)}),
    "l2 and init integers": (Network([3, 4, 3], l2=1, init=1), {}, {"net": Network([3, 4, 3], l2=1.0, init=1.0)}),
}  # fmt: skip


def outcome(lib, net, x=X, y=Y, **options):
    options = {"epochs": 1, "batch_size": 6, "backend": lib.backend, "dtype": lib.dtype, "progress": False} | options
    return train(net, x, y, optimizer=sgd(0.5), **options)


PLAIN: dict[str, Any] = {}


def plain(lib, net, options):
    """The outcome of the plain form, computed once for all rows that share it."""
    arguments = {"net": net, **options}
    key = f"{lib.backend.name} {arguments}"
    if key not in PLAIN:
        PLAIN[key] = outcome(lib, **arguments)
    return PLAIN[key]


@pytest.mark.parametrize("lib", ["numpy", "strict-device1", "strict-no_float64", "jax", "torch", "cupy"], indirect=True)
@pytest.mark.parametrize("name", ODD)
def test_odd_input_gives_what_its_plain_form_gives(lib, name) -> None:
    net, given, stands_for = ODD[name]
    actual, expected = outcome(lib, net, **given), plain(lib, net, stands_for)
    lib.close(lib.put(actual.theta), expected.theta)
    assert actual.history[-1]["loss"] == pytest.approx(expected.history[-1]["loss"], rel=10 * lib.tolerance)
    assert not np.array_equal(actual.theta, net.initialize(0, lib.dtype))


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype("float64"), float])
def test_a_dtype_may_be_given_as_an_object(dtype) -> None:
    assert fit_numpy(dtype=dtype).theta.dtype == "float64"


def test_a_dtype_may_be_given_as_that_of_any_library(lib) -> None:
    assert fit_numpy(dtype=getattr(lib.backend.xp, lib.dtype)).theta.dtype == lib.dtype
