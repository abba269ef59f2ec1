"""The smallest run that goes through every stage: MLPs on the embedded digits, seconds on two cores."""

from scoressl_jax.experiment.config import default_config


def get_config():
    config = default_config()
    config.data.num_labels = 100
    config.sde.sigma_max = 10.0
    score, classifier = config.score, config.classifier
    score.network, score.width, score.blocks, score.embedding, score.dropout = "mlp", 32, 1, 4, 0.0
    score.batch_size, score.steps, score.learning_rate, score.warmup = 16, 40, 1e-3, 5
    classifier.network, classifier.width, classifier.blocks, classifier.embedding = "mlp", 32, 1, 4
    classifier.batch_size, classifier.unlabeled_batch_size, classifier.steps = 16, 16, 40
    config.sampling.count, config.sampling.batch_size, config.sampling.steps = 20, 16, 4
    config.sampling.sampler, config.sampling.corrector = "predictor_corrector", "langevin"
    config.evaluation.times, config.evaluation.batch_size, config.evaluation.judge_steps = 3, 360, 0
    config.evaluation.likelihood_images = 0
    config.training.steps_per_call, config.training.checkpoint_every = 10, 20
    return config
