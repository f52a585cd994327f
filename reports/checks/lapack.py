#!/usr/bin/env python3
"""A LAPACK for a wheel: the package scipy-openblas32 under LAPACK's own names.

    pip install scipy-openblas32 ziglang
    python3 reports/checks/lapack.py DIRECTORY     then PKG_CONFIG_PATH=DIRECTORY cargo build ...

The package has OpenBLAS for an old C library (manylinux), with kernels for every processor and no
Fortran library beside it, as NumPy's and SciPy's wheels use it. Its functions are called
`scipy_dpotrf_` and so on. DIRECTORY gets a library `libopenblas.so` in which each function of
LAPACK is a jump to its namesake there, and `openblas.pc`, by which openblas-src finds it. (An
archive would do, but zig's linker takes none where a shared library is asked for.) The output is
the folders of both libraries, as LD_LIBRARY_PATH takes them.
"""

import platform
import re
import subprocess
import sys
from pathlib import Path

import scipy_openblas32

JUMPS = {"x86_64": "jmp *scipy_{}_@GOTPCREL(%rip)", "aarch64": "b scipy_{}_"}
GLIBC = "2.17"  # the stub wants nothing of it
PC = """\
Name: openblas
Description: scipy-openblas32 under LAPACK's own names
Version: {version}
Libs: -L{here} -L{there} -lopenblas -l{library}
"""


def assembly(header: str, library: bytes, jump: str) -> str:
    """A jump for each function of LAPACK's header that the library has."""
    named = set(re.findall(r"LAPACK_GLOBAL\((\w+),", header))
    there = set(re.findall(rb"scipy_(\w+?)_\0", library))
    lines = ['.section .note.GNU-stack,"",@progbits', ".text"]
    for name in sorted(name for name in named if name.encode() in there):
        lines += [
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
    library = scipy_openblas32.get_library()
    code = Path(there, scipy_openblas32.get_library(fullname=True)).read_bytes()
    source = here / "lapack.s"
    source.write_text(assembly(header, code, JUMPS[machine]))
    target = ["-target", f"{machine}-linux-gnu.{GLIBC}", "-shared", "-Wl,-soname,libopenblas.so"]
    files = ["-o", here / "libopenblas.so", source, f"-L{there}", f"-l{library}"]
    subprocess.run([sys.executable, "-m", "ziglang", "cc", *target, *files], check=True)
    (here / "openblas.pc").write_text(
        PC.format(
            version=scipy_openblas32.__version__,
            here=here,
            there=there,
            library=library,
        )
    )
    print(f"{here}:{there}")


if __name__ == "__main__":
    main()
