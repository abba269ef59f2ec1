"""Defaults that hold together, every value that is refused, and which fields an option leaves unread."""

import dataclasses
import importlib.util
import json
from itertools import product

import jax
import pytest
from ml_collections import ConfigDict

from scoressl_jax.errors import UserError
from scoressl_jax.experiment.config import CHOICES, FIELDS, config_of_run, default_config, validate
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.teacher import ALL_METHODS
from scoressl_jax.files import flat
from scoressl_jax.studies.moons import config as moons

OWN_NETWORK = ("flow_gmm", "ssl_vae")
METHODS = ("supervised", "pi_model", "pseudo_label", "mean_teacher", "mixmatch", "fixmatch", "laplacenet", *OWN_NETWORK)
POSITIVES = ("pvu", "upu", "nnpu", "punce")  # methods of regime pu
NAMES = {
    "regime": ("supervised", "ssl", "pu"),
    "dtype": ("float32", "bfloat16"),
    "data.fit": ("crop", "pad", "stretch"),
    "sde.name": ("ve", "vp", "subvp"),
    "score.network": ("ncsnpp", "mlp"),
    "score.scaling": ("gaussian", "sigma", "time", "index"),
    "score.pyramid": ("residual", "skip", "none"),
    "score.times": ("stratified", "uniform"),
    **{f"{stage}.schedule": ("constant", "cosine", "cosine_7_16") for stage in ("score", "teacher", "classifier")},
    **{f"{stage}.optimizer": ("adamw", "sgd") for stage in ("score", "teacher", "classifier")},
    "teacher.method": ("none", "auto", *METHODS, *POSITIVES),
    "teacher.strong": ("affine", "rand_augment"),
    "classifier.kind": ("noisy", "denoising_assisted"),
    "classifier.network": ("wide_resnet", "resnet", "mlp"),
    "classifier.norm": ("group", "instance++"),
    "classifier.times": ("stratified", "uniform"),
    "classifier.temporal_time": ("shifted", "same"),
    "classifier.temporal_noise": ("shared", "fresh"),
    "sampling.sampler": ("dpm_solver", "heun", "ddim", "predictor_corrector", "ode"),
    "sampling.schedule": ("time", "log_sigma", "karras"),
    "sampling.predictor": ("reverse_diffusion", "ancestral", "euler_maruyama", "none"),
    "sampling.corrector": ("langevin", "annealed_langevin", "none"),
    "sampling.norms": ("image", "batch"),
    "sampling.prior": ("gaussian", "uniform_gaussian"),
    "sampling.task": ("none", "inpainting", "colorization"),
    "sampling.hidden": ("right", "bottom", "center"),
    "evaluation.features": ("judge", "inception", "pixels", "none"),
    "evaluation.reference": ("train", "test"),
    "evaluation.convention": ("prdc", "guided_diffusion"),
    "evaluation.divergence": ("hutchinson", "exact"),
}
POSITIVE = [
    *("sde.sigma_min", "sde.beta_min", "data.prior_steps"),
    *(f"score.{n}" for n in ("batch_size", "steps", "learning_rate", "clip", "width", "blocks", "embedding", "patch")),
    *(f"classifier.{n}" for n in ("batch_size", "unlabeled_batch_size", "steps", "learning_rate", "clip")),
    *(f"classifier.{n}" for n in ("widen", "width", "blocks", "embedding", "patch")),
    *(f"sampling.{n}" for n in ("batch_size", "count", "tolerance", "snr")),
    *(f"evaluation.{n}" for n in ("batch_size", "judge_patch", "times", "curve_images", "likelihood_tolerance", "k")),
    *("evaluation.judge_widen", "evaluation.judge_learning_rate"),
    *("training.steps_per_call", "training.checkpoint_every"),
    *(f"teacher.{n}" for n in ("batch_size", "unlabeled_batch_size", "steps", "learning_rate", "clip", "widen")),
    *("teacher.patch", "teacher.operations", "teacher.choice_steps"),
]
NOT_NEGATIVE = [
    *("seed", "data.image_size", "data.num_labels", "data.split_seed", "data.num_positive"),
    *("score.warmup", "score.weight_decay", "classifier.warmup", "classifier.weight_decay", "classifier.random_shift"),
    *(f"classifier.terms.{n}" for n in ("ce", "ce_tau", "dlsm", "pseudo", "pseudo_dlsm", "denoising", "temporal")),
    *("sampling.corrector_steps", "sampling.scale", "training.max_rollbacks", "classifier.temporal_delta"),
    *(f"evaluation.{n}" for n in ("judge_steps", "judge_noise", "cas_steps", "likelihood_images")),
    *("classifier.terms.taught", "classifier.terms.taught_tau"),
    *("teacher.warmup", "teacher.weight_decay", "teacher.rotate"),
]
SHARES = [f"teacher.{n}" for n in ("shift", "zoom", "shear", "move", "contrast", "brightness", "cutout", "strength")]
HYPERPARAMETERS = {
    f"teacher.{m}.{f.name}": f for m in (*METHODS, *POSITIVES) for f in dataclasses.fields(ALL_METHODS[m])
}
BELOW_ONE = ["score.ema", "teacher.ema", "classifier.ema", "score.dropout", "classifier.random_affine"]
FRACTIONS = ["evaluation.accuracy_t", "evaluation.gradient_t", "classifier.tau", "classifier.threshold", "teacher.stop"]
TEACHER = " ".join(
    f"teacher.{name}"
    for name in (
        *("depth", "widen", "patch", "optimizer", "learning_rate", "weight_decay", "warmup", "clip", "schedule", "ema"),
        *("batch_size", "steps", "stop", "flip", "strong", "strength", "operations", "cutout", "hard"),
        *("rotate", "zoom", "shear", "move", "contrast", "brightness"),
    )
) + " classifier.terms.taught classifier.terms.taught_tau"  # fmt: skip
UNLABELED = "teacher.unlabeled_batch_size teacher.shift"


def read_by(method):
    own = " ".join(name for name in HYPERPARAMETERS if name.startswith(f"teacher.{method}."))
    network = ("teacher.depth", "teacher.widen", "teacher.patch") if method in OWN_NETWORK else ()
    return f"{' '.join(name for name in TEACHER.split() if name not in network)} {UNLABELED} {own}"


READ = {  # fields that an option reads and another of the same choice does not
    "regime": {
        **dict.fromkeys(("supervised", "ssl"), "data.num_labels data.labels_file"),
        "pu": "data.positive_classes data.num_positive data.labels_file data.class_prior data.prior_steps",
    },
    "data.name": {
        "digits": "",
        "npz": "data.path",
        "folder": "data.path data.image_size data.fit data.background data.skip_damaged",
        "a name of TFDS": "data.path data.download",
    },
    "sde.name": {
        "ve": "sde.sigma_min sde.sigma_max",
        **dict.fromkeys(("vp", "subvp"), "sde.beta_min sde.beta_max"),
    },
    "score.network": {
        "ncsnpp": "score.width score.blocks score.dropout score.embedding score.multipliers score.attention "
        "score.patch score.fir score.pyramid",
        "mlp": "score.width score.blocks score.dropout score.embedding",
    },
    "teacher.method": {
        "none": "classifier.terms.pseudo classifier.threshold",
        "supervised": TEACHER,
        "auto": " ".join([TEACHER, UNLABELED, "teacher.folds teacher.choice_steps"])
        + " teacher.mean_teacher.weight teacher.mean_teacher.warm_up teacher.mean_teacher.strong",
        **{method: read_by(method) for method in (*METHODS[1:], *POSITIVES)},
    },
    "teacher.strong": {
        "affine": "teacher.rotate teacher.zoom teacher.shear teacher.move teacher.contrast teacher.brightness",
        "rand_augment": "teacher.operations",
    },
    "classifier.network": {
        "wide_resnet": "classifier.depth classifier.norm classifier.patch classifier.embedding classifier.widen",
        "resnet": "classifier.depth classifier.norm classifier.patch classifier.embedding classifier.width",
        "mlp": "classifier.width classifier.blocks classifier.embedding",
    },
    "sampling.sampler": {
        **dict.fromkeys(("dpm_solver", "heun"), "sampling.steps sampling.schedule sampling.clip"),
        "ddim": "sampling.steps sampling.schedule sampling.clip sampling.eta",
        "predictor_corrector": "sampling.steps sampling.predictor sampling.corrector sampling.corrector_steps "
        "sampling.snr sampling.norms",
        "ode": "sampling.tolerance",
    },
    "sampling.task": {
        "none": "sampling.classes sampling.per_class",
        "inpainting": "sampling.hidden",
        "colorization": "",
    },
    "evaluation.features": {
        **dict.fromkeys(("judge", "pixels", "none"), ""),
        "inception": "evaluation.inception_weights",
    },
}


def changed(**fields):
    """The default with changes; double underscores stand for dots. Fields of a teacher are of a run that has one."""
    config = default_config()
    if any("teacher." in name or "taught" in name for name in fields):
        config.teacher.method = "fixmatch"
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


def refused(**fields):
    with pytest.raises(UserError) as error:
        validate(changed(**fields))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_default_is_valid():
    validate(default_config())


def test_every_config_file_is_valid(request):
    paths = sorted((request.config.rootpath / "configs").glob("*.py"))
    assert paths
    for path in paths:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if path.stem != "__init__":
            config = module.get_config()
            (moons.validate if config.data.name == "moons" else validate)(config)


def test_unknown_fields_and_wrong_types_are_refused_by_the_config_itself():
    config = default_config()
    with pytest.raises((AttributeError, KeyError)):
        config.score.stepz = 3
    with pytest.raises(TypeError):
        config.score.steps = "many"


def test_the_default_survives_json(tmp_path):
    config = default_config()
    config.update(json.loads(config.to_json()))
    assert config == default_config()
    assert isinstance(config.score, ConfigDict)
    run = Run(tmp_path)
    run.write_config(json.loads(changed(score__steps=7).to_json()), "again")
    assert config_of_run(run) == changed(score__steps=7)


def test_runs_older_than_the_samplers_of_few_steps_had_another(tmp_path):
    run, fields = Run(tmp_path), json.loads(default_config().to_json())
    del fields["sampling"]["sampler"]
    run.write_config(fields, "again")
    assert config_of_run(run) == changed(sampling__sampler="predictor_corrector")


# Single values


def test_every_field_with_a_rule_is_tried_here():
    tried = {*NAMES, *POSITIVE, *NOT_NEGATIVE, *BELOW_ONE, *FRACTIONS, *SHARES, *HYPERPARAMETERS}
    others = {"classifier.terms.prior", "sampling.steps", "sampling.eta", "evaluation.judge_depth", "teacher.depth"}
    others |= {"teacher.folds"}
    others |= {"score.multipliers", "score.attention", "data.positive_classes", "data.background"}
    assert {name for name, field in flat(FIELDS) if field.allowed.words} == tried | others


@pytest.mark.parametrize("field", NAMES)
def test_unknown_names(field):
    message = refused(**{field: "nonesuch"})
    assert f"config.{field} is 'nonesuch'" in message
    for name in NAMES[field]:
        assert name in message
    assert sorted(dict(flat(FIELDS))[field].allowed.names) == sorted(NAMES[field])


@pytest.mark.parametrize("field", HYPERPARAMETERS)
def test_hyperparameters_of_methods(field):
    declared = HYPERPARAMETERS[field]
    method, least, most = field.split(".")[1], declared.metadata["least"], declared.metadata["most"]
    if isinstance(declared.default, bool):
        return
    assert least <= declared.default <= most
    assert f"config.{field} is -1" in refused(teacher__method=method, **{field: type(declared.default)(-1)})
    if most < 2:
        assert f"config.{field} is 2.0: it must lie in" in refused(teacher__method=method, **{field: 2.0})


@pytest.mark.parametrize("method", METHODS + POSITIVES)
def test_a_paper_s_preset_is_made_of_fields(method):
    regime = "pu" if method in POSITIVES else "ssl"
    paper = {f"teacher.{n}": v for n, v in ALL_METHODS[method].PAPER.items()}
    validate(changed(regime=regime, teacher__method=method, **paper))


@pytest.mark.parametrize("field", SHARES)
def test_shares(field):
    for value in (-0.1, 1.1):
        assert f"config.{field} is {value}: it must lie in [0, 1]" in refused(**{field: value})
    validate(changed(**{field: 1.0}))


@pytest.mark.parametrize(
    ("regime", "method", "others"),
    [
        ("supervised", "fixmatch", ("none",)),
        ("pu", "fixmatch", ("none", *POSITIVES)),
        ("pu", "auto", ("none", *POSITIVES)),
        ("ssl", "nnpu", ("none", "auto", *METHODS)),
    ],
)
def test_a_teacher_is_of_its_regime(regime, method, others):
    message = refused(regime=regime, data__positive_classes=("1",) if regime == "pu" else (), data__num_labels=100,
                      teacher__method=method)  # fmt: skip
    words = f"config.teacher.method {method} is not for config.regime {regime}: choose one of {', '.join(others)}"
    assert message == words


@pytest.mark.parametrize("field", POSITIVE)
def test_not_positive(field):
    for value in (0, -1):
        assert refused(**{field: value}).startswith(f"config.{field} is {value}")


@pytest.mark.parametrize("field", NOT_NEGATIVE)
def test_negative(field):
    assert refused(**{field: -1}).startswith(f"config.{field} is -1")
    reader = dict(sampling__sampler="predictor_corrector") if field == "sampling.corrector_steps" else {}
    validate(changed(**reader, **{field: 0}))


@pytest.mark.parametrize("field", FRACTIONS)
def test_not_a_fraction(field):
    for value in (0.0, -0.1, 1.1):
        assert refused(**{field: value}).startswith(f"config.{field} is {value}")
    validate(changed(**{field: 1.0}))


@pytest.mark.parametrize("field", BELOW_ONE)
def test_not_below_one(field):
    for value in (1.0, -0.1, 2.0):
        assert refused(**{field: value}).startswith(f"config.{field} is {value}")
    validate(changed(**{field: 0.0}))


def test_not_a_number():
    assert "learning_rate" in refused(score__learning_rate=float("nan"))
    numbers = [name for name, field in flat(FIELDS) if type(field.default) is float]
    for field, value in product(numbers, (float("nan"), float("inf"), float("-inf"))):
        assert refused(**{field: value}) == f"config.{field} is {value}: it must be a finite number"


def test_true_is_no_number():
    for field in (name for name, field in flat(FIELDS) if type(field.default) is int):
        assert refused(**{field: True}) == f"config.{field} is True: it must be a number"


@pytest.mark.parametrize("value", [(0, 1), (1, -1), (1.5, 2), (2.0,), (None,), ("a",), (True, 2), ((1,), 2)])
def test_elements_of_lists_of_numbers(value):
    for field in ("score.multipliers", "score.attention"):
        assert refused(**{field: value}).startswith(f"config.{field} is {value}: it must be whole numbers of 1 or more")
        validate(changed(**{field: (1, 2)}))
        validate(changed(**{field: [1, 2]}))
    validate(changed(score__attention=()))
    assert refused(score__multipliers=()).startswith("config.score.multipliers is (): it must be whole numbers of 1")


def test_sampling_needs_two_steps():
    assert "config.sampling.steps is 1" in refused(sampling__steps=1)


# Values that do not go together


def test_noise_ranges():
    assert "sigma_max" in refused(sde__sigma_max=0.001)
    assert "beta_max" in refused(sde__beta_max=0.1)


def test_depth_of_the_classifier():
    for depth in (11, -2, 3):
        assert f"config.classifier.depth is {depth}: it must be 6 n + 4" in refused(classifier__depth=depth)
    for depth in (4, 28):
        validate(changed(classifier__depth=depth))
    for depth in (0, 12, -2):
        assert f"config.evaluation.judge_depth is {depth}: it must be 6 n + 4" in refused(evaluation__judge_depth=depth)
    validate(changed(evaluation__judge_depth=16))
    resnet = dict(classifier__network="resnet")
    assert "a resnet has 18 or 34" in refused(**resnet, classifier__depth=10)
    validate(changed(**resnet, classifier__depth=34))


def test_class_prior():
    for prior in (-0.1, 1.0, 1.5, float("nan")):
        for regime in ("pu", "ssl"):
            assert f"config.data.class_prior is {prior}" in refused(regime=regime, data__class_prior=prior)
    for prior in (0.0, 0.5):
        validate(changed(regime="pu", data__num_labels=100, data__class_prior=prior))
    assert refused(data__prior_steps=0) == "config.data.prior_steps is 0: it must be greater than 0"


@pytest.mark.parametrize("value", [(3.0,), (True,), (None,), (("a",),)])
def test_positive_classes_are_names_or_numbers(value):
    assert refused(regime="pu", data__positive_classes=value) == (
        f"config.data.positive_classes is {value}: it must be names of classes, as in ('cat', '7'), or whole numbers"
    )


def test_backgrounds():
    own = dict(data__name="folder", data__num_labels=0)
    assert refused(**own, data__background="whit") == (
        "config.data.background is whit: it must be a colour, as in white or #808080"
    )
    for colour in ("white", "#808080"):
        validate(changed(**own, data__background=colour))
    validate(changed(**own, data__image_size=8, data__fit="pad"))
    assert "config.data.fit is 'pad', but config.data.image_size is 0" in refused(**own, data__fit="pad")


def test_runs_older_than_the_fit_of_images_stretched_them(tmp_path):
    for own, fit in ((dict(data__name="folder", data__image_size=8), "stretch"), (dict(data__name="folder"), "crop"),
                     ({}, "crop")):  # fmt: skip
        run, fields = Run(tmp_path), json.loads(changed(**own).to_json())
        del fields["data"]["fit"]
        run.write_config(fields, "again")
        assert config_of_run(run).data.fit == fit
        validate(config_of_run(run), known=run.config)


def test_patches_and_shifts():
    for field in ("score.patch", "classifier.patch", "evaluation.judge_patch"):
        for value in (0, -2):
            found = refused(**{field: value})
            assert found == f"config.{field} is {value}: it must be greater than 0"
        validate(changed(**{field: 2}))
    assert refused(classifier__random_shift=-1) == "config.classifier.random_shift is -1: it must be 0 or more"
    for stage in ("score", "classifier"):
        mlp = {f"{stage}__network": "mlp"}
        assert f"config.{stage}.patch is 2, but an mlp has no patches" in refused(**mlp, **{f"{stage}__patch": 2})
        validate(changed(**mlp))


def test_scalings_of_score_sde_belong_to_their_processes_and_networks():
    for scaling, processes in dict(time=("vp", "subvp"), index=("ve",), sigma=("ve",)).items():
        for process in ("ve", "vp", "subvp"):
            fields = dict(score__scaling=scaling, sde__name=process)
            if process in processes:
                validate(changed(**fields))
            else:
                assert f"config.score.scaling is {scaling!r}, for config.sde.name {' or '.join(processes)}, but" in (
                    refused(**fields)
                )
    for scaling, process in (("time", "vp"), ("index", "ve")):
        fields = dict(score__scaling=scaling, sde__name=process, score__network="mlp")
        assert f"config.score.scaling {scaling!r} is for config.score.network ncsnpp" in refused(**fields)
    validate(changed(score__scaling="sigma", score__network="mlp"))
    assert "config.score.embedding is 1: scaling index needs 2 or more" in (
        refused(score__scaling="index", score__embedding=1)
    )
    validate(changed(score__embedding=1))


def test_terms():
    off = {f"classifier__terms__{n}": 0.0 for n in default_config().classifier.terms if not n.startswith("taught")}
    assert "terms is 0" in refused(**off)
    message = refused(regime="supervised")
    assert "pseudo" in message
    assert "temporal" in message
    validate(changed(regime="supervised", **off | {"classifier__terms__ce": 1.0}))
    assert "terms.prior" in refused(classifier__terms__prior=1.0)


def test_weights_to_begin_with_need_a_source():
    assert "config.score.init_from names no weights to begin with" in refused(score__warm_start=True)
    validate(changed(score__warm_start=True, score__init_from="run:somewhere"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(t_init=0.01), "config.sampling.t_init is 0.01: it must lie in [0.05, 1]"),
        (dict(t_init=1.5), "config.sampling.t_init is 1.5"),
        (dict(interval=(5.0, 0.1)), "config.sampling.interval is (5.0, 0.1): give two noise levels, the lower first"),
        (dict(interval=(0.1,)), "two noise levels"),
        (dict(interval=(0.1, float("inf"))), "two noise levels"),
        (dict(interval=(-1.0, 2.0)), "two noise levels"),
        (dict(eta=1.5, sampler="ddim"), "config.sampling.eta is 1.5: it must lie in [0, 1]"),
        (dict(task="inpainting", sampler="ode"), "config.sampling.task inpainting is not for sampler ode"),
        (dict(predictor="none", sampler="predictor_corrector"), "nothing would be drawn"),
        (dict(predictor="none", sampler="predictor_corrector", corrector="langevin", corrector_steps=0), "nothing"),
        (dict(per_class=(3, 0)), "config.sampling.per_class is (3, 0): give a whole number of 1 or more"),
        (dict(per_class=(3, 1.5)), "config.sampling.per_class is (3, 1.5)"),
        (dict(per_class=(3, True)), "config.sampling.per_class is (3, True)"),
        (dict(per_class=(30, "a")), "config.sampling.per_class is (30, 'a')"),
    ],
)
def test_sampling(fields, words):
    assert words in refused(**{f"sampling__{name}": value for name, value in fields.items()})


def test_samples_that_cannot_be_compared():
    message = refused(sampling__count=5)
    assert "config.sampling.count is 5" in message
    assert "evaluation.k" in message
    for fields in (dict(evaluation__features="none"), dict(evaluation__judge_steps=0), dict(evaluation__k=4)):
        validate(changed(sampling__count=5, **fields))
    assert "sampling.count is 5" in refused(sampling__count=5, evaluation__features="pixels", evaluation__judge_steps=0)
    assert "config.sampling.per_class asks for 5 images: make it greater than" in refused(sampling__per_class=(2, 3))
    validate(changed(sampling__per_class=(2, 4), sampling__count=5))


def test_inception_needs_its_weights(tmp_path):
    assert "inception_weights is ''" in refused(evaluation__features="inception")
    path = tmp_path / "weights.npz"
    assert str(path) in refused(evaluation__features="inception", evaluation__inception_weights=str(path))
    path.touch()
    validate(changed(evaluation__features="inception", evaluation__inception_weights=str(path)))


@pytest.mark.parametrize(
    "field",
    [
        *("score.batch_size", "classifier.batch_size", "classifier.unlabeled_batch_size"),
        *("teacher.batch_size", "teacher.unlabeled_batch_size"),
        *("sampling.batch_size", "evaluation.batch_size"),
    ],
)
def test_batches_that_do_not_split_over_the_devices(field, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    assert refused(**{field: 30}) == f"config.{field} is 30: make it a multiple of the 4 devices"
    validate(changed(**{field: 32}))


# Fields that nothing would read


@pytest.mark.parametrize("selector", READ)
def test_what_options_read(selector):
    assert CHOICES.keys() == READ.keys()
    found = {str(name): set(option.fields) for name, option in CHOICES[selector].items()}
    assert found == {name: set(fields.split()) for name, fields in READ[selector].items()}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(regime="pu", data__num_labels=50), "config.data.num_labels is 50, but config.regime pu does not read it"),
        (dict(data__num_positive=5), "config.data.num_positive is 5, but config.regime ssl does not read it: leave it "
                                     "at 0, or choose pu"),
        (dict(data__image_size=8), "config.data.image_size is 8, but config.data.name digits does not read it: leave "
                                   "it at 0, or choose folder"),
        (dict(data__name="npz", data__fit="pad"), "config.data.fit is 'pad', but config.data.name npz does not read"),
        (dict(data__name="mnist", data__skip_damaged=True), "config.data.name mnist does not read it: leave it at Fal"),
        (dict(data__name="mnist", data__background="red"), "or choose folder"),
        (dict(data__path="there"), "does not read it: leave it at '', or choose npz or folder or a name of TFDS"),
        (dict(data__name="folder", data__download=True), "or choose a name of TFDS"),
        (dict(sde__beta_max=9.0), "config.sde.beta_max is 9.0, but config.sde.name ve does not"),
        (dict(score__network="mlp", score__fir=False), "config.score.fir is False"),
        (dict(classifier__blocks=3), "config.classifier.blocks is 3, but config.classifier.network wide_resnet does"),
        (dict(sampling__eta=0.5), "or choose ddim"),
        (dict(sampling__hidden="center"), "config.sampling.hidden is 'center', but config.sampling.task none does not"),
        (dict(sampling__task="inpainting", sampling__classes=("3",)), "config.sampling.classes is ('3',)"),
        (dict(evaluation__inception_weights="a.npz"), "config.evaluation.inception_weights is 'a.npz', but config."
                                                      "evaluation.features judge does not read it: leave it at '', or "
                                                      "choose inception"),
    ],
)  # fmt: skip
def test_a_new_run_refuses_what_it_would_ignore_and_an_old_one_keeps_it(fields, words):
    assert words in refused(**fields)
    validate(changed(**fields), known=json.loads(changed(**fields).to_json()))
    with pytest.raises(UserError) as error:  # a value that the old run does not have
        validate(changed(**fields), known=json.loads(default_config().to_json()))
    assert words in str(error.value)
