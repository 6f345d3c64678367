"""The trials of a study as lines of text."""

import io

import pytest

optuna = pytest.importorskip("optuna", reason="tuning needs Optuna")
from optuna.trial import TrialState, create_trial  # noqa: E402

from xpdl.tuning.picture import plot_trials  # noqa: E402
from xpdl.tuning.table import best_trial, line, row, rows, table  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)
LR = optuna.distributions.FloatDistribution(1e-5, 1.0)


def trial(value, state=TrialState.COMPLETE, *, losses=(), lr=0.1, **attributes):
    return create_trial(
        state=state,
        value=value,
        params={"lr": lr},
        distributions={"lr": LR},
        intermediate_values=dict(enumerate(losses, start=1)),
        user_attrs=attributes,
    )


@pytest.fixture
def study():
    """Two complete trials, one that was pruned, one that diverged."""
    study = optuna.create_study()
    study.add_trial(trial(0.5, losses=[0.7, 0.5], accuracy=0.9))
    study.add_trial(trial(None, TrialState.PRUNED, losses=[0.9]))
    study.add_trial(trial(0.25, losses=[0.5, 0.25, 0.3], lr=0.01234567))
    study.add_trial(trial(None, TrialState.PRUNED, diverged="NaN"))
    return study


def test_the_best_trial_is_the_complete_one_with_the_lowest_loss(study) -> None:
    assert best_trial(study).number == 2
    assert best_trial(optuna.create_study()) is None


def test_a_row_has_the_lowest_loss_and_the_number_of_epochs(study) -> None:
    found = row(study.trials[2])
    assert {name: found[name] for name in ("trial", "state", "loss", "accuracy", "epochs", "lr")} == {
        "trial": 2,
        "state": "complete",
        "loss": 0.25,
        "accuracy": None,
        "epochs": 3,
        "lr": 0.01234567,
    }


def test_complete_trials_come_first_and_the_best_of_them_before_all(study) -> None:
    assert [(found["trial"], found["state"]) for found in rows(study)] == [
        (2, "complete"),
        (0, "complete"),
        (1, "pruned"),
        (3, "diverged"),
    ]


def test_the_table_has_a_header_and_a_dash_for_what_is_not_known(study) -> None:
    header, *lines = table(study).splitlines()
    assert header.split() == ["trial", "state", "loss", "accuracy", "epochs", "seconds", "lr"]
    assert lines[0].split()[:5] == ["2", "complete", "0.2500", "-", "3"]
    assert lines[0].split()[-1] == "0.01235"
    assert lines[3].split()[1:5] == ["diverged", "-", "-", "0"]
    assert len({len(text) for text in (header, *lines)}) == 1


def test_a_line_tells_how_a_trial_ended_and_the_best_so_far(study) -> None:
    assert line(study, study.trials[0]).startswith("trial 0: complete, loss 0.5000 (best 0.2500, trial 2); lr 0.1; ")
    assert line(study, study.trials[3]).startswith("trial 3: diverged, loss - (best 0.2500, trial 2); lr 0.1; ")


def test_names_from_a_study_of_others_are_escaped_and_cut(study) -> None:
    name, choice = "\x1b[2J$\\frac{$" + "n" * 1000, "\n\u202e" + "v" * 1000
    kinds = {name: optuna.distributions.CategoricalDistribution([choice])}
    params = {name: choice}
    study.add_trial(create_trial(value=0.1, params=params, distributions=kinds, intermediate_values={1: 0.1}))
    for text in (table(study), line(study, study.trials[-1])):
        assert all(len(shown) < 250 and shown.isprintable() for shown in text.splitlines())


def test_names_from_a_study_of_others_can_be_drawn(study) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    for name, choice in ((r"$\frac{$", r"$\bad{$"), ("\x1b[2J" * 100, "\n" * 100)):
        kinds = {name: optuna.distributions.CategoricalDistribution([choice])}
        study.add_trial(
            create_trial(value=0.1, params={name: choice}, distributions=kinds, intermediate_values={1: 0.1})
        )
    figure = plot_trials(study)
    figure.savefig(io.BytesIO(), format="png")
    texts = [axes.get_xlabel() for axes in figure.axes] + [
        text.get_text() for axes in figure.axes[2:] for text in axes.get_xticklabels()
    ]
    assert all(len(text) < 60 and text.isprintable() for text in texts)
