"""The table over seeds: which runs make a row, and which figures it may hold; the difference of two rows."""

import json
import shutil

import pytest
from scipy import stats

from scoressl_jax.__main__ import main
from scoressl_jax.commands.compare import config_at
from scoressl_jax.experiment.run import Run
from scoressl_jax.report.groups import Difference, difference, group_names, grouped, markdown


def read_groups(paths):
    return grouped([Run.open(path) for path in paths], config_at)


def run(root, name, seed, scale=1.0, source="", **generation):
    (root / name).mkdir()
    config = {"seed": seed, "data": {"split_seed": seed}, "sampling": {"scale": scale}, "training": {"x": seed}}
    config["score"] = {"init_from": source}
    results = {"classifier": {"accuracy": 0.9 + seed / 100, "seconds": 60}}
    if generation:
        results["generation"] = generation
    for file, value in (("config.json", config), ("results.json", results)):
        (root / name / file).write_text(json.dumps(value))
    return root / name


def table(*runs):
    """Rows as dicts by column."""
    lines = markdown(read_groups(runs)).splitlines()
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_seeds_make_a_row_with_mean_and_deviation(tmp_path):
    one, two, other = run(tmp_path, "a", 0), run(tmp_path, "b", 2), run(tmp_path, "c", 0, scale=2.0)
    first, second = table(one, two, other)
    assert (first["run"], first["seeds"], first["accuracy"]) == ("a", "2", "0.910 ± 0.014")
    assert (second["seeds"], second["accuracy"], second["minutes"]) == ("1", "0.900", "1.000")
    assert first["F1"] == ""


def test_score_networks_taken_from_runs_that_differ_in_seeds_alone_are_one_row(tmp_path):
    taken = [f"run:{run(tmp_path, name, seed, scale)}" for name, seed, scale in (("a", 0, 1), ("b", 1, 1), ("c", 2, 5))]
    sources = [*taken, "run:gone", "run:away", "score_sde_flax:file"]
    runs = [run(tmp_path, f"of_{seed}", seed, source=source) for seed, source in enumerate(sources)]
    assert [row["seeds"] for row in table(*runs)] == ["2", "1", "1", "1", "1"]


def test_figures_of_samples(tmp_path):
    row = table(*(run(tmp_path, str(s), s, features="judge: one", precision=s / 2, cas=0.5) for s in (0, 1)))[0]
    assert (row["precision"], row["CAS"], row["recall"]) == ("0.250 ± 0.354", "0.500 ± 0.000", "")


def test_fid_needs_features_that_all_runs_share(tmp_path):
    judged = run(tmp_path, "a", 0, features="judge: of the run", **{"fid@500": 1.0})
    assert not any("FID" in column for column in table(judged)[0])
    inception = [run(tmp_path, f"b{s}", s, 2.0, features="Inception-v3 of 2015", **{"fid@500": s}) for s in (1, 3)]
    first, second = table(judged, *inception)
    assert second["FID@500 by Inception-v3"] == "2.000 ± 1.414"
    assert first["FID@500 by Inception-v3"] == ""


def test_a_row_lacks_what_one_of_its_runs_lacks(tmp_path):
    fids = ({"fid@500": 1.0}, {"fid@1000": 1.0})
    runs = [run(tmp_path, str(s), s, features="pixels", precision=0.5, **fid) for s, fid in enumerate(fids)]
    row = table(*runs, run(tmp_path, "2", 2))[0]
    assert row["precision"] == row["FID@500 by pixels"] == row["FID@1000 by pixels"] == ""
    assert row["accuracy"]


def accuracies(root, values, scale):
    """Runs of one group from {seed: accuracy over all noise, or None}."""
    runs = [run(root, f"{scale}_{seed}", seed, scale) for seed in values]
    for workdir, value in zip(runs, values.values(), strict=True):
        if value is not None:
            (workdir / "results.json").write_text(json.dumps({"classifier": {"accuracy_all_noise": value}}))
    return runs


def gain(root, first, second):
    return difference(*read_groups([*accuracies(root, first, 1.0), *accuracies(root, second, 2.0)]))


def test_difference_is_paired_by_seed_whatever_the_order(tmp_path):
    found = gain(tmp_path, {0: 0.5, 1: 0.6, 2: 0.75}, {2: 0.72, 0: 0.49, 1: 0.58})
    # 1, 2 and 3 points: sd 1, so the standard error is 1 / sqrt(3).
    assert found == (pytest.approx(2.0), pytest.approx(0.57735, abs=1e-5), 3)
    test = stats.ttest_rel([50, 60, 75], [49, 58, 72])
    assert found.points / found.standard_error == pytest.approx(test.statistic)


def test_difference_without_the_same_seeds_is_of_the_means(tmp_path):
    found = gain(tmp_path, {0: 0.5, 1: 0.6, 2: 0.7}, {0: 0.4, 1: 0.44})
    # Variances 100 and 8 of 3 and 2 runs: sqrt(100 / 3 + 8 / 2).
    assert found == (pytest.approx(18.0), pytest.approx(6.11010, abs=1e-5), 0)
    test = stats.ttest_ind([50, 60, 70], [40, 44], equal_var=False)
    assert found.points / found.standard_error == pytest.approx(test.statistic)


def test_a_seed_that_two_runs_of_a_group_have_pairs_nothing(tmp_path):
    runs = accuracies(tmp_path, {0: 0.5, 1: 0.6, 2: 0.7}, 1.0)
    config = json.loads((runs[2] / "config.json").read_text())
    (runs[2] / "config.json").write_text(json.dumps(config | {"seed": 1}))
    found = difference(*read_groups(runs + accuracies(tmp_path, {0: 0.4, 1: 0.44}, 2.0)))
    assert found == (pytest.approx(18.0), pytest.approx(6.11010, abs=1e-5), 0)


def test_difference_of_single_runs_has_no_error(tmp_path):
    assert gain(tmp_path, {0: 0.5}, {0: 0.25}) == Difference(25.0, None, 1)
    shutil.rmtree(tmp_path / "2.0_0")
    others = accuracies(tmp_path, {1: 0.75, 2: 0.75}, 2.0)
    assert difference(*read_groups([tmp_path / "1.0_0", *others])) == (-25.0, None, 0)


def test_difference_needs_every_run_measured(tmp_path):
    assert gain(tmp_path, {0: 0.5, 1: None}, {0: 0.4, 1: 0.5}) is None


def test_names_are_what_tells_groups_apart(tmp_path):
    runs = [run(tmp_path, name, 0, scale) for scale, name in enumerate("abc")]
    (tmp_path / "other").mkdir()
    runs.append(run(tmp_path / "other", "a", 0, scale=9.0))
    for workdir, kind in zip(runs, ("noisy", "denoising_assisted", "noisy", "noisy"), strict=True):
        config = json.loads((workdir / "config.json").read_text())
        (workdir / "config.json").write_text(json.dumps(config | {"classifier": {"kind": kind}}))
    assert group_names(read_groups(runs[:2])) == ["noisy", "denoising-assisted"]
    assert group_names(read_groups(runs[:1])) == ["a"]
    assert group_names(read_groups(runs[:3])) == ["a", "b", "c"]
    assert group_names(read_groups([runs[0], runs[3]])) == [str(runs[0]), str(runs[3])]


def test_the_table_alone_writes_nothing(tmp_path, capsys):
    sources = [run(tmp_path, name, seed) for seed, name in enumerate("ab")]
    taken = [run(tmp_path, f"of_{path.name}", seed, source=f"run:{path}") for seed, path in enumerate(sources)]
    before = sorted(tmp_path.rglob("*"))
    assert main(["compare", *map(str, taken)]) == 0
    said = capsys.readouterr().out
    assert said == markdown(read_groups(taken)) + "\n"
    assert [line.split(" | ")[1] for line in said.splitlines()[2:]] == ["2"]  # one row, of two seeds
    assert sorted(tmp_path.rglob("*")) == before


def one_error_line(argv, capsys):
    assert main(["compare", *(str(argument) for argument in argv)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("scoressl_jax: ")
    return line


def test_bad_input_is_one_line(tmp_path, capsys):
    good, bare, torn = (run(tmp_path, name, 0) for name in ("good", "bare", "torn"))
    (bare / "results.json").unlink()
    (torn / "results.json").write_text('{"classifier"')
    nowhere = one_error_line([good, tmp_path / "none"], capsys)
    assert f"{tmp_path / 'none'} holds no run (it has no config.json)" in nowhere
    assert f"{bare / 'results.json'} is missing" in one_error_line([bare, "--out", tmp_path / "out"], capsys)
    assert f"{torn / 'results.json'} is missing or cannot be read" in one_error_line([torn], capsys)
    assert "RUN" in one_error_line([], capsys)
    assert "--oops" in one_error_line([good, "--oops"], capsys)
    assert f"--out={good / 'config.json'} cannot be written" in one_error_line(
        [good, f"--out={good / 'config.json'}"], capsys
    )
    assert not (tmp_path / "out").exists()


def test_a_run_of_the_former_version_is_in_one_row_with_the_same_of_today(old_run, scoressl, tmp_path):
    """Its config.json lacks the fields that are newer than it."""
    again = shutil.copytree(old_run, tmp_path / "again")
    assert scoressl("run", f"--workdir={again}", "--mode=report")[0] == 0  # writes every field of today
    assert "warm_start" in (again / "config.json").read_text()
    assert "warm_start" not in (old_run / "config.json").read_text()
    code, out, _ = scoressl("compare", old_run, again)
    assert code == 0
    assert [line.split("|")[2].strip() for line in out.splitlines()[2:]] == ["2"]
