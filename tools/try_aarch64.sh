#!/bin/sh
# Tries the aarch64 wheel of a release on an emulated 64-bit ARM, with all that it depends on:
#
#     tools/try_aarch64.sh DIST ROOT FILE.tflite
#
# DIST is what tools/release.py made, ROOT what tflite/raspberrypi/aarch64-root.sh made. Downloads
# about 500 MB of aarch64 wheels into ROOT/try. Needs qemu-aarch64 (Debian's qemu-user) and a pip.
# An emulator's times mean nothing: look at the layers taken. FILE has one input, of float32.
set -eu

[ $# -eq 3 ] || { echo "usage: $0 DIST ROOT FILE.tflite" >&2; exit 1; }
dist=$(cd "$1" && pwd)
root=$(cd "$2" && pwd)
file=$(cd "$(dirname "$3")" && pwd)/$(basename "$3")
packages=$root/try
if [ ! -d "$packages" ]; then
  # ai-edge-litert 2.x crashes under qemu before version 10.
  "${PYTHON:-python3}" -m pip install -q --target "$packages" --python-version 3.11 \
    --implementation cp --abi cp311 --abi abi3 --abi none --only-binary=:all: \
    --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
    "$(echo "$dist"/*aarch64.whl)" ai-edge-litert==1.4.0
fi
# A script that Python takes for itself, so that it can start more of them: the host runs those.
guest=$root/guest-python
cat >"$guest" <<END
#!/bin/sh
exec qemu-aarch64 -cpu cortex-a72 -L "$root" -0 "$guest" -E PYTHONHOME="$root/usr" \\
  -E PYTHONPATH="$packages" -E TF_CPP_MIN_LOG_LEVEL=2 -E HOME="$root/tmp" \\
  "$root/usr/bin/python3.11" "\$@"
END
# The guest's shell commands are the host's, which would not know that this is an ARM.
mkdir -p "$root/words"
printf '#!/bin/sh\n[ "${1:-}" = -m ] && echo aarch64 || exec /bin/uname "$@"\n' >"$root/words/uname"
chmod +x "$guest" "$root/words/uname"
export PATH="$root/words:$PATH"
cd "$root"  # away from a checkout, whose package would come first

"$guest" -m hashbwn_keras.cli inspect "$file"
"$guest" -c '
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, load_delegate
import hashbwn_keras
from hashbwn_keras import runtime
library = str(runtime.delegate_path())
litert = Interpreter(sys.argv[1], experimental_delegates=[load_delegate(library)])
litert.allocate_tensors()
(entry,) = litert.get_input_details()
x = np.random.default_rng(0).normal(size=entry["shape"]).astype(np.float32)
litert.set_tensor(entry["index"], x)
litert.invoke()
found = litert.get_tensor(litert.get_output_details()[0]["index"])
interpreter = hashbwn_keras.Interpreter(sys.argv[1])
difference = np.abs(interpreter.predict(x) - found).max() / np.ptp(found)
print(library, interpreter.status, f"LiteRT differs by {difference:.1e} of the range", sep="\n")
' "$file"
"$guest" -m hashbwn_keras.cli benchmark "$file" --runs 2 --rounds 1 --warmup 1
