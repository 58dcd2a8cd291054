#!/usr/bin/env bash
# Unpacks LibTorch from its PyPI wheel into a cache folder and prints that folder. Nothing of Python is kept.
# Usage: setup/fetch_libtorch.sh            the cache is $POSTREC_DEPS_DIR, else ~/.cache/postrec
#
# Only what is linked is unpacked: headers, libtorch_cpu, libc10, libgomp and the two small CUDA libraries that libtorch_cpu
# names (CUPTI, CUDART). Where an NVIDIA driver is seen (or POSTREC_CUDA=ON), libtorch_cuda and the libraries that it
# needs come too. The wheel of CPython 3.11 is taken whatever the system's Python is: its C++ libraries do not depend on it.
set -euo pipefail

version=2.11.0
torch_sha256=7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
cuda=${POSTREC_CUDA:-AUTO}
if [ "$cuda" = AUTO ]; then
  if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then cuda=ON; else cuda=OFF; fi
fi
flavour=cpu; [ "$cuda" = ON ] && flavour=cuda
cache=${POSTREC_DEPS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/postrec}
target=$cache/libtorch-$version-$flavour

if [ -e "$target/.complete" ]; then echo "$target"; exit 0; fi
if [ "$(uname -m)" != x86_64 ]; then
  echo "setup/fetch_libtorch.sh: LibTorch is fetched for x86_64 only, this machine is $(uname -m); set POSTREC_LIBTORCH to an unpacked LibTorch $version" >&2
  exit 69
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

platforms=(--platform manylinux2014_x86_64)
for glibc in 17 18 24 25 26 27 28; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
fetch() {
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --implementation cp --python-version 311 --abi cp311 --abi none "${platforms[@]}" --dest "$work" "$@" >&2
}

echo "Fetching LibTorch $version ($flavour), about 540 MB (cuda: 3.6 GB) ..." >&2
fetch "torch==$version" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85
[ "$flavour" = cuda ] && fetch nvidia-cublas==13.1.0.3 nvidia-cuda-nvrtc==13.0.88 nvidia-cufft==12.0.0.61 \
  nvidia-cufile==1.15.1.6 nvidia-curand==10.4.0.35 nvidia-cusolver==12.0.4.66 nvidia-cusparse==12.6.3.3 nvidia-nvjitlink==13.0.88 \
  nvidia-nvtx==13.0.85 nvidia-cudnn-cu13==9.19.0.56 nvidia-cusparselt-cu13==0.8.0 nvidia-nccl-cu13==2.28.9 nvidia-nvshmem-cu13==3.4.5
echo "$torch_sha256  $(echo "$work"/torch-*.whl)" | sha256sum --check --quiet >&2

python3 - "$work" "$flavour" <<'PY'
import glob, os, sys, zipfile
work, flavour = sys.argv[1:]
keep = {"libc10.so", "libtorch_cpu.so", "libgomp.so.1"}
if flavour == "cuda":
    keep |= {"libtorch.so", "libtorch_cuda.so", "libtorch_cuda_linalg.so", "libc10_cuda.so", "libtorch_nvshmem.so", "libcaffe2_nvrtc.so"}
def wanted(name):
    if name.startswith("torch/lib/"):
        return os.path.basename(name) in keep
    if name.startswith("nvidia/"):
        return ".so" in name and (flavour == "cuda" or os.path.basename(name).startswith(("libcudart.so", "libcupti.so")))
    return name.startswith("torch/include/") or "/licenses/" in name
for wheel in glob.glob(os.path.join(work, "*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(os.path.join(work, "tree"), [n for n in archive.namelist() if wanted(n)])
PY
rm -rf "$target"
mv "$work/tree" "$target"
touch "$target/.complete"
echo "$target"
