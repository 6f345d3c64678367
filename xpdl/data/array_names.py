"""Which array is what, by its name: x and y, Keras' x_train and y_test, MedMNIST's train_images and val_labels, ..."""

from collections.abc import Iterable, Sequence
import re

from xpdl import checks
from xpdl.data.errors import DataFormatError

SAMPLES = frozenset(
    ["x", "data", "image", "images", "img", "imgs", "feature", "features", "input", "inputs", "sample", "samples"]
)
LABELS = frozenset(["y", "label", "labels", "target", "targets", "class", "classes"])
PARTS = {
    "": ("", "train", "training", "tr"),
    "_test": ("test", "testing", "te", "t10k"),
    "_val": ("val", "valid", "validation", "dev"),
}
"""The parts of a data set, and how they are called."""

SHOWN = 20
"""Names that a message lists."""

WANTED = "x and y, x_train and y_train, train_images and train_labels, data and labels, or the like"


def role(name: str) -> str | None:
    """Return what an array of this name is: x, y, x_test, y_test, x_val, y_val, or None if the name does not tell.

    >>> [role(name) for name in ("X_train", "test_labels", "trainx", "weights")]
    ['x', 'y_test', 'x', None]
    """
    words = re.findall(r"[a-z]+|\d\w*", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("t10k", "test"))
    if len(words) == 1:
        words = _apart(words[0])
    for kind, names in (("x", SAMPLES), ("y", LABELS)):
        for part, marks in PARTS.items():
            rest = [word for word in words if word not in marks]
            if len(rest) == 1 and rest[0] in names and len(words) <= 2:
                return kind + part
    return None


def _apart(word: str) -> list[str]:
    """Return the two words of xtrain or testlabels."""
    for mark in (mark for marks in PARTS.values() for mark in marks if len(mark) > 2):
        for rest in (word.removeprefix(mark), word.removesuffix(mark)):
            if rest != word and rest in SAMPLES | LABELS:
                return [mark, rest]
    return [word]


def roles(names: Iterable[str], where: str, needed: Sequence[str] = ("x", "y")) -> dict[str, str]:
    """Return the name of the array of each role.  ``DataFormatError`` lists them if one that is needed is missing."""
    names = list(names)
    if sorted(names) == ["arr_0", "arr_1"]:  # of numpy.savez without names
        return {"x": "arr_0", "y": "arr_1"}
    chosen: dict[str, str] = {}
    for name in names:
        kind = role(name)
        if kind in chosen:
            raise DataFormatError(f"{where}: {chosen[kind]} and {name} could both be {kind}; leave one of them out")
        if kind is not None:
            chosen[kind] = name
    for kind in needed:
        if kind not in chosen:
            shown = [checks.one_line(name, 40) for name in names[:SHOWN]] + (["..."] if len(names) > SHOWN else [])
            listed = ", ".join(shown) or "nothing"
            raise DataFormatError(f"{where}: there is no array {kind}, only {listed}; looked for {WANTED}")
    return chosen
