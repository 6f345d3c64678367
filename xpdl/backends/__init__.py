"""Backends: the array library and the device of a computation, chosen by name; only this folder imports such libraries.

A backend is data (base.py): a namespace, a device, and hooks for operations that the Array API standard does not have.
Each library is one module, and selection.py finds it by name.  The largest hook is ``compile``.  It takes a training
step, written in array operations, through five stages.  The figures are for network M, 784-256-128-10, in batches of
128.

    record   run the step twice and write down each array operation       replay/recorder.py
             gain: nothing by itself; all other stages work on the record
    plan     give each result memory, and make each operation a call      replay/plan.py
             without arguments that writes there
             gain: with replay, 200 us of 1,600 us a step on NumPy; with theta and the optimizer's vectors on cache
             lines, another 100 us
    fuse     join elementwise operations into groups, one kernel each     kernels/fusion.py, operations.py
             NumPy: kernels in C, for long vectors (kernels/c_compiler.py).  gain: the update of Adam 250 us, other
             groups 70 us, single numbers 20 us of a step
             CuPy: groups and reductions as stages of one kernel (cuda/multi_stage.py).  gain: 16 launches a step
             instead of 75
    replay   run the calls, from the third step on                        replay/replayed.py
             gain: no new array, and the Python function of the step does not run; see plan
    graph    CuPy: all launches of up to 7 steps become one               cuda/graph.py
             expected gain: 55 to 75 us a step instead of 350 to 550 us

The times of NumPy were measured on two cores with AVX-512.  No time was measured on a GPU yet: those of ``graph`` are
estimates; tests count the launches.  numpy_replay.py, torch_replay.py and cupy_replay.py adapt the stages to each
library.  Steps on PyTorch are recorded, planned and replayed, but not fused.  JAX has its own compiler instead of these
stages: jax.py gives it the whole step.  With any other library a step runs unchanged.
"""

from xpdl.backends.base import Backend
from xpdl.backends.selection import INSTALL, PRECISIONS, available_backends, backend, backend_of

__all__ = ["INSTALL", "PRECISIONS", "Backend", "available_backends", "backend", "backend_of"]
