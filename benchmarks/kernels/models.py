"""The layers and nets that are timed, with random weights of two values per output channel."""

import sys
from pathlib import Path

import numpy as np

import hashbwn_keras  # noqa: F401  (before Larq)

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tflite" / "tests"))
from graphs import RELU, SAME, Graph, output_extent

# (rows = columns, input channels, output channels, kernel, stride)
SHAPES_3X3 = [
    (56, 64, 64, 3, 1), (28, 128, 128, 3, 1), (14, 256, 256, 3, 1), (7, 512, 512, 3, 1),
    (32, 128, 128, 3, 1), (16, 256, 256, 3, 1), (8, 512, 512, 3, 1), (13, 384, 384, 3, 1),
]  # fmt: skip
SHAPES_RESNET18 = [
    (56, 64, 128, 1, 2), (28, 128, 256, 1, 2), (14, 256, 512, 1, 2),
    (56, 64, 128, 3, 2), (28, 128, 256, 3, 2), (14, 256, 512, 3, 2),
]  # fmt: skip
# Not looked at while tile sizes were chosen.
SHAPES_CHECK = [
    (32, 16, 16, 3, 1), (16, 32, 32, 3, 1), (8, 64, 64, 3, 1), (40, 96, 96, 3, 1),
    (20, 192, 160, 3, 1), (28, 192, 64, 1, 1), (14, 480, 192, 1, 1), (24, 48, 96, 5, 1),
    (35, 80, 120, 3, 1), (17, 768, 192, 1, 1), (112, 32, 48, 3, 2), (10, 200, 300, 3, 1),
]  # fmt: skip
DENSE = [(9216, 4096), (4096, 4096), (8192, 1024)]
DENSE_CHECK = [(1024, 1024), (2048, 1000), (784, 512)]

IN_SCALE, OUT_SCALE = 0.03, 0.05


class Net:
    """A graph with random ±α layers that keep activations near unit size."""

    def __init__(self, shape, int8, seed=0):
        self.g, self.int8 = Graph(), int8
        self.rng = np.random.default_rng(seed)
        self.shape = list(shape)
        self.x = self.input = self.tensor(shape)

    def tensor(self, shape):
        if self.int8:
            return self.g.tensor(shape, np.int8, scale=IN_SCALE, zero=-128)
        return self.g.tensor(shape, np.float32)

    def _layer(self, shape, binary):
        inputs = int(np.prod(shape[1:]))
        if binary:
            codes = (self.rng.integers(0, 2, shape) * 2 - 1).astype(np.int8)
        else:
            codes = self.rng.uniform(-1, 1, shape)
            codes.reshape(len(codes), -1)[:, 0] = 1
        alpha = (self.rng.uniform(0.5, 1.5, shape[0]) / np.sqrt(inputs)).astype(np.float32)
        return codes, alpha, self.rng.normal(size=shape[0]) * 0.1

    def conv(self, outputs, k, stride=1, activation=RELU, binary=True, x=None):
        codes, alpha, bias = self._layer((outputs, k, k, self.shape[3]), binary)
        y, shape = self.g.conv(
            self.x if x is None else x, codes, alpha, bias, stride=stride, activation=activation,
            shape=self.shape, out=(IN_SCALE, -128) if self.int8 else None,
        )  # fmt: skip
        return y, shape

    def then(self, *args, **kwargs):
        self.x, self.shape = self.conv(*args, **kwargs)

    def dense(self, outputs, binary=True, activation=RELU):
        codes, alpha, bias = self._layer((outputs, int(np.prod(self.shape[1:]))), binary)
        if len(self.shape) == 4:
            self._flatten()
        self.x, self.shape = self.g.dense(
            self.x, codes, alpha, bias, activation=activation, batch=1,
            out=(IN_SCALE, -128) if self.int8 else None,
        )  # fmt: skip

    def _flatten(self):
        self.shape = [1, int(np.prod(self.shape[1:]))]
        y = self.tensor(self.shape)
        self.g.op("RESHAPE", [self.x], [y], "ReshapeOptions", newShape=self.shape)
        self.x = y

    def pool(self, k, stride, kind="MAX_POOL_2D", padding=SAME):
        h = [output_extent(n, k, stride, 1, padding) for n in self.shape[1:3]]
        self.shape = [1, *h, self.shape[3]]
        y = self.tensor(self.shape)
        self.g.op(
            kind,
            [self.x],
            [y],
            "Pool2DOptions",
            version=2 if self.int8 else 1,
            padding=padding,
            strideH=stride,
            strideW=stride,
            filterHeight=k,
            filterWidth=k,
        )
        self.x = y

    def block(self, outputs, stride):
        """A residual block of two 3×3 convolutions, with a 1×1 one beside it where it strides."""
        start, start_shape = self.x, self.shape
        self.then(outputs, 3, stride)
        self.then(outputs, 3)
        main, shape = self.x, self.shape
        if stride != 1 or start_shape[3] != outputs:
            self.x, self.shape = start, start_shape
            start, _ = self.conv(outputs, 1, stride)
        self.x, self.shape = self.tensor(shape), shape
        self.g.op(
            "ADD",
            [main, start],
            [self.x],
            "AddOptions",
            version=2 if self.int8 else 1,
            fusedActivationFunction=RELU,
        )

    def finish(self):
        return self.g.finish([self.input], [self.x])


def conv_layer(spec, int8):
    size, inputs, outputs, k, stride = spec
    net = Net([1, size, size, inputs], int8)
    net.then(outputs, k, stride)
    return net.finish(), net.shape[1] * net.shape[2] * outputs * k * k * inputs


def dense_layer(spec, int8):
    net = Net([1, spec[0]], int8)
    net.dense(spec[1])
    return net.finish(), spec[0] * spec[1]


def vgg9(int8):
    """Six convolutions and three Dense layers for 32×32 images; first and last not binary."""
    net = Net([1, 32, 32, 3], int8)
    net.then(128, 3, binary=False)
    net.then(128, 3)
    net.pool(2, 2)
    net.then(256, 3)
    net.then(256, 3)
    net.pool(2, 2)
    net.then(512, 3)
    net.then(512, 3)
    net.pool(2, 2)
    net.dense(1024)
    net.dense(1024)
    net.dense(10, binary=False)
    return net.finish()


def resnet20(int8):
    """He et al.'s net for 32×32 images; stem and classifier not binary."""
    net = Net([1, 32, 32, 3], int8)
    net.then(16, 3, binary=False)
    for outputs in (16, 32, 64):
        for i in range(3):
            net.block(outputs, 2 if i == 0 and outputs > 16 else 1)
    net.pool(8, 8, "AVERAGE_POOL_2D")
    net.dense(10, binary=False)
    return net.finish()


def resnet18(int8):
    """For 224×224 images; stem and classifier not binary."""
    net = Net([1, 224, 224, 3], int8)
    net.then(64, 7, 2, binary=False)
    net.pool(3, 2)
    for outputs in (64, 128, 256, 512):
        for i in range(2):
            net.block(outputs, 2 if i == 0 and outputs > 64 else 1)
    net.pool(7, 7, "AVERAGE_POOL_2D")
    net.dense(1000, binary=False)
    return net.finish()


NETS = {"VGG9, 32×32": vgg9, "ResNet-20, 32×32": resnet20, "ResNet-18, 224×224": resnet18}
