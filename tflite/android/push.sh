#!/bin/sh
# Puts what a phone needs for hashbwn benchmark onto it: every file given that is there.
#
#     ./push.sh [-s SERIAL] android_aarch64_benchmark_model android_aarch64_benchmark_model.apk ...
#
# Programs go to /data/local/tmp under the names that hashbwn benchmark looks for; an .apk is
# installed with leave to read files.
set -eu

command -v adb >/dev/null || { echo "adb is missing: apt install adb" >&2; exit 1; }
if [ "${1:-}" = -s ]; then
  ANDROID_SERIAL=$2
  export ANDROID_SERIAL
  shift 2
fi
[ $# -gt 0 ] || { echo "usage: $0 [-s SERIAL] FILE..." >&2; exit 1; }
[ "$(adb get-state)" = device ] || { echo "no phone: look at adb devices" >&2; exit 1; }
for file in "$@"; do
  case $file in
    *.apk) adb install -r -d -g "$file" ;;
    *lce_benchmark_model*) name=lce_benchmark_model ;;
    *benchmark_model*) name=benchmark_model ;;
    *) echo "$file is neither an .apk nor a benchmark_model." >&2; exit 1 ;;
  esac
  case $file in
    *.apk) ;;
    *)
      adb push "$file" "/data/local/tmp/$name"
      adb shell chmod 755 "/data/local/tmp/$name"
      ;;
  esac
done
