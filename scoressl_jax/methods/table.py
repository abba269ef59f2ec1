"""The methods for few labels, by the names that the field `teacher.method` has for them."""

from scoressl_jax.methods.fixmatch import FixMatch
from scoressl_jax.methods.flow_gmm import FlowGMM
from scoressl_jax.methods.laplacenet import LaplaceNet
from scoressl_jax.methods.mean_teacher import MeanTeacher
from scoressl_jax.methods.mixmatch import MixMatch
from scoressl_jax.methods.nnpu import NNPU
from scoressl_jax.methods.pi_model import PiModel
from scoressl_jax.methods.pseudo_label import PseudoLabel
from scoressl_jax.methods.punce import PuNCE
from scoressl_jax.methods.pvu import PvU
from scoressl_jax.methods.ssl_vae import SSLVAE
from scoressl_jax.methods.supervised import Supervised
from scoressl_jax.methods.upu import UPU

METHODS = {
    "supervised": Supervised,
    "pi_model": PiModel,
    "pseudo_label": PseudoLabel,
    "mean_teacher": MeanTeacher,
    "mixmatch": MixMatch,
    "fixmatch": FixMatch,
    "laplacenet": LaplaceNet,
    "flow_gmm": FlowGMM,
    "ssl_vae": SSLVAE,
}
PU_METHODS = {
    "pvu": PvU,
    "upu": UPU,
    "nnpu": NNPU,
    "punce": PuNCE,
}
