"""Makes the helpers of this folder importable, and the compiler tests' random graphs."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "compiler")]
