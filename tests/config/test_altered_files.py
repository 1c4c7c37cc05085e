from fuzz import fuzz


def test_altered_files_are_refused_or_mean_what_they_say():
    outcomes = fuzz(500, seed=1)
    assert outcomes["refused"] > 150
    assert outcomes["right"] == 100
    assert outcomes["altered, and still right"] > 30
