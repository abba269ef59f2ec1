"""The page of a comparison: curves and pictures of fake runs, what is left out of them, and that it holds both."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from scoressl_jax.commands.compare import main
from scoressl_jax.experiment.run import Run
from scoressl_jax.files import write_json, write_npz
from scoressl_jax.report.charts import BLUE, GAP, ORANGE, tile_size
from scoressl_jax.report.compare import apart, band, fitting, gradient_rows, mosaic, noise_chart, noise_curves
from scoressl_jax.report.groups import grouped

T = [0.001, 0.5, 1.0]
IMAGES = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8, 1)


def make_run(root, name, seed=0, kind="noisy", accuracy=(0.9, 0.6, 0.2), t=T, **arrays):
    """A run with its curve, unless `accuracy` is empty, and gradients, unless `gradients` is None."""
    write_json(root / name / "config.json", {"seed": seed, "data": {"split_seed": 0}, "classifier": {"kind": kind}})
    rows = [{"t": t, "sigma": 0.01 * 1000**t, "accuracy": a} for t, a in zip(t, accuracy, strict=False)]
    classifier = {"accuracy": 0.9, "accuracy_all_noise": np.mean(accuracy).item() if rows else None}
    results = {"data": {"num_classes": 4}, "classifier": classifier | {"accuracy_by_noise": rows}}
    write_json(root / name / "results.json", results)
    evaluation = {
        "gradient_images": IMAGES, "gradient_noisy": IMAGES / 255 + seed, "gradient_t": 0.35,
        "gradient_labels": np.array([0, 1]), "gradients": IMAGES - 5.0, "class_names": np.array(["cat", "a $ dog $"]),
    } | arrays  # fmt: skip
    if evaluation["gradients"] is not None:
        write_npz(root / name / "evaluation.npz", **evaluation)
    return root / name


def read_groups(workdirs):
    return grouped([Run.open(workdir) for workdir in workdirs])


def two_kinds(root):
    """Three noisy runs and two assisted ones, in two groups."""
    noisy = [make_run(root, f"n{s}", s, accuracy=(0.5 + a, 0.4, 0.3)) for s, a in enumerate((0, 0.1, 0.2))]
    return noisy + [make_run(root, f"d{s}", s, "denoising_assisted", gradients=IMAGES * 2.0) for s in (0, 1)]


def test_curves_have_mean_and_sample_deviation(tmp_path):
    (t, sigma), accuracy, left_out = noise_curves(read_groups(two_kinds(tmp_path)), ["noisy", "assisted"])
    np.testing.assert_allclose(t, T)
    np.testing.assert_allclose(sigma, [0.01007, 0.31623, 10.0], rtol=1e-3)
    mean, deviation = band(accuracy["noisy"])
    np.testing.assert_allclose(mean, [0.6, 0.4, 0.3])
    np.testing.assert_allclose(deviation, [0.1, 0, 0], atol=1e-12)
    assert accuracy["assisted"].shape == (2, 3)
    assert left_out == []


def test_one_run_has_no_band():
    mean, deviation = band(np.array([[0.5, 0.25]]))
    assert mean.tolist() == [0.5, 0.25]
    assert deviation is None


def test_runs_measured_elsewhere_or_not_at_all_are_left_out(tmp_path):
    runs = [make_run(tmp_path, "a"), make_run(tmp_path, "b", 1, t=[0.001, 0.4, 1.0]), make_run(tmp_path, "c", 2)]
    runs += [make_run(tmp_path, "few", kind="x", t=T[:2]), make_run(tmp_path, "none", kind="y", accuracy=())]
    _, accuracy, left_out = noise_curves(read_groups(runs), ["noisy", "x", "y"])
    assert {name: len(curves) for name, curves in accuracy.items()} == {"noisy": 2}
    assert [line.split()[0] for line in left_out] == ["b", "few", "none"]
    assert "other times" in left_out[0]
    assert "no accuracy" in left_out[2]


def test_times_named_on_the_axis_do_not_touch():
    assert apart(np.arange(21.0)) == list(range(0, 21, 2))  # a step is 5 % of the axis, and 7 % are wanted
    assert apart(np.array([-5, -2, -0.3, -0.2, -0.1, 0.0])) == [0, 1, 2]
    assert apart(np.array([3.0])) == [0]


def test_long_names_keep_their_ends():
    assert fitting("denoising-assisted") == "denoising-assisted"
    one, other = (fitting(f"runs/{'x' * 40}/{k}") for k in (1, 2))
    assert one != other
    assert len(one) == len(other) == 32


@pytest.mark.parametrize("t", [T, [0.35]])
def test_chart_draws_every_group(t):
    t = np.array(t)
    accuracy = {"a $x": np.linspace(0.9, 0.2, 2 * len(t)).reshape(2, -1), "b": np.full((1, len(t)), 0.5)}
    pixels = np.asarray(Image.open(io.BytesIO(noise_chart(t, 0.01 * 1000**t, accuracy, 4))))
    for color in (BLUE, ORANGE):
        wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert (pixels == wanted).all(-1).sum() > 50


def test_gradients_of_the_first_run_of_each_group(tmp_path):
    shared, slopes, left_out = gradient_rows(read_groups(two_kinds(tmp_path)), ["noisy", "assisted"])
    np.testing.assert_array_equal(shared["gradient_images"], IMAGES)
    np.testing.assert_array_equal(slopes["noisy"], IMAGES - 5.0)
    np.testing.assert_array_equal(slopes["assisted"], IMAGES * 2.0)
    assert left_out == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gradients": None}, "no pictures"),
        ({"gradient_images": IMAGES[:, ::-1]}, "other images"),
        ({"gradient_labels": np.array([1, 0])}, "other classes"),
        ({"gradient_t": 0.5}, "another time t"),
        ({"seed": 1}, "other noise"),
        ({"gradient_images": IMAGES[:1]}, "other images"),
    ],
)
def test_gradients_that_cannot_be_compared_are_left_out(tmp_path, change, reason):
    runs = [make_run(tmp_path, "a"), make_run(tmp_path, "b", kind="other", **change)]
    _, slopes, (line,) = gradient_rows(read_groups(runs), ["noisy", "other"])
    assert list(slopes) == ["noisy"]
    assert line.startswith("b ")
    assert reason in line


def test_mosaic_has_each_image_at_its_place():
    rng = np.random.default_rng(0)
    for channels in (1, 3):
        rows = [rng.integers(0, 255, (3, 5, 4, channels), dtype=np.uint8) for _ in range(2)]
        height, width = tile_size((5, 4))
        whole = mosaic(rows)
        assert whole.shape == (2 * (height + GAP), 3 * (width + GAP), 3)
        for (row, column), _ in np.ndenumerate(np.empty((2, 3))):
            tile = whole[row * (height + GAP) :, column * (width + GAP) :][: height + GAP, : width + GAP]
            image = Image.fromarray(np.broadcast_to(rows[row][column], (5, 4, 3)))
            np.testing.assert_array_equal(tile[:height, :width], image.resize((width, height), 0))
            assert (tile[height:] == 255).all()
            assert (tile[:, width:] == 255).all()


def test_the_page_holds_both_pictures(tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    assert main([*map(str, two_kinds(tmp_path)), f"--out={out}"]) == 0
    assert str(out / "compare.html") in capsys.readouterr().out
    page = (out / "compare.html").read_text()
    held = [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]*)"', page)]
    assert held == [(out / f"{name}.png").read_bytes() for name in ("accuracy_by_noise", "gradients")]
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<td>over all noise</td><td>0.433 ± 0.033</td><td>0.567 ± 0.000</td>" in page
    assert "<td>n0, n1, n2</td><td>d0, d1</td>" in page
    # Means of 43.33 and 56.67 points, variances 11.11 and 0 of 3 and 2 runs.
    assert "noisy minus denoising-assisted: <b>-13.33 ± 1.92 points</b>" in page
    assert "3 and 2 runs, not paired" in page


def test_a_page_of_runs_that_measured_nothing_says_so(tmp_path):
    runs = [make_run(tmp_path, name, kind=name, accuracy=(), gradients=None) for name in ("a", "<b>")]
    assert main([*map(str, runs), f"--out={tmp_path / 'out'}"]) == 0
    page = (tmp_path / "out" / "compare.html").read_text()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["compare.html"]
    assert page.count(": left out.") == 4
    assert "not measured" in page
    assert "&lt;b&gt; has no pictures of gradients" in page


def test_three_groups_have_no_difference(tmp_path):
    runs = [make_run(tmp_path, name, kind=name) for name in "abc"]
    assert main([*map(str, runs), f"--out={tmp_path / 'out'}"]) == 0
    page = (tmp_path / "out" / "compare.html").read_text()
    assert 'id="difference"' not in page
    assert page.count("<img") == 2


def test_one_run_of_each_is_not_called_paired(tmp_path):
    runs = [make_run(tmp_path, name, kind=name) for name in ("a", "b")]
    assert main([*map(str, runs), f"--out={tmp_path / 'out'}"]) == 0
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "too few to tell how much of it is chance (one run each)" in page
    assert "paired" not in page


def test_runs_on_different_data_are_told_apart(tmp_path, capsys):
    runs = [make_run(tmp_path, name, kind=name) for name in ("a", "b", "c")]
    for run, images in zip(runs, ("1", "1", "2"), strict=True):
        results = json.loads((run / "results.json").read_text())
        mark = {"images": images, "test": "3", "classes": "4", "labels": run.name}  # labels differ with the seed
        results["data"] = results.get("data", {}) | {"name": f"set{images}", "fingerprint": mark}
        (run / "results.json").write_text(json.dumps(results))
    said = "These runs are on different data, so that their figures do not compare: a on set1, c on set2."
    for some, expected in ((runs[:2], False), (runs, True)):
        assert main([*map(str, some), f"--out={tmp_path / 'out'}"]) == 0
        assert (said in capsys.readouterr().out) == expected
        assert (said in (tmp_path / "out" / "compare.html").read_text()) == expected
