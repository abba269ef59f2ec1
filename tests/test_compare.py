"""The table over seeds: which runs make a row, and which figures it may hold."""

import json

from scoressl_jax.compare import compare


def run(root, name, seed, scale=1.0, **generation):
    (root / name).mkdir()
    config = {"seed": seed, "data": {"split_seed": seed}, "sampling": {"scale": scale}, "training": {"x": seed}}
    results = {"classifier": {"accuracy": 0.9 + seed / 100, "seconds": 60}}
    if generation:
        results["generation"] = generation
    for file, value in (("config.json", config), ("results.json", results)):
        (root / name / file).write_text(json.dumps(value))
    return root / name


def table(*runs):
    """Rows as dicts by column."""
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in compare(runs).splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_seeds_make_a_row_with_mean_and_deviation(tmp_path):
    one, two, other = run(tmp_path, "a", 0), run(tmp_path, "b", 2), run(tmp_path, "c", 0, scale=2.0)
    first, second = table(one, two, other)
    assert (first["run"], first["seeds"], first["accuracy"]) == ("a", "2", "0.910 ± 0.014")
    assert (second["seeds"], second["accuracy"], second["minutes"]) == ("1", "0.900", "1.000")
    assert first["F1"] == ""


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
