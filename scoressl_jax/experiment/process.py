"""The block `sde`: the forward process."""

from scoressl_jax.experiment.fields import POSITIVE, Field, Option, check_order, one_of
from scoressl_jax.sde import SDE, VE, VP, SubVP

BETAS = ("sde.beta_min", "sde.beta_max")
PROCESSES = {
    "ve": Option(lambda sde: VE(sigma_min=sde.sigma_min, sigma_max=sde.sigma_max), ("sde.sigma_min", "sde.sigma_max")),
    "vp": Option(lambda sde: VP(beta_min=sde.beta_min, beta_max=sde.beta_max), BETAS),
    "subvp": Option(lambda sde: SubVP(beta_min=sde.beta_min, beta_max=sde.beta_max), BETAS),
}
FIELDS = dict(
    name=Field("ve", "forward process", one_of(*PROCESSES)),
    sigma_min=Field(0.01, "ve: lowest noise level, of images in [0, 1]", POSITIVE),
    sigma_max=Field(10.0, "ve: about the largest distance between two images (Song and Ermon 2020, technique 1)"),
    beta_min=Field(0.1, "vp, subvp: beta at t = 0", POSITIVE),
    beta_max=Field(20.0, "vp, subvp: beta at t = 1"),
)


def check(config) -> None:
    check_order(config, ("sde.sigma_min", "sde.sigma_max"), ("sde.beta_min", "sde.beta_max"))


def build_sde(config) -> SDE:
    return PROCESSES[config.sde.name].make(config.sde)
