"""Write the golden archive of the present format: `python tests/serialize/golden/make.py`. Never replaces one."""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from archive_cases import full_archive  # noqa: E402

from jitcore_runtime import load  # noqa: E402
from jitcore_serialize.layout import FORMAT_VERSION  # noqa: E402
from jitcore_serialize.writer import write_archive  # noqa: E402


def main():
    path = HERE / f"format-{FORMAT_VERSION}.jca"
    if path.exists():
        raise SystemExit(f"{path} is there already; archives of a released format are never made anew")
    write_archive(full_archive(), path)
    model = load(path)
    x = np.linspace(-2, 2, 40, dtype=np.float32).reshape(5, 8)
    delta = np.linspace(0, 1, 16, dtype=np.float32)
    result = model(x)
    best, (rows, _) = result["others"]
    total = model.run("step", delta, True)
    np.savez(path.with_suffix(".npz"), x=x, delta=delta, flat=result["flat"], best=best, rows=rows, total=total)
    print(f"wrote {path} and {path.with_suffix('.npz')}")


if __name__ == "__main__":
    main()
