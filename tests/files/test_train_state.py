"""The state of a run: its fields name the arrays of a checkpoint, so checkpoints written before can be read."""

import base64
import zlib

import numpy as np

import xpdl
from xpdl.files.checkpoint import read_sealed
from xpdl.files.host_copy import kinds, leaves_by_path
from xpdl.files.train_state import Carry, TrainState

WRITTEN_BEFORE = """
eNqtU01o1EAULqLgTTyJP8gSL1bj7mQySWZ7aEDEooKeerG7rJNkponuJksy698aoReLKNKD4EkUvXgR7UVE1ByKeBEvFnrRQ1GkoCcR9KI4k+za2lah4L
C77Pvmfd/7mze1YSA/XaXRaFFOPMJJo6EMdZW4EypDSremJD6BhllThko1BZgeMnTiAMYoRBRYFtAgMA3MmKEbpqZ7GEAATA0aAOuwqmPLxR6qUmKZjo6M
mqIKFRbFLcKloiZNNwpZMN6JCQ+iUKIiaEj5mSg+1bOS4DxN5P8xqJbER6tLnh94Hg2LxDgJ/UI86vB2hxdoMwgpiQs8CIMe6tMCaUJpgzKQhhdH7ajgCS
TNIX6uTQsKa0aEm6jgJZR6uZ80HMJdvyETlBDM7/0OY83c5nGHSujsHzKl3booY7CEETEpdizCPA9ikyAsOkuIA10LQmixIty5lVxtsOQAV0wC6MximoYR
dh2DmtRwIGGQid9eM9o8aInc4l4jxVArCSecVkChGoRch6Xdg4X74rW2LGhVFS5p3hbajlx/sVhO27+bkVAxSy9Z0lY/SHgU5yWMdZdw88E3oyT3hWUdIc
vESDc0A+jaSimAxOMRZQIANAMDBEUm3eWp9OW0ctXCqIqlGtRwFa8iCJEIBEAVFAem+YsKOy2HxrlPN6/VJc2mQ9xTSa9/Ryht76cJL9onALEzceD2r/9j
PtKl4YhQqyukaaqk6mJ+lcXMKtwXiyxXOH/AYokPmkhR5R5La6xaV5V8zSPGEsoTAQHVgnUhJ+ffoiT8O3kl14IqBn1y7/GsKTgGqqiqr7D25AVZhRD1BZ
hcdLpU4ZAO/1mBIAsB3BcoLtYmgFWowz+bANakoIsadLOepqXiHN76ZubnrlfZws5tj57OPbGHz4/vm//xNWPszuzI6w/2gWM/L0+QzJ6+MD8zf/N9dnFy
4cb2daP2ju/Dz4y3l7Kz81d33N370h7oHfPFbTww/e75x1u0fLR+wi4f//L5QQVn5oHuxLeZ0/b1XYcnNxvT9pVrIxtP3nuYbZ3b9PnTYyubXJiavb2nZW
+ZrI3ed6ez/53XevH9BblnElI=
"""
"""A checkpoint of version 0.1 after 2 epochs of the run below, compressed."""


def run(**options):
    net = xpdl.Network([2, 2, 1], hidden="tanh", output="linear")
    x, y = np.arange(6.0).reshape(3, 2), np.array([0.0, 1.0, 2.0])
    same = {
        "optimizer": xpdl.momentum(0.01),
        "batch_size": 2,
        "backend": "numpy",
        "dtype": "float64",
        "progress": False,
    }
    return xpdl.train(net, x, y, **same, **options)


def test_a_checkpoint_written_before_is_resumed(tmp_path) -> None:
    path, best = tmp_path / "run.safetensors", xpdl.KeepBest("loss")
    path.write_bytes(zlib.decompress(base64.b64decode(WRITTEN_BEFORE)))
    result = run(epochs=4, resume=path, callbacks=[best])
    expected = run(epochs=4, callbacks=[xpdl.KeepBest("loss")])
    np.testing.assert_allclose(result.moment.carry.theta, expected.moment.carry.theta, rtol=1e-12)
    np.testing.assert_allclose(best.theta, expected.theta, rtol=1e-12)
    assert [metrics["epoch"] for metrics in result.history] == [1, 2, 3, 4]


def test_a_checkpoint_holds_what_one_written_before_holds(tmp_path) -> None:
    """Both have the same arrays and entries in the same order; the numbers depend on the machine."""
    (tmp_path / "before").write_bytes(zlib.decompress(base64.b64decode(WRITTEN_BEFORE)))
    run(epochs=2, checkpoint=tmp_path / "now", callbacks=[xpdl.KeepBest("loss")])
    (before, document), (now, other) = (read_sealed(tmp_path / name) for name in ("before", "now"))
    assert kinds(before).items() == kinds(now).items()
    assert list(document) == list(other)
    assert document["configuration"] == other["configuration"]
    assert list(document["callbacks"]["KeepBest/0"]) == list(other["callbacks"]["KeepBest/0"])


def test_the_fields_are_the_paths_of_the_arrays() -> None:
    state = TrainState(Carry(0, {"m": 1}, 2, 3, 4), last_good=None, history=[])
    assert list(leaves_by_path({"run": state.carry, "good": state.last_good})) == [
        "run/theta",
        "run/state/m",
        "run/offset",
        "run/mean",
        "run/finite",
    ]
    assert (state.step, state.seconds) == (0, 0.0)
