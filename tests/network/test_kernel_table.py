"""The table of kernels: one row a type of layer."""

import larq as lq
import numpy as np
import pytest
import tf_keras

from hashbwn_keras.network.codes import binary_kernels
from hashbwn_keras.network.geometry import patch_geometry
from hashbwn_keras.network.kernels import (
    TABLE,
    binary_form,
    float_form,
    has_quantizer,
    kernel_of,
    kernels_of,
    row_of,
    unquantized_form,
)

layers = tf_keras.layers


def made(row):
    """A built float layer of a row."""
    name = row.float_class.__name__
    if name == "Dense":
        arguments = {"units": 3}
    elif name.startswith("Depthwise"):
        arguments = {"kernel_size": 2}
    else:
        arguments = {"kernel_size": 2, "filters": 3}
    layer = row.float_class(**arguments)
    space = [5] * sum(int(digit) for digit in name if digit.isdigit())
    layer.build((None, *space, 4))
    return layer


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.float_class.__name__)
def test_every_row_finds_the_kernels_of_its_layer(row):
    layer = made(row)
    assert row_of(layer) is row
    kernels = kernels_of(layer)
    assert len(kernels) == len(row.places)
    assert {id(k) for k in kernels} == {id(w) for w in layer.weights if len(w.shape) > 1}
    assert kernel_of(layer) is kernels[-1]


@pytest.mark.parametrize(
    "row", [row for row in TABLE if row.binary_class], ids=lambda row: row.float_class.__name__
)
def test_every_binary_row_has_all_its_forms(row):
    layer = made(row)
    binary = binary_form(layer)
    assert type(binary) is row.binary_class and has_quantizer(binary)
    binary.build(layer.get_build_config()["input_shape"])
    (kernel,) = binary_kernels(binary)
    assert kernel.variable is kernel_of(binary)
    wanted = row.places[-1].axes or tuple(range(len(kernel.variable.shape) - 1))
    assert kernel.axes == wanted
    plain = float_form(binary)
    assert type(plain) is row.larq_class and not has_quantizer(plain)
    assert type(binary_form(plain)) is row.binary_class
    same = unquantized_form(binary)
    assert type(same) is row.binary_class and not has_quantizer(same)
    geometry = patch_geometry(layer)
    assert geometry.kernel_shape == tuple(kernel.variable.shape)
    np.testing.assert_array_equal(
        geometry.join_kernel(geometry.split_kernel(kernel_of(layer))), kernel_of(layer)
    )


@pytest.mark.parametrize("row", TABLE[:4], ids=lambda row: row.float_class.__name__)
def test_rows_of_codes_are_those_of_the_output_channels(row):
    binary = binary_form(made(row))
    binary.build((None, 4) if row.float_class is layers.Dense else (None, 5, 5, 4))
    (kernel,) = binary_kernels(binary)
    codes, scales = kernel.codes()
    rows = kernel.rows()
    assert rows.shape == (len(scales), codes.size // len(scales))
    values = kernel.values()
    spread = np.abs(values).max(axis=kernel.axes).reshape(-1)
    np.testing.assert_array_equal(spread, scales)
    last = values.reshape(-1, len(scales))[:, -1]
    np.testing.assert_array_equal(rows[-1] * scales[-1], last)


def test_a_users_subclass_keeps_its_kernels_where_keras_does():
    class Mine(layers.Conv2D):
        pass

    layer = Mine(3, 2)
    layer.build((None, 5, 5, 4))
    assert kernels_of(layer) == [layer.kernel]
    assert kernels_of(layers.ReLU()) == []
    assert row_of(lq.layers.QuantConv2DTranspose(3, 2)).transposed
