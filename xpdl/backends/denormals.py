"""Denormals: in a block, the CPU takes denormal numbers for zero.

Arithmetic on numbers below the smallest normal one (1e-38 in float32) takes a CPU many times as long.  An optimizer's
moments are full of such numbers: where the gradient stays 0, as at the dark edges of an image, m <- beta m ends at the
smallest denormal number, and rounding keeps it there.  CuPy's kernels take them for zero (-ftz=true).  The C library
can tell the CPU to do the same, on systems whose floating-point environment is known.
"""

import ctypes
import platform

Environment = ctypes.c_uint32 * 16  # a fenv_t, with room to spare

FLUSH = {
    ("Linux", "x86_64"): (7, 0x8040),  # MXCSR: flush to zero, denormals are zero
    ("Linux", "aarch64"): (0, 1 << 24),  # FPCR: FZ
}
"""By system and processor: the word of fenv_t, and the bits to set in it.  On other systems nothing is changed."""

PLACE = FLUSH.get((platform.system(), platform.machine()))


def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libm.so.6") if PLACE else None
    except OSError:
        return None


class Flushed:
    """A context in which this thread takes denormal numbers for zero."""

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
