"""Without flags, batches and epochs follow the number of samples."""

import pytest

from xpdl.cli.defaults import EPOCHS, STEPS, plan


@pytest.mark.parametrize("n", [1, 5, 37, 108, 270, 1000, 5000, 54_000, 10**7])
def test_a_run_is_long_enough_and_its_batches_are_small(n) -> None:
    found = plan(n, None, None, None, validated=True)
    assert 1 <= found.batch_size <= min(128, max(1, n / 10))
    assert found.epochs * -(-n // found.batch_size) >= STEPS
    assert found.epochs >= EPOCHS
    assert found.patience >= 10
    assert f"at most {found.epochs} epochs of {-(-n // found.batch_size)} steps" in found.described(n)


def test_the_user_decides_and_only_a_validation_part_ends_a_run() -> None:
    assert plan(100, 7, 3, None, validated=True) == (7, 3, None)
    assert plan(100, 7, None, 2, validated=True) == (7, 10, 2)
    assert plan(100, None, None, None, validated=False).patience is None
    assert plan(100, None, None, 4, validated=True).patience == 4
