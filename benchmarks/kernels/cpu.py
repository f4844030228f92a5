"""What the CPU offers to XNNPACK, and how fast its clock runs."""

import ctypes
import struct
import subprocess
import tempfile
from pathlib import Path

from hashbwn_keras.runtime import compiling

# cpuinfo's bytes for avx, avxvnni, fma3, fma4, xop, f16c, avx2, avx512f on a machine with AVX-512:
# how the structure of flags is recognised before anything is switched off.
_SIGNATURE = bytes([1, 0, 1, 0, 0, 1, 1, 1])
_AVX512_FLAGS = 31  # avx512f and all that follow it


def _local_symbols(path: Path, names: set[str]) -> dict[str, int]:
    """Addresses of symbols in an ELF file's symbol table, local ones included."""
    data = path.read_bytes()
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * size) for i in range(count)]
    found = {}
    for section in sections:
        if section[1] != 2:  # SHT_SYMTAB
            continue
        strings, (start, length) = sections[section[6]][4], section[4:6]
        for at in range(start, start + length, 24):
            name, value = struct.unpack_from("<I4xQ", data, at)
            end = data.index(b"\0", strings + name)
            text = data[strings + name : end]
            if text.decode("ascii", "replace") in names:
                found[text.decode()] = value
    return found


def confine_to_avx2() -> None:
    """Switches AVX-512 and VNNI off for XNNPACK inside the loaded TensorFlow.

    XNNPACK chooses kernels by the flags its cpuinfo library detected; they are cleared in memory
    before the first interpreter reads them.

    Raises:
        RuntimeError: the flags are not where this TensorFlow is known to keep them.
    """
    name = "libpywrap_tflite_common.so"
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(name) and int(line.split()[2], 16) == 0:
            base, path = int(line.split("-")[0], 16), Path(line.split()[-1])
            break
    else:
        raise RuntimeError(f"{name} is not loaded: this needs TensorFlow 2.21 on Linux.")
    symbols = _local_symbols(path, {"cpuinfo_initialize", "cpuinfo_isa"})
    ctypes.CFUNCTYPE(ctypes.c_bool)(base + symbols["cpuinfo_initialize"])()
    flags = (ctypes.c_ubyte * 64).from_address(base + symbols["cpuinfo_isa"])
    at = bytes(flags).find(_SIGNATURE)
    if at < 0:
        raise RuntimeError(
            "cpuinfo's flags are not laid out as expected: is this AVX-512 hardware?"
        )
    for i in [at + 1, *range(at + 7, at + 7 + _AVX512_FLAGS)]:
        flags[i] = 0


_CLOCK = """
#include <stdio.h>
#include <time.h>
int main(void) {
  struct timespec a, b;
  unsigned long x = 1, n = 400000000;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
  for (unsigned long i = 0; i < n / 8; ++i)
    __asm__ volatile("add $1,%0;add $1,%0;add $1,%0;add $1,%0;"
                     "add $1,%0;add $1,%0;add $1,%0;add $1,%0" : "+r"(x));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
  printf("%f", n / ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)));
}
"""


def clock_ghz() -> float:
    """Cycles per nanosecond now: dependent additions take one cycle each. x86-64 only."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "clock.c", Path(folder) / "clock"
        source.write_text(_CLOCK)
        subprocess.run(
            [*compiling.host_compiler(), "-O1", "-o", str(program), str(source)], check=True
        )
        runs = [subprocess.run([program], check=True, capture_output=True) for _ in range(3)]
    return max(float(r.stdout) for r in runs)
