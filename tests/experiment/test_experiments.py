"""The experiments in configs/: the command of each is whole, its presets can be chosen, its data fit."""

import pytest
from experiments import EXPERIMENTS, FILES, PATHS, PRESETS, ROOT, SETS, command_of, images

from scoressl_jax.commands.run import kind_of, load_config, parse
from scoressl_jax.data import tfds
from scoressl_jax.errors import UserError
from scoressl_jax.experiment import build
from scoressl_jax.experiment.config import default_config, validate
from scoressl_jax.experiment.fields import get
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.models.ncsnpp import NCSNpp
from scoressl_jax.studies.moons.study import MOONS

pytestmark = pytest.mark.usefixtures("at_root")

OWN_DATA = "digits"  # start of the names of those whose data are not a published set


@pytest.mark.parametrize("name", PATHS)
def test_command_of_the_docstring(name):
    config, workdir, mode = command_of(name)
    validate(config)
    assert workdir.startswith("runs/")
    assert mode == {"score": "train_score", "few_labels": "train_teacher"}.get(name.split("_", 1)[1], "run")
    for field in ("score.init_from", "data.download"):
        config.update_from_flattened_dict({field: get(default_config(), field)})
    assert config == load_config(f"configs/{name}.py")


@pytest.mark.parametrize("name", FILES)
def test_every_preset_can_be_chosen_and_the_first_is_the_default(name):
    path = f"configs/{name}.py"
    assert load_config(path).preset == (PRESETS[name] or [""])[0]
    for preset in PRESETS[name]:
        config = parse([f"--config={path}", "--workdir=runs/x", f"--config.preset={preset}"])[0]
        assert config == load_config(path, preset)
        assert config.preset == preset
        if name in PATHS:
            validate(config)
    with pytest.raises(UserError, match="preset 'nonesuch'"):
        parse([f"--config={path}", "--workdir=runs/x", "--config.preset=nonesuch"])


def test_moons_are_the_only_experiment_of_another_kind():
    others = {path.stem for path in (ROOT / "configs").glob("*.py")} - PATHS.keys()
    assert [kind_of(load_config(f"configs/{name}.py")) for name in others] == [MOONS]
    assert all(kind_of(load_config(f"configs/{name}.py")) is IMAGES for name in PATHS)


LABELS = {  # labelled and unlabelled images, as the papers have them
    "cifar10_ssl": (4000, 46_000),
    "cifar10_ssl_da": (4000, 46_000),
    "cifar10_da": (50_000, 0),
    "cifar10_noisy": (50_000, 0),
    "cifar10_dlsm": (50_000, 0),
    "cifar100_dlsm": (50_000, 0),
    "svhn_ssl": (1000, 72_257),
    "svhn_ssl_da": (1000, 72_257),
    "svhn_pu": (500, 72_757),
    "mnist_ssl": (1000, 59_000),
    "mnist_ssl_da": (1000, 59_000),
    "mnist_pu": (1000, 59_000),
    "mnist_da": (60_000, 0),
    "mnist_noisy": (60_000, 0),
}


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if not name.startswith(OWN_DATA)])
def test_data_of_full_size_fit(name, monkeypatch):
    monkeypatch.setattr(tfds, "load_tfds", lambda name, *_: images(name, *SETS[name]))
    experiment, stem = build.build(load_config(*EXPERIMENTS[name])), name.split("-")[0]
    split = experiment.split
    assert stem.endswith("_score") or (len(split.labeled), len(split.unlabeled)) == LABELS[stem]
    if stem != name:
        return  # a preset has a network of its own
    three_levels = dict(multipliers=(1, 2, 2), attention=(14,))
    body = NCSNpp(blocks=8) if name.startswith("cifar") else NCSNpp(**three_levels if name.startswith("mnist") else {})
    assert experiment.score_network.body == body


def score_of(name):
    """The experiment that trains the score network of the set, in the same preset."""
    stem, *preset = name.split("-")
    return "-".join([f"{stem.split('_')[0].replace('cifar100', 'cifar10')}_score", *preset])


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if score_of(name) in EXPERIMENTS])
def test_score_network_of_the_set_can_be_taken(name):
    config, other = (load_config(*EXPERIMENTS[each]) for each in (name, score_of(name)))
    assert (config.score, config.sde) == (other.score, other.sde)
