"""scoressl report RUN: makes report.html of a run anew, from its files alone, and prints what came out.

Needs no data set and trains nothing; what the run has not measured is left out of the page.
"""

from scoressl_jax.commands.arguments import Parser
from scoressl_jax.devices import check_devices
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.stages import Work
from scoressl_jax.studies.kinds import kind_of


def main(argv: list) -> int:
    parser = Parser("scoressl report", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="directory of the run")
    run = Run.open(parser.parse_args(argv).run)
    kind = kind_of(run.config)
    check_devices()
    try:
        kind.stage("report").run(Work(kind, run, None))  # no experiment: not every run tells enough for one
    except BrokenPipeError:  # of the summary's reader, not of the page
        raise
    except OSError as error:
        raise UserError(f"{run.workdir} cannot be written ({error.strerror}): copy the run to where it can") from None
    return 0
