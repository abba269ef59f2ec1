"""scoressl benchmark train | moons | sampling [RUN] [COUNT] | metrics [COUNT [DIM]]: speed on this machine.

train     milliseconds of a training step, alone and in the compiled loop
moons     updates per second of the two moons, beside a PyTorch loop of the same arithmetic
sampling  images per second of every sampler; with RUN also how many show the class asked for
metrics   seconds and memory of every metric of generated images
"""

from argparse import Namespace

from scoressl_jax.commands import benchmark_metrics, benchmark_moons, benchmark_sampling, benchmark_train
from scoressl_jax.commands.arguments import Parser, at_least


def parse(argv: list) -> Namespace:
    parser = Parser("scoressl benchmark", description=__doc__)
    kinds = parser.add_subparsers(dest="what", metavar="WHAT", required=True, help="train, moons, sampling or metrics")
    kinds.add_parser("train", description=benchmark_train.__doc__)
    kinds.add_parser("moons", description=benchmark_moons.__doc__)
    sampling = kinds.add_parser("sampling", description=benchmark_sampling.__doc__)
    sampling.add_argument("run", metavar="RUN", nargs="?", help="directory of a finished run")
    sampling.add_argument("count", metavar="COUNT", type=at_least(1), nargs="?", default=500, help="images (500)")
    metrics = kinds.add_parser("metrics", description=benchmark_metrics.__doc__)
    metrics.add_argument("count", metavar="COUNT", type=at_least(2), nargs="?", default=50_000, help="images (50,000)")
    metrics.add_argument("dimension", metavar="DIM", type=at_least(1), nargs="?", default=2048, help="features (2,048)")
    return parser.parse_args(argv)


def main(argv: list) -> int:
    options = parse(argv)
    if options.what == "sampling":
        return benchmark_sampling.main(options.run, options.count)
    if options.what == "metrics":
        return benchmark_metrics.main(options.count, options.dimension)
    return {"train": benchmark_train, "moons": benchmark_moons}[options.what].main()
