"""xpdl tune: what it prints, how a study is continued, and the command that repeats the best trial."""

import os
from pathlib import Path
import re
import shlex
import signal
import subprocess
import sys

import numpy as np
import pytest

import xpdl

optuna = pytest.importorskip("optuna", reason="tuning needs Optuna")
from xpdl.tuning import search  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)


def blobs(n=120, scale=1.0):
    """Three classes of points in the plane."""
    y = np.arange(n) % 3
    return scale * (np.random.default_rng(0).normal(size=(n, 2)) + 2 * np.eye(3)[y][:, :2]), y


def same(one, other):
    return one.tobytes() == other.tobytes()


@pytest.fixture
def folder(tmp_path):
    """A folder with the blobs: with a test part, without one, and with random labels."""
    x, y = blobs(180)
    np.savez(tmp_path / "blobs.npz", x=x[:120], y=y[:120], x_test=x[120:], y_test=y[120:])
    np.savez(tmp_path / "whole.npz", x=x, y=y)
    np.savez(tmp_path / "noise.npz", x=x, y=np.random.default_rng(1).permutation(y))
    return tmp_path


USUAL = {"--data": "blobs.npz", "--trials": "12", "--epochs": "3", "--backend": "numpy", "--storage": "s.journal"}


def tuning(flags=""):
    """Return the command with these flags, and with the usual values of the others."""
    return " ".join(["tune", *(f"{name} {value}" for name, value in USUAL.items() if name not in flags), flags])


MORE = [
    "",
    "--optimizer momentum --activation tanh --dtype float64 --seed 5 --validation 0.3",
    "--data noise.npz --holdout 0.3 --optimizer rmsprop --epochs 40 --trials 1",
]


@pytest.mark.parametrize("more", MORE)
def test_the_command_that_is_printed_repeats_the_best_model_to_the_last_bit(run, more) -> None:
    """In the third case the best epoch is not the last."""
    code, out, err = run(tuning(f"{more} --save best"))
    assert (code, err) == (0, "")
    again, said, err = run(out.splitlines()[-1].removeprefix("xpdl ") + " --save again")
    assert (again, err) == (0, "")
    one, other = (xpdl.load(name) for name in ("best", "again"))
    assert one.network == other.network
    assert same(one.theta, other.theta)
    assert one.metadata == other.metadata
    score = next(line for line in out.splitlines() if line.startswith("test accuracy"))
    assert score in said
    losses = [float(loss) for loss in re.findall(r"validation_loss (\S+)", said)]
    assert "noise" not in more or min(losses) < losses[-1]


def test_the_test_part_is_not_used_before_the_end(run) -> None:
    """With other test samples, everything but the score is the same."""
    said = [run(tuning("--storage one.journal --trials 6"))[1]]
    data = dict(np.load("blobs.npz"))
    np.savez("blobs.npz", **data | {"x_test": data["x_test"] + 5})
    said += [run(tuning("--storage two.journal --trials 6"))[1]]
    lines = [
        [re.sub(r"two|one|\S+ s$|\d\.\d  ", "", line) for line in out.splitlines() if "trial" not in line]
        for out in said
    ]
    differing = [one for one, other in zip(*lines, strict=True) if one != other]
    assert len(differing) == 1
    assert differing[0].startswith("test accuracy")


def test_tune_prints_the_trials_and_the_best_of_them(run) -> None:
    code, out, err = run(tuning("--trials 7 --save best --plot trials.png"))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines.pop(1) == "  label y: 3 classes: 0 60, 1 60, 2 60"
    assert lines[:2] == [
        "blobs.npz: 108 training, 12 validation and 60 test samples",
        "study blobs.npz in s.journal; backend numpy",
    ]
    assert [line.split(":")[0] for line in lines[2:9]] == [f"trial {number}" for number in range(7)]
    assert lines[9].split()[:7] == ["trial", "state", "loss", "accuracy", "epochs", "seconds", "lr"]
    losses = [float(line.split()[2]) for line in lines[10:17]]
    assert losses == sorted(losses)
    best = lines[10].split()
    assert lines[17:19] == [f"the best is trial {best[0]}, validation loss {best[2]}", "drawn trials.png"]
    assert lines[20:22] == ["saved best", "repeat it with"]
    assert Path("trials.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_continues_the_study(run) -> None:
    run(tuning("--trials 3"))
    code, out, err = run(tuning("--trials 5"))
    assert (code, err) == (0, "")
    assert re.findall(r"^trial (\d+):", out, re.MULTILINE) == ["3", "4"]
    code, out, _ = run(tuning("--trials 5 --save best"))
    assert code == 0
    assert re.findall(r"^trial (\d+):", out, re.MULTILINE) == []
    assert Path("best").exists()


def test_without_storage_the_study_is_kept_in_the_working_folder(run) -> None:
    for number in range(2):
        code, out, err = run(f"tune --data blobs.npz --trials {number + 1} --epochs 1 --backend numpy")
        assert (code, err) == (0, "")
        assert "study blobs.npz in xpdl-studies.db;" in out
        assert re.findall(r"^trial (\d+):", out, re.MULTILINE) == [str(number)]
    assert Path("xpdl-studies.db").exists()


def test_ctrl_c_keeps_the_study_and_the_next_run_begins_with_the_interrupted_trial(run, monkeypatch) -> None:
    real, begun = search.Objective.train, []

    def interrupted(self, settings, callbacks):
        begun.append(settings)
        stop = [lambda metrics, step: signal.raise_signal(signal.SIGINT)] if len(begun) == 3 else []
        return real(self, settings, [*callbacks, *stop])

    monkeypatch.setattr(search.Objective, "train", interrupted)
    code, out, err = run(tuning("--trials 5 --save best"))
    assert (code, err) == (128 + signal.SIGINT, "")
    assert "the best is trial" in out
    assert Path("best").exists()
    code, out, _ = run(tuning("--trials 5"))
    assert code == 0
    assert len(begun) == 6
    assert begun[3] == begun[2]
    states = {row.split()[0]: row.split()[1] for row in out.splitlines() if re.match(r" +\d", row)}
    assert states == {"2": "interrupted"} | dict.fromkeys("01345", "complete")


def test_an_interrupted_search_trains_nothing_more(run, monkeypatch) -> None:
    run(tuning("--trials 2"))
    real, begun = search.Objective.train, []

    def interrupted(self, settings, callbacks):
        begun.append(settings)
        return real(self, settings, [*callbacks, lambda metrics, step: signal.raise_signal(signal.SIGINT)])

    monkeypatch.setattr(search.Objective, "train", interrupted)
    code, out, err = run(tuning("--trials 5 --save best"))
    assert (code, err, len(begun)) == (130, "", 1)
    assert "another process trained it; run the same command again to train it here" in out
    assert out.splitlines()[-1].startswith("xpdl train --data blobs.npz")
    assert not Path("best").exists()


def test_ranks_share_the_study(tmp_path, run) -> None:
    pytest.importorskip("mpi4py", reason="ranks need MPI")
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(xpdl.__file__).parents[1])}
    words = [sys.executable, "-m", "xpdl", *shlex.split(tuning("--ranks 2 --save best"))]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("blobs.npz: 108 training") == 1
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r" +\d", line)]
    assert len(rows) >= 12
    assert {row[1] for row in rows} <= {"complete", "pruned"}
    assert run(done.stdout.splitlines()[-1].removeprefix("xpdl ") + " --save again")[0] == 0
    assert same(*(xpdl.load(name).theta for name in ("best", "again")))


def test_data_without_a_test_part_and_with_a_holdout(run) -> None:
    code, out, _ = run(tuning("--data whole.npz --holdout 0 --trials 2"))
    assert code == 0
    assert out.startswith("whole.npz: 162 training and 18 validation samples\n")
    assert "test" not in out
    code, out, _ = run(tuning("--data whole.npz --holdout 0.5 --study other --trials 2"))
    assert code == 0
    assert out.startswith("whole.npz: 81 training, 9 validation and 90 test samples\n")
    code, said, _ = run(out.splitlines()[-1].removeprefix("xpdl "))
    assert next(line for line in out.splitlines() if line.startswith("test accuracy")) in said


BAD = {
    # flags: what the line on stderr must say
    "--trials 0": "trials must be at least 1, got 0",
    "--trials 1.5": "--trials.*1.5",
    "--epochs 0": "epochs must be at least 1, got 0",
    "--data nothere.npz": "nothere.npz",
    "--validation 0": "validation must be a fraction above 0 of the training data, got 0",
    "--validation 1": "fraction .*1",
    "--holdout 0.5": "has a test part already",
    "--optimizer adm": "'adm'; did you mean 'adam'",
    "--activation rleu": "'rleu'; did you mean 'relu'",
    "--sampler tpa": "'tpa'; did you mean 'tpe'",
    "--pruner meadin": "'meadin'; did you mean 'median'",
    "--backend nmupy": "'nmupy'; did you mean 'numpy'",
    "--dtype float16": "dtype must be float32 or float64",
    "--seed -1": "seed must be in",
    "--save no/m": "save.*no/m",
    "--plot no/p.png": "plot.*no/p.png",
    "--plot p.xyz": "plot must end in .png or .svg, got 'p.xyz'",
    "--storage no/s.db": "storage must be a file in a directory that exists, got .no.s.db",
    "--storage no/s.journal": "no/s.journal",
    "--storage blobs.npz": "storage.*not a database",
    "--storage nonesuch://host/x": "storage.*nonesuch",
    "--lr 0.1": "--lr",
}


@pytest.mark.parametrize("flags", BAD)
def test_errors_are_one_line_on_stderr_with_exit_code_2(refused, flags) -> None:
    assert "trial " not in refused(tuning(flags), BAD[flags])


def test_a_study_with_other_options_is_refused(run) -> None:
    run(tuning("--trials 1"))
    code, _, err = run(tuning("--trials 1 --epochs 4 --seed 1"))
    assert code == 2
    assert "epochs is 3 there and 4 here; seed is 0 there and 1 here" in err
