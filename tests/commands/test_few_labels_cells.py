"""scoressl few_labels: a tiny real table, going on with it, and what it refuses."""

import json
import shutil
from types import SimpleNamespace

import pytest

from scoressl_jax.commands import few_labels
from scoressl_jax.data.digits import load_digits
from scoressl_jax.data.splits import balanced_split
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.config import default_config
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.jobs import teacher_job
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.speaker import opened
from scoressl_jax.methods.baselines import fit

FIELDS = (
    "--config=digits_ssl_da",
    "--config.teacher.depth=4",
    "--config.teacher.patch=2",
    "--config.teacher.cutout=0.0",
)
PLAN = ("--methods=supervised,logistic", "--labels=20,30", "--seeds=1", "--steps=2")


@pytest.fixture(scope="module")
def table(compiled, tmp_path_factory):
    """Directory of a table of four cells."""
    folder = tmp_path_factory.mktemp("table") / "out"
    assert few_labels.main([*FIELDS, *PLAN, f"--output={folder}"]) == 0
    return folder


def cells_of(folder):
    return json.loads((folder / "few_labels.json").read_text())["cells"]


def test_every_cell_is_there_in_order_and_in_the_table(table):
    cells = cells_of(table)
    names = [f"digits-{n}-{method}-1" for n in (20, 30) for method in ("supervised", "logistic")]
    assert list(cells) == names
    for name, (labels, method) in zip(
        names, [(n, m) for n in (20, 30) for m in ("supervised", "logistic")], strict=True
    ):
        assert (cells[name]["labels"], cells[name]["method"], cells[name]["seed"]) == (labels, method, 1)
        assert cells[name]["seconds"] >= 0
    lines = (table / "few_labels.md").read_text().splitlines()
    assert lines[0] == "digits, 2 steps each"
    assert lines[2] == "| method | 20 labels | 30 labels | seconds |"
    assert [line.split("|")[1].strip() for line in lines[4:]] == ["supervised", "logistic"]
    accuracy = cells["digits-30-logistic-1"]["accuracy"]
    assert f"| {100 * accuracy:.2f} (1) |" in lines[5]
    assert (table / "few_labels.png").read_bytes().startswith(b"\x89PNG")


def test_labels_are_those_of_the_seed_and_accuracy_is_of_test_images(table):
    """By hand: the split that the seed draws, the baseline fitted to it, the network asked again."""
    data, cells = load_digits(), cells_of(table)
    for count in (20, 30):
        split = balanced_split(data.y_train, count, 10, seed=1)
        assert (split.labeled != balanced_split(data.y_train, count, 10, seed=0).labeled).any()
        x, rest = data.x_train[split.labeled], data.x_train[split.unlabeled]
        found = fit("logistic", x, data.y_train[split.labeled], rest, 1, 120, 10)
        right = (found.predict(data.x_test).argmax(1) == data.y_test).mean()
        assert cells[f"digits-{count}-logistic-1"]["accuracy"] == pytest.approx(right)
        assert cells[f"digits-{count}-logistic-1"]["chosen"] == found.chosen

        run = Run(table / "runs" / f"digits-{count}-supervised-1")
        assert run.labels["labeled"] == split.labeled.tolist()
        assert (run.config["seed"], run.config["teacher"]["steps"]) == (1, 2)
        teacher = opened(run, IMAGES.open(run).config, 10)
        right = (teacher.probabilities(data.x_test).argmax(1) == data.y_test).mean()
        assert cells[f"digits-{count}-supervised-1"]["accuracy"] == pytest.approx(right)
        hidden = (teacher.probabilities(rest).argmax(1) == data.y_train[split.unlabeled]).mean()
        assert cells[f"digits-{count}-supervised-1"]["unlabeled_accuracy"] == pytest.approx(hidden)


@pytest.fixture
def own(table, tmp_path):
    return shutil.copytree(table, tmp_path / "out")


def test_what_is_done_is_not_done_again_and_what_is_missing_is(own, monkeypatch):
    known, done = json.loads((own / "few_labels.json").read_text()), []
    del known["cells"]["digits-30-logistic-1"]
    known["cells"]["digits-20-supervised-1"]["accuracy"] = 0.123
    (own / "few_labels.json").write_text(json.dumps(known))
    monkeypatch.setattr(few_labels, "with_network", lambda *given: done.append(given))
    monkeypatch.setattr(
        few_labels, "with_baseline",
        lambda config, name, seconds: done.append((config.data.num_labels, name)) or {"accuracy": 0.5, "seconds": 1.0},
    )  # fmt: skip
    assert few_labels.main([*FIELDS, *PLAN, f"--output={own}"]) == 0
    assert done == [(30, "logistic")]
    assert cells_of(own)["digits-20-supervised-1"]["accuracy"] == 0.123
    assert cells_of(own)["digits-30-logistic-1"]["accuracy"] == 0.5
    assert "| 12.30 (1) |" in (own / "few_labels.md").read_text()


def test_a_cell_that_was_stopped_goes_on_with_the_steps_that_it_had(own, monkeypatch):
    name = "digits-20-supervised-1"
    known = json.loads((own / "few_labels.json").read_text())
    expected = known["cells"].pop(name)
    (own / "few_labels.json").write_text(json.dumps(known))
    (own / "runs" / name / "teacher.npz").unlink()
    monkeypatch.setattr(few_labels, "steps_in", lambda *given: pytest.fail("its pace is known"))
    argv = [*FIELDS, "--methods=supervised", "--labels=20", "--seeds=1", f"--output={own}"]
    assert few_labels.main(argv) == 0
    assert cells_of(own)[name] == expected | {"spent": "2 minutes"}


def test_a_cell_of_another_time_is_not_taken_for_this_one(own):
    with pytest.raises(UserError, match="digits-20-supervised-1 is there with 2 steps, not 3 steps: name another"):
        few_labels.main([*FIELDS, *PLAN[:-1], "--steps=3", f"--output={own}"])


def test_the_table_is_written_after_every_cell(tmp_path, monkeypatch):
    def network(config, seconds, steps, folder):
        if (config.seed, config.data.num_labels) == (1, 20):
            raise KeyboardInterrupt
        return {"accuracy": config.seed / 10 + 0.5, "seconds": seconds, "steps": steps, "folder": folder.name}

    monkeypatch.setattr(few_labels, "with_network", network)
    plan = ("--methods=supervised,mean_teacher", "--labels=20", "--seeds=0,1", "--minutes=0.5")
    with pytest.raises(KeyboardInterrupt):
        few_labels.main([*FIELDS, *plan, f"--output={tmp_path}"])
    cells = cells_of(tmp_path)
    assert list(cells) == ["digits-20-supervised-0", "digits-20-mean_teacher-0"]
    assert [cell["folder"] for cell in cells.values()] == list(cells)
    assert {cell["seconds"] for cell in cells.values()} == {30.0}
    assert (tmp_path / "few_labels.md").read_text().startswith("digits, 0.5 minutes each\n")


def test_steps_that_fit_into_a_time(monkeypatch):
    """Three calls after the one that compiles, of 10 steps each; the fastest says the pace."""
    clock = iter([0.0, 50.0, 100.0, 104.0, 200.0, 202.0, 300.0, 309.0])
    monkeypatch.setattr(few_labels.time, "perf_counter", lambda: next(clock))
    counts = []

    def run(state, arrays, frozen, indices, count, key):
        counts.append(count)
        return state, {}

    job = SimpleNamespace(update=None, steps_per_call=20, arrays={}, init_state=lambda: 0, indices=lambda *_: {})
    monkeypatch.setattr(few_labels, "teacher_job", lambda experiment, **options: job)
    monkeypatch.setattr(few_labels, "make_multi_update", lambda update, mesh: run)
    assert few_labels.steps_in(SimpleNamespace(config=default_config()), 60.0) == 300
    assert counts == [10] * 4


@pytest.mark.parametrize("method", ["auto", "mean_teacher", "fixmatch", "laplacenet"])
def test_every_method_has_a_pace(method, monkeypatch):
    """Also one that is yet to be chosen."""
    config = few_labels.of_cell(few_labels.parse([*FIELDS, "--output=x"])[1], 20, 0, method)
    made = []
    monkeypatch.setattr(few_labels, "make_multi_update", lambda update, mesh: lambda state, *rest: (state, {}))
    monkeypatch.setattr(
        few_labels, "teacher_job", lambda *given, **more: made.append(teacher_job(*given, **more)) or made[0]
    )
    assert few_labels.steps_in(IMAGES.build(config), 5.0) >= 1
    assert len(made) == 1


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--methods=svm,nonesuch", "--methods=nonesuch: choose among auto,supervised,"),
        ("--labels=20,ten", "--labels=20,ten: give whole numbers with commas between"),
        ("--seeds=-1", "--seeds=-1: give whole numbers with commas between"),
        ("--minutes=0", "--minutes=0.0: it must be greater than 0"),
        ("--minutes=nan", "--minutes=nan: it must be greater than 0"),
        ("--minutes=soon", "--minutes"),
        ("--steps=2.5", "--steps"),
        ("--config.teacher.depht=4", "depht"),
        ("--config.teacher.depth=5", "config.teacher.depth is 5"),
        ("--labels=5", "class"),
    ],
)
def test_bad_flags_are_refused_before_anything_is_trained(flag, words, refused, tmp_path):
    line = refused("few_labels", *FIELDS, *PLAN, f"--output={tmp_path / 'out'}", flag)
    assert words in line
    assert not (tmp_path / "out" / "few_labels.json").exists()


def test_it_needs_a_directory(refused):
    assert "--output" in refused("few_labels", *FIELDS)
