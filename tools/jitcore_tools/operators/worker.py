"""Checks operators one at a time: {"index": n, "dtype": name, "checks": {...}} as JSON lines in, verdicts out."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

import torch
from torch.testing._internal.common_methods_invocations import op_db

from .check import check
from .checks import Checks


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        dtype = getattr(torch, request["dtype"])
        try:
            answer = asdict(check(op_db[request["index"]], dtype, Checks(**request["checks"])))
        except Exception as error:
            answer = {"status": "error", "detail": f"the check itself: {type(error).__name__}: {error}", "samples": 0}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
