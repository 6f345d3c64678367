"""Small real handwriting without a download: 1797 digits of 8 x 8 pixels, which come with scikit-learn."""

from xpdl.data.dataset import Dataset


def digits(*, seed: int = 0) -> Dataset:
    """Load the 1797 handwritten digits of scikit-learn, images of 8 x 8 pixels.

    Source: Alpaydin and Kaynak 1998, Optical recognition of handwritten digits, UCI Machine Learning Repository.

    Parameters
    ----------
    seed : int, default 0
        Seed of the random choice of the test part.

    Returns
    -------
    Dataset
        x (n, 64) is float64 in [0, 1] (the source counts from 0 to 16), y (n,) holds the labels 0 to 9 as int64.  The
        test part is a random fifth.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.

    Examples
    --------
    >>> from xpdl.data import digits
    >>> data = digits()
    >>> data.x.shape, data.x_test.shape
    ((1438, 64), (359, 64))
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('the digits are part of scikit-learn: pip install "xpdl[digits]"') from error
    x, y = load_digits(return_X_y=True)
    return Dataset(x / 16.0, y.astype("int64"), name="digits").split(0.2, seed)
