"""ResNet-18 on ImageNet: float, binary, and binary networks trained further.

    python examples/resnet18_imagenet.py --output resnet18 --data-dir imagenet --distribute mirrored

The data: see ``imagenet_data.py``. ``--float-model`` skips the float training, which takes days on
a single GPU.
"""

import sys
from functools import partial

import hashbwn_keras as hk

# isort: split
import imagenet_data
import tensorflow as tf
import tf_keras
import training_helper as helper


def main() -> int:
    """Run the experiment; returns the exit status."""
    parser = helper.parser(__doc__.splitlines()[0], epochs=90, further=20)
    imagenet_data.add_arguments(parser)
    args = parser.parse_args()
    helper.prepare(args)
    data, classes = imagenet_data.load(args)
    build = partial(resnet18, args.size, classes, args.width)
    rate = 0.1 * args.batch / 256  # He et al. (CVPR 2016) train with 0.1 for batches of 256
    helper.run(helper.Experiment("resnet18", build, data, _optimizer, rate), args)
    return 0


def _optimizer(steps: int, rate: float) -> tf_keras.optimizers.Optimizer:
    schedule = tf_keras.optimizers.schedules.CosineDecay(rate, steps)
    return tf_keras.optimizers.SGD(schedule, momentum=0.9, weight_decay=1e-4)


def resnet18(size: int, classes: int, width: float) -> tf_keras.Model:
    """Return the untrained network (He et al., CVPR 2016), which gives logits.

    Args:
        size: side of the images, which have three channels.
        classes: how many there are.
        width: factor of all channel numbers.
    """
    layers = tf_keras.layers
    inputs = layers.Input((size, size, 3))
    x = _convolution(inputs, helper.channels(64, width), 7, 2, "stem")
    x = layers.MaxPool2D(3, 2, padding="same", name="pool")(layers.ReLU(name="stem_relu")(x))
    for stage, count in enumerate((64, 128, 256, 512), start=1):
        for block in (1, 2):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _block(x, helper.channels(count, width), stride, f"stage{stage}_{block}")
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return tf_keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="resnet18")


def _block(x: tf.Tensor, filters: int, stride: int, name: str) -> tf.Tensor:
    """Two convolutions and a shortcut, which is a 1 × 1 convolution where the shape changes."""
    layers = tf_keras.layers
    shortcut = x
    if stride != 1 or x.shape[-1] != filters:
        shortcut = _convolution(x, filters, 1, stride, f"{name}_shortcut")
    y = layers.ReLU(name=f"{name}_relu1")(_convolution(x, filters, 3, stride, f"{name}_conv1"))
    y = _convolution(y, filters, 3, 1, f"{name}_conv2")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([y, shortcut]))


def _convolution(x: tf.Tensor, filters: int, side: int, stride: int, name: str) -> tf.Tensor:
    layers = tf_keras.layers
    x = layers.Conv2D(filters, side, stride, padding="same", use_bias=False, name=name)(x)
    return layers.BatchNormalization(momentum=helper.MOMENTUM, name=f"{name}_norm")(x)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (hk.HashBWNError, ImportError) as error:
        sys.exit(f"resnet18_imagenet: {error}")
