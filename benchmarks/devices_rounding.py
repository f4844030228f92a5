"""Where two runtimes part: all int8 tensors of one file, compared between runtimes.

    PYTHON benchmarks/devices_rounding.py dump FILE images.npy OUT.npz KERNELS [LIBRARY]
    python benchmarks/devices_rounding.py compare A.npz B.npz

PYTHON is that of an environment with ai-edge-litert or tflite-runtime, for an emulated aarch64
``qemu-aarch64 -L ROOT ROOT/usr/bin/python3.11`` (PYTHONPATH names one of ROOT/wheels and NumPy).
KERNELS is xnnpack (the runtime's default), builtin (its own optimised kernels) or reference;
LIBRARY is ours for that machine. The first 8 images are run. With LIBRARY, LiteRT cannot keep all
tensors; tflite-runtime can, but then does without XNNPACK.
"""

import sys

import numpy as np

IMAGES = 8


def dump(file, images, out, kernels, library=""):
    try:
        from tflite_runtime import interpreter as module
    except ImportError:
        from ai_edge_litert import interpreter as module
    resolvers = module.OpResolverType
    model = module.Interpreter(
        file,
        num_threads=1,
        experimental_delegates=[module.load_delegate(library)] if library else None,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type={
            "xnnpack": resolvers.AUTO,
            "builtin": resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            "reference": resolvers.BUILTIN_REF,
        }[kernels],
    )
    # Activations: tensors with a batch of one. Runtimes add their temporaries while allocating.
    watched = [
        detail["index"]
        for detail in model.get_tensor_details()
        if detail["dtype"] == np.int8 and tuple(detail["shape"][:1]) == (1,)
    ]
    model.allocate_tensors()
    (entry,) = model.get_input_details()
    found = {}
    for image in np.load(images)[:IMAGES]:
        model.set_tensor(entry["index"], image[None])
        model.invoke()
        for index in watched:
            try:
                found.setdefault(f"{index:04}", []).append(model.get_tensor(index).copy())
            except ValueError:  # skipped by a delegate
                continue
    np.savez(out, **{name: np.stack(values) for name, values in found.items()})


def compare(first, second):
    with np.load(first) as a, np.load(second) as b:
        names = sorted(set(a.files) & set(b.files))
        steps = {name: np.abs(a[name].astype(int) - b[name]) for name in names}
    differ = [name for name in names if steps[name].any()]
    print(f"{len(names)} tensors, {len(differ)} differ")
    for what, name in zip(("first", "last"), (differ[:1], names[-1:]), strict=True):
        for tensor in name:
            share = (steps[tensor] > 0).mean()
            print(f"  {what}: tensor {tensor}, {share:.2%} by {steps[tensor].max()} steps at most")


if __name__ == "__main__":
    {"dump": dump, "compare": compare}[sys.argv[1]](*sys.argv[2:])
