"""Loading and saving models with their recipe; see :mod:`hashbwn_keras.network.saving`."""

from hashbwn_keras.network.saving import (
    check_model_path,
    get_recipe,
    load_model,
    recipe_path,
    save_model,
    set_recipe,
)

__all__ = [
    "check_model_path",
    "get_recipe",
    "load_model",
    "recipe_path",
    "save_model",
    "set_recipe",
]
