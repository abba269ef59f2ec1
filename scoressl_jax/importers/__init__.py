"""Score networks trained elsewhere: weights of score_sde's released files, and of other runs.

`python -m scoressl_jax.importers FILE --to=DIR` makes a run's directory of a released file, once;
config.score.init_from takes either directly.
"""
