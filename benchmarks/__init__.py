"""Benchmarks: ``python -m benchmarks.NAME``.  ``--help`` lists the options, ``--quick`` is a short trial run.

    mnist               MNIST training on each backend and device: transfer, steps, epochs, accuracy, memory
    peers               the time of an MNIST epoch in xpdl and in other libraries, side by side
    gradcheck           the time of a gradient check in xpdl and in other libraries
    gradcheck_duel      who finds one wrong entry of 2,000: xpdl and other libraries
    gradcheck_verdicts  what check_network says of 512 networks, right and wrong
    scaling             how the time grows with batch size, parameters and epochs
    population          K networks in one run against K runs, one after the other
    ranks               how much faster a training is on several ranks
    larger_than_memory  the speed of a training on more data than fit into memory
    tuning              the tuning recipe against Optuna's default sampler
    sklearn_digits      a search by scikit-learn with MLPClassifier and with NetworkClassifier
    sklearn_mlp         scikit-learn's own tests of MLPClassifier and MLPRegressor, run on the estimators of xpdl
    startup             import time, memory after import, installed size
    probe               the upper limits of a GPU
    correctness         whether the compiled step gives the result of the plain one, and a device that of NumPy
    reliability         whether killed runs resume to the same bits, and whether every damaged file is refused
    damage              the damaged files of reliability, by their number
    threads             whether threads of one process get the bits that each would get alone
    faults              what happens to a job when a rank fails
    gpu                 the GPU tests and all GPU benchmarks, in one command for a bare machine

Each benchmark prints a table, and writes the same numbers with a description of the machine to
build/benchmarks/NAME-DEVICE.json.  ``--save`` writes them to benchmarks/results, to be committed.  On a machine that
others use too, a single number means little.  Contenders therefore run in their own processes and take turns, and the
tables show medians and ratios.

machine.py describes the machine, output.py writes tables and JSON, processes.py starts child processes, stopwatch.py
times single steps, mutations.py damages files; networks.py and contenders.py define what is compared.
"""
