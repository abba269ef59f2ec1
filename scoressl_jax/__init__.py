"""Semi-supervised score models in JAX: few labels in, a classifier and class-conditional samples out."""

__version__ = "0.2.0"


def open(workdir):
    """The run in a directory, its networks as functions (api.OpenedRun): classify, sample, trajectory, score, denoise.

    Needs neither the data set nor the config's file. Raises scoressl_jax.errors.UserError where there is no run.
    """
    from scoressl_jax.api import open_run  # so that `import scoressl_jax` is quick

    return open_run(workdir)
