"""The main job, end to end: the command line trains on real MNIST and says how well."""

import os
import re
import subprocess
import sys


def test_five_epochs_on_mnist_reach_97_5_percent(data_folder) -> None:
    flags = "--data mnist --hidden 256 128 --epochs 5 --batch-size 128 --optimizer adam --lr 1e-3 --backend numpy"
    run = subprocess.run(
        [sys.executable, "-m", "xpdl", "train", *flags.split()],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"XPDL_DATA": str(data_folder)},
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "mnist: 54,000 training, 6,000 validation and 10,000 test samples" in run.stdout
    accuracy = re.search(r"^test accuracy (\S+) %, test loss", run.stdout, re.MULTILINE)
    assert float(accuracy.group(1)) >= 97.5
