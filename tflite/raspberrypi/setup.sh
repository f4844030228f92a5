#!/bin/sh
# Prepares a 64-bit Raspberry Pi OS (or any aarch64 Linux) for hashbwn benchmark. Run it there:
#
#     ssh pi@raspberrypi sh -s < setup.sh
#
# It makes the virtual environment ~/hashbwn, where hashbwn benchmark looks for Python, and asks
# nothing. To undo it: rm -r ~/hashbwn
set -eu

bits=$(getconf LONG_BIT)
[ "$bits" = 64 ] || { echo "This is a $bits-bit system: install the 64-bit Raspberry Pi OS." >&2; exit 1; }
ready='
import ai_edge_litert.interpreter, numpy, platform
print("ready:", platform.machine(), "Python", platform.python_version())'
"$HOME/hashbwn/bin/python" -c "$ready" 2>/dev/null && exit 0
command -v python3 >/dev/null || { echo "python3 is missing: sudo apt install python3" >&2; exit 1; }
python3 -c 'import venv, ensurepip' 2>/dev/null || {
  echo "Python's venv is missing: sudo apt install python3-venv" >&2
  exit 1
}
python3 -m venv "$HOME/hashbwn"
"$HOME/hashbwn/bin/pip" install --quiet ai-edge-litert numpy
"$HOME/hashbwn/bin/python" -c "$ready"
