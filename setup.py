"""Install with `pip install -e .`; the extras are listed in the README."""

from setuptools import find_packages, setup

setup(
    name="scoressl_jax",
    version="0.1.0",
    description="Semi-supervised score models: a strong classifier and class-conditional samples from few labels.",
    packages=find_packages(include=["scoressl_jax", "scoressl_jax.*"]),
    python_requires=">=3.11",
    install_requires=[
        "jax>=0.10.2",
        "flax>=0.12.8",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12.8",
        "ml-collections>=1.1.0",
        "absl-py>=2.5.1",
        "numpy>=2.4.6",
        "scikit-learn>=1.9.1",
        "threadpoolctl>=3.8.0",
        "matplotlib>=3.11.2",
        "pillow>=13.0.0",
        "clu>=0.0.12",
        "tensorboardX>=2.6.5",
        "tqdm>=4.70.1",
        "diffrax>=0.7.2",
        "equinox>=0.13.8",
        # Prepared data sets are read without TensorFlow; the last three are what that needs and tfds leaves undeclared.
        "tensorflow-datasets>=4.9.10",
        "importlib_resources>=7.1.0",
        "array_record>=0.8.6",
        "pyarrow>=26.0.1",
    ],
    extras_require={
        "test": ["pytest>=9.2.0", "pytest-xdist>=3.8.0", "ruff>=0.17.6", "prdc>=0.2"],
        "tfds": ["tensorflow-cpu>=2.21.0"],
        "torch": ["torch>=2.13.0", "pytorch-fid>=0.3.0", "torch-fidelity>=0.4.0"],  # the last two for tests alone
        "notebook": ["jupyter", "nbconvert", "ipywidgets"],
        "gpu": ["jax[cuda13]>=0.10.2"],
        "tpu": ["jax[tpu]>=0.10.2"],
    },
)
