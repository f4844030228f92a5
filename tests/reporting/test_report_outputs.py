"""Outputs judged as what they are: classes, yes or no, measured values, integers, inputs."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from compared import RNG, X, binarized, compared, dense

import hashbwn_keras as hk

L = tf_keras.layers


def test_probabilities_of_classes():
    output, result, (a, b) = compared(dense(5, "softmax"), np.arange(40) % 5, batch_size=7)
    assert output.kind == "classes" and not output.by_position
    assert output.agreement == pytest.approx((a.argmax(1) == b.argmax(1)).mean())
    assert "top-1 agreement" in str(result) and "same top-1 class" in result.to_html()


@pytest.mark.parametrize("size", [3, 40])
def test_agreement_by_class_is_over_the_decisions_of_the_float_network(size):
    output, _, (a, b) = compared(dense(4, "softmax"), batch_size=size)
    ours, theirs = a.argmax(1), b.argmax(1)
    for number, share in enumerate(output.by_class):
        mine = ours == number
        assert share == (pytest.approx((theirs == number)[mine].mean()) if mine.any() else None)
    counts = np.bincount(ours)
    assert output.uneven == (counts.max() > 1.5 * counts[counts > 0].mean() and len(counts) > 1)
    known = [share for share in output.by_class if share is not None]
    assert output.class_agreement == pytest.approx(np.mean(known))


def test_uneven_classes_are_told_of_in_text_and_page():
    """A mask that is nearly all background: agreement over all says nothing of the rest."""

    def mask(x, features):
        return L.Conv2D(
            1, 1, activation="sigmoid", bias_initializer=tf_keras.initializers.Constant(-2)
        )(features)

    output, result, (a, b) = compared(mask)
    assert output.kind == "yes or no" and output.by_position and output.uneven
    ours, theirs = a >= 0.5, b >= 0.5
    assert output.agreement == pytest.approx((ours == theirs).mean())
    assert output.by_class == (pytest.approx((~theirs)[~ours].mean()), theirs[ours].mean())
    assert f"{100 * output.class_agreement:.2f} % as the mean of the classes" in str(result)
    assert "mean of the classes" in result.to_html()


@pytest.mark.parametrize("rank", [1, 2])
def test_yes_or_no_with_labels_of_either_rank(rank):
    labels = (np.arange(40) % 2).reshape(-1, 1)
    given = labels[:, 0] if rank == 1 else labels.astype(float)
    output, result, (a, b) = compared(dense(1, "sigmoid"), given)
    assert output.float_accuracy == pytest.approx(((a >= 0.5) == labels).mean())
    assert output.binary_accuracy == pytest.approx(((b >= 0.5) == labels).mean())
    assert "the same yes or no" in str(result)


def test_logits_of_a_decision_are_cut_at_zero():
    output, _, (a, b) = compared(dense(1), loss=tf_keras.losses.BinaryCrossentropy(True))
    assert output.agreement == pytest.approx(((a >= 0) == (b >= 0)).mean())


def test_maps_of_classes_agree_by_position_and_take_labels():
    labels = RNG.integers(0, 3, (40, 6, 6))

    def make(x, y):
        return L.Conv2D(3, 1, activation="softmax")(y)

    output, result, (a, b) = compared(make, labels)
    ours, theirs = a.argmax(-1), b.argmax(-1)
    assert output.by_position and output.agreement == pytest.approx((ours == theirs).mean())
    assert output.float_accuracy == pytest.approx((ours == labels).mean())
    assert "of positions in the same class" in str(result)
    one_hot = np.eye(3)[labels]
    assert compared(make, one_hot)[0].by_position
    with pytest.raises(hk.HashBWNError, match=r"one for each of the output's \(40, 6, 6\)"):
        compared(make, labels[:, 1:])


@pytest.mark.parametrize("loss", ["mse", "huber", "mean_absolute_error"])
def test_regression_is_never_called_top_1(loss):
    output, result, (a, b) = compared(dense(4), loss=loss)
    assert output.kind == "values" and output.agreement is None
    expected = (b - a).var(0).sum() / a.var(0).sum()
    assert output.relative_error == pytest.approx(expected, rel=1e-4)
    for shown in (str(result), result.to_html(), result.to_json()):
        assert "top-1" not in shown


def test_labels_of_measured_values_give_errors_from_the_labels():
    labels = RNG.normal(size=(40, 4))
    output, result, (a, b) = compared(dense(4), labels, batch_size=9)
    assert output.kind == "values" and output.agreement is None and output.float_accuracy is None
    assert output.float_rmse == pytest.approx(np.sqrt(np.square(a - labels).mean()))
    assert output.binary_rmse == pytest.approx(np.sqrt(np.square(b - labels).mean()))
    assert "RMSE" in str(result) and "root mean squared error" in result.to_html()
    assert "top-1" not in str(result) + result.to_html()
    one = compared(dense(1), labels[:, 0], loss="mse")[0]
    assert one.float_rmse is not None
    with pytest.raises(hk.HashBWNError, match="a number for each of its values"):
        compared(dense(1), labels, loss="mse")


def test_scores_of_unknown_meaning_are_not_called_classes():
    output, result, (a, b) = compared(dense(4))
    assert output.kind == "scores" and output.by_class == ()
    assert output.agreement == pytest.approx((a.argmax(1) == b.argmax(1)).mean())
    assert "largest score in the same place" in str(result)
    assert "top-1" not in str(result) + result.to_html()


@pytest.mark.parametrize("labels", [np.arange(40) % 4, np.eye(4)[np.arange(40) % 4]])
def test_class_labels_make_classes_of_scores(labels):
    output, _, _ = compared(dense(4), labels)
    assert output.kind == "classes" and output.float_accuracy is not None


NOT_REAL = {
    "integers": lambda x, y: tf.argmax(y, -1),
    "booleans": lambda x, y: y > 0,
}


@pytest.mark.parametrize("case", NOT_REAL)
def test_integers_and_booleans_have_agreement_and_no_error(case):
    output, result, (a, b) = compared(NOT_REAL[case])
    assert output.kind == "discrete" and output.relative_error is None
    assert output.agreement == pytest.approx((a == b).mean())
    assert "its values are not real numbers" in str(result)
    assert json.loads(result.to_json())["outputs"][0]["relative_error"] is None
    assert "the same value" in result.to_html()


def test_labels_of_a_map_of_integers():
    labels = RNG.integers(0, 6, (40, 6, 6))
    output, _, (a, b) = compared(NOT_REAL["integers"], labels)
    assert output.float_accuracy == pytest.approx((a == labels).mean())
    assert output.binary_accuracy == pytest.approx((b == labels).mean())


def test_an_input_passed_through_is_left_out_beside_others():
    output, result, _ = compared(lambda x, y: [x, y])
    assert output.kind == "passed through" and output.left_out and output.worst == ()
    assert output.relative_error is None and output.agreement is None
    assert result.outputs[1].relative_error > 0
    assert "no error: it is an input, passed through" in str(result)
    assert "no error at" in result.to_html()


def test_an_output_for_the_whole_batch_is_left_out():
    x = L.Input((8, 8, 3))
    y = L.Conv2D(6, 3)(L.Conv2D(4, 3, name="first")(x))
    model = tf_keras.Model(x, [y, tf.reduce_mean(y)])
    output = hk.report(model, binarized(model), X).outputs[1]
    assert output.relative_error is None
    assert output.left_out == "it is not one value an image"


def test_half_precision_outputs_are_compared():
    output, _, _ = compared(lambda x, y: tf.cast(y, tf.bfloat16))
    assert 0 < output.relative_error < 2


def test_labels_for_each_of_several_outputs():
    def make(x, y):
        y = L.GlobalAveragePooling2D()(y)
        return [L.Dense(3, "softmax", name="kind")(y), L.Dense(1, name="age")(y)]

    kinds, ages = np.arange(40) % 3, RNG.normal(size=40)
    for labels in ([kinds, ages], {"age": ages, "kind": kinds}):
        _, result, _ = compared(make, labels)
        assert result.outputs[0].float_accuracy is not None
        assert result.outputs[1].float_rmse is not None


def test_losses_and_metrics_inside_a_model_pass_and_stay_as_they_were():
    x = L.Input((8, 8, 3))
    y = L.Conv2D(6, 3, name="binary")(L.Conv2D(4, 3, name="first")(x))
    model = tf_keras.Model(x, L.Flatten()(y))
    binary = binarized(model)
    for net in (model, binary):
        hidden = net.get_layer("binary").output
        net.add_loss(tf.reduce_mean(hidden))
        net.add_metric(tf.reduce_mean(hidden), name="mean")
        net(X)
    before = [v.numpy() for net in (model, binary) for v in net.metrics[0].variables]
    assert hk.report(model, binary, X).images == 40
    after = [v.numpy() for net in (model, binary) for v in net.metrics[0].variables]
    assert before == after


@pytest.mark.parametrize("count", [3, 8, 10])
def test_a_fixed_batch_gives_the_report_of_the_free_one(count):
    """Reshaping to the fixed size breaks in any other batch; images that fill up do not count."""

    def build(size):
        x = L.Input((8, 8, 3), batch_size=size)
        y = L.Conv2D(6, 3, name="binary")(L.Conv2D(4, 3, name="first")(x))
        y = tf.reshape(y, [size, -1]) if size else L.Flatten()(y)
        return tf_keras.Model(x, L.Dense(3, "softmax", name="last")(y))

    free, fixed = build(None), build(4)
    fixed.set_weights(free.get_weights())
    labels = np.arange(count) % 3
    a, b = (hk.report(net, binarized(net), X[:count], labels) for net in (free, fixed))
    assert b.images == count and a.macs == b.macs
    for one, other in zip(a.layers, b.layers, strict=True):
        assert other.relative_error == pytest.approx(one.relative_error, rel=1e-4, abs=1e-9)
    (one,), (other,) = a.outputs, b.outputs
    assert other.relative_error == pytest.approx(one.relative_error, rel=1e-4)
    assert (other.agreement, other.float_accuracy) == (one.agreement, one.float_accuracy)
    assert [w.image for w in other.worst] == [w.image for w in one.worst]


def test_images_of_several_sizes_are_compared():
    x = L.Input((None, None, 3))
    y = L.Conv2D(6, 3, name="binary")(L.Conv2D(4, 3, name="first")(x))
    model = tf_keras.Model(x, L.GlobalAveragePooling2D()(y))
    binary = binarized(model)
    assert hk.report(model, binary, [X[:5], X[5:9, :7]]).images == 9
