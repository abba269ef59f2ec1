"""100 labels of 1,437 digits: semi-supervised, denoising-assisted classifier (Sastry et al. 2023).

python -m scoressl_jax.main --config=configs/digits_ssl_da.py --workdir=runs/digits
"""

from scoressl_jax.config import default_config


def get_config():
    config = default_config()
    config.data.num_labels = 100
    config.sde.sigma_max = 10.0  # about the largest distance between two 8x8 images

    score = config.score
    score.network, score.width, score.blocks, score.embedding, score.dropout = "mlp", 512, 3, 16, 0.0
    score.batch_size, score.steps = 128, 3000
    score.learning_rate, score.warmup, score.schedule = 2e-3, 100, "cosine"

    classifier = config.classifier
    classifier.depth, classifier.widen, classifier.embedding = 10, 1, 16
    classifier.batch_size, classifier.unlabeled_batch_size, classifier.steps = 64, 64, 2000
    classifier.learning_rate, classifier.warmup, classifier.schedule = 2e-3, 100, "cosine"

    sampling = config.sampling
    sampling.count, sampling.batch_size, sampling.steps, sampling.scale = 500, 100, 100, 2.0
    return config
