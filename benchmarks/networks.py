"""The networks that all benchmarks use."""

from typing import NamedTuple


class Setup(NamedTuple):
    """Layer sizes and batch size."""

    sizes: list[int]
    batch_size: int


SETUPS = {
    "S": Setup([784, 15, 9, 10], 512),  # the network of the origin
    "M": Setup([784, 256, 128, 10], 128),
    "L": Setup([784, 1024, 1024, 10], 512),
    "XL": Setup([784, 4096, 4096, 4096, 10], 1024),  # for a GPU
}
LR = 1e-3
