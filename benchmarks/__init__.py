"""Benchmarks: ``python -m benchmarks.NAME``; ``--help`` lists options, ``--quick`` shows that one works.

    mnist        MNIST training on each backend and device: transfer, steps, epochs, accuracy, memory
    peers        seconds an MNIST epoch takes here and in other libraries, side by side
    gradcheck    seconds a gradient check takes here and in other libraries
    scaling      the cost against batch size, parameters and epochs, with lines fitted
    startup      import time, memory after import, installed size
    probe        what a GPU can do at most
    correctness  is the compiled step the plain one, and a device's result NumPy's
    reliability  do runs that are killed go on to the same bits, and is every damaged file refused
    damage       which damaged file it was, by its number
    gpu          the GPU tests and all that concerns a GPU, in one command for a bare machine

Each prints a table and writes the same numbers, with the machine they come from, to build/benchmarks/NAME-DEVICE.json;
``--save`` puts them under benchmarks/results, to be committed.  A number means little on a machine that others share;
so contenders run in processes of their own, in turn, and what is reported is the median and the ratio.

machine.py describes the machine, output.py writes tables and JSON, processes.py starts the children, stopwatch.py takes
the time of single steps, mutations.py damages files; networks.py and contenders.py say what is compared.
"""
