"""A damaged file ends in a result or one sentence: no raw exception, signal or hang."""

import resource

import mutants
import pytest


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_damaged_files_end_in_a_result_or_one_sentence(monkeypatch):
    model, data, files = mutants.seeds()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with mutants.one_child(monkeypatch):
        found = mutants.outcomes(500, 1, model, data, files)
    assert sum(found.values()) == 1500
    for what in ("inspect", "to_tflite", "verify"):
        assert found[what, "sentence"] > 50, found
    assert found["verify", "FAILED"] > 20 and found["verify", "OK"] > 5, found
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB
