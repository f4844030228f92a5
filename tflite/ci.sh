#!/bin/sh
# Native checks: kernels against plain loops under the sanitizers, fuzz seeds, and one minute of
# fuzzing (HASHBWN_FUZZ_SECONDS). What has no compiler here is skipped, and said so.
# Usage: tflite/ci.sh [python]; python with the package's test requirements makes the fuzz seeds.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${1:-python3}
seconds=${HASHBWN_FUZZ_SECONDS:-60}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags="-std=gnu11 -g -fno-math-errno -DHB_ALONE=0 -DHB_FAR=0 -DHB_REGISTERS_FROM=1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
       -Wall -Wextra -Werror -I$here/include"
export ASAN_OPTIONS=allocator_may_return_null=1
TF_CPP_MIN_LOG_LEVEL=3 "$python" "$here/tests/make_seeds.py" "$work/seeds" 2>"$work/log" ||
  { cat "$work/log"; exit 1; }

if clang-format --version 2>/dev/null | grep -q "version 14\."; then
  find "$here" -name "*.[ch]" -o -name "*.cpp" -o -name "*.inc" | xargs clang-format --dry-run --Werror
  echo "laid out as .clang-format says"
else
  echo "SKIPPED: the layout of the code, which needs clang-format 14"
fi

for compiler in gcc clang; do
  if ! command -v $compiler >/dev/null; then
    echo "SKIPPED: sanitized kernel tests with $compiler, which is not installed"
    continue
  fi
  # shellcheck disable=SC2086
  $compiler $flags -O1 -o "$work/kernels" "$here"/kernels/*.c "$here"/delegate/*.c "$here/tests/test_kernels.c" -pthread -lm
  "$work/kernels" 100
  # shellcheck disable=SC2086
  $compiler $flags -O1 -DHB_STANDALONE -o "$work/seeded" "$here"/kernels/*.c "$here"/delegate/*.c \
    "$here/tests/fuzz_delegate.c" -pthread -lm
  "$work/seeded" "$work"/seeds/* >"$work/claims"
  echo "$compiler: $(grep -c '[1-9] claimed' "$work/claims") of $(wc -l <"$work/claims") seeds claimed"
done

if command -v cmake >/dev/null; then
  if ! { cmake -S "$here" -B "$work/cmake" && cmake --build "$work/cmake" -j2 &&
    ctest --test-dir "$work/cmake" --output-on-failure; } >"$work/log" 2>&1; then
    cat "$work/log"
    exit 1
  fi
  echo "built and embedded in C++ with CMake"
else
  echo "SKIPPED: building with cmake, which is not installed"
fi

if ! command -v clang >/dev/null; then
  echo "SKIPPED: fuzzing, which needs clang and its libFuzzer"
  exit 0
fi
# shellcheck disable=SC2086
if ! clang $flags -O2 -fsanitize=fuzzer -o "$work/fuzz" "$here"/kernels/*.c "$here"/delegate/*.c \
  "$here/tests/fuzz_delegate.c" -pthread -lm 2>"$work/log"; then
  if grep -q "libclang_rt.fuzzer" "$work/log"; then
    echo "SKIPPED: fuzzing, because clang has no libFuzzer here (libclang-rt-dev)"
    exit 0
  fi
  cat "$work/log"
  exit 1
fi
mkdir "$work/corpus"
if ! "$work/fuzz" "$work/corpus" "$work/seeds" -max_total_time="$seconds" -rss_limit_mb=4096 \
  -malloc_limit_mb=4096 -max_len=65536 -timeout=30 -print_final_stats=1 \
  -artifact_prefix="$work/" >"$work/log" 2>&1; then
  tail -n 60 "$work/log"
  exit 1
fi
grep "number_of_executed_units" "$work/log"
echo "fuzzed for $seconds s without a finding"
