"""What xpdl train does where no flag says it: batches and epochs that follow the number of samples."""

from typing import NamedTuple

BATCH, STEPS, EPOCHS = 128, 2000, 15
"""The largest batch; the fewest steps of a run, and the fewest epochs."""

SHARE = 10
"""A batch has at most this fraction of the samples, 1/10."""

PATIENCE, LEAST = 5, 10
"""A run waits for a better epoch for a fifth of its epochs, but for at least so many."""


class Plan(NamedTuple):
    """How long a run lasts."""

    epochs: int
    batch_size: int
    patience: int | None

    def described(self, n: int) -> str:
        """Return the plan for n samples as text, with the flags that change it."""
        steps = -(-n // self.batch_size)
        text = f"at most {self.epochs} epochs of {steps} steps of {self.batch_size} samples"
        if self.patience is not None:
            text += f", ended after {self.patience} without a lower validation loss"
        return f"{text} (--epochs, --batch-size, --patience)"


def plan(n: int, epochs: int | None, batch_size: int | None, patience: int | None, *, validated: bool) -> Plan:
    """Return the plan for n samples.  Only a run that is as long as it likes, and is ``validated``, may end early."""
    batch = batch_size if batch_size is not None else min(BATCH, max(1, n // SHARE))
    if epochs is not None:
        return Plan(epochs, batch, patience)
    length = max(EPOCHS, -(-STEPS // -(-n // max(1, batch))))
    return Plan(length, batch, patience if patience is not None or not validated else max(LEAST, length // PATIENCE))
