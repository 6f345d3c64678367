"""Denormal numbers as zero, for the length of a block.

Numbers below the smallest normal one (1e-38 in float32) take a CPU many times as long.  An optimizer's moments are full
of them: where the gradient stays 0, as at the dark edges of an image, m <- beta m ends at the smallest denormal and,
being rounded, stays there.  CuPy's kernels take them for zero (-ftz=true); the C library can tell the CPU to do so too,
where its floating-point environment is known.
"""

import ctypes
import platform

Environment = ctypes.c_uint32 * 16  # a fenv_t, with room to spare

FLUSH = {
    ("Linux", "x86_64"): (7, 0x8040),  # MXCSR: flush to zero, denormals are zero
    ("Linux", "aarch64"): (0, 1 << 24),  # FPCR: FZ
}
"""The word of fenv_t and its bits to set; elsewhere nothing is changed."""

PLACE = FLUSH.get((platform.system(), platform.machine()))


def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libm.so.6") if PLACE else None
    except OSError:
        return None


class Flushed:
    """A context in which this thread computes with denormal numbers as zero."""

    libm = _library()

    def __enter__(self) -> None:
        if self.libm is not None and PLACE is not None:
            word, bits = PLACE
            self.previous = Environment()
            self.libm.fegetenv(self.previous)
            changed = Environment.from_buffer_copy(self.previous)
            changed[word] |= bits
            self.libm.fesetenv(changed)

    def __exit__(self, *error: object) -> None:
        if self.libm is not None:
            self.libm.fesetenv(self.previous)
