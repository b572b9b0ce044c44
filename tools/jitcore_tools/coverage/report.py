"""The page: a table of counts, then each namespace with what is partial and what is absent."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError

HEAD = """# Coverage of PyTorch's surface

Made by `jitcore coverage`, which compares the public names of PyTorch {version} and the arguments they take with ours.
*Full*: we have the name and every argument. *Partial*: some arguments are missing. *Absent*: asking for it is
a `NotImplementedError` that names it (also an `AttributeError`, so that `hasattr` is false). That names and arguments
agree does not say that results do: `jitcore operators` and the tests say that.
"""


def write_coverage(path: Path | None) -> str:
    """The page's text, also written to `path`. Raises InputError without PyTorch."""
    try:
        import torch
    except ImportError as error:
        raise InputError("the comparison needs PyTorch: pip install 'jitcore[test]'") from error
    text = page(str(torch.__version__).partition("+")[0])
    if path is not None:
        path.write_text(text)
    return text


def page(version: str) -> str:
    """The whole page, the same for the same two libraries."""
    from .compare import compare
    from .namespaces import NAMESPACES

    found = {namespace: compare(namespace) for namespace in NAMESPACES}
    lines = [HEAD.format(version=version), "| namespace | full | partial | absent |", "|---|---:|---:|---:|"]
    totals = [0, 0, 0]
    for namespace, (rows, _) in found.items():
        counts = [sum(row.status == status for row in rows) for status in ("full", "partial", "absent")]
        totals = [a + b for a, b in zip(totals, counts)]
        lines.append(f"| {namespace} | {counts[0]} | {counts[1]} | {counts[2]} |")
    lines.append(f"| together | {totals[0]} | {totals[1]} | {totals[2]} |")
    left_out: dict[str, int] = {}
    for _, names in found.values():
        for why, count in names.items():
            left_out[why] = left_out.get(why, 0) + count
    lines += [
        "",
        "Not counted: " + "; ".join(f"{why} ({count} names)" for why, count in sorted(left_out.items())) + ".",
    ]
    for namespace, (rows, _) in found.items():
        lines += ["", f"## {namespace}", ""]
        for status in ("partial", "absent"):
            named = [row for row in rows if row.status == status]
            if named:
                shown = (f"`{row.name}`" + (f" ({row.detail})" if row.detail else "") for row in named)
                lines += [f"{status.capitalize()}: {', '.join(shown)}.", ""]
        full = [row for row in rows if row.status == "full"]
        lines.append(f"Full: {', '.join(f'`{row.name}`' for row in full) or 'nothing'}.")
    return "\n".join(lines) + "\n"
