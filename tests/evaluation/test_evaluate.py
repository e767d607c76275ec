"""leadline.evaluate: both ways to average, per-sample rows, and going on past what is bad."""

import csv
import json
import statistics

import numpy as np
import pytest
from fakes import Failing, Offset, data_set, sample

import leadline
from leadline.errors import UserError
from leadline.evaluation import METRICS, OVER_PIXELS, OVER_SAMPLES
from leadline.evaluation.runner import _named
from leadline.models import Task


class Wide(Offset):
    """Off by 4 px on the wide image, exact on the narrow one."""

    def _predict(self, left, right):
        return super()._predict(left, right) + np.float32(4 if left.shape[1] == 30 else 0)


def test_mean_of_samples_and_all_pixels_are_told_apart():
    samples = [sample("narrow", size=(10, 10)), sample("wide", size=(10, 30))]
    by_samples, by_pixels = leadline.evaluate(Wide(), samples).table
    assert (by_samples["aggregate"], by_samples["epe"], by_samples["d1"]) == (OVER_SAMPLES, 2, 50)
    assert (by_pixels["aggregate"], by_pixels["epe"], by_pixels["d1"]) == (OVER_PIXELS, 3, 75)
    assert by_pixels["rmse"] == pytest.approx(12**0.5)
    assert by_samples["rmse"] == 2


def test_several_predictors_see_each_sample_once_in_the_order_of_the_data():
    samples = [sample(f"s{i}", truth=10 + i) for i in range(3)]
    models = [Offset("a"), Offset("b", offset=1)]
    results = leadline.evaluate(models, samples)
    assert [(row["sample"], row["model"]) for row in results.samples] == [
        (f"s{i}", model) for i in range(3) for model in "ab"
    ]
    assert [len(model.calls) for model in models] == [3, 3]
    assert [results.over_pixels(model)["epe"] for model in "ab"] == [0, 1]


def test_per_sample_rows_carry_size_and_regions():
    foreground = np.zeros((10, 20), bool)
    foreground[:, :5] = True
    (row,) = leadline.evaluate(Offset(offset=5), [sample("one", foreground=foreground)]).samples
    assert (row["height"], row["width"], row["pixels"]) == (10, 20, 200)
    assert (row["d1_fg"], row["d1_bg"], row["d1_noc"]) == (100, 100, None)


def test_the_mean_of_samples_leaves_out_samples_without_the_metric():
    seen = np.zeros((10, 20), bool)
    samples = [sample("no mask"), sample("mask", occluded=seen), sample("mask too", truth=30, occluded=seen)]
    results = leadline.evaluate(Wide(offset=4), samples)
    assert results.over_samples("offset")["d1_noc"] == 100
    assert results.over_samples("offset")["d1_occ"] is None
    assert results.to_dict()["models"][0]["samples"] == 3


def test_unreadable_and_empty_samples_are_listed_and_the_rest_goes_on():
    untrue = sample("no truth")
    untrue.disparity = untrue.valid = None
    results = leadline.evaluate(Offset(), data_set([sample("a"), sample("b"), untrue], broken=[1], missing=["c: gone"]))
    assert [row["sample"] for row in results.samples] == ["a"]
    assert [str(problem) for problem in results.problems] == [
        "c: gone",
        "b: b/left.png: truncated: copy it again",
        "no truth: no true disparity",
    ]
    assert results.over_samples("offset")["epe"] == 0


def test_a_sample_without_valid_pixels_is_listed_and_poisons_nothing():
    nothing = sample("nothing")
    nothing.valid[:] = False
    results = leadline.evaluate(Offset(offset=1), [sample("a"), nothing])
    assert [str(problem) for problem in results.problems] == [
        "nothing: no pixel of the truth is valid (finite and positive): check its sign, scale and encoding"
    ]
    assert [row["epe"] for row in results.table] == [1, 1]


def test_nan_in_the_truth_poisons_nothing():
    holed = sample("holed")
    holed.disparity[0, :10] = np.nan
    results = leadline.evaluate(Offset(offset=1), [holed])
    assert results.samples[0]["pixels"] == 190
    assert results.over_samples("offset")["epe"] == 1


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), UserError("too small"), MemoryError()])
def test_a_predictor_that_fails_on_one_sample_is_named(error):
    samples = [sample("fits"), sample("too wide", size=(10, 30))]
    results = leadline.evaluate([Failing(error=error), Offset("fine")], samples)
    assert [str(problem) for problem in results.problems] == [
        f"too wide: failing: {str(error) or type(error).__name__}"
    ]
    assert [row["samples"] for row in results.table] == [1, 1, 2, 2]


def test_a_prediction_of_another_size_is_a_problem():
    class Half(Offset):
        def _predict(self, left, right):
            return super()._predict(left, right)[::2]

    (problem,) = leadline.evaluate(Half("half"), [sample("one")]).problems
    assert problem.model == "half"
    assert "(5, 20)" in problem.reason


def test_limit_and_progress():
    calls = []
    results = leadline.evaluate(
        Offset(), [sample(f"s{i}") for i in range(5)], limit=2, progress=lambda *c: calls.append(c)
    )
    assert len(results.samples) == 2
    assert calls == [(1, 2), (2, 2)]


def test_same_names_are_numbered():
    results = leadline.evaluate([Offset("net"), Offset("net", offset=1)], [sample("one")])
    assert results.models == ["net", "net (2)"]
    assert results.over_pixels("net (2)")["epe"] == 1


def test_labels_of_ones_own():
    results = leadline.evaluate({"float": Offset("net"), "int8": Offset("net", offset=1)}, [sample("one")])
    assert results.models == ["float", "int8"]


def test_models_by_name_are_loaded_and_labelled_as_written():
    pair = sample("one", size=(40, 60))
    assert leadline.evaluate(["bm", Offset()], [pair]).models == ["bm", "offset"]
    with pytest.raises(UserError, match="did you mean 'sgbm'"):
        leadline.evaluate("sgbn", [pair])


def test_checkpoints_by_path(tmp_path):
    path = leadline.save(leadline.create("plummet-s"), tmp_path / "a.safetensors")
    pair = sample("one", size=(16, 32))
    assert leadline.evaluate(path, [pair]).models == leadline.evaluate([path], [pair]).models == [str(path)]


@pytest.mark.parametrize("what", [3, [None], {"net": np.zeros}])
def test_what_is_no_predictor_is_refused(what):
    with pytest.raises(UserError, match="is no predictor"):
        _named(what)


def test_a_sample_whose_parts_do_not_fit_is_listed():
    odd = sample("odd", size=(10, 20))
    odd.valid = odd.valid[:-1]
    results = leadline.evaluate(Offset(), [sample("one"), odd])
    assert [str(problem)[:34] for problem in results.problems] == ["odd: valid is 20 x 9 and the views"]
    assert len(results.rows) == 1


def test_other_tasks_are_refused():
    with pytest.raises(UserError, match=r"several tasks .*: flat \(mono\), offset \(stereo\)"):
        leadline.evaluate([Offset("flat", task=Task.MONO), Offset()], [sample("one")])


def test_seconds_is_the_median(monkeypatch):
    ticks = iter([0.0, 1.0, 10.0, 12.0, 20.0, 27.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    results = leadline.evaluate(Offset(), [sample(f"s{i}") for i in range(3)])
    assert [row["seconds"] for row in results.samples] == [1, 2, 7]
    assert results.seconds_per_pair("offset") == statistics.median([1, 2, 7])


def test_dict_is_strict_json_with_a_unit_for_every_metric():
    results = leadline.evaluate([Offset(), Offset("silent", offset=np.nan)], [sample("one")])
    again = json.loads(json.dumps(results.to_dict(), allow_nan=False))
    assert set(again["units"]) == {*METRICS, "seconds"}
    assert set(again["models"][0]["over_pixels"]) == set(METRICS)
    silent = again["models"][1]["over_samples"]
    assert (silent["epe"], silent["d1"], silent["density"]) == (None, 100, 0)


def test_csv_holds_both_aggregates_and_every_sample(tmp_path):
    results = leadline.evaluate([Offset("a"), Offset("b", offset=4)], [sample("one"), sample("two", truth=90)])
    path = results.to_csv(tmp_path / "deep" / "result.csv")
    rows = list(csv.DictReader(path.open()))
    assert [(row["model"], row["aggregate"], row["sample"]) for row in rows] == [
        ("a", OVER_SAMPLES, ""), ("a", OVER_PIXELS, ""), ("b", OVER_SAMPLES, ""), ("b", OVER_PIXELS, ""),
        ("a", "sample", "one"), ("b", "sample", "one"), ("a", "sample", "two"), ("b", "sample", "two"),
    ]  # fmt: skip
    assert [row["d1"] for row in rows if row["model"] == "b"] == ["50.0", "50.0", "100.0", "0.0"]
    assert rows[0]["d1_fg"] == ""


def test_csv_to_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        leadline.evaluate(Offset(), [sample("one")]).to_csv(tmp_path / "file" / "result.csv")
