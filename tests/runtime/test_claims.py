"""What doctor says of a file, against what the delegate does here."""

import json

import pytest

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.runtime import Interpreter
from hashbwn_keras.runtime.claims import Cpu, claims_of
from hashbwn_keras.runtime.library import LayerShape, Native, delegate_path


@pytest.fixture(scope="module")
def native():
    return Native(delegate_path())


def write(folder, content):
    (folder / "x.tflite").write_bytes(content)
    return folder / "x.tflite"


@pytest.mark.parametrize("form", ["float_file", "packed_file", "integer_file"])
def test_this_cpu_takes_what_is_said(form, request, native, tmp_path):
    content = request.getfixturevalue(form)
    claims = claims_of(write(tmp_path, content))
    here = Cpu(native.kernels, native.has_dot_product)
    assert Interpreter(content).delegated == claims.taken(here)
    for claim in claims.claims:
        assert not (claim.refused and any(claim.measured.values()))


def test_table_and_json_name_every_layer(packed_file, tmp_path):
    claims = claims_of(write(tmp_path, packed_file))
    text, content = str(claims), json.loads(json.dumps(claims.to_dict()))
    assert {"avx2", "neon"} <= {cpu.kernels for cpu in claims.cpus}
    assert len(content["layers"]) == len(claims.claims)
    for claim in claims.claims:
        assert claim.layer in text
        assert claim.refused in text
    assert "there are no kernels for DEPTHWISE_CONV_2D" in text


def test_larq_files_are_left_to_larq(lce_file, tmp_path):
    refused = {claim.refused for claim in claims_of(write(tmp_path, lce_file)).claims}
    assert "Larq Compute Engine's own interpreter runs it" in refused


def test_the_table_of_another_cpu_decides(native):
    large = LayerShape(True, False, 256, 3, 3, 256, 1)
    assert native.worth(large, "avx2", True)
    assert not native.worth(large, "neon", True)
    assert native.worth(large, "neon", False)
    few = LayerShape(True, True, 8, 3, 3, 64, 1)
    assert not any(native.worth(few, kernels, False) for kernels in native.policy_sets)


def test_no_file(tmp_path):
    with pytest.raises(HashBWNError, match="Cannot read"):
        claims_of(tmp_path / "nix.tflite")
    with pytest.raises(HashBWNError, match=r"no \.tflite file"):
        claims_of(write(tmp_path, b"12345678"))
