#!/bin/sh
# Puts into the app what is not in the repository: the Android library, and a network in both forms.
#
#     examples/android/prepare.sh [NAME FLOAT.tflite PACKED.tflite]
#
# Without arguments, the network of hashbwn demo (digits, a minute or two). Run it with the Python
# environment of the project active; PYTHON names another one.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
case $# in
  0)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    "$python" -m hashbwn_keras.cli demo --output "$work/demo"
    set -- digits "$work/demo/float.tflite" "$work/demo/binary-packed.tflite"
    ;;
  3) ;;
  *) echo "usage: $0 [NAME FLOAT.tflite PACKED.tflite]" >&2; exit 1 ;;
esac
for file in "$2" "$3"; do
  [ -f "$file" ] || { echo "$file is no file." >&2; exit 1; }
done
"$python" "$here/../../tflite/android/build_aar.py" --overwrite \
  --out "$here/app/libs/hashbwn-android.aar"
cp "$2" "$here/app/src/main/assets/$1.float.tflite"
cp "$3" "$here/app/src/main/assets/$1.packed.tflite"
echo "$1 is bundled; now, with Android's SDK: cd $here && gradle installDebug"
