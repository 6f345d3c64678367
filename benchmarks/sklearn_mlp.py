"""scikit-learn's own tests of ``MLPClassifier`` and ``MLPRegressor``, run on the estimators of xpdl.

``python -m benchmarks.sklearn_mlp`` runs ``sklearn/neural_network/tests/test_mlp.py`` of the installed scikit-learn,
with ``NetworkClassifier`` and ``NetworkRegressor`` in the place of these two.  It prints a row for each test, with the
reason if the test does not pass.  The exit code is 1 if the reason of a failure is not in REASONS.
"""

import json
import sys
from typing import Annotated, Any

from cyclopts import App, Parameter

from benchmarks.output import Output
from benchmarks.processes import child as run_child

app = App(help=__doc__, help_format="plaintext", result_action="return_value")

TESTS = "sklearn.neural_network.tests.test_mlp"
REASONS = {  # part of the message of a failure: its reason
    "Got 'lbfgs' instead": 'it uses solver="lbfgs", which is not offered',
    "(solver='lbfgs'), 'partial_fit'": 'it asks what solver="lbfgs" can do, which is not offered',
    "argument 'max_fun'": 'it sets max_fun, a parameter of solver="lbfgs"',
    "argument 'loss'": 'it uses loss="poisson", with solver="lbfgs"; neither is offered',
    "no attribute '_optimizer'": "it reads the private attribute _optimizer",
    "no attribute '_no_improvement_count'": "it reads the private attribute _no_improvement_count",
    "'coefs_' of 'NetworkClassifier' object has no setter": "it sets coefs_ and private attributes by hand",
}
UNKNOWN = "unknown"
COLUMNS = {"test": "", "outcome": "", "reason": ""}


@app.default
def sklearn_mlp(
    *,
    only: str = "",
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> int:
    """Run the tests and explain each that does not pass.

    Parameters
    ----------
    only
        Run only the tests that pytest selects by ``-k`` with this text.
    """
    rows = [{**row, "reason": reason(row["outcome"], row.pop("message"))} for row in run_child("sklearn_mlp", only)]
    outcomes = [row["outcome"] for row in rows]
    counts = {outcome: outcomes.count(outcome) for outcome in ("passed", "failed", "skipped")}
    output.publish("sklearn-mlp", COLUMNS, rows, settings={"tests": TESTS}, counts=counts)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return int(any(row["reason"].startswith(UNKNOWN) for row in rows))


def reason(outcome: str, message: str) -> str:
    """Return why a test did not pass; a skipped test gives its own reason."""
    if outcome != "failed":
        return message.removeprefix("Skipped: ")
    return next((why for sign, why in REASONS.items() if sign in message), f"{UNKNOWN}: {message}")


class Outcomes:
    """A plugin of pytest that records how each test ended."""

    def __init__(self) -> None:
        self.rows: list[dict[str, str]] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Record the outcome of a test, or of a part around it that failed."""
        if report.when == "call" or report.outcome != "passed":
            message = report.longrepr[2] if report.skipped else message_of(report)
            self.rows.append({"test": report.nodeid.split("::")[-1], "outcome": report.outcome, "message": message})


def message_of(report: Any) -> str:
    """Return all errors of a failure, one per line."""
    chain = getattr(report.longrepr, "chain", [])
    return "\n".join(crash.message for _, crash, _ in chain if crash)


@app.command(show=False)
def child(only: str = "") -> None:
    """Run the tests with the estimators of xpdl, and print the rows."""
    import pytest
    import sklearn.neural_network as theirs

    from xpdl.sklearn import NetworkClassifier, NetworkRegressor

    theirs.MLPClassifier, theirs.MLPRegressor = NetworkClassifier, NetworkRegressor
    outcomes = Outcomes()
    flags = ["-p", "no:cacheprovider", "-c", "/dev/null", "-W", "ignore", "-q", "-k", only]
    pytest.main(["--pyargs", TESTS, *flags], plugins=[outcomes])
    print(json.dumps(outcomes.rows))


if __name__ == "__main__":
    sys.exit(app())
