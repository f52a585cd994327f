"""`python -m inducer_tuning ...` runs the `inducer` command of this package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path


def find_inducer() -> str:
    """The path of the `inducer` binary that was installed with the package."""
    name = "inducer" + (sysconfig.get_config_var("EXE") or "")
    user = sysconfig.get_preferred_scheme("user")
    for scheme in (None, user):
        folder = sysconfig.get_path("scripts", scheme) if scheme else sysconfig.get_path("scripts")
        path = Path(folder, name)
        if path.is_file():
            return str(path)
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name}: neither beside this Python nor on PATH")
    return found


def main() -> None:
    """Hands arguments and exit status through."""
    command = [find_inducer(), *sys.argv[1:]]
    if sys.platform == "win32":
        sys.exit(subprocess.run(command, check=False).returncode)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
