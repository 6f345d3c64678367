"""Small real handwriting without a download: the 1797 digits of 8 x 8 pixels which scikit-learn carries."""

from xpdl.data.dataset import Dataset


def digits(*, seed: int = 0) -> Dataset:
    """x (n, 64) float64 in [0, 1] (the source counts 0 to 16), y (n,) int64; a random fifth is the test part.

    ``ImportError`` without scikit-learn.  Source: Alpaydin and Kaynak 1998, Optical recognition of handwritten
    digits, UCI Machine Learning Repository.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('the digits are part of scikit-learn: pip install "xpdl[digits]"') from error
    x, y = load_digits(return_X_y=True)
    return Dataset(x / 16.0, y.astype("int64"), name="digits").split(0.2, seed)
