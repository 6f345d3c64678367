"""The upper limits of a GPU, measured through CuPy: ``python -m benchmarks.probe``.

copy            bytes read and written per second by a copy on the device
gemm float32    speed of a product of 8192 x 8192 matrices of random numbers, without TF32
launch          microseconds between two small kernels that the host launches
graph node      microseconds between two small kernels in a CUDA graph
products NET    microseconds of the matrix products of a step alone, the lower limit for networks S to XL
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Annotated, Any

from cyclopts import App, Parameter

from benchmarks.networks import SETUPS, Setup
from benchmarks.output import Output
import xpdl

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
COLUMNS = {"what": "", "value": ",.3f", "unit": ""}
BYTES = 2**30
SIDE = 8192
NODES = 200


@app.default
def probe(*, output: Annotated[Output, Parameter(name="*")] = Output()) -> None:  # noqa: B008
    """Describe the GPU and measure its limits."""
    xpdl.backend("cupy")  # raises an error that says what is missing
    import cupy

    rows = [{"what": name, "value": measure(cupy), "unit": unit} for name, (unit, measure) in MEASURES.items()]
    rows += [
        {"what": f"products {name}", "value": products(cupy, setup), "unit": "us"} for name, setup in SETUPS.items()
    ]
    description = describe(cupy)
    for name, value in description.items():
        print(f"{name:<20}{value}")
    output.publish("probe", COLUMNS, rows, gpu=description)


def describe(cupy: Any) -> dict[str, Any]:
    """Return a description of device, driver and libraries."""
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    return {
        "name": properties["name"].decode(),
        "compute capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory GiB": round(properties["totalGlobalMem"] / 2**30, 1),
        "L2 MiB": properties["l2CacheSize"] / 2**20,
        "driver (CUDA)": cupy.cuda.runtime.driverGetVersion(),
        "runtime (CUDA)": cupy.cuda.runtime.runtimeGetVersion(),
        "cuBLAS": cupy.cuda.cublas.getVersion(cupy.cuda.device.get_cublas_handle()),
        "CuPy": cupy.__version__,
    }


def seconds(cupy: Any, run: Callable[[], object], repeats: int) -> float:
    """Return the seconds of one run by the clock of the device, after three runs to warm up."""
    for _ in range(3):
        run()
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return 1e-3 * cupy.cuda.get_elapsed_time(start, end) / repeats


def matrix(cupy: Any, rows: int, columns: int) -> Any:
    """Return random numbers; a product of zeros would need less power and be faster."""
    return cupy.random.standard_normal((rows, columns), dtype=cupy.float32)


def _copy(cupy: Any) -> float:
    source, target = (cupy.ones(BYTES, dtype=cupy.uint8) for _ in range(2))
    return 2 * BYTES / seconds(cupy, lambda: cupy.copyto(target, source), 20) / 1e9


def _gemm(cupy: Any) -> float:
    a, b = (matrix(cupy, SIDE, SIDE) for _ in range(2))
    out = cupy.empty_like(a)
    return 2 * SIDE**3 / seconds(cupy, lambda: cupy.matmul(a, b, out=out), 10) / 1e12


def _small(cupy: Any) -> Callable[[], object]:
    x = cupy.zeros(32, dtype=cupy.float32)
    return lambda: cupy.add(x, x, out=x)


def _launch(cupy: Any) -> float:
    return 1e6 * seconds(cupy, _small(cupy), 2000)


def _node(cupy: Any) -> float:
    """Time a graph of many small kernels, each of which waits for the one before."""
    kernel = _small(cupy)
    kernel()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        for _ in range(NODES):
            kernel()
        graph = stream.end_capture()
        return 1e6 * seconds(cupy, lambda: graph.launch(stream), 20) / NODES


MEASURES: dict[str, tuple[str, Callable[[Any], float]]] = {
    "copy": ("GB/s", _copy),
    "gemm float32": ("TFLOP/s", _gemm),
    "launch": ("us", _launch),
    "graph node": ("us", _node),
}


def shapes(setup: Setup) -> Iterator[tuple[int, int, int]]:
    """Yield (n, k, m) of the products (n, k) @ (k, m) of a step: a @ w, a.T @ dz, and, after layer 1, dz @ w.T."""
    sizes, n = setup
    for l, (n_in, n_out) in enumerate(pairwise(sizes)):
        yield n, n_in, n_out
        yield n_in, n, n_out
        if l > 0:
            yield n, n_out, n_in


def products(cupy: Any, setup: Setup) -> float:
    """Return the microseconds of all products in sequence; transposed operands would not make them faster."""
    pairs = [(matrix(cupy, n, k), matrix(cupy, k, m)) for n, k, m in shapes(setup)]
    outs = [cupy.empty((len(a), b.shape[1]), dtype=cupy.float32) for a, b in pairs]

    def run() -> None:
        for (a, b), out in zip(pairs, outs, strict=True):
            cupy.matmul(a, b, out=out)

    return 1e6 * seconds(cupy, run, 20)


if __name__ == "__main__":
    app()
