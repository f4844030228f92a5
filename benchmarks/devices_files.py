r"""The ResNet-20 files that docs/devices.md measures, and images to compare them on.

    python benchmarks/devices_files.py --model resnet20_cifar10.h5 \
        --data-dir cifar-10-batches-py FOLDER

Writes to FOLDER: the float network, TensorFlow's own full-integer form of it, the binarised network
packed to 1 bit a weight with float and with int8 activations, the same as int8 ±1 constants, the
file for Larq Compute Engine, and ``images.npy``: 64 test images. The network is binarised without
repair, which changes no size and no time.
"""

import argparse
from pathlib import Path

import numpy as np

import hashbwn_keras

# isort: split
import tensorflow as tf
import tf_keras

from hashbwn_keras import export
from hashbwn_keras.demo import datasets

MEAN = np.float32([0.485, 0.456, 0.406])
DEVIATION = np.float32([0.229, 0.224, 0.225])


def full_integer(model: tf_keras.Model, images: np.ndarray) -> bytes:
    """TensorFlow's post-training quantization of weights and activations; float ends."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="float ResNet-20")
    parser.add_argument("--data-dir", type=Path, required=True, help="cifar-10-batches-py")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    data = datasets.load("cifar10", arguments.data_dir, seed=0)
    train, test = ((x - MEAN) / DEVIATION for x in (data.train_images, data.test_images[:64]))
    train = train[:2048].astype(np.float32)
    model = hashbwn_keras.load_model(arguments.model)
    binary = hashbwn_keras.binarize(model, train, repair=False)
    binary.save(arguments.folder / "resnet20_binary.keras")
    integer = {"activations": "int8", "calibration_data": train[:256]}
    export.to_tflite(model, arguments.folder / "resnet20_float.tflite", weights="float")
    (arguments.folder / "resnet20_int8.tflite").write_bytes(full_integer(model, train[:256]))
    export.to_tflite(binary, arguments.folder / "resnet20_packed.tflite")
    export.to_tflite(binary, arguments.folder / "resnet20_packed_int8.tflite", **integer)
    export.to_tflite(binary, arguments.folder / "resnet20_pm1_int8.tflite", weights="int8")
    export.to_lce(binary, arguments.folder / "resnet20_lce.tflite")
    np.save(arguments.folder / "images.npy", test.astype(np.float32))


if __name__ == "__main__":
    main()
