"""Facts about this machine's processor that decide between equal ways to compute."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
#: Flags of a processor for which ONNX Runtime takes its kernels for AVX-512.
_AVX512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}


def multiplies_bytes_exactly(cpuinfo: str | None = None) -> bool:
    """Return True if ONNX Runtime's quick 8-bit products are exact on this processor: it has the instructions VNNI.

    Older instructions of x86 add pairs of products in 16 bits, and saturate. False also if it is not known.

    Parameters
    ----------
    cpuinfo
        Text of ``/proc/cpuinfo``. Default: that of this machine.

    Examples
    --------
    >>> multiplies_bytes_exactly("flags : avx2 avx512f avx512bw avx512dq avx512vl avx512_vnni")
    True
    >>> multiplies_bytes_exactly("flags : avx2 avx_vnni"), multiplies_bytes_exactly("flags : avx2")
    (True, False)
    """
    if cpuinfo is None:
        try:
            cpuinfo = _CPUINFO.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
    processors = [set(line.partition(":")[2].split()) for line in cpuinfo.splitlines() if line.startswith("flags")]
    # With AVX-512 the runtime takes no kernel of AVX-VNNI.
    needed = ["avx512_vnni" if flags >= _AVX512 else "avx_vnni" for flags in processors]
    return bool(processors) and all(name in flags for name, flags in zip(needed, processors, strict=True))
