"""What a converter said when it refused a model, in one sentence with the cure."""

import re

import tf_keras

from hashbwn_keras.errors import HashBWNError, first_line

# In front of what the converter has to say.
_PLACE = re.compile(r"^.*?:\d+:\d+: error: ")
_NO_OPERATOR = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")


def refused(who: str, model: tf_keras.Model, error: BaseException) -> HashBWNError:
    """Return the error to raise for what a converter raised.

    Args:
        who: the converter's name.
        model: what it refused.
        error: what it raised.
    """
    missing = _NO_OPERATOR.search(str(error))
    if missing:
        return no_operator(who, model, missing[1])
    cure = "cut the model in front of the step that the message names and export that part"
    if any(isinstance(layer, tf_keras.layers.RNN) for layer in model.submodules):
        cure = (
            "build its recurrent layers with unroll=True, or its inputs with a fixed size "
            "(batch_size=1)"
        )
    reason = _PLACE.sub("", first_line(error))
    return HashBWNError(f"{who} refuses model {model.name!r} ({reason}): {cure}.")


def no_operator(who: str, model: tf_keras.Model, name: str) -> HashBWNError:
    """Return the error to raise for an operation of the model that no interpreter has."""
    return HashBWNError(
        f"{who} has no operator {name}, which model {model.name!r} uses: end the model before that "
        "step (tf_keras.Model with an inner tensor as output) and compute the step in your code."
    )
