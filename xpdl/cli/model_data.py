"""The data of a saved model: its own test part, or other data, coded as those of the training were."""

from dataclasses import replace
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpdl.cli.flags import load_and_split
from xpdl.data import DataFormatError, Dataset, load as load_data
from xpdl.data.coding import Coding
from xpdl.data.labels import encode
from xpdl.data.loading import NAMED, load_samples, load_table
from xpdl.data.table import Table
from xpdl.files.model import Model


class Samples(NamedTuple):
    """Samples as a model takes them, with their labels and the column that numbers them, if there are any."""

    name: str
    x: Any
    y: Any = None
    identifiers: list[str] | None = None


def source_of(model: Model, given: str | None) -> str:
    """Return the data that a command uses: what the user has given, or those of the training."""
    own = model.metadata.get("data")
    if given is None and not isinstance(own, str):
        raise ValueError("the model does not say what it was trained on; --data names data")
    return str(own if given is None else given)


def data_of(model: Model, given: str | None, seed: int = 0) -> Dataset:
    """Return a data set with the labels as the model numbers them; with the held-out part if it is its own data."""
    source = source_of(model, given)
    split = model.metadata.get("split")
    if not isinstance(split, dict) or not _is_own(model, source) or seed:  # another seed is another draw
        return _recoded(model, load_data(source, seed=seed))
    read = dict(split.get("options", {}))
    samples, _ = load_and_split(source, split.get("holdout"), 0.0, int(model.metadata["seed"]), **read)
    if len(samples.x) != split.get("rows") or (model.coding is not None and samples.coding != model.coding):
        raise DataFormatError(
            f"{source} has changed since the training, so its test part is not known; give it as new data"
        )
    return samples


def new_samples(model: Model, path: str) -> Samples:
    """Return all samples of a file, with their labels if it has some."""
    coding = model.coding or Coding(model.classes)
    table = None if path in NAMED else load_table(path, _header(model))
    if table is not None:
        return _of_table(coding, table)
    if path in NAMED:
        data = _recoded(model, load_data(path))
        return Samples(data.name, *(data.test or (data.x, data.y)))
    x, y = load_samples(path)
    return Samples(path, x, None if y is None else _labels(coding, y, path))


def _of_table(coding: Coding, table: Table) -> Samples:
    x = coding.encode(table)
    places = (
        {name: place for place, name in enumerate(table.columns)} if coding.columns is None else coding.places(table)
    )
    index = places.get(coding.identifier) if coding.identifier is not None else None
    identifiers = None if index is None else table.cells(index)
    label = places.get(coding.label) if coding.label is not None else None
    if label is None or table.absent[label]:
        return Samples(table.name, x, None, identifiers)
    texts = table.texts.get(label)
    values = np.array(table.cells(label)) if texts else table.numbers(label)
    return Samples(table.name, x, _labels(coding, values, table.name), identifiers)


def _labels(coding: Coding, y: Any, name: str) -> Any:
    """Return labels as the model numbers them."""
    if coding.classes is None:
        return y
    try:
        return encode(np.asarray(y), coding.classes)
    except DataFormatError as error:
        raise DataFormatError(f"{name}: {error}") from None


def _header(model: Model) -> str:
    split = model.metadata.get("split")
    told = split.get("options", {}).get("header") if isinstance(split, dict) else None
    return told or ("auto" if model.coding is None or model.coding.header else "no")


def _is_own(model: Model, source: str) -> bool:
    """Return whether these are the data of the training."""
    own = str(model.metadata.get("data"))
    if own in NAMED or source in NAMED:
        return own == source
    return os.path.realpath(Path(own).expanduser()) == os.path.realpath(Path(source).expanduser())


def _recoded(model: Model, data: Dataset) -> Dataset:
    """Return other data with the labels as the model numbers them."""
    classes = model.classes
    if classes is None or data.classes is None or data.classes == classes:
        return data
    names = np.array(data.classes)
    try:
        y = encode(names[np.asarray(data.y)], classes)
        held = None if data.y_test is None else encode(names[data.y_test], classes)
    except DataFormatError as error:
        raise DataFormatError(f"{data.name}: {error}") from None
    return replace(data, y=y, y_test=held)
