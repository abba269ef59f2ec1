"""Semi-supervised score models in JAX: few labels in, a classifier and class-conditional samples out."""

__version__ = "0.2.0"
