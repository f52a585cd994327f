#!/usr/bin/env python3
"""A LAPACK for a wheel: the package scipy-openblas32 under LAPACK's own names.

    pip install scipy-openblas32 ziglang
    python3 reports/checks/lapack.py DIRECTORY     then PKG_CONFIG_PATH=DIRECTORY cargo build ...

The package has OpenBLAS for an old C library (manylinux), with kernels for every processor and no
Fortran library beside it, as NumPy's and SciPy's wheels use it. Its functions are called
`scipy_dpotrf_` and so on. DIRECTORY gets an archive `libopenblas.a` in which each function of
LAPACK is a jump to its namesake there, and `openblas.pc`, by which openblas-src finds both. The
last line of the output is the folder of the library itself.
"""

import platform
import re
import subprocess
import sys
from pathlib import Path

import scipy_openblas32

JUMPS = {"x86_64": "jmp *scipy_{}_@GOTPCREL(%rip)", "aarch64": "b scipy_{}_"}
PC = """\
Name: openblas
Description: scipy-openblas32 under LAPACK's own names
Version: {version}
Libs: -L{here} -L{there} -lopenblas -l{library}
"""


def assembly(header: str, jump: str) -> str:
    """A section for each function of LAPACK's header, so that a program keeps those it calls."""
    names = sorted(set(re.findall(r"LAPACK_GLOBAL\((\w+),", header)))
    lines = ['.section .note.GNU-stack,"",@progbits']
    for name in names:
        lines += [
            f'.section .text.{name}_,"ax",@progbits',
            f".globl {name}_",
            f".type {name}_,@function",
            f"{name}_:",
            f"    {jump.format(name)}",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    here = Path(sys.argv[1]).resolve()
    here.mkdir(parents=True, exist_ok=True)
    machine = platform.machine()
    if machine not in JUMPS:
        sys.exit(f"lapack: {machine}: expected one of {', '.join(JUMPS)}")
    there = Path(scipy_openblas32.get_lib_dir())
    header = Path(scipy_openblas32.get_include_dir(), "lapack.h").read_text()
    source, made = here / "lapack.s", here / "lapack.o"
    source.write_text(assembly(header, JUMPS[machine]))
    zig = [sys.executable, "-m", "ziglang"]
    subprocess.run(
        [*zig, "cc", "-target", f"{machine}-linux-gnu", "-c", source, "-o", made], check=True
    )
    subprocess.run([*zig, "ar", "rcs", here / "libopenblas.a", made], check=True)
    (here / "openblas.pc").write_text(
        PC.format(
            version=scipy_openblas32.__version__,
            here=here,
            there=there,
            library=scipy_openblas32.get_library(),
        )
    )
    print(there)


if __name__ == "__main__":
    main()
