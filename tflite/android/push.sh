#!/bin/sh
# Puts what a phone needs for hashbwn benchmark onto it: every file given that is there.
#
#     ./push.sh [-s SERIAL] android_aarch64_benchmark_model android_aarch64_benchmark_model.apk ...
#
# Programs go to /data/local/tmp under the names that hashbwn benchmark looks for; an .apk is
# installed with leave to read files. To undo it: adb shell rm /data/local/tmp/*benchmark_model, and
# adb uninstall org.tensorflow.lite.benchmark
set -eu

usage() {
  echo "usage: $0 [-s SERIAL] FILE..." >&2
  exit 1
}

if [ "${1:-}" = -s ]; then
  [ $# -gt 1 ] || usage
  ANDROID_SERIAL=$2
  export ANDROID_SERIAL
  shift 2
fi
[ $# -gt 0 ] || usage
command -v adb >/dev/null || { echo "adb is missing: apt install adb" >&2; exit 1; }
for file in "$@"; do
  [ -f "$file" ] || { echo "$file is no file." >&2; exit 1; }
  case ${file##*/} in
    *.apk | *benchmark_model*) ;;
    *) echo "$file is neither an .apk nor a benchmark_model." >&2; exit 1 ;;
  esac
done
adb get-state >/dev/null  # says itself what is wrong with the phone

for file in "$@"; do
  case ${file##*/} in
    *.apk)
      adb install -r -d -g "$file"
      continue
      ;;
    *lce_benchmark_model*) name=lce_benchmark_model ;;
    *) name=benchmark_model ;;
  esac
  adb push "$file" "/data/local/tmp/$name"
  adb shell chmod 755 "/data/local/tmp/$name"
done
