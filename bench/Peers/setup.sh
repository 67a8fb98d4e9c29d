#!/bin/sh
# Installs the peers of requirements.txt into bench/.peers, a virtual environment of their own; quick when all is there.
# What cannot be installed is left out with one line. PYTHON names the interpreter to build on (default python3);
# pip's own settings hold, so PIP_EXTRA_INDEX_URL may name PyTorch's index of smaller, CPU-only builds.
set -u
peers=$(cd "$(dirname "$0")" && pwd)
venv=$peers/../.peers
python=$venv/bin/python
log=$venv/setup.log

if ! "$python" -m pip --version >/dev/null 2>&1; then
  "${PYTHON:-python3}" -m venv --clear "$venv" >/dev/null 2>&1 || {
    echo "bench-peers: ${PYTHON:-python3} cannot make a virtual environment; install Python 3.10 or later with venv" >&2
    exit 1
  }
fi

installed() {
  "$python" -c 'import importlib.metadata as m, sys
name, version = sys.argv[1].split("==")
sys.exit(m.version(name) != version)' "$1" 2>/dev/null
}

# DeepSpeed's kernels are built at their first use, for the CPU alone.
install() {
  DS_ACCELERATOR=cpu DS_BUILD_OPS=0 "$python" -m pip install --quiet --disable-pip-version-check \
    --no-build-isolation --constraint "$peers/requirements.txt" "$1" >"$log" 2>&1
}

changed=
for package in $(grep -v '^#' "$peers/requirements.txt"); do
  installed "$package" && continue
  echo "bench-peers: installing $package" >&2
  if install "$package"; then changed=yes; else
    echo "bench-peers: left out $package: $(grep -i error "$log" | tail -n 1)" >&2
  fi
done

[ -n "$changed" ] || exit 0

# A tiny case of each peer: its library loads and its compiler works. The worker answers in one line.
try() {
  answer=$(echo "{\"prepare\": $2}" | "$python" "$peers/worker.py" --peer "$1" --threads 1 2>>"$log")
  echo "bench-peers: $1: ${answer:-it ended without an answer; see $log}" >&2
}
gemm='{"work": "gemm", "op": "fwd", "m": 8, "n": 8, "k": 8, "dtype": "float32"}'
try torch "$gemm"
try torch_compile '{"work": "norm", "op": "rms_norm", "rows": 8, "channels": 8, "dtype": "float32"}'
try numpy "$gemm"
try openblas "$gemm"
try deepspeed '{"work": "adamw", "count": 64}'
