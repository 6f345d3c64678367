"""xpdl backends: a line for each array library."""


def test_backends_prints_a_line_for_each(run) -> None:
    code, out, err = run("backends")
    assert (code, err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert set(lines) == {"numpy", "cupy", "torch", "jax", "array_api_strict"}
    assert lines["numpy"] == "ready"
    assert lines["cupy"] == "ready" or "install" in lines["cupy"]


def test_backends_takes_no_argument(refused) -> None:
    refused("backends extra", "extra")
