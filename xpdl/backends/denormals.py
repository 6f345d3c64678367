"""Denormals: within a block, the CPU treats denormal numbers as zero.

Denormal numbers are those below the smallest normal one (1e-38 in float32).  Arithmetic on them takes a CPU many times
as long.  The moments of an optimizer are full of them: if a gradient stays 0, as at the dark edges of an image,
m <- beta m ends at the smallest denormal number, and rounding keeps it there.  CuPy's kernels treat them as zero
(-ftz=true).  The C library can make the CPU do the same, on systems whose floating-point environment is known.
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
    """A context in which this thread treats denormal numbers as zero."""

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
