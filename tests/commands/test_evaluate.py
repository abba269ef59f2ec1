"""scoressl evaluate: its figures, its file, and one line for each mistake."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.linalg import sqrtm

from scoressl_jax.__main__ import main as scoressl
from scoressl_jax.commands import evaluate as command
from scoressl_jax.experiment.judge import Judge
from scoressl_jax.models.wide_resnet import WideResNet

rng = np.random.default_rng(0)
LABELS = np.arange(40) % 2
REAL = (100 * LABELS[:, None, None, None] + rng.integers(0, 100, (40, 4, 4, 1))).astype(np.uint8)
FAKE = (90 * LABELS[:, None, None, None] + rng.integers(0, 120, (40, 4, 4, 1))).astype(np.uint8)


@pytest.fixture(autouse=True)
def own_cache(compiled, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", compiled)
    for name in ("XLA_FLAGS", "NPROC"):  # set where devices are made of cores
        monkeypatch.setenv(name, "")


@pytest.fixture
def files(tmp_path):
    """Paths of real images as a data set and of samples, two classes of 4x4."""
    np.savez(tmp_path / "real.npz", x_train=REAL, y_train=LABELS)
    np.savez(tmp_path / "fake.npz", images=FAKE, labels=LABELS)
    return str(tmp_path / "real.npz"), str(tmp_path / "fake.npz")


def main(argv):
    return scoressl(["evaluate", *argv])


def refused(capsys, *argv):
    assert main(list(argv)) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    assert said[0].startswith("scoressl_jax: ")
    return said[0]


def test_table_file_and_warning(files, tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "scoressl_jax", "evaluate", *files, "--features=pixels", "--k=3"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    assert f"{files[0]}: x_train: 40 images 4x4x1, 2 classes" in process.stdout
    (warning,) = process.stderr.strip().splitlines()
    assert "fewer than 10,000 images" in warning
    block = json.loads((tmp_path / "fake_generation.json").read_text())
    x, y = (images.reshape(40, -1) / 255 for images in (REAL, FAKE))
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    fid = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert block["fid@40"] == pytest.approx(fid, rel=1e-4)
    assert (block["features"], block["count"], block["reference_count"], block["k"]) == ("pixels", 40, 40, 3)
    assert block["classwise"].keys() == {"0", "1"}
    assert block["samples"] == f"{files[1]}: images"
    row = next(line.split() for line in process.stdout.splitlines() if line.startswith("FID@40"))
    assert float(row[1]) == pytest.approx(fid, abs=1e-4)
    assert row[2] == "lower"
    mean = next(line.split() for line in process.stdout.splitlines() if line.startswith("mean"))
    np.testing.assert_allclose(np.float64(mean[1:]), list(block["classwise_mean"].values()), atol=1e-4)


def test_folders_named_by_words_against_numbers(files, tmp_path, capsys):
    for i, (image, label) in enumerate(zip(REAL, LABELS, strict=True)):
        path = tmp_path / "pets" / ("cat", "dog")[label] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    blocks = []
    for reference in (files[0], str(tmp_path / "pets")):
        assert main([reference, files[1], "--features=pixels", f"--out={tmp_path}/deep/out.json"]) == 0
        blocks.append(json.loads((tmp_path / "deep" / "out.json").read_text()))
    one, other = blocks
    assert other["classwise"] == {"cat": one["classwise"]["0"], "dog": one["classwise"]["1"]}
    for name in ("fid@40", "kid@40", "precision", "coverage"):
        assert other[name] == pytest.approx(one[name])  # whatever the order of the images


def test_how_folders_are_read(files, tmp_path, capsys):
    """A transparent image of 4x6, pixels of which the cut takes away, and a file that is damaged."""
    for i, image in enumerate(REAL):
        (tmp_path / "pets").mkdir(exist_ok=True)
        wide = np.pad(image[..., 0], ((0, 0), (1, 1)), constant_values=255)
        Image.fromarray(wide).save(tmp_path / "pets" / f"{i:02}.png")
    (tmp_path / "pets" / "40.png").write_bytes(b"x")
    (tmp_path / "pets" / ".DS_Store").write_bytes(b"x")
    asked = [files[0], str(tmp_path / "pets"), "--features=pixels", "--image-size=4"]
    assert "pets holds 1 damaged image: 40.png" in refused(capsys, *asked)
    found = {}
    for fit in ("crop", "pad", "stretch"):
        assert main([*asked, "--skip-damaged", f"--fit={fit}", "--background=black"]) == 0
        found[fit] = json.loads((tmp_path / "pets_generation.json").read_text())["fid@40"]
        said = capsys.readouterr().out
        assert "no labels; 1 file of the system, or hidden, skipped (.DS_Store); 1 damaged image left out (40" in said
    assert found["crop"] == pytest.approx(0, abs=1e-6)
    assert 0.1 < found["stretch"] != pytest.approx(found["pad"], rel=0.1)
    assert "--background=whit is no colour" in refused(capsys, *asked, "--background=whit")
    assert "--fit" in refused(capsys, *asked, "--fit=wrap")


def test_samples_of_a_run_carry_the_names_of_their_classes(files, tmp_path, capsys):
    """Classes of a folder called 2 and 10, those of the samples' file in another order; nothing to match is refused."""
    for i, (image, label) in enumerate(zip(REAL, LABELS, strict=True)):
        path = tmp_path / "real" / ("2", "10")[label] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    np.savez(tmp_path / "named.npz", images=REAL, labels=1 - LABELS, class_names=np.array(["10", "2"]))
    asked = [str(tmp_path / "real"), str(tmp_path / "named.npz"), "--features=pixels"]
    assert main(asked) == 0
    block = json.loads((tmp_path / "named_generation.json").read_text())
    assert list(block["classwise"]) == ["2", "10"]
    assert all(row["coverage"] == 1 for row in block["classwise"].values())
    capsys.readouterr()
    assert "it is not certain which of 2, 10 they mean" in refused(capsys, asked[0], files[1], asked[2])
    np.savez(tmp_path / "other.npz", images=REAL, labels=LABELS, class_names=np.array(["cat", "dog"]))
    assert "no class of" in refused(capsys, asked[0], str(tmp_path / "other.npz"), asked[2])


def test_a_judge_of_the_reference_and_the_classification_accuracy_score(tmp_path, capsys):
    """Of images of any size: 4x3."""
    files = [str(tmp_path / f"{name}.npz") for name in ("real", "fake")]
    np.savez(files[0], x_train=REAL[:, :, :3], y_train=LABELS)
    np.savez(files[1], images=FAKE[:, :, :3], labels=LABELS)
    flags = ("--judge-depth=4", "--judge-steps=2", "--cas-steps=2", "--batch-size=8")
    assert main([*files, *flags]) == 0
    block = json.loads((tmp_path / "fake_generation.json").read_text())
    assert block["features"] == f"judge: WideResNet-4-1 trained on 40 labels of {files[0]}: x_train"
    assert 1 <= block["is@40"] <= 2
    assert 0 <= block["cas"] <= 1
    assert "CAS " in capsys.readouterr().out


def test_mistakes_on_the_command_line(files, capsys, tmp_path):
    assert "--colour" in refused(capsys, *files, "--colour=red")
    assert "required" in refused(capsys, files[0])
    assert "'0' is no whole number of 1 or more" in refused(capsys, *files, "--k=0")
    assert "--features=vgg" in refused(capsys, *files, "--features=vgg")
    assert "--features=inception" in refused(capsys, *files, "--features=inception")
    assert "--judge-depth=11" in refused(capsys, *files, "--judge-depth=11")
    assert f"{tmp_path} holds no run" in refused(capsys, *files, f"--features=judge:{tmp_path}")
    assert "cannot be written" in refused(capsys, *files, "--features=pixels", f"--out={files[0]}/x.json")


def test_files_that_cannot_be_compared(files, capsys, tmp_path):
    def saved(name, **arrays):
        np.savez(tmp_path / name, **arrays)
        return str(tmp_path / name)

    real = files[0]
    whole = (tmp_path / "real.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    assert "not a whole .npz file" in refused(capsys, real, str(tmp_path / "cut.npz"))
    assert "8x8x1" in refused(capsys, real, saved("large.npz", images=np.zeros((9, 8, 8, 1), np.uint8)))
    few = saved("few.npz", images=FAKE[:5])
    assert "5 samples: k=5 nearest neighbours need more" in refused(capsys, real, few, "--features=pixels")
    assert "no labels to train a judge on" in refused(capsys, few, real)
    bare = saved("bare.npz", images=FAKE)
    assert "--cas-steps needs labels" in refused(capsys, real, bare, "--features=pixels", "--cas-steps=2")


def test_a_judge_of_a_run_whose_patches_do_not_divide_the_images(files, capsys, monkeypatch):
    network = WideResNet(num_classes=2, depth=4, widen=1, patch=3)
    monkeypatch.setattr(command, "judge_of_run", lambda path: Judge(network, {}, "nothing"))
    line = refused(capsys, *files, "--features=judge:runs/x")
    assert "judge:runs/x takes images in patches of 3, but these are 4x4" in line
