"""What the flags of several commands stand for: data and their parts, networks, files, ranks and exit codes."""

import numpy as np
import pytest

from xpdl.cli import flags
from xpdl.cli.flags import connected, describe_samples, exit_code, given_options, load_and_split, network_for
from xpdl.data import Dataset
from xpdl.distributed.launching import RanksWanted

X = np.random.default_rng(0).normal(size=(60, 3))


def test_by_default_a_validation_part_is_held_out_and_a_test_part_where_there_is_none(folder) -> None:
    samples, split = load_and_split(f"{folder}/classes.npz", None, None, seed=0)
    assert (len(samples.x), len(samples.x_test), len(split.x), len(split.x_test)) == (60, 21, 54, 6)
    samples, split = load_and_split(f"{folder}/whole.npz", None, None, seed=0)
    assert (len(samples.x), len(samples.x_test), len(split.x), len(split.x_test)) == (48, 12, 43, 5)


def test_with_fractions_of_0_the_data_stay_as_they_are(folder) -> None:
    samples, split = load_and_split(f"{folder}/whole.npz", 0.0, 0.0, seed=0)
    assert samples.test is split.test is None
    assert describe_samples(samples, split).splitlines()[0].endswith("whole.npz: 60 training samples")


def test_a_holdout_becomes_the_test_part_and_never_that_for_validation(folder) -> None:
    samples, split = load_and_split(f"{folder}/whole.npz", 0.25, 0.0, seed=1)
    assert split.test is None
    assert len(samples.x_test) == 15
    assert not np.array_equal(samples.x_test, load_and_split(f"{folder}/whole.npz", 0.25, 0.0, seed=2)[0].x_test)


def test_few_samples_and_samples_on_disk_are_not_split_unasked(tmp_path) -> None:
    np.savez(tmp_path / "few.npz", x=np.eye(4), y=np.arange(4))
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", np.arange(60) % 3)
    for path in (tmp_path / "few.npz", tmp_path):
        assert [part.test for part in load_and_split(str(path), None, None, seed=0)] == [None, None]


def test_only_what_the_user_says_about_a_file_is_passed_on() -> None:
    assert given_options(label=None, header="auto", drop=[], keep=["a"], missing="mean", task="auto") == {
        "keep": ["a"],
        "missing": "mean",
    }


def test_a_validation_part_comes_out_of_the_training_part(folder) -> None:
    samples, split = load_and_split(f"{folder}/classes.npz", 0.0, 0.25, seed=0)
    assert (len(samples.x), len(samples.x_test), len(split.x), len(split.x_test)) == (60, 21, 45, 15)
    together = np.concatenate([split.x, split.x_test])
    np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(samples.x, axis=0))
    counted, note = describe_samples(samples, split).splitlines()
    assert counted.endswith("classes.npz: 45 training, 15 validation and 21 test samples")
    assert note == "  label y: 3 classes: 0 27, 1 27, 2 27"


def test_data_without_a_test_part_are_counted_so() -> None:
    data = Dataset(X, np.arange(60) % 3, name="mine")
    assert describe_samples(data, data) == "mine: 60 training samples"


@pytest.mark.parametrize(
    ("y", "output", "found", "k"),
    [
        (np.arange(60) % 3, None, "softmax", 3),
        (np.arange(60) % 2, None, "sigmoid", 1),
        (np.arange(60) % 2, "softmax", "softmax", 2),
        (np.arange(60) % 3, "linear", "linear", 1),
        (X, None, "linear", 3),
        (X[:, 0], None, "linear", 1),
    ],
)
def test_the_output_layer_fits_the_labels(y, output, found, k) -> None:
    net = network_for(Dataset(X, y), lambda d, k: [d, 5, k], output, init="he")
    assert (net.output, net.sizes) == (found, (3, 5, k))


def test_a_label_that_only_the_test_part_has_counts_too() -> None:
    data = Dataset(X, np.arange(60) % 3, X[:5], np.array([0, 1, 2, 3, 4]))
    assert network_for(data, lambda d, k: [d, k], None, init="he").sizes == (3, 5)


def test_init_is_a_name_or_a_number() -> None:
    data = Dataset(X, np.arange(60) % 3)
    assert network_for(data, lambda d, k: [d, k], None, init="xavier").init == "xavier"
    assert network_for(data, lambda d, k: [d, k], None, init="0.5").init == 0.5


def test_another_number_of_ranks_is_asked_for(monkeypatch) -> None:
    monkeypatch.setattr(flags, "connect", lambda: type("One", (), {"size": 1, "rank": 0}))
    assert connected(None).size == connected(1).size == 1
    with pytest.raises(RanksWanted) as wanted:
        connected(3)
    assert wanted.value.ranks == 3
    with pytest.raises(ValueError, match="ranks must be at least 1, got 0"):
        connected(0)


def test_exit_codes_are_those_of_a_shell() -> None:
    assert [exit_code(0), exit_code(2), exit_code(15)] == [0, 130, 143]
