"""Recipes as typed values and as JSON."""

import json

from hashbwn_keras.network.recipe import Recipe, Repaired, Skipped, SolvedLayer

FULL = Recipe(
    hashbwn_keras="0.1.0",
    tensorflow="2.21.0",
    method="auto",
    seed=3,
    centred=True,
    compensate=False,
    float_sha256="0f",
    calibration="given",
    calibration_images=128,
    layers={"a": SolvedLayer("auto", 0.25, 0.5, 0.125)},
    skipped={"b": Skipped("first convolution"), "c": Skipped("not asked for", by_choice=True)},
    repair=Repaired(True, 2.0, 1.0),
)


def test_a_recipe_comes_back_from_json():
    assert Recipe.from_json(json.loads(json.dumps(FULL.to_json()))) == FULL
    assert Recipe.from_json(json.loads(json.dumps(Recipe().to_json()))) == Recipe()


def test_json_has_the_keys_that_files_have_always_had():
    content = FULL.to_json()
    assert content["skipped"] == {"b": "first convolution", "c": "not asked for"}
    assert content["layers"]["a"]["relative_error"] == 0.25
    assert content["repair"] == {"kept": True, "error_before": 2.0, "error_after": 1.0}
    assert Recipe().to_json()["repair"] is False


def test_recipes_of_other_versions_are_read():
    old = Recipe.from_json(
        {
            "seed": 1,
            "layers": {"a": {"relative_error": 0.5, "of_later_versions": 1}},
            "skipped": {"b": "not chosen by filters", "c": "last layer"},
            "repair": False,
            "of_later_versions": {},
        }
    )
    assert old.seed == 1 and old.method is None and old.repair is None
    assert old.layers == {"a": SolvedLayer(relative_error=0.5)}
    assert old.skipped["b"].by_choice and not old.skipped["c"].by_choice
    assert Recipe.from_json({}) == Recipe()
