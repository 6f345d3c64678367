"""Where a study is kept: it is resumed from there, and shared."""

from contextlib import closing
import os
from pathlib import Path
import re
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

import xpdl

optuna = pytest.importorskip("optuna", reason="tuning needs Optuna")
from optuna.trial import TrialState  # noqa: E402

from xpdl.tuning import RecipeSampler, search, storage, tune  # noqa: E402
from xpdl.tuning.recipe import key  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.mark.parametrize("place", ["study.db", "study.journal"])
def test_a_study_is_resumed_from_its_file(tmp_path, place, valley, suggest, follow, points, stages) -> None:
    """A file must keep numbers exactly; otherwise points would be tried twice."""
    for _ in range(2):
        with search.storage_errors():
            storage = search.open_storage(tmp_path / place)
            study = optuna.create_study(
                storage=storage, study_name="s", sampler=RecipeSampler(stages), load_if_exists=True
            )
            study.optimize(lambda trial: valley(suggest(trial)), n_trials=9)
    assert points(study) == points(follow(18))


def blobs(n=120, scale=1.0):
    """Three classes of points in the plane."""
    y = np.arange(n) % 3
    return scale * (np.random.default_rng(0).normal(size=(n, 2)) + 2 * np.eye(3)[y][:, :2]), y


X, Y = blobs()
FIT, VALIDATION = (X[:80], Y[:80]), (X[80:], Y[80:])
NET = xpdl.Network([2, 3], hidden="tanh")
QUICK = {"validation": VALIDATION, "epochs": 2, "backend": "numpy", "progress": False}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed only by Linux")
def test_no_connection_to_a_database_stays_open(tmp_path) -> None:
    path = tmp_path / "s.db"
    tuned = tune(NET, *FIT, trials=1, storage=path, **QUICK)
    assert len(tuned.study.trials) == 1
    opened_files = [os.path.realpath(descriptor) for descriptor in Path("/proc/self/fd").iterdir()]
    assert str(path) not in opened_files


def test_a_database_in_memory_keeps_its_connection() -> None:
    """A database in memory loses its tables when the connection is closed."""
    with search.storage_errors():
        storage = search.open_storage("sqlite://")
        optuna.create_study(storage=storage, study_name="s")
        assert [study.study_name for study in storage.get_all_studies()] == ["s"]
        storage.engine.dispose()


WORKER = """
import sys
import numpy as np
import xpdl
data = np.load(sys.argv[1])
options = {"storage": sys.argv[2], "study": "s", "trials": int(sys.argv[3]), "epochs": int(sys.argv[4])}
tuned = xpdl.tuning.tune(
    xpdl.Network([2, 3]), data["x"][:80], data["y"][:80], validation=(data["x"][80:], data["y"][80:]),
    backend="numpy", **options
)
"""


@pytest.fixture
def worker(tmp_path):
    """worker(place, trials, epochs) -> a process that tunes on the blobs."""
    np.savez(tmp_path / "blobs.npz", x=X, y=Y)
    started = []

    def start(place, trials, epochs):
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(xpdl.__file__).parents[1])}
        words = [sys.executable, "-P", "-c", WORKER, tmp_path / "blobs.npz", tmp_path / place, trials, epochs]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
        started.append(subprocess.Popen([str(word) for word in words], **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("place", ["s.db", "s.journal"])
def test_two_processes_share_a_study(worker, tmp_path, place, points, opened) -> None:
    """Both start at the same moment with a storage that does not exist; no point is tried twice."""
    processes = [worker(place, 14, 2) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in processes]
    assert [(process.returncode, err) for process, (_, err) in zip(processes, said, strict=True)] == [(0, "")] * 2
    lines = [line for out, _ in said for line in out.splitlines()]
    numbers = [int(re.match(r"trial (\d+): ", line).group(1)) for line in lines]
    study = opened(tmp_path / place)
    assert sorted(numbers) == list(range(len(study.trials)))
    assert len(study.trials) in (14, 15)  # both may begin the last at the same moment
    assert len({key(point) for point in points(study)}) == len(study.trials)


def test_the_trial_of_a_process_that_was_killed_is_tried_again(worker, tmp_path, opened) -> None:
    """A process gets SIGKILL, so its heartbeats stop.  To avoid waiting, its last heartbeat is set back by an hour."""
    process = worker("s.db", 1, 10**6)
    path = tmp_path / "s.db"
    while not (path.exists() and _running(path)):
        assert process.poll() is None, process.communicate()[1]
    process.send_signal(signal.SIGKILL)
    process.wait()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-1 hour')")
        database.execute("UPDATE study_user_attributes SET value_json = replace(value_json, '1000000', '2')")
    database.close()
    assert worker("s.db", 1, 2).communicate(timeout=60)[1] == ""
    killed, again = opened(path).trials
    assert (killed.state, again.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert again.params == killed.params


def _running(path):
    """Return whether a trial has had a heartbeat and reported an epoch."""
    try:
        with sqlite3.connect(path, timeout=10) as database:
            found = database.execute("SELECT * FROM trial_heartbeats, trial_intermediate_values").fetchone()
    except sqlite3.OperationalError:  # the tables are not there yet
        return False
    finally:
        database.close()
    return found is not None


FOREIGN = {
    "accounts": "CREATE TABLE accounts (name TEXT)",
    "studies of medicine": "CREATE TABLE studies (name TEXT)",
    "trials of medicine": "CREATE TABLE trials (trial_id INTEGER, patients INTEGER)",
    "a table beside those of Optuna": "CREATE TABLE notes (text TEXT)",
}
URLS = ["{}", "sqlite:///{}", "sqlite:///{}?uri=true", "sqlite:///file:{}?uri=true", "sqlite:///file:{}?mode=rw&uri=1"]


def open_it(place):
    with search.storage_errors():
        return search.open_storage(place)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_database_of_another_program_is_not_written_by_any_url(tmp_path, name) -> None:
    path = tmp_path / "a.db"
    if name.endswith("Optuna"):
        open_it(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute(FOREIGN[name])
        database.commit()
    before = path.read_bytes()
    for url in URLS:
        with pytest.raises(FileExistsError, match="a database of studies, but .* is not a database of studies"):
            open_it(url.format(path))
    assert path.read_bytes() == before


def test_every_url_of_a_file_opens_it(tmp_path) -> None:
    path = tmp_path / "s ä.db"
    optuna.create_study(storage=open_it(path), study_name="s")
    for url in URLS:
        assert [study.study_name for study in open_it(url.format(path)).get_all_studies()] == ["s"]
    for url in ("sqlite://", "sqlite:///:memory:", "sqlite:///file:name?mode=memory&uri=true"):
        assert storage._file(url) is None


def test_all_tables_of_optuna_are_known(tmp_path) -> None:
    open_it(tmp_path / "s.db")
    tables = storage._tables(tmp_path / "s.db")
    assert len(tables) > 10
    assert storage._are_optunas(tables)
