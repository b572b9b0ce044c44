"""The `jitcore` command."""

from __future__ import annotations

from pathlib import Path

import click

from jitcore_ir.version import __version__

from .errors import InputError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="jitcore")
def main() -> None:
    """Compile, export, inspect, run and measure jitcore models."""


@main.command()
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Folder to write to.",
)
@click.option("--epochs", type=click.IntRange(1), default=8, show_default=True, help="Passes over the training digits.")
def demo(output: Path, epochs: int) -> None:
    """Train on handwritten digits, compile, export, and load without a compiler. Needs a clone of the repository."""
    from rich.console import Console

    from .demo.run import run_demo

    root = Path(__file__).resolve().parents[2]
    if not (root / "runtime" / "pyproject.toml").exists():
        raise InputError(
            f"the demo builds the runtime wheel from jitcore's repository, which {root} is not; run it from a clone"
        )
    try:
        held = run_demo(root, output, epochs, Console())
    except ImportError as error:
        raise InputError(f"{error}; install the demo extra: pip install 'jitcore[demo]'") from error
    if not held:
        raise SystemExit(1)


@main.command()
@click.argument("source", metavar="FILE.py:NAME")
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="The archive to write.")
@click.option(
    "--input", "-i", "inputs", multiple=True, metavar="NAME=DTYPE[DIMS]", help="One per input, e.g. x=float32[N,1,8,8]."
)
@click.option(
    "--target",
    "-t",
    "targets",
    multiple=True,
    help="CPU targets of the native code, or `none`; default: x86-64-v2, v3, v4.",
)
@click.option("--exact", is_flag=True, help="Answers have the bits that eager execution gives; slower.")
def export(source: str, output: Path, inputs: tuple[str, ...], targets: tuple[str, ...], exact: bool) -> None:
    """Export a function or Module as one .jca file.

    NAME is a Module, a function of tensors, or a function without arguments that returns a Module. Dimensions are
    numbers or names; a name is a size that each call may choose.
    """
    from .export_command import export_file

    export_file(source, output, inputs, targets, exact)


@main.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--graph/--no-graph", default=True, help="Show the operations.")
def inspect(archive: Path, graph: bool) -> None:
    """Show an archive's signature, graph, segments and targets. Runs nothing in it."""
    from .inspect_command import inspect_archive

    click.echo(inspect_archive(archive, graph))


@main.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--input", "-i", "inputs", multiple=True, metavar="NAME=FILE.npy", help="One per input.")
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="The .npz file to write.")
@click.option("--entry", default=None, help="Which entry point; default: the only or first one.")
@click.option(
    "--native/--interpreted", default=False, help="Run the machine code of a file you trust; default: interpreted."
)
@click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="FILE.py",
    help="Run first: it registers the custom operations needed.",
)
def run(
    archive: Path, inputs: tuple[str, ...], output: Path, entry: str | None, native: bool, modules: tuple[str, ...]
) -> None:
    """Run an archive on .npy inputs and write its outputs as .npz."""
    from .run_command import run_archive

    run_archive(archive, inputs, output, entry, native, modules)


@main.command()
@click.argument("workloads", nargs=-1)
@click.option("--peer", "-p", "peers", multiple=True, help="Peers to measure; default: every one that is installed.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads each peer may use.")
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="Interleaved rounds.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=None, help="Also write the results here.")
@click.option("--list", "only_list", is_flag=True, help="List workloads and peers.")
def bench(
    workloads: tuple[str, ...],
    peers: tuple[str, ...],
    threads: int,
    rounds: int,
    json_path: Path | None,
    only_list: bool,
) -> None:
    """Measure workloads beside NumPy, PyTorch, JAX and ONNX Runtime, checked against a float64 reference first."""
    from .bench.command import run_bench

    run_bench(workloads, peers, threads, rounds, json_path, only_list)


@main.command()
@click.option("--match", "-m", default=None, metavar="REGEX", help="Only operators whose name matches.")
@click.option(
    "--dtype", "-d", "dtypes", multiple=True, default=("float32",), show_default=True, help="May be repeated."
)
@click.option("--methods/--no-methods", default=True, show_default=True, help="Also methods and in-place methods.")
@click.option("--second", is_flag=True, help="Also second gradients.")
@click.option("--jit", is_flag=True, help="Also under jitcore.jit, recorded and replayed.")
@click.option("--export", "exported", is_flag=True, help="Also exported, loaded, native and interpreted.")
@click.option("--dynamic", is_flag=True, help="Also exported with a symbolic size, run at another size.")
@click.option("--samples", type=click.IntRange(1), default=60, show_default=True, help="Samples of an operator.")
@click.option("--processes", "-n", type=click.IntRange(1), default=2, show_default=True, help="Worker processes.")
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), default=None, help="Also write the verdicts here."
)
@click.option("--all", "show_all", is_flag=True, help="List the passing ones too.")
def operators(
    match: str | None,
    dtypes: tuple[str, ...],
    methods: bool,
    second: bool,
    jit: bool,
    exported: bool,
    dynamic: bool,
    samples: int,
    processes: int,
    json_path: Path | None,
    show_all: bool,
) -> None:
    """Run PyTorch's operator database against jitcore: pass, wrong, error or missing per operator.

    Values, dtypes, shapes and gradients of every sample of an operator are compared with PyTorch's. Ends with status
    1 where an answer is wrong.
    """
    from .operators.checks import Checks
    from .operators.command import run_operators

    if not run_operators(
        match, dtypes, Checks(methods, jit, exported, second, dynamic, samples), processes, json_path, show_all
    ):
        raise SystemExit(1)


@main.command()
@click.option("--output", "-o", type=click.Path(path_type=Path), default=None, help="Also write the page here.")
def coverage(output: Path | None) -> None:
    """Compare our namespaces and signatures with PyTorch's: full, partial or absent, as a page of docs."""
    from .coverage.report import write_coverage

    click.echo(write_coverage(output), nl=False)


if __name__ == "__main__":
    main()
