"""Training on several devices and machines, and runs that are killed and resumed.

The processes are real ones that talk over the loopback interface; tests/distributed_worker.py is
what each of them runs.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import distributed_worker
import numpy as np
import pytest
import tf_keras

import hashbwn_keras as hk

WORKER = Path(distributed_worker.__file__)
# Sums over replicas are taken in another order than over the joint batch.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def start(folder, name, *options, cluster=None, index=0):
    """Start one process; its results go to ``folder/name.npz``. All share one backup."""
    paths = [str(Path(hk.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": ""}
    environment.pop("TF_CONFIG", None)
    if cluster:
        task = {"type": "worker", "index": index}
        environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": cluster}, "task": task})
    command = [sys.executable, WORKER, folder / f"{name}.npz", folder / "backup", *options]
    with open(folder / f"{name}.log", "w") as log:
        return subprocess.Popen(list(map(str, command)), env=environment, stderr=log, stdout=log)


def finish(folder, names, processes):
    try:
        for name, process in zip(names, processes, strict=True):
            assert process.wait(600) == 0, (folder / f"{name}.log").read_text()[-3000:]
    finally:
        end(processes)
    return [dict(np.load(folder / f"{name}.npz")) for name in names]


def end(processes):
    for process in processes:
        process.kill()
        process.wait(60)


def two_addresses():
    """Two free ports, held open together so that they differ."""
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, two)]


def start_cluster(folder, *options):
    cluster = two_addresses()
    names = ["worker0", "worker1"]
    return [start(folder, name, *options, cluster=cluster, index=i) for i, name in enumerate(names)]


@pytest.fixture(scope="module")
def one_machine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    (found,) = finish(folder, ["single"], [start(folder, "single")])
    return found


@pytest.fixture(scope="module")
def two_machines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    return finish(folder, ["worker0", "worker1"], start_cluster(folder))


def assert_same(found, wanted, exactly=False):
    """Codes are the same bits; numbers may differ by rounding unless ``exactly``."""
    assert {"codes/conv", "scales/dense", "slot1", "log/loss", "log/flips"} <= set(wanted)
    for name in set(wanted) - {"replicas", "agree"}:
        if exactly or name.startswith("codes/"):
            np.testing.assert_array_equal(found[name], wanted[name], name)
        else:
            np.testing.assert_allclose(found[name], wanted[name], **TOLERANCE, err_msg=name)


def test_codes_do_change(one_machine):
    fresh = hk.codes(distributed_worker.network())
    assert all((fresh[name].codes != one_machine[f"codes/{name}"]).any() for name in fresh)
    assert one_machine["log/loss"][-1] < 0.9 * one_machine["log/loss"][0]


def test_two_devices_train_as_one_does_with_the_joint_batch(one_machine, tmp_path):
    (found,) = finish(tmp_path, ["mirrored"], [start(tmp_path, "mirrored", "--mirrored")])
    assert found["replicas"] == 2 and found["agree"]
    assert_same(found, one_machine)


def test_two_machines_train_as_one_does_with_the_joint_batch(one_machine, two_machines):
    assert all(found["replicas"] == 2 for found in two_machines)
    for name, value in two_machines[0].items():
        np.testing.assert_array_equal(value, two_machines[1][name], name)
    assert_same(two_machines[0], one_machine)


def test_a_killed_cluster_resumes_as_if_nothing_had_happened(two_machines, tmp_path):
    processes = start_cluster(tmp_path, "--die-in-epoch", 2)
    try:
        assert processes[1].wait(600) == -signal.SIGKILL
    finally:
        end(processes)  # the first waits for it in vain: whoever runs the cluster ends the job
    assert not list(tmp_path.glob("*.npz"))
    resumed = finish(tmp_path, ["worker0", "worker1"], start_cluster(tmp_path))
    for found, wanted in zip(resumed, two_machines, strict=True):
        logs = {name: wanted[name][2:] for name in wanted if name.startswith("log/")}
        assert_same(found, wanted | logs)  # the history begins with the third epoch


class Interrupt(tf_keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations.numpy() == 10:  # in the third epoch
            raise KeyboardInterrupt


def test_interrupted_training_on_one_machine_resumes_exactly(tmp_path):
    run = distributed_worker.trained
    wanted = distributed_worker.results(*run(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", Interrupt())
    found = distributed_worker.results(*run(tmp_path / "broken"))
    logs = {name: wanted[name][2:] for name in wanted if name.startswith("log/")}
    assert_same(found, wanted | logs, exactly=True)
