"""The networks: their fields of the blocks `score` and `classifier`, and what is built from them.

Fields are named as the arguments of the networks, so that a network takes the fields of its option as they are.
"""

import jax.numpy as jnp

from scoressl_jax.errors import UserError
from scoressl_jax.experiment.fields import BELOW_ONE, POSITIVE, Field, Option, Rule, is_whole, one_of
from scoressl_jax.experiment.process import build_sde
from scoressl_jax.models.mlp import MLP, MLPClassifier
from scoressl_jax.models.ncsnpp import PYRAMIDS, NCSNpp
from scoressl_jax.models.resnet import STAGES, ResNet
from scoressl_jax.models.scaling import POSITIONAL, SCALINGS, ScoreNetwork
from scoressl_jax.models.wide_resnet import WideResNet

DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}  # None: as the inputs are
DTYPE = Field("float32", "what networks compute in; parameters and sums are always float32", one_of(*DTYPES))

# The score network


def counts(value: object) -> bool:
    """Whether it is a tuple of whole numbers of 1 or more."""
    return isinstance(value, list | tuple) and all(is_whole(n) and n >= 1 for n in value)


LEVELS = Rule(
    "be whole numbers of 1 or more, one a level, as in (1, 2, 2)", lambda value: counts(value) and len(value) > 0
)
HEIGHTS = Rule("be whole numbers of 1 or more, as in (16,), or ()", counts)
SHARED = ("score.width", "score.blocks", "score.dropout", "score.embedding")
SCORE_NETWORKS = {
    "ncsnpp": Option(
        NCSNpp,
        (*SHARED, *(f"score.{name}" for name in ("multipliers", "attention", "patch", "fir", "pyramid"))),
    ),
    "mlp": Option(MLP, SHARED),
}
SCORE_FIELDS = dict(
    network=Field("ncsnpp", "body of the score network", one_of(*SCORE_NETWORKS)),
    scaling=Field(
        "gaussian",
        "of its input and output: gaussian is ours; score_sde's are sigma (VE), time (VP, sub-VP), index (VE, discrete "
        "levels)",
        one_of(*SCALINGS),
    ),
    width=Field(16, "channels at full resolution; mlp: units a layer", POSITIVE),
    multipliers=Field((1, 1), "ncsnpp: of the width, one a resolution level", LEVELS),
    blocks=Field(1, "residual blocks; ncsnpp: a level", POSITIVE),
    attention=Field((), "ncsnpp: heights of the levels with attention; the middle always has it", HEIGHTS),
    patch=Field(1, "ncsnpp: pixels of patches this wide are channels; 2: a step is some four times cheaper", POSITIVE),
    fir=Field(True, "ncsnpp: FIR filters where the resolution changes"),
    pyramid=Field("residual", "ncsnpp: how the shrunk image enters each level", one_of(*PYRAMIDS)),
    dropout=Field(0.0, "share of activations dropped in training", BELOW_ONE),
    embedding=Field(16, "size of the noise level's embedding", POSITIVE),
)
# What makes the network: weights fit another config where these are equal.
SCORE_ARCHITECTURE = ("network", "width", "multipliers", "blocks", "attention", "embedding", "fir", "pyramid", "patch")

# The classifier


def is_depth(depth: int) -> bool:
    """Whether a WideResNet has this depth; one of 4 has no block."""
    return depth >= 4 and (depth - 4) % 6 == 0


DEPTH = Rule("be 6 n + 4 (10, 16, 22, 28 ...)", is_depth)
RESIDUAL = tuple(f"classifier.{name}" for name in ("depth", "norm", "patch", "embedding"))
CLASSIFIER_NETWORKS = {
    "wide_resnet": Option(WideResNet, (*RESIDUAL, "classifier.widen")),
    "resnet": Option(ResNet, (*RESIDUAL, "classifier.width")),
    "mlp": Option(MLPClassifier, ("classifier.width", "classifier.blocks", "classifier.embedding")),
}
ASSISTED = "denoising_assisted"
CLASSIFIER_FIELDS = dict(
    kind=Field(ASSISTED, "denoising_assisted: sees the denoised image beside the noisy one", one_of("noisy", ASSISTED)),
    network=Field("wide_resnet", "of the classifier", one_of(*CLASSIFIER_NETWORKS)),
    depth=Field(10, "wide_resnet: WRN-depth-widen, 6 n + 4 (4 has no block); resnet: 18 or 34"),
    widen=Field(1, "wide_resnet: width over 16 channels", POSITIVE),
    norm=Field("group", "wide_resnet, resnet: normalisation", one_of("group", "instance++")),
    patch=Field(1, "wide_resnet, resnet: as score.patch", POSITIVE),
    embedding=Field(16, "size of the noise level's embedding", POSITIVE),
    width=Field(256, "mlp: units a layer; resnet: channels of the first stage", POSITIVE),
    blocks=Field(2, "mlp: residual blocks", POSITIVE),
)
PROCESSES_OF = {"time": ("vp", "subvp"), "index": ("ve",), "sigma": ("ve",)}  # of the scalings of score_sde


def check(config) -> None:
    """What the fields of the networks ask of each other."""
    c = config.classifier
    if c.network == "wide_resnet" and not is_depth(c.depth):
        raise UserError(f"config.classifier.depth is {c.depth}: it must {DEPTH.words}")
    if c.network == "resnet" and c.depth not in STAGES:
        raise UserError(f"config.classifier.depth is {c.depth}: a resnet has 18 or 34")
    for name in ("score", "classifier"):
        if config[name].network == "mlp" and config[name].patch > 1:
            raise UserError(f"config.{name}.patch is {config[name].patch}, but an mlp has no patches: set it to 1")
    scaling, process = config.score.scaling, config.sde.name
    allowed = PROCESSES_OF.get(scaling, (process,))
    if process not in allowed:
        raise UserError(
            f"config.score.scaling is {scaling!r}, for config.sde.name {' or '.join(allowed)}, but that is "
            f"{process!r}: change one of them (time is for vp and subvp, gaussian for every process)"
        )
    if scaling in POSITIONAL and config.score.network != "ncsnpp":
        raise UserError(f"config.score.scaling {scaling!r} is for config.score.network ncsnpp: change one of them")
    if scaling in POSITIONAL and config.score.embedding < 2:
        raise UserError(f"config.score.embedding is {config.score.embedding}: scaling {scaling} needs 2 or more")


def heights(score, height: int) -> list[int]:
    """Of the levels of the score network, for images of this height."""
    return [height // score.patch >> level for level in range(len(score.multipliers))]


def check_attention(score, height: int, width: int, known: dict | None = None) -> None:
    """Attention at a height that no level has would be none; `known`: fields of the run that there is already."""
    asked, there = tuple(score.attention), heights(score, height)
    strange = [n for n in asked if n not in there]
    if strange and list(asked) != (known or {}).get("score", {}).get("attention"):
        raise UserError(
            f"config.score.attention is {asked}, but no level is {strange[0]} pixels high: images of {height}x{width} "
            f"make levels of {', '.join(map(str, there))}; name some of these, or () for none"
        )


def check_size(config, height: int, width: int, judge_patch: int, known: dict | None = None) -> None:
    """Whether images can be halved and cut into patches as the networks ask; `known` as in check_attention."""
    factors = {"classifier.patch asks": config.classifier.patch, "evaluation.judge_patch asks": judge_patch}
    if config.teacher.method != "none":
        factors["teacher.patch asks"] = config.teacher.patch
    if config.score.network == "ncsnpp":
        halved = config.score.patch * 2 ** (len(config.score.multipliers) - 1)
        factors = {"score.multipliers and score.patch ask": halved} | factors
    for what, factor in factors.items():
        if height % factor or width % factor:
            raise UserError(
                f"images of {height}x{width} are not divisible by {factor}, as config.{what}: change that, "
                "or resize the images (config.data.image_size for a folder)"
            )
    if config.score.network == "ncsnpp":
        check_attention(config.score, height, width, known)


def values(block, option: Option) -> dict:
    """{argument: value} of an option's fields, lists of a config file as tuples."""
    names = [field.split(".")[-1] for field in option.fields]
    return {name: tuple(block[name]) if isinstance(block[name], list | tuple) else block[name] for name in names}


def build_score_network(config) -> ScoreNetwork:
    score, option = config.score, SCORE_NETWORKS[config.score.network]
    positional = score.scaling in POSITIONAL
    kind = {"kind": "positional"} if positional else {}
    body = option.make(**values(score, option), dtype=DTYPES[config.dtype], **kind)
    return ScoreNetwork(body=body, scaling=score.scaling, process=build_sde(config) if positional else None)


def build_classifier_network(config, num_classes: int):
    option = CLASSIFIER_NETWORKS[config.classifier.network]
    return option.make(
        **values(config.classifier, option),
        num_classes=num_classes,
        denoised_input=config.classifier.kind == ASSISTED,
        dtype=DTYPES[config.dtype],
    )
