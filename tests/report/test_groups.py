"""Runs as rows of a table: which make a row, what a cell may say, and the difference of two rows."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from scipy import stats

from scoressl_jax.errors import UserError
from scoressl_jax.report.groups import (
    COLUMNS,
    Difference,
    cells,
    difference,
    figure,
    group_names,
    grouped,
    markdown,
    row_key,
)


def config(seed=0, split_seed=0, score="", classifier="", **sampling):
    return {
        "seed": seed, "data": {"name": "digits", "split_seed": split_seed}, "training": {"steps_per_call": 10 + seed},
        "score": {"init_from": score, "width": 32}, "classifier": {"init_from": classifier, "kind": "noisy"},
        "sampling": {"scale": 1.0, **sampling},
    }  # fmt: skip


def run(name, fields, **results):
    return SimpleNamespace(workdir=Path(name), config=fields, results=results, evaluation={"of": name})


def runs(values, **fields):
    """A run for each seed of {seed: accuracy over all noise}."""
    return [run(f"r{s}", config(s, **fields), classifier={"accuracy_all_noise": v}) for s, v in values.items()]


# Rows


def test_seeds_and_how_a_run_is_cut_up_make_no_other_row():
    assert row_key(config(0, 0), None) == row_key(config(1, 7), None)
    assert row_key(config(), None) != row_key(config(scale=2.0), None)


def test_the_config_is_left_as_it_is():
    fields = config(3, 4, score="run:a")
    before = json.dumps(fields)
    row_key(fields, {"a": config()}.get)
    assert json.dumps(fields) == before


@pytest.mark.parametrize("network", ["score", "classifier"])
def test_networks_taken_from_runs_that_differ_in_seeds_alone_are_of_one_row(network):
    known = {"a": config(1), "b": config(2), "other": config(2, scale=5.0), "below": config(3, score="run:a"),
             "beside": config(4, score="run:b")}  # fmt: skip
    key = {name: row_key(config(**{network: f"run:{name}"}), known.get) for name in (*known, "gone", "away")}
    assert key["a"] == key["b"]
    assert key["below"] == key["beside"]
    assert len(set(key.values())) == 5
    released = row_key(config(**{network: "score_sde_flax:a"}), known.get)
    assert released not in key.values()
    assert row_key(config(), known.get) not in key.values()


def test_groups_keep_the_order_of_the_runs():
    given = [run("a", config(0), x={}), run("b", config(scale=2.0), x={}), run("c", config(1), x={})]
    found = grouped(given)
    assert [[str(r.workdir) for r in group] for group in found] == [["a", "c"], ["b"]]
    assert found[0][1].config == config(1)
    assert found[0][1].evaluation == {"of": "c"}


def test_a_run_without_results_is_named():
    with pytest.raises(UserError, match="b/results.json is missing or cannot be read: finish the run"):
        grouped([run("a", config(), x={}), run("b", config())])


def test_names_are_the_kinds_where_these_tell_all_apart():
    def named(*kinds, names="ab"):
        return group_names([[run(n, {"classifier": {"kind": k}})] for n, k in zip(names, kinds, strict=True)])

    assert named("noisy", "denoising_assisted") == ["noisy", "denoising-assisted"]
    assert named("noisy", "noisy") == ["a", "b"]
    assert named("noisy", "") == ["a", "b"]
    assert named("noisy", names="a") == ["a"]
    assert named("noisy", "noisy", names=("x/a", "y/a")) == ["x/a", "y/a"]


# Cells


RESULTS = {
    "data": {"name": "digits"}, "score": {"seconds": 90.0}, "teacher": {"accuracy": 0.97},
    "classifier": {"accuracy": 0.9, "accuracy_all_noise": 0.5, "f1": 0.25, "ece": 0.125, "seconds": 30.0},
    "samples": {"class_agreement": 0.75, "judge_accuracy": 0.95, "seconds": 60.0},
    "generation": {"precision": 0.6, "recall": 0.3, "cas": 0.8, "features": "pixels", "fid@500": 2.0, "fid@100": 3.0},
}  # fmt: skip


def test_every_column_is_its_figure():
    found = {column: figure(RESULTS, column) for column in COLUMNS}
    assert found == {
        "accuracy": 0.9, "teacher": 0.97, "over all noise": 0.5, "F1": 0.25, "ECE": 0.125, "class agreement": 0.75,
        "judge": 0.95, "precision": 0.6, "recall": 0.3, "CAS": 0.8, "minutes": 3.0,
    }  # fmt: skip
    assert figure({}, "accuracy") is None


def test_one_run_has_the_standard_error_of_its_images():
    block = {"classifier": {"accuracy": 0.9, "accuracy_standard_error": 0.0158, "f1": 0.5}}
    groups = grouped([run("a", config(0), **block), run("b", config(scale=2.0), **block), run("c", config(1), **block)])
    assert cells(groups)["accuracy"] == ["0.900 ± 0.000", "0.900 (± 0.016)"]
    assert cells(groups)["F1"] == ["0.500 ± 0.000", "0.500"]
    assert markdown(groups).endswith("|\n\nIn brackets: of one run, the standard error of its number of images alone.")
    assert "brackets" not in markdown(groups[:1])
    assert figure(RESULTS, "FID@500 by pixels") == 2.0


def test_a_cell_is_mean_and_sample_deviation_and_empty_where_a_run_lacks_it():
    group = [run(str(v), config(), classifier={"accuracy": v}) for v in (0.5, 0.75)]
    other = [run("c", config(), classifier={"accuracy": 0.25, "f1": 0.5})]
    found = cells([group, other, [*group, run("d", config(), samples={})]])
    assert found["accuracy"] == ["0.625 ± 0.177", "0.250", ""]
    assert found["F1"] == ["", "0.500", ""]
    assert list(found) == list(COLUMNS)


def test_fid_has_a_column_for_each_count_and_extractor_but_none_of_a_judge():
    of = lambda features, **fids: [run("a", config(), generation={"features": features, **fids})]  # noqa: E731
    groups = [
        of("pixels", **{"fid@500": 2.0}), of("Inception-v3 of 2015", **{"fid@500": 4.0, "fid@100": 5.0}),
        of("judge: of the run", **{"fid@500": 9.0}),
    ]  # fmt: skip
    found = {column: row for column, row in cells(groups).items() if column.startswith("FID")}
    assert found == {
        "FID@100 by Inception-v3": ["", "5.000", ""],
        "FID@500 by Inception-v3": ["", "4.000", ""],
        "FID@500 by pixels": ["2.000", "", ""],
    }


def test_the_table_has_a_row_a_group():
    group = [run(f"runs/{name}", config(), classifier={"accuracy": 0.5}) for name in "ab"]
    header, rule, *rows = markdown([group, [run("c", config(), classifier={"f1": 0.5})]]).splitlines()
    assert header.split(" | ")[:3] == ["| run", "seeds", "accuracy"]
    assert header.count("|") == rule.count("|") == len(COLUMNS) + 3
    assert rows[0].startswith("| a | 2 | 0.500 ± 0.000 |")
    assert rows[1].startswith("| c | 1 |  |  |  | 0.500 |")


# The difference of two groups


def test_the_difference_is_paired_by_the_seed():
    found = difference(runs({0: 0.5, 1: 0.6, 2: 0.75}), runs({2: 0.72, 0: 0.49, 1: 0.58}))
    test = stats.ttest_rel([50, 60, 75], [49, 58, 72])
    assert found == (pytest.approx(2.0), pytest.approx(2.0 / test.statistic), 3)


def test_without_the_same_seeds_it_is_of_the_means():
    found = difference(runs({0: 0.5, 1: 0.6, 2: 0.7}), runs({0: 0.4, 1: 0.44}))
    test = stats.ttest_ind([50, 60, 70], [40, 44], equal_var=False)
    assert found == (pytest.approx(18.0), pytest.approx(18.0 / test.statistic), 0)


def test_a_seed_that_comes_twice_pairs_nothing():
    twice = [*runs({0: 0.5, 1: 0.6}), *runs({1: 0.7})]
    assert difference(twice, runs({0: 0.4, 1: 0.44})).pairs == 0
    assert difference(runs({0: 0.4, 1: 0.44}), twice).pairs == 0


def test_of_single_runs_it_has_no_error():
    assert difference(runs({0: 0.5}), runs({0: 0.25})) == Difference(25.0, None, 1)
    assert difference(runs({0: 0.5}), runs({1: 0.75, 2: 0.75})) == Difference(-25.0, None, 0)


def test_it_needs_every_run_measured():
    assert difference(runs({0: 0.5, 1: None}), runs({0: 0.4, 1: 0.5})) is None
    assert difference(runs({0: 0.5}), runs({0: None})) is None
