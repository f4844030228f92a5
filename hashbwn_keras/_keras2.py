"""Selects Keras 2 before TensorFlow is imported, or says how to."""

import os
import sys

_CURE = (
    "import hashbwn_keras before tensorflow, or set TF_USE_LEGACY_KERAS=1 in the environment, and "
    "have tf_keras installed"
)


def require_keras2() -> None:
    """Make ``tf.keras`` mean Keras 2.

    Raises:
        ImportError: TensorFlow is already loaded with Keras 3 or none, and Larq needs Keras 2.
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        return
    try:
        version = str(tensorflow.keras.__version__)
    except ImportError as error:
        raise ImportError(f"hashbwn_keras needs Keras 2 but tf.keras is missing: {_CURE}.") from (
            error
        )
    if not version.startswith("2."):
        raise ImportError(f"hashbwn_keras needs Keras 2 but tf.keras is Keras {version}: {_CURE}.")
