"""One process of a training run, started by test_distributed.py with another one beside it.

python distributed_worker.py OUTPUT.npz BACKUP_FOLDER [--mirrored] [--die-in-epoch N]

TF_CONFIG in the environment makes it a worker of MultiWorkerMirroredStrategy, ``--mirrored`` gives
it two logical CPU devices, and neither makes it the one machine that sees the joint batch.
"""

import argparse
import os
import signal

import hashbwn_keras as hk

# isort: split
import numpy as np
import tensorflow as tf
import tf_keras

L = tf_keras.layers
IMAGES, BATCH, EPOCHS = 64, 16, 4


def network():
    tf_keras.utils.set_random_seed(3)
    return tf_keras.Sequential(
        [
            L.Input((6, 6, 2)),
            hk.HashBinaryConv2D(6, 3, use_bias=False, name="conv"),
            L.BatchNormalization(synchronized=True),
            L.ReLU(),
            L.Flatten(),
            hk.HashBinaryDense(3, name="dense"),
        ]
    )


def calibration():
    return np.random.default_rng(8).normal(size=(1024, 6, 6, 2)).astype(np.float32)


def trained(backup, *more):
    """Solve and train, from where ``backup`` says if there is one; the model and its history."""
    model = compiled()
    # The backup first: what it restores is not solved again.
    backup = tf_keras.callbacks.BackupAndRestore(backup)
    callbacks = [backup, hk.HashSolve(calibration(), repair=False), hk.CodeMetrics(), *more]
    return model, model.fit(images(), epochs=EPOCHS, verbose=0, callbacks=callbacks)


def images():
    """Batches whose order depends on the seed alone, so that a run can be resumed."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(IMAGES, 6, 6, 2)).astype(np.float32)
    y = np.concatenate([x.mean((1, 2)), x[:, 2, 2, :1]], -1).argmax(1)
    data = tf.data.Dataset.from_tensor_slices((x, y))
    return data.shuffle(IMAGES, seed=9, reshuffle_each_iteration=False).batch(BATCH)


class Die(tf_keras.callbacks.Callback):
    """Ends the process as a power failure would, in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.now = epoch, False

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch == self.epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now and batch == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def compiled():
    model = network()
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.SGD(0.3, momentum=0.9), loss, metrics=["accuracy"])
    return model


def results(model, history):
    """What two runs are compared by."""
    found = {f"weight{i}": weight for i, weight in enumerate(model.get_weights())}
    found |= {f"slot{i}": slot.numpy() for i, slot in enumerate(model.optimizer.variables)}
    for name, (codes, scales) in hk.codes(model).items():
        found |= {f"codes/{name}": codes, f"scales/{name}": scales}
    return found | {f"log/{name}": values for name, values in history.history.items()}


def replicas_agree(model):
    """Whether every replica on this machine holds the same bits."""
    for weight in model.weights:
        copies = [copy.numpy() for copy in getattr(weight, "values", (weight,))]
        if any(not np.array_equal(copies[0], copy) for copy in copies[1:]):
            return False
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("backup")
    parser.add_argument("--mirrored", action="store_true")
    parser.add_argument("--die-in-epoch", type=int)
    arguments = parser.parse_args()
    if arguments.mirrored:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    elif "TF_CONFIG" in os.environ:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        strategy = tf.distribute.get_strategy()
    more = [] if arguments.die_in_epoch is None else [Die(arguments.die_in_epoch)]
    with strategy.scope():
        model, history = trained(arguments.backup, *more)
    agree = replicas_agree(model)
    np.savez(arguments.output, replicas=strategy.num_replicas_in_sync, agree=agree,
             **results(model, history))  # fmt: skip


if __name__ == "__main__":
    main()
