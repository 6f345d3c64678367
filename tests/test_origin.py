"""The table of the origin's functions is whole, and what it names is there."""

from pkgutil import resolve_name
import re

import pytest

from xpdl import Network, Optimizer, check_update, momentum, origin

LAYERS = """sigmoid relu tanh reluDerivative sigmoidDerivative tanhDerivative initializeModel initializeDeepModel
layerActivationForward forwardPropagationDeep computeCost layerActivationBackward backwardPropagationDeep
gradientDescent L_Layer_DeepModel plot_decision_boundary predict predict_proba"""
SPACE = "plot_decision_surface plotSurface read show"
SOFTMAX = "softmax stableSoftmax softmaxDerivative stableSoftmaxDerivative L_Layer_DeepModel_SGD random_mini_batches"
INITIAL = """HeInitializeDeepModel XavInitializeDeepModel computeCostWithReg layerActivationBackwardWithReg
plot_decision_boundary1 load_dataset"""
OPTIMIZERS = """initializeVelocity initializeRMSProp initializeAdam gradientDescentWithMomentum
gradientDescentWithRMSProp gradientDescentWithAdam"""
CHECK = "dictionary_to_vector gradients_to_vector vector_to_dictionary vector_to_dictionary2 gradient_check_n"
PARTS = {  # the functions in the origin's files
    1: "sigmoid initialize computeLoss forwardPropagation gradientDescent predict normalize",
    2: """sigmoid getModelShape initializeModel forwardPropagation computeCost backPropagation gradientDescent
        computeNN predict plot_decision_boundary_n plot_decision_boundary""",
    3: f"{LAYERS} {SPACE}",
    4: """relu softmax reluDerivative softmaxDerivative initializeModel layerActivationForward
        layerActivationBackward plot_decision_boundary""",
    5: f"{LAYERS} {SPACE} {SOFTMAX}",
    6: f"{LAYERS} {SOFTMAX} {INITIAL}",
    7: f"{LAYERS} {SOFTMAX} {INITIAL} {OPTIMIZERS}",
    8: f"{LAYERS} {SOFTMAX} {INITIAL} {OPTIMIZERS} {CHECK}",
}
TABLE = re.findall(r"^    (\w+) +((?:\d )*\d) {2,}(.+)$", origin.__doc__, flags=re.MULTILINE)
NAMES = sorted(set(re.findall(r"xpdl(?:\.\w+)+", origin.__doc__)))


def test_every_function_of_every_part_is_in_the_table_once() -> None:
    found = {name: [int(part) for part in parts.split()] for name, parts, _ in TABLE}
    assert len(found) == len(TABLE)
    assert found == {
        name: [part for part, functions in PARTS.items() if name in functions.split()]
        for name in {name for functions in PARTS.values() for name in functions.split()}
    }


def test_every_place_is_a_name_or_said_to_be_none() -> None:
    assert [place for _, _, place in TABLE if not place.startswith(("xpdl.", "none"))] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name) -> None:
    if name.startswith("xpdl.plots"):
        pytest.importorskip("matplotlib")
    assert resolve_name(name) is not None


def test_the_origin_s_momentum_is_found() -> None:
    """Where it is wrong and what is done there; that Adam is found stands in gradcheck/update/test_check.py."""
    net, right = Network([3, 4, 5, 3]), momentum(0.1, average=True)
    last = [net.layout.slices[2], net.layout.slices[5]]

    def update(theta, grad, state):
        before = theta.copy()
        theta, state = right.update(theta, grad.copy(), state)
        for part in last:
            theta[part] = before[part] - 0.1 * grad[part]
        return theta, state

    report = check_update(Optimizer(right.init, update), size=net.size)
    assert report.verdict == "FAIL"
    assert "entries 32 to 46, 56 to 58 of 59: updated by another rule than the rest, sgd" in str(report)
