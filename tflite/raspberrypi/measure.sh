#!/bin/sh
# From a bare 64-bit Raspberry Pi OS (or any aarch64 Linux) to a number and a result file to send
# back. Run it on a computer in the same network that has hashbwn (pip install
# "hashbwn_keras[litert,cross]"):
#
#     tflite/raspberrypi/measure.sh pi@raspberrypi.local [-o RESULT.json] [FILE.tflite ...]
#
# It prepares the Pi (setup.sh), measures the files in turns, with and without our library, writes
# the result file, and says what to distrust in it. Without files it measures those of hashbwn demo.
# The status is 0 if the result is whole.
set -eu

usage() {
  echo "usage: $0 USER@HOST[:PORT] [-o RESULT.json] [FILE.tflite ...]" >&2
  exit 1
}

case ${1:-} in '' | -*) usage ;; esac
url=ssh://${1#ssh://}
shift
result=
if [ "${1:-}" = -o ]; then
  [ $# -ge 2 ] || usage
  result=$2
  shift 2
fi
command -v hashbwn >/dev/null || {
  echo 'hashbwn is missing: pip install "hashbwn_keras[litert,cross]"' >&2
  exit 1
}
if [ -z "$result" ]; then
  host=${url##*[/@]}
  result=$(date +%Y-%m-%d)-${host%%:*}.json
fi
[ ! -e "$result" ] || {
  echo "$result exists: name another file with -o." >&2
  exit 1
}

ssh "$url" sh -s <"$(dirname "$0")/setup.sh"
if [ $# = 0 ]; then
  [ -e hashbwn-demo ] || hashbwn demo
  set -- hashbwn-demo/float.tflite hashbwn-demo/binary-int8.tflite hashbwn-demo/binary-packed.tflite
fi
hashbwn benchmark --on "$url" --delegate auto --delegate off --runs 200 --rounds 10 \
  --json "$result" -- "$@"
hashbwn doctor -- "$result"
