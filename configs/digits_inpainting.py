"""The right half of test digits drawn anew, guided by their class, by the networks of the main job.

    python -m scoressl_jax.main --config=configs/digits_inpainting.py --workdir=runs/inpainting

The pictures are in report.html and figures/restored.png: what was given, what was made of it, the original. Some 5
minutes on two cores; with --config.score.init_from=run:runs/digits the score network of a finished main job is taken.
--config.sampling.hidden=bottom or center hides another part, --config.sampling.task=colorization colours grey images
(of data with three channels).
"""

from scoressl_jax.experiment.config import default_config


def get_config():
    config = default_config()
    config.sampling.update(task="inpainting", count=200, scale=2.0)
    # Setting the given half after every move is an approximation; corrections let the drawn half agree with it.
    config.sampling.update(sampler="predictor_corrector", predictor="ancestral", steps=100)
    config.sampling.update(corrector="annealed_langevin", corrector_steps=3, snr=0.3)
    return config
