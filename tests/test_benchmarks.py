"""Each benchmark runs, on next to nothing, and leaves the numbers it promises.  Nothing is timed here."""

from importlib import import_module
import json
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import types

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("benchmarks/ is not beside tests/: it is no part of the wheel", allow_module_level=True)

MACHINE = {"date", "command", "commit", "device", "driver", "cpu", "cores", "system", "versions", "threads"}
STEP = {"first_step_ms", "step_us", "step_p10_us"}
MNIST = {"backend", "transfer_ms", *STEP, "images_s", "epoch_s", "to_97_s", "to_98_s", "rss_mib", "device_mib"}
PEERS = {"net", "contender", "median_s", "fastest_s", "step_us", "ratio", "first_over_this", "rounds_s"}
GRADCHECK = {"case", "parameters", "check", "scope", "median_s", "ratio", "rounds_s"}
CORRECTNESS = {"check", "dtype", "dropout", "unequal", "difference", "bound", "holds"}
CONTENDERS = {
    "xpdl-numpy": "xpdl",
    "xpdl-jax": "jax",
    "xpdl-torch": "torch",
    "torch": "torch",
    "jax-scan": "jax",
    "jax-step": "jax",
    "sklearn": "sklearn",
}


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def load(name):
    return import_module(f"benchmarks.{name}")


def content(folder, name):
    """The JSON of a benchmark, whose machine is described."""
    (path,) = folder.glob(f"{name}-*.json")
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["benchmark"] == name
    assert set(found["machine"]) == MACHINE
    assert found["machine"]["cores"] >= 1
    assert {"python", "numpy"} <= set(found["machine"]["versions"])
    return found


def ran(name, folder, *flags):
    """The JSON of a benchmark that runs now."""
    assert not load(name).app([*flags, "--output", str(folder)])
    return content(folder, name)


def test_mnist(tmp_path, capsys):
    found = ran("mnist", tmp_path, "--quick", "--backends", "numpy", "nonesuch", "--net", "S")
    (row,) = found["rows"]
    assert set(row) >= MNIST
    assert all(row[name] > 0 for name in ("transfer_ms", *STEP, "images_s", "epoch_s", "rss_mib"))
    assert len(row["epochs_s"]) == len(row["accuracies"]) == 2
    assert list(found["skipped"]) == ["nonesuch"]
    assert "ValueError: backend" in found["skipped"]["nonesuch"]
    printed = capsys.readouterr().out
    assert "first_step_ms" in printed
    assert "skipped nonesuch" in printed


def test_the_time_to_an_accuracy_is_that_of_all_epochs_up_to_it():
    until = load("mnist")._until
    assert until(0.9, [1.0, 2.0, 4.0], [0.5, 0.9, 0.95]) == 3
    assert until(0.99, [1.0, 2.0, 4.0], [0.5, 0.9, 0.95]) is None


def test_peers(tmp_path, monkeypatch):
    monkeypatch.setattr(load("peers"), "run_child", lambda benchmark, net, name, *rest: epochs[name])
    epochs = {"xpdl-numpy": [9.0, 2.0, 2.0], "torch": [1.0, 4.0, 4.0]}
    found = ran("peers", tmp_path, "--quick", "--net", "S", "M", "--contenders", "xpdl-numpy", "torch")
    assert [(row["net"], row["contender"]) for row in found["rows"]] == [
        ("S", "xpdl-numpy"),
        ("S", "torch"),
        ("M", "xpdl-numpy"),
        ("M", "torch"),
    ]
    assert all(set(row) == PEERS for row in found["rows"])
    assert [row["ratio"] for row in found["rows"]] == [1, 2, 1, 2]
    assert [row["first_over_this"] for row in found["rows"]] == [1, 0.5, 1, 0.5]
    assert found["rows"][0]["step_us"] == 1e6  # 700 samples, 512 in a batch: 2 steps in 2 seconds


def test_peers_start_processes_and_report_those_that_fail(tmp_path):
    found = ran("peers", tmp_path, "--quick", "--net", "S", "--contenders", "xpdl-numpy", "nonesuch")
    assert [row["contender"] for row in found["rows"]] == ["xpdl-numpy"]
    assert found["skipped"] == {"S nonesuch": "KeyError: 'nonesuch'"}


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_contender_trains(name):
    pytest.importorskip(CONTENDERS[name])
    rng, setup = np.random.default_rng(0), load("networks").Setup([784, 5, 4, 10], 8)
    x, y = rng.integers(0, 256, (20, 784)).astype("u1"), rng.integers(0, 10, 20)
    seconds = list(load("contenders").CONTENDERS[name](x, y, setup, 2))
    assert len(seconds) == 2
    assert min(seconds) > 0


def test_gradcheck(tmp_path):
    found = ran("gradcheck", tmp_path, "--quick", "--checks", "central", "passes")
    assert [row["check"] for row in found["rows"]] == ["complex step", "central", "passes"]
    assert all(set(row) == GRADCHECK for row in found["rows"])
    assert found["rows"][0]["ratio"] == 1


@pytest.mark.parametrize("name", ["torch", "torch fast", "jax", "scipy", "scipy random"])
def test_the_checkers_of_others_check_the_same_gradient(name, monkeypatch):
    gradcheck = load("gradcheck")
    check = gradcheck.CHECKS[name]
    pytest.importorskip(check.needs)
    case = gradcheck.Case.random([5, 4, 3], 6)
    found = check.prepare(case)()
    assert found is None or found is True or found < 1e-5  # JAX's says nothing, PyTorch's yes, SciPy's the error


def test_the_duel_finds_names_and_accuses(tmp_path):
    assert not load("gradcheck_duel").app(["--quick", "--checkers", "xpdl", "nonesuch", "--output", str(tmp_path)])
    found = content(tmp_path, "gradcheck-duel")
    (row,) = found["rows"]
    assert found["skipped"] == {"nonesuch": "KeyError: 'nonesuch'"}
    assert [row[name] for name in ("tried", "found_0.1%", "found_100%", "named", "false_alarms")] == [6, 6, 6, 24, 0]


@pytest.mark.parametrize("name", ["torch", "torch fast", "jax", "jax reverse", "scipy", "scipy random"])
def test_every_checker_of_the_duel_sees_a_gradient_that_is_twice_too_large(name):
    pytest.importorskip(name.split()[0])
    duel = load("gradcheck_duel")
    case, _ = duel.Case.draw("sines", 0, 0.0)
    right, wrong = (duel.CHECKERS[name](case._replace(factors=factor * case.factors))() for factor in (1.0, 2.0))
    assert right.error < 1e-3 < wrong.error


def test_the_bound_of_scipy_is_its_largest_number_for_a_right_gradient():
    duel = load("gradcheck_duel")
    errors = [(duel.RIGHT, 0.2), (duel.RIGHT, 0.3), ("found_1%", 0.25), ("found_100%", 0.5)]
    outcomes = [duel.Outcome("sines", seed, kind, error, False, 1.0) for seed, (kind, error) in enumerate(errors)]
    row = duel._row("scipy", outcomes)
    assert [row[name] for name in ("found_1%", "found_100%", "false_alarms")] == [0, 1, 0]


def test_rules_of_a_library_pass_and_planted_mistakes_fail(tmp_path):
    pytest.importorskip("jax")
    rules = load("library_rules")
    assert len(rules.operations(rules.jax_library())) >= 30
    assert rules.app(["--libraries", "jax", "--quick", "--output", str(tmp_path)]) == 0
    (row,) = content(tmp_path, "library-rules")["rows"]
    assert [row[name] for name in ("dtype", "operations", "passed", "found")] == ["float64", 2, 2, 2]


def test_a_rule_that_is_accused_or_not_found_is_no_success(tmp_path, monkeypatch):
    rules = load("library_rules")
    for verdict in ("PASS", "FAIL"):
        said = types.SimpleNamespace(check_vjp=lambda *args, said=verdict: types.SimpleNamespace(verdict=said))
        monkeypatch.setattr(rules, "xpdl", said)
        monkeypatch.setitem(
            rules.LIBRARIES, "none", lambda: rules.Library(np, np.asarray, {"sin": (np.sin, 1)}, lambda operation: abs)
        )
        assert rules.app(["--libraries", "none", "--quick", "--output", str(tmp_path)]) == 1


@pytest.mark.parametrize("library", ["jax", "torch"])
def test_the_duel_of_derivatives_of_the_libraries(library, tmp_path, monkeypatch):
    pytest.importorskip(library)
    duel = load("autodiff_duel")
    monkeypatch.setattr(duel, "FUNCTIONS", {"sines": duel.FUNCTIONS["sines"]})
    checkers = duel.CHECKERS[library]
    monkeypatch.setattr(
        duel, "run_child", lambda _, kind, checker, *rest: list(duel._outcomes(checkers[checker], *rest))
    )
    assert not duel.app(["--quick", "--libraries", library, "--output", str(tmp_path)])
    rows = content(tmp_path, "autodiff-duel")["rows"]
    assert [row["checker"] for row in rows] == list(checkers)
    assert [row["false_alarms"] for row in rows] == [0] * len(rows)
    assert (rows[0]["found"], rows[0]["ratio"]) == (1, 1)


def test_verdicts_on_networks(tmp_path):
    assert not load("gradcheck_verdicts").app(["--quick", "--output", str(tmp_path)])
    rows = content(tmp_path, "gradcheck-verdicts")["rows"]
    assert [row["tried"] for row in rows] == [24, 24, 28, 28]
    assert {row["holds"] for row in rows} == {"yes"}


@pytest.mark.parametrize(("verdict", "detects"), [("FAIL", 1.0), ("PASS", 1e-9)])
def test_a_verdict_that_must_not_be_is_no_success(tmp_path, monkeypatch, verdict, detects):
    """A right gradient fails, or a wrong one passes although its error can be seen."""
    said = types.SimpleNamespace(verdict=verdict, detects=detects)
    monkeypatch.setattr(load("gradcheck_verdicts"), "check", lambda case, error=0.0: said)
    assert load("gradcheck_verdicts").app(["--quick", "--output", str(tmp_path)]) == 1


def test_scikit_learns_tests_of_its_mlp(tmp_path):
    pytest.importorskip("sklearn", minversion="1.9", reason="the estimators need scikit-learn 1.9")
    assert load("sklearn_mlp").app(["--only", "tolerance or test_gradient", "--output", str(tmp_path)]) == 0
    found = content(tmp_path, "sklearn-mlp")
    assert [(row["test"], row["outcome"]) for row in found["rows"]] == [
        ("test_gradient", "failed"),
        ("test_tolerance", "passed"),
    ]
    assert "lbfgs" in found["rows"][0]["reason"]


def test_a_failure_without_a_reason_is_an_error(tmp_path, monkeypatch):
    row = {"test": "test_new", "outcome": "failed", "message": "assert 0"}
    monkeypatch.setattr(load("sklearn_mlp"), "run_child", lambda *arguments: [dict(row)])
    assert load("sklearn_mlp").app(["--output", str(tmp_path)]) == 1
    assert content(tmp_path, "sklearn-mlp")["rows"][0]["reason"] == "unknown: assert 0"


def test_the_search_on_digits(tmp_path):
    pytest.importorskip("sklearn", minversion="1.9", reason="the estimators need scikit-learn 1.9")
    assert not load("sklearn_digits").app(["--seeds", "2", "--epochs", "2", "--output", str(tmp_path)])
    rows = content(tmp_path, "sklearn-digits")["rows"]
    assert [row["contender"] for row in rows][:2] == ["MLPClassifier", "NetworkClassifier"]
    assert all(row["accuracy"] == np.mean(row["accuracies"]) > 0.3 for row in rows)


def test_scaling(tmp_path):
    found = ran("scaling", tmp_path, "--quick")
    assert {row["sweep"] for row in found["rows"]} == {"batch", "width", "epochs"}
    assert all(row["seconds"] > 0 and row["size"] > 0 for row in found["rows"])
    assert all(set(line) >= {"fixed", "each", "deviation", "exponent"} for line in found["lines"])
    assert found["lines"][-1]["drift"] > 0


def test_a_line_is_found_and_what_is_none_shows():
    line, x = load("scaling").line, [1, 2, 4, 8, 16, 32]
    straight = line(x, [5 + 3 * size for size in x])
    assert (straight["fixed"], straight["each"]) == pytest.approx((5, 3))
    assert straight["deviation"] < 1e-12
    square = line(x, [size**2 for size in x])
    assert square["exponent"] == pytest.approx(2)
    assert square["deviation"] > 0.5
    assert load("scaling").drift([1, 1, 1, 2, 3, 3, 3]) == 3


def test_startup(tmp_path):
    found = ran("startup", tmp_path, "--quick", "--skip-install")
    rows = {row["module"]: row for row in found["rows"]}
    assert list(rows) == ["nothing", "numpy", "xpdl"]
    assert rows["xpdl"]["modules"] > rows["numpy"]["modules"] > rows["nothing"]["modules"]
    assert rows["numpy"]["resident_mib"] > rows["nothing"]["resident_mib"]
    assert [verdict["limit"] for verdict in found["verdicts"]] == [1.5, 40]


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_correctness(tmp_path, backend):
    pytest.importorskip(backend)
    found = ran("correctness", tmp_path, "--backend", backend, "--quick")
    assert all(set(row) == CORRECTNESS and row["holds"] == "yes" for row in found["rows"])
    assert {row["bound"] for row in found["rows"]} == {0.0, 1e-5, 1e-13}


def test_what_differs_is_no_success(tmp_path, monkeypatch):
    correctness = load("correctness")
    thetas = iter(np.eye(12))
    monkeypatch.setattr(correctness, "_train", lambda *arguments: next(thetas))
    assert correctness.app(["--backend", "numpy", "--output", str(tmp_path)]) == 1


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is of POSIX")
def test_reliability(tmp_path):
    found = ran("reliability", tmp_path, "--quick")
    assert {row["holds"] for row in found["rows"]} == {"yes"}
    saving, _, elsewhere, _, *pairs, flips = (row["tried"] for row in found["rows"][:9])
    assert saving >= 1
    assert saving + elsewhere >= 3
    assert (pairs, flips) == ([1, 1, 1, 1], 3)
    assert [row["tried"] for row in found["rows"][9:]] == [30, 3, 3, *[30] * 6]


def test_threads(tmp_path):
    found = ran("threads", tmp_path, "--quick")
    assert [(row["tried"], row["equal"], row["holds"]) for row in found["rows"]] == [(28, 28, "yes")]


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("raise KeyError(7)", "KeyError: 7"),
        ("return None", ""),
        ("open('/dev/null')", "read ['open']"),
        ("import colorsys", "import"),
        ("exec('1')", "exec"),
        ("bytearray(2**31)", "MemoryError"),
        ("time.sleep(60)", None),
    ],
)
def test_what_damaged_files_do_is_seen(fault, seen):
    """By a process in which reading one does what it should not."""
    text = f"""
from dataclasses import replace
import time
from benchmarks import damage
def read(path):
    if path.name == "mutated":
        {fault}
damage.LIMIT = 0.5 if {seen is None} else 60
damage.KINDS["model"] = replace(damage.KINDS["model"], read=read)
damage.damage("model", count=1)
"""
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=60)
    if seen is None:
        assert done.returncode == 1
        assert "Timeout" in done.stderr
    else:
        faults = json.loads(done.stdout.splitlines()[-1])["faults"]
        assert bool(faults) == bool(seen)
        assert seen in str(faults)


def test_every_mutation_changes_a_file_in_ways_of_its_own(tmp_path):
    load("damage").write_model(tmp_path / "good")
    content = (tmp_path / "good").read_bytes()
    for name, mutate in load("mutations").MUTATIONS.items():
        changed = {mutate(content, random.Random(seed)) for seed in range(50)} - {content}
        assert len(changed) > 10, name


def test_mistakes_in_source_code_are_one_each():
    source = "def f(x: int = 8):\n    'Text - 1.'\n    if x < min(x, 1.0) and not -x:\n        x -= 1\n    return x\n"
    places = load("source_mutations").Module(source).places()
    changed = {mutant.diff[1] for place in places for mutant in place if mutant.valid}
    numbers = {f"def f(x: int = {n}):" for n in (9, 7, 32, 2)}
    tests = ["x <= min(x, 1.0) and not -x", "x >= min(x, 1.0) and not -x", "x < max(x, 1.0) and not -x"]
    tests += ["x < min(x, 4.0) and not -x", "x < min(x, 0.25) and not -x", "x < min(x, 1.0) or not -x"]
    tests += ["x < min(x, 1.0) and (-x)", "x < min(x, 1.0) and not (x)", "(not (x < min(x, 1.0) and not -x))"]
    assert changed == numbers | {f"if {test}:" for test in tests} | {"x += 1", "x -= 2", "x -= 0", "pass"}
    assert {mutant.line for place in places for mutant in place} == {1, 3, 4}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each mutant has a fork of a process")
def test_gradcheck_mutants(tmp_path):
    """In a process of its own, as forks of this one would inherit its threads."""
    command = [sys.executable, "-m", "benchmarks.gradcheck_mutants", "--quick", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    found = content(tmp_path, "gradcheck-mutants")
    assert (done.returncode == 0) is (found["rows"][-1]["survived"] == 0)
    assert [row["module"] for row in found["rows"]] == ["memory_layout", "all"]
    assert found["rows"][-1]["mutants"] == len(found["mutants"]) == 3
    reasons = [mutant["why"] for mutant in found["mutants"] if mutant["outcome"] == "found"]
    died = "the process died"  # one of the mutants writes beyond an array, which may end the process
    assert all("::test_" in why or why == died for why in reasons), reasons


def has_mpi():
    from xpdl.distributed.launching import command

    try:
        return bool(command(2, []))
    except ImportError:
        return False


needs_mpi = pytest.mark.skipif(not has_mpi(), reason="mpi4py or mpiexec is missing")


@needs_mpi
def test_ranks(tmp_path):
    found = ran("ranks", tmp_path, "--quick", "--net", "M")
    assert [row["ranks"] for row in found["rows"]] == [1, 2]
    assert found["rows"][0]["speed_up"] == 1
    assert found["rows"][0]["allreduce_ms"] == 0
    assert 0 < found["rows"][1]["least_ms"] <= found["rows"][1]["allreduce_ms"] < found["rows"][1]["step_ms"]
    assert [*found["predicted"][0]] == ["net", *(str(2**power) for power in range(11))]
    assert found["predicted"][0]["1"] == 1


def test_the_model_says_where_more_ranks_stop_paying():
    """A step of 1 + 64 s whose all-reduce costs 2 s for each doubling: 15 s on 8 ranks, 13 on 16 and 32, 14 on 64."""
    model = load("ranks").Model(fixed=1, sample=1, latency=1, bandwidth=float("inf"), batch=64, size=8)
    assert [model(ranks) for ranks in (1, 2, 8, 64, 1024)] == [65, 35, 15, 14, 22]
    assert model.pays() == "faster up to 16 ranks (5.0 x), half as useful up to 8"
    slow = model._replace(bandwidth=1.0)
    assert slow(2) == 35 + 8
    assert slow(4) == pytest.approx(21 + 12)


@needs_mpi
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked for in /proc")
def test_faults(tmp_path):
    found = ran("faults", tmp_path, "--kills", "1", "--exceptions", "1")
    assert [row["held"] for row in found["rows"]] == [1] * 6
    assert {row["holds"] for row in found["rows"]} == {"yes"}
    assert 0 < found["rows"][0]["most_s"] < 2


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the cache of files cannot be emptied")
def test_larger_than_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(load("larger_than_memory"), "RATE", 0.0)
    found = ran("larger_than_memory", tmp_path, "--quick", "--folder", str(tmp_path))
    disk, memory = found["rows"]
    assert (disk["where"], memory["where"]) == ("disk", "memory")
    assert disk["gib"] == pytest.approx(1 / 32, rel=1e-3)
    assert disk["gib"] == pytest.approx(8 * memory["gib"], rel=1e-3)
    assert 0 < disk["peak_mib"] < 1024
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_memory_peaks_at_what_was_held():
    memory = load("memory")
    before = memory.resident()
    held = np.ones(2**22)
    assert memory.peak() >= before + held.nbytes / 2**20 - 4


def test_a_stopwatch_takes_the_time_of_every_step():
    """The clock of a device without a queue is read after each step, and the first stands apart."""
    stopwatch, processes = load("stopwatch"), load("processes")
    first, steps = stopwatch.time_steps(
        [784, 5, 10], processes.samples(quick=True), batch_size=100, backend="numpy", seconds=0
    )
    assert first > 0
    assert len(steps) == 2 * 7 - 1


@pytest.mark.parametrize("dispatch", [1, 3])
def test_a_device_with_a_queue_is_waited_for_after_a_group(dispatch):
    watch = load("stopwatch").Stopwatch("numpy", 1)
    waits = []
    watch.own, watch.group = types.SimpleNamespace(synchronize=lambda: waits.append(watch.open)), 6
    for _ in range(13):
        watch.timed(lambda: None, dispatch)
    assert waits == [dispatch] + [6] * (12 * dispatch // 6)
    assert len(watch.steps) == len(waits) - 1


class Clock:
    """A CUDA event."""

    def record(self) -> None:
        pass

    synchronize = record


class Stream:
    """A CUDA stream, whose graphs do nothing."""

    def __init__(self, non_blocking: bool) -> None:
        pass

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def begin_capture(self) -> None:
        pass

    def end_capture(self):
        return types.SimpleNamespace(launch=lambda stream: None)


def test_the_probe_measures_what_it_says(tmp_path, monkeypatch):
    """With NumPy in CuPy's place, and a clock on which everything takes a millisecond."""
    probe = load("probe")
    cuda = types.SimpleNamespace(Event=Clock, Stream=Stream, get_elapsed_time=lambda start, end: 20.0)
    random = types.SimpleNamespace(standard_normal=lambda shape, dtype: np.ones(shape, dtype))
    names = ("ones", "zeros", "empty", "empty_like", "matmul", "copyto", "add", "uint8", "float32")
    numpy = types.SimpleNamespace(**{name: getattr(np, name) for name in names}, cuda=cuda, random=random)
    monkeypatch.setitem(sys.modules, "cupy", numpy)
    monkeypatch.setattr(probe.xpdl, "backend", lambda name: None)
    monkeypatch.setattr(probe, "describe", lambda cupy: {"name": "none"})
    monkeypatch.setattr(probe, "SETUPS", {"T": load("networks").Setup([3, 4, 2], 5)})
    monkeypatch.setattr(probe, "BYTES", 1000)
    monkeypatch.setattr(probe, "SIDE", 10)
    values = {row["what"]: row["value"] for row in ran("probe", tmp_path)["rows"]}
    assert list(values) == ["copy", "gemm float32", "launch", "graph node", "products T"]
    assert values["copy"] == pytest.approx(2000 / 1e-3 / 1e9)
    assert values["gemm float32"] == pytest.approx(2000 / 2e-3 / 1e12)
    assert values["products T"] == pytest.approx(1000)


def test_a_step_has_two_products_for_layer_1_and_three_for_others():
    shapes = load("probe").shapes(load("networks").Setup([3, 4, 2], 5))
    assert list(shapes) == [(5, 3, 4), (3, 5, 4), (5, 4, 2), (4, 5, 2), (5, 2, 4)]


def test_without_a_gpu_each_part_says_why_it_is_skipped(tmp_path, capsys, monkeypatch):
    gpu = load("gpu")
    monkeypatch.setattr(gpu, "_missing", lambda environment: "there is no GPU")
    assert gpu.main(["--output", str(tmp_path)]) == 0
    found = content(tmp_path, "gpu")
    assert [row["part"] for row in found["rows"]] == [*gpu.PARTS]
    assert {(row["status"], row["said"]) for row in found["rows"]} == {("skipped", "there is no GPU")}
    assert {goal["value"] for goal in found["goals"]} == {None}
    assert capsys.readouterr().out.count("there is no GPU") == len(gpu.PARTS)


def test_parts_that_fail_or_take_too_long_leave_the_others_alone(tmp_path, monkeypatch):
    gpu = load("gpu")
    parts = {
        "fails": gpu.Part(60, "nonesuch"),
        "sleeps": gpu.Part(0.2, "timeit -n 1 -r 1 -s 'import time' 'time.sleep(60)'"),
        "correctness": gpu.Part(60, "benchmarks.correctness --backend numpy --quick"),
    }
    monkeypatch.setattr(gpu, "PARTS", parts)
    monkeypatch.setattr(gpu, "_missing", lambda environment: "")
    assert gpu.main(["--output", str(tmp_path)]) == 1
    found = content(tmp_path, "gpu")
    assert [(row["part"], row["status"]) for row in found["rows"]] == [
        ("fails", "failed"),
        ("sleeps", "stopped"),
        ("correctness", "ok"),
    ]
    assert "No module named nonesuch" in found["rows"][0]["said"]
    assert {row["holds"] for row in found["results"]["correctness"][0]["rows"]} == {"yes"}


def test_the_goals_are_read_from_the_parts():
    peers = [
        {"contender": "xpdl-cupy", "step_us": 30.0, "first_over_this": 1.0},
        {"contender": "torch-graph", "first_over_this": 0.5},
        {"contender": "jax-gpu-scan", "first_over_this": 1.5},
    ]
    results = {
        "probe": [{"rows": [{"what": "products XL", "value": 27.0}]}],
        "peers M": [{"rows": peers}],
        "peers XL": [{"rows": peers}],
        "mnist": [{"rows": [{"epochs_s": [0.05] * 9, "accuracies": [0.97, 0.97, 0.97, 0.97, 0.976]}]}],
    }
    goals = load("gpu")._goals(results)
    assert [goal["value"] for goal in goals] == pytest.approx([30, 1.5, 0.25, 0.976, 0.9])
    assert [goal["holds"] for goal in goals] == ["yes", "NO", "yes", "yes", "yes"]


def test_a_table_has_a_place_for_what_is_missing():
    table = load("output").table({"name": "", "seconds": ".2f"}, [{"name": "a", "seconds": 1.234}, {"name": "long"}])
    assert table.splitlines() == ["name  seconds", "a        1.23", "long        -"]


def test_tuning(tmp_path, capsys):
    pytest.importorskip("optuna", reason="tuning needs Optuna")
    found = ran("tuning", tmp_path, "--quick")
    assert [(row["sampler"], row["seed"]) for row in found["rows"]] == [
        (name, seed) for seed in (0, 1) for name in ("recipe", "tpe", "tpe, informed", "random")
    ]
    for row in found["rows"]:
        assert len(row["losses"]) == 3
        assert row["loss"] == min(row["losses"])
        assert row["test_loss"] > 0
    assert [row["sampler"] for row in found["medians"]] == ["recipe", "tpe", "tpe, informed", "random"]
    assert "informed" in capsys.readouterr().out


def test_the_medians_of_tuning_are_those_of_the_seeds():
    rows = [
        {"sampler": name, "seed": seed, "loss": loss, "loss_10": 1.0, "loss_20": 1.0, "test_loss": 2 * loss}
        for name, losses in {"recipe": [0.1, 0.4, 0.2], "tpe": [0.3, 0.3, 0.3]}.items()
        for seed, loss in enumerate(losses)
    ]
    median = load("tuning")._median("recipe", rows)
    assert (median["loss"], median["test_loss"], median["wins"]) == (0.2, 0.4, 2)


@pytest.mark.parametrize("kind", ["metadata", "table", "archive", "idx", "journal", "history"])
def test_2000_changed_files_of_each_kind_are_refused_or_whole(kind):
    """benchmarks/reliability.py tries 200,000 of each kind."""
    seen = load("damage").damaged(kind, 2000)
    print(f"python -m benchmarks.damage {kind} --count 1 --first NUMBER repeats one of", seen["faults"])
    assert seen["held"] == 2000
    assert seen["more_mib"] <= load("reliability").MEMORY


def test_population(tmp_path):
    rows = ran("population", tmp_path, "--quick")["rows"]
    assert [(row["way"], row["networks"]) for row in rows] == [("seeds", 2), ("theta", 2)]
    assert all(row["together_s"] > 0 and row["apart_s"] > 0 for row in rows)
