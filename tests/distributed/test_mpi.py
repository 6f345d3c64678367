"""Real MPI jobs: the run is the same on any number of ranks, and if one rank ends, all ranks end."""

import json
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import xpdl
from xpdl.distributed import Serial, connect
from xpdl.distributed.mpi import claim_gpu
from xpdl.files import checkpoint

pytest.importorskip("mpi4py", reason="mpi4py is not installed")
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
if MPIEXEC is None:
    pytest.skip("there is no mpiexec", allow_module_level=True)
ENVIRONMENT = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(xpdl.__file__).parents[1])}
IN_TIME = 2.0
"""Seconds in which all ranks must have ended after one has."""

PROGRAM = '''
import json, os, signal, sys
import numpy as np
import xpdl

rng = np.random.default_rng(0)
x, y, weight = rng.normal(size=(45, 6)), np.arange(45) % 3, rng.uniform(0.1, 3, size=45)
net = xpdl.Network([6, 7, 5, 3], l2=0.3, dropout=[0.5, 0.0])
ranks = xpdl.distributed.connect()


def train(backend="numpy", **options):
    data = {"sample_weight": weight, "validation": (x[:7], y[:7])}
    options = {"batch_size": 11, "epochs": 3, "dtype": "float64", "progress": False} | data | options
    return xpdl.train(net, x, y, backend=backend, communicator=ranks, **options)


def happens_in(step, rank, what):
    """what() before that step of that rank."""
    from xpdl.training.distributed_step import DistributedSteps

    call, steps = DistributedSteps.__call__, iter(range(10**9))

    def counted(self, *arguments):
        if next(steps) == step and ranks.rank == rank:
            what()
        return call(self, *arguments)

    DistributedSteps.__call__ = counted


def say(*what):
    if ranks.rank == 0:
        print(*what)


def fail():
    raise RuntimeError("the end of this rank")
'''


@pytest.fixture
def job(tmp_path):
    """job(ranks, text): start PROGRAM + text on so many ranks, in a folder of its own."""
    started = []

    def start(ranks, text, *, module=("-m", "mpi4py"), program=PROGRAM):
        (tmp_path / "program.py").write_text(program + text)
        command = [MPIEXEC, "-n", str(ranks), sys.executable, *module, "program.py"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, start_new_session=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process, timeout=60):
    """Return exit code, stdout and stderr of a job."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


SAME = """
results = {backend: train(backend) for backend in ("numpy", "array_api_strict")}
numbers = [[m["loss"], m["validation_loss"], m["validation_accuracy"]] for r in results.values() for m in r.history]
say(json.dumps([[r.theta.tolist() for r in results.values()], numbers]))
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Return what SAME prints without MPI."""
    program = tmp_path_factory.mktemp("alone") / "program.py"
    program.write_text(PROGRAM + SAME)
    done = subprocess.run([sys.executable, program], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_any_number_of_ranks_computes_the_same_run(job, alone, ranks) -> None:
    """The run has a smaller last batch, dropout, L2 and weights, and is made with two libraries."""
    pytest.importorskip("array_api_strict")
    code, out, err = ended(job(ranks, SAME))
    assert (code, err) == (0, "")
    for found, expected in zip(json.loads(out), alone, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.max(np.abs(expected)))


def seconds_to_end(process, marker):
    """Return the exit code, stderr, and the seconds from the time that a rank wrote into a file to the end of all."""
    code, _, err = ended(process)
    return code, err, time.time() - float(marker.read_text())


ENDS = {
    "raises": ("happens_in(4, 1, lambda: (mark(), fail()))", {1}, "RuntimeError: the end of this rank"),
    "is killed": ("happens_in(4, 2, lambda: (mark(), os.kill(os.getpid(), signal.SIGKILL)))", {9, 128 + 9}, ""),
    "exits": ("happens_in(7, 0, lambda: (mark(), sys.exit(3)))", {3}, ""),
}


@pytest.mark.parametrize("name", ENDS)
def test_if_one_rank_ends_all_ranks_end(job, name, tmp_path) -> None:
    """They end in time, with an exit code and the traceback; a run from the checkpoint has the same result."""
    text, expected, said = ENDS[name]
    mark = "import time\ndef mark(): open('mark', 'w').write(str(time.time()))\n"
    options = 'checkpoint="run", epochs=4'
    code, err, seconds = seconds_to_end(job(3, f"{mark}{text}\ntrain({options})"), tmp_path / "mark")
    assert code in expected  # of a killed rank: MPICH's, and Open MPI's
    assert said in err
    assert seconds < IN_TIME
    code, out, err = ended(job(2, f'r = train({options}, resume="run")\nsay(len(r.history), abs(r.theta).sum())'))
    assert (code, err) == (0, "")
    history, size = out.split()
    code, out, err = ended(job(1, "say(abs(train(epochs=4).theta).sum())"))
    assert history == "4"
    assert float(size) == pytest.approx(float(out), rel=1e-12)


def test_a_signal_to_one_rank_ends_all_after_the_same_step(job, tmp_path) -> None:
    """The signal comes before the second step of the second epoch, and the third step is the last one."""
    text = 'happens_in(6, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))\nr = train(checkpoint="run")\n'
    report = 'json.dump([r.signal, len(r.history), abs(r.theta).sum()], open(f"rank{ranks.rank}", "w"))'
    code, _, err = ended(job(3, text + report))
    assert (code, err) == (0, "")
    first, *others = (json.loads((tmp_path / f"rank{rank}").read_text()) for rank in range(3))
    assert first[:2] == [signal.SIGTERM, 1]
    assert others == [first, first]
    assert checkpoint.read_sealed(tmp_path / "run")[1]["step"] == 3


def test_ranks_that_disagree_are_refused_with_the_reason(job) -> None:
    code, _, err = ended(job(2, "train(seed=ranks.rank)"))
    assert code == 1
    assert "ValueError: the ranks have different runs: seed is 0 on rank 0 and 1 on rank 1" in err


def test_ranks_without_fail_stop_are_refused(job) -> None:
    code, _, err = ended(job(2, "", module=()))
    assert code != 0
    assert "this is one of 2 processes; start them as in 'mpiexec -n 2 python -m mpi4py -m xpdl train" in err


WRONG_FLAG = """
import sys
from xpdl.cli import main
from xpdl.distributed.launching import started

flags = ["--hidden", "4", "--epochs", "1", "--backend", "numpy"]
sys.exit(main(["train", *flags, *["--wrong"] * (started()[0] == 1)]))
"""


def test_if_one_command_line_is_wrong_all_ranks_end(job) -> None:
    code, _, err = ended(job(2, WRONG_FLAG, program=""))
    assert code == 1
    assert "Unknown option" in err
    assert "on rank 1" in err


def test_a_launcher_of_another_mpi_is_refused(tmp_path) -> None:
    """mpiexec is Open MPI's and mpi4py uses MPICH, or the other way round."""
    (tmp_path / "program.py").write_text(PROGRAM)
    told = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"}
    command = [sys.executable, "-m", "mpi4py", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT | told, capture_output=True, text=True, timeout=60)
    if "Open MPI" in done.stderr.partition("built with")[2]:
        pytest.skip("it would be the right launcher here")
    assert done.returncode == 1
    assert (
        "the launcher has started 4 processes, but mpi4py sees only one: mpiexec belongs to another MPI" in done.stderr
    )


def test_without_a_launcher_there_is_one_rank(monkeypatch) -> None:
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert connect() == Serial()


@pytest.mark.parametrize(("shown", "number", "left"), [(None, 2, "2"), ("", 0, "0"), ("4,5", 1, "5"), ("3", 7, "3")])
def test_each_rank_of_a_machine_has_a_gpu_of_its_own(monkeypatch, shown, number, left) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown or "")
    claim_gpu(number)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == left
