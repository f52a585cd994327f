#!/usr/bin/env python3
"""Runs reports/examples/first_steps.ipynb from top to end and checks what it shows.

    pip install nbclient ipykernel matplotlib torch transformers
    python3 reports/checks/notebook.py [--write]

The cells check themselves (texts equal to the command's, values equal to the teaching page's);
here every cell has to run without an error and show the kinds of output that are committed: text,
or a figure. `--write` puts the fresh outputs into the file. INDUCER names the command, otherwise it
is found as the package finds it. Exit status 77 ("not run") where a package is missing.
"""

import os
import pathlib
import sys
import tempfile

here = pathlib.Path(__file__).resolve().parent
path = here.parent / "examples" / "first_steps.ipynb"

try:
    import ipykernel  # noqa: F401
    import matplotlib  # noqa: F401
    import nbclient
    import nbformat
    import torch
    import transformers
except ModuleNotFoundError as error:
    print(f"not run: no {error.name}", file=sys.stderr)
    sys.exit(77)


def kinds(cell):
    """What a cell shows: whether it prints, and its figures."""
    printed = any(o.output_type == "stream" for o in outputs(cell))
    figures = sum("image/png" in o.get("data", {}) for o in outputs(cell))
    return {"prints": printed, "figures": figures}


def outputs(cell):
    """All but warnings and progress, which differ from machine to machine."""
    return [o for o in cell.outputs if o.get("name") != "stderr"]


def main():
    """Runs the notebook and compares."""
    committed = nbformat.read(path, as_version=4)
    fresh = nbformat.read(path, as_version=4)
    if inducer := os.environ.get("INDUCER"):
        folder = tempfile.mkdtemp()
        os.symlink(pathlib.Path(inducer).resolve(), pathlib.Path(folder, "inducer"))
        os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    os.environ["PYTHONPATH"] = f"{here.parent / 'python'}:{os.environ.get('PYTHONPATH', '')}"
    nbclient.NotebookClient(fresh, timeout=900, kernel_name="python3").execute()
    if "--write" in sys.argv[1:]:
        for cell in fresh.cells:
            cell.metadata.pop("execution", None)
            if cell.cell_type == "code":
                cell.outputs = outputs(cell)
        nbformat.write(fresh, path)
        return 0
    code = [(a, b) for a, b in zip(committed.cells, fresh.cells) if a.cell_type == "code"]
    wrong = 0
    for number, (before, after) in enumerate(code, 1):
        if kinds(before) != kinds(after):
            print(f"code cell {number}: expected {kinds(before)}, found {kinds(after)}")
            wrong += 1
    figures = sum(kinds(after)["figures"] for _, after in code)
    print(
        f"{len(code)} code cells, {figures} figures, torch {torch.__version__}, "
        f"transformers {transformers.__version__}: {wrong} wrong"
    )
    return 1 if wrong or figures < 2 else 0


if __name__ == "__main__":
    sys.exit(main())
