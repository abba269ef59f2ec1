"""scoressl compare RUN [RUN ...] [--out=DIR]: what one kind of run has over another.

Prints a Markdown table, one row a configuration, mean ± sd over its seeds. Runs whose config.json differs in seeds
alone, or in the seeds of the runs that they took networks from, are one row; a figure that some run of a row
lacks is left out. FID has a column for each count and extractor, but none where a judge extracted: each run has a
judge, and features, of its own. With --out, DIR/compare.html has the same, the accuracy by noise level and the input
gradients side by side, and both pictures lie beside it.
"""

from argparse import Namespace

from scoressl_jax.commands.arguments import Parser, check_target
from scoressl_jax.experiment.fields import as_read, had_before
from scoressl_jax.experiment.run import Run
from scoressl_jax.files import flat, path_of
from scoressl_jax.report.compare import other_data, write_page
from scoressl_jax.report.groups import cells, difference, group_names, grouped, markdown
from scoressl_jax.studies.kinds import kind_of


def parse(argv: list) -> Namespace:
    parser = Parser("scoressl compare", description=__doc__)
    parser.hint = "usage: scoressl compare RUN [RUN ...] [--out=DIR]"
    parser.add_argument("runs", metavar="RUN", nargs="+", help="directory of a finished run")
    parser.add_argument("--out", metavar="DIR", help="directory for compare.html and its pictures")
    return parser.parse_intermixed_args(argv)


def complete(run: Run) -> dict:
    """A run's fields, those that are newer than the run as all runs had them before."""
    values = run.config
    for name, value in had_before(kind_of(values).fields, dict(flat(values))).items():
        *path, last = name.split(".")
        block = values
        for part in path:
            block = block.setdefault(part, {})
        block.setdefault(last, as_read(value))
    return values


def config_at(path: str) -> dict | None:
    run = Run(path)
    return complete(run) if run.exists else None


def main(argv: list) -> int:
    options = parse(argv)
    groups = grouped([Run.open(path) for path in options.runs], config_at, complete)
    out = None if options.out is None else path_of(options.out, "--out")
    if out is not None:
        check_target("--out", out, out)
    print(markdown(groups))
    if other_data(groups):
        print(f"\n{other_data(groups)}")
    if out is not None:
        gain = difference(*groups) if len(groups) == 2 else None
        page = write_page(out, groups, group_names(groups), cells(groups), gain)
        print(f"\nwritten {page}")
    return 0
