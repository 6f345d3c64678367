"""The optimizers of PyTorch are recognised under their names."""

import numpy as np
import pytest

from xpdl.gradcheck.update import check_update

torch = pytest.importorskip("torch")
ADAM = {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-7}
CASES = [  # class, options, clipping, name
    ("SGD", {"lr": 0.1}, None, "sgd"),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.01}, None, "momentum"),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "dampening": 0.3}, None, "momentum"),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True}, None, "nesterov"),
    ("Adam", ADAM, None, "adam"),
    ("Adam", ADAM | {"weight_decay": 0.01}, None, "adam"),
    ("Adam", ADAM | {"amsgrad": True}, None, "amsgrad"),
    ("AdamW", ADAM, None, "adamw"),
    ("NAdam", ADAM, None, "nadam"),
    ("Adamax", ADAM, None, "adamax"),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.1}, None, "adagrad"),
    ("Adadelta", {"lr": 1.0}, None, "adadelta"),
    ("RMSprop", {"lr": 0.01}, None, "rmsprop"),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.8}, None, "rmsprop"),
    ("SGD", {"lr": 0.1}, "clip_grad_norm_", "sgd"),
    ("Adam", ADAM, "clip_grad_norm_", "adam"),
    ("Adam", ADAM, "clip_grad_value_", "adam"),
]


def functional(kind, options, clip):
    """The optimizer as two functions, with its state between steps."""

    def copied(state):
        return {name: value.clone() if torch.is_tensor(value) else value for name, value in state.items()}

    def update(theta, grad, state):
        p = torch.nn.Parameter(torch.from_numpy(np.array(theta)))
        optimizer = getattr(torch.optim, kind)([p], **options)
        optimizer.state[p] = copied(state)
        p.grad = torch.from_numpy(np.array(grad))
        if clip:
            getattr(torch.nn.utils, clip)([p], 0.5)
        optimizer.step()
        return p.detach().numpy().copy(), copied(optimizer.state[p])

    return lambda theta: {}, update


@pytest.mark.parametrize(("kind", "options", "clip", "name"), CASES)
def test_they_are_recognised(kind, options, clip, name) -> None:
    report = check_update(functional(kind, options, clip))
    assert (report.verdict, report.rule) == ("PASS", name), report
