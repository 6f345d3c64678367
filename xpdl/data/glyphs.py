"""Images like those of MNIST without a download: ten bitmaps that are bent, moved and drawn with a random pen.

Each bitmap becomes strokes, and the strokes become a distance field D: the distance of a point from the nearest stroke.
Pixel p of an image looks up the field of its digit at u(p); w(p) is half the width of the stroke there:

    u(p)   = A p + b + sum_k c_k f_k(p)           f_k: low cosine waves, which bend the strokes
    w(p)   = v + sum_k e_k f_k(p)                 the pressure of the pen
    ink(p) = 1/2 + (w(p) - D(u(p)) + noise) / EDGE, clipped to [0, 1]

A (rotation, shear, scale), b (shift), c, v and e are random for each image.  u and w are linear in them, so one matrix
product and one look-up draw a whole chunk of images.
"""

import numpy as np

from xpdl import checks
from xpdl.backends.shared import once
from xpdl.data.dataset import Dataset
from xpdl.data.shards import Array
from xpdl.randomness import Stream, generator

SHEET = """
.###. ..#.. .###. .###. ...#. ##### ..##. ##### .###. .###.
#...# .##.. #...# #...# ..##. #.... .#... ....# #...# #...#
#...# ..#.. ....# ....# .#.#. #.... #.... ...#. #...# #...#
#...# ..#.. ...#. ..##. #..#. ####. ####. ...#. .###. .####
#...# ..#.. ..#.. ....# ##### ....# #...# ..#.. #...# ....#
#...# ..#.. .#... #...# ...#. #...# #...# ..#.. #...# ...#.
.###. .###. ##### .###. ...#. .###. .###. ..#.. .###. .##..
"""

SIDE = 28  # pixels per side of an image
CHUNK = 100  # images that are drawn together from one part of the random stream, a multiple of 10; bounds the memory
WAVES = 4  # cosine waves per direction, the constant included
FINE = 8  # samples of the distance field per cell of a bitmap
MARGIN = 2  # cells around the bitmap that the field covers

# Lengths in cells.
CELL = 2.8  # pixels per cell
STROKE = 0.5  # half the width of a stroke
EDGE = 0.55  # the band in which the ink fades

# Uniform random numbers at difficulty 1: half their range.  turn is in radians; down and right are in cells; tall, wide
# and stroke are exponents.
SPREAD = {"turn": 0.22, "shear": 0.25, "tall": 0.16, "wide": 0.16, "down": 1.1, "right": 1.1, "stroke": 0.4}
# Normal random numbers at difficulty 1: their standard deviations, in cells.
WARP, PRESSURE, NOISE = 0.22, 0.06, 0.08


def glyphs(n_train: int = 12_000, n_test: int = 2_000, *, seed: int = 0, difficulty: float = 1.0) -> Dataset:
    """Draw images of digits at random, in the shape of MNIST: 28 x 28 pixels.

    Parameters
    ----------
    n_train : int, default 12000
        Number of training images, at least 1.
    n_test : int, default 2000
        Number of test images, at least 1.
    seed : int, default 0
        Seed of the images.  Image i of a part does not depend on the number of images.
    difficulty : float, default 1.0
        Factor of all deformations, in [0, 10).  0 draws only ten different images, 1 is about as hard as MNIST.

    Returns
    -------
    Dataset
        x (n, 784) is uint8, y (n,) holds the labels as int64.  Rows 10 i to 10 i + 9 hold each label once.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> from xpdl.data import glyphs
    >>> data = glyphs(n_train=100, n_test=20)
    >>> data.x.shape, data.x.dtype.name, data.x_test.shape
    ((100, 784), 'uint8', (20, 784))
    >>> sorted(data.y[:10].tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    checks.real("difficulty", difficulty, below=10)
    counts = checks.integer("n_train", n_train, least=1), checks.integer("n_test", n_test, least=1)
    train, test = (_draw(n, seed, part, difficulty) for part, n in enumerate(counts))
    return Dataset(*train, *test, name="glyphs")


def _draw(n: int, seed: int, part: int, difficulty: float) -> tuple[Array, Array]:
    """Draw the first n images and labels of one part, in whole chunks."""
    x = np.empty((-(-n // CHUNK) * CHUNK, SIDE * SIDE), np.uint8)
    y = np.empty(len(x), np.int64)
    field, basis = _distance_field(), _pixel_basis()
    for step in range(len(x) // CHUNK):
        rng = generator(seed, Stream.DATA, step=step, layer=part)
        rows = slice(step * CHUNK, (step + 1) * CHUNK)
        y[rows] = rng.permuted(np.tile(np.arange(10), (CHUNK // 10, 1)), axis=1).ravel()
        x[rows] = _ink(rng, field, y[rows], _coefficients(rng, CHUNK, difficulty) @ basis, difficulty * NOISE)
    return x[:n], y[:n]


def _ink(rng: np.random.Generator, field: Array, y: Array, maps: Array, noise: float) -> Array:
    """Draw images (n, 784) from maps (n, 3, 784): row and column in the field, and half the width of the stroke."""
    n_rows, n_cols = field.shape[1:]
    row = np.clip(maps[:, 0], 0, n_rows - 1).astype(np.intp)
    col = np.clip(maps[:, 1], 0, n_cols - 1).astype(np.intp)
    ink: Array = maps[:, 2] - field.take((y[:, None] * n_rows + row) * n_cols + col)
    ink += np.float32(noise) * rng.standard_normal(ink.shape, np.float32)
    ink = np.clip(127.5 + ink * (255 / EDGE), 0, 255)
    return ink.astype(np.uint8)


def _coefficients(rng: np.random.Generator, n: int, difficulty: float) -> Array:
    """Draw the coefficients of n images, (n, 3, 3 + waves); times ``_pixel_basis`` they give the maps."""
    u = {name: difficulty * spread * rng.uniform(-1, 1, n) for name, spread in SPREAD.items()}
    sin, cos, one, zero = np.sin(u["turn"]), np.cos(u["turn"]), np.ones(n), np.zeros(n)
    rotation = _matrices(cos, sin, -sin, cos)
    slant = _matrices(one, zero, u["shear"], one)
    scale = _matrices(np.exp(u["tall"]), zero, zero, np.exp(u["wide"]))
    c = np.zeros((n, 3, WAVES**2 + 2))
    c[:, :2, :2] = scale @ slant @ rotation / CELL
    c[:, :2, 2] = np.stack([u["down"] + 3 + MARGIN, u["right"] + 2 + MARGIN], axis=1)
    c[:, 2, 2] = STROKE * np.exp(u["stroke"])
    c[:, :, 3:] = difficulty * np.array([[WARP], [WARP], [PRESSURE]]) * rng.standard_normal((n, 3, WAVES**2 - 1))
    c[:, :2] *= FINE
    c[:, :2, 2] += 0.5  # the look-up truncates
    return c.astype(np.float32)


def _matrices(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Return the matrices [[a, b], [c, d]], (n, 2, 2)."""
    return np.stack([a, b, c, d], axis=1).reshape(-1, 2, 2)


def _pixel_basis() -> Array:
    """Return the basis of the maps, (3 + waves, 784): a pixel's row, its column, 1, and cosine waves / order."""
    t = (np.arange(SIDE) + 0.5) / SIDE
    down, right = np.meshgrid(SIDE * (t - 0.5), SIDE * (t - 0.5), indexing="ij")
    i, j = np.divmod(np.arange(1, WAVES**2), WAVES)
    cosine = np.cos(np.pi * np.arange(WAVES)[:, None] * t)
    waves = cosine[i][:, :, None] * cosine[j][:, None, :] / (i + j)[:, None, None]
    basis = np.concatenate([[down, right, np.ones_like(down)], waves])
    return basis.reshape(len(basis), -1).astype(np.float32)


@once
def _distance_field() -> Array:
    """Return the distance to the nearest stroke of each digit, in cells: (10, rows, cols), ``FINE`` values per cell."""
    rows = np.arange(-MARGIN, 6 + MARGIN, 1 / FINE)
    cols = np.arange(-MARGIN, 4 + MARGIN, 1 / FINE)
    p = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1)[:, :, None]
    return np.stack([_distance(p, *_strokes(digit)).min(axis=-1) for digit in range(10)]).astype(np.float32)


def _distance(p: Array, start: Array, along: Array) -> Array:
    """Return the distances of the points p from the segments start + t * along, 0 <= t <= 1."""
    t = np.clip(((p - start) * along).sum(axis=-1) / (along * along).sum(axis=-1), 0, 1)
    away: Array = np.linalg.norm(p - start - t[..., None] * along, axis=-1)
    return away


def _strokes(digit: int) -> tuple[Array, Array]:
    """Return the start and direction (row, col) of each segment between neighbours; a diagonal never cuts a corner."""
    lines = [line.split()[digit] for line in SHEET.split("\n") if line]
    on = {(r, c) for r, line in enumerate(lines) for c, cell in enumerate(line) if cell == "#"}
    segments = [
        ((r, c), (down, right))
        for r, c in sorted(on)
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1))
        if (r + down, c + right) in on and not (down and right and {(r + down, c), (r, c + right)} & on)
    ]
    start, along = np.array(segments, dtype=float).swapaxes(0, 1)
    return start, along
