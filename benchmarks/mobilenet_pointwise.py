"""MobileNet with ImageNet weights: how far its pointwise convolutions can be made binary.

    python benchmarks/mobilenet_pointwise.py --weights mobilenet_7_5_224_tf.h5 --images FOLDER

Binarises the last 1, 2, 4, ... pointwise convolutions (13 in all) without training and reports how
often the binary and the float network agree on the best class. Half of the images calibrate, the
other half are compared: what is reported is agreement with the float network, not accuracy. The
size of the file, at 1 bit a binary weight, depends on the layers alone.
"""

import argparse
import json
import time
from pathlib import Path

import hashbwn_keras as hk

# isort: split
import numpy as np
import tensorflow as tf
import tf_keras

from hashbwn_keras.files import atomic_write


def images_in(folder: Path, limit: int | None) -> np.ndarray:
    """The centres of the images of a folder, 224 × 224, from −1 to 1, in an order of chance."""
    paths = np.array(sorted(folder.glob("*.jpg")))
    paths = np.random.default_rng(0).permutation(paths)[:limit]
    return np.stack([_centre(path) for path in paths])


def _centre(path: Path) -> np.ndarray:
    image = tf.io.decode_jpeg(tf.io.read_file(str(path)), channels=3).numpy()
    top, left = ((size - 224) // 2 for size in image.shape[:2])
    return image[top : top + 224, left : left + 224].astype(np.float32) / 127.5 - 1


def main() -> None:
    """Print agreement by number of binarised layers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True, help="weights for MobileNet(alpha=0.75)")
    parser.add_argument("--images", type=Path, required=True, help="folder of .jpg, side ≥ 224")
    parser.add_argument("--limit", type=int, help="use only so many images")
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2, 4, 7, 10, 13])
    parser.add_argument("--repair", action="store_true", help="with repair across layers")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    model = tf_keras.applications.MobileNet(alpha=0.75, weights=args.weights)
    images = images_in(args.images, args.limit)
    calibration, unseen = images[::2], images[1::2]
    expected = model.predict(unseen, batch_size=50, verbose=0).argmax(-1)
    pointwise = [layer.name for layer in model.layers if layer.name.startswith("conv_pw_")]
    names = [name for name in pointwise if name.split("_")[-1].isdigit()]
    rows = []
    for count in args.layers:
        start = time.perf_counter()
        binary = hk.binarize(model, calibration, filters=names[-count:], repair=args.repair)
        seconds = time.perf_counter() - start
        found = binary.predict(unseen, batch_size=50, verbose=0).argmax(-1)
        weights = sum(codes.codes.size for codes in hk.codes(binary).values())
        agreement = float((found == expected).mean())
        row = {"layers": count, "weights": weights, "agreement": agreement, "seconds": seconds}
        row["bytes"] = len(hk.export.to_tflite(binary, weights="packed"))
        rows.append(row)
        print(
            f"last {count:2} of {len(names)} pointwise layers, {weights:9,} weights binary: "
            f"{agreement:.1%} agreement on {len(unseen)} unseen images, {seconds:.0f} s, "
            f"{row['bytes']:,} bytes",
            flush=True,
        )
    if args.json:
        atomic_write(args.json, json.dumps(rows, indent=2).encode() + b"\n", overwrite=True)


if __name__ == "__main__":
    main()
