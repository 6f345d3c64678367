"""Tuning of hyper-parameters: a recipe as a sampler of Optuna, and the search that ``xpdl tune`` runs.

The recipe is that of "Deep Learning from first principles", part 8.

recipe.py             the recipe, as a person would follow it
sampler.py            the recipe as a sampler of Optuna
space.py              the hyper-parameters of a network, in the order in which they are tuned
objective.py          a trial: a run of ``xpdl.train``
storage.py            where a study is kept, so that it can be resumed and shared
search.py             ``tune``
table.py, picture.py  a study as a table and as a picture
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpdl.tuning.picture import plot_trials
    from xpdl.tuning.recipe import Stage
    from xpdl.tuning.sampler import RecipeSampler
    from xpdl.tuning.search import Tuned, tune

MODULE_OF = {
    "RecipeSampler": "sampler",
    "Stage": "recipe",
    "Tuned": "search",
    "plot_trials": "picture",
    "tune": "search",
}
__all__ = ["RecipeSampler", "Stage", "Tuned", "plot_trials", "tune"]


def __getattr__(name: str) -> Any:
    if name not in MODULE_OF:
        raise AttributeError(f"module 'xpdl.tuning' has no attribute {name!r}")
    try:
        return getattr(import_module(f"xpdl.tuning.{MODULE_OF[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name in ("optuna", "sqlalchemy"):
            raise ImportError('tuning needs Optuna: pip install "xpdl[tune]"') from error
        raise


def __dir__() -> list[str]:
    return __all__
