"""One peer behind a pipe: a JSON object a line on stdin, its answer a line on stdout; all chatter goes to stderr.

  {"prepare": CASE}   -> {"ok": true, "note": "torch 2.15.0, MKL"} or {"unsupported": "why"}
  {"run": 3}          -> {"seconds": of the 3 runs together, "bytes": extra, "resident": peak}
  {"release": true}   -> {"ok": true}

`prepare` makes the tensors and warms up. `bytes` is the peak of resident memory during the runs beyond what lay there
after `prepare`, `resident` that peak of the whole process; null where the system does not tell. A failure answers
{"error": "what"} and the worker lives on. The cases are described in cases.py.
"""
import argparse
import importlib
import json
import os
import pathlib
import sys
import time

import memory

MODULES = {
  "torch": "torch_peer",
  "torch_compile": "torch_peer",
  "numpy": "blas_peers",
  "openblas": "blas_peers",
  "deepspeed": "deepspeed_peer",
}
SHORT = 1.0  # seconds: a first run below this is followed by a second warm-up
REST = 0.25  # seconds until a library's idle threads stop spinning, so that they do not disturb who is measured next


class Worker:
  """A peer, loaded at the first case, and the run that is prepared."""

  def __init__(self, name, threads):
    self.name, self.threads = name, threads
    self.peer = self.run = self.base = None

  def answer(self, request):
    match request:
      case {"prepare": dict(case)}:
        return self.prepare(case)
      case {"run": int(count)} if count > 0:
        return self.measure(count)
      case {"release": True}:
        self.release()
        return {"ok": True}
    raise ValueError(f"unknown request {json.dumps(request)}; ask for prepare, run or release")

  def prepare(self, case):
    self.release()
    try:
      self.peer = self.peer or importlib.import_module(MODULES[self.name]).Peer(self.name, self.threads)
      run = self.peer.prepare(case)
    except ImportError as error:
      return {"unsupported": f"{self.name} is not installed ({error})"}
    except NotImplementedError as error:
      return {"unsupported": str(error)}
    start = time.perf_counter()
    run()
    short = time.perf_counter() - start < SHORT
    memory.trim()
    self.run, self.base = run, memory.resident()
    if short:
      run()
    return {"ok": True, "note": self.peer.note}

  def measure(self, count):
    if self.run is None:
      raise ValueError("nothing is prepared; send prepare first")
    counted = memory.reset_peak()
    start = time.perf_counter()
    for _ in range(count):
      self.run()
    seconds = time.perf_counter() - start
    peak = memory.peak() if counted else None
    time.sleep(REST)
    return {"seconds": seconds, "bytes": peak and max(0, peak - self.base), "resident": peak}

  def release(self):
    self.run = None
    memory.trim()


def explain(error):
  """One line that tells what went wrong."""
  if isinstance(error, KeyError):
    return f"the case lacks {error}"
  return f"{type(error).__name__}: {error}".splitlines()[0]


def set_environment(threads):
  """Before any library is loaded: how many threads it takes, and where it keeps the code that it compiles."""
  for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = str(threads)
  cache = pathlib.Path(__file__).resolve().parent.parent / ".peers" / "cache"
  for variable in ("TORCHINDUCTOR_CACHE_DIR", "TORCH_EXTENSIONS_DIR", "TRITON_CACHE_DIR"):
    os.environ[variable] = str(cache / variable.lower())
  os.environ["DS_ACCELERATOR"] = "cpu"
  os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")


def main():
  parser = argparse.ArgumentParser(description="Runs one peer's side of the bench over stdin and stdout.")
  parser.add_argument("--peer", required=True, choices=MODULES)
  parser.add_argument("--threads", required=True, type=int)
  arguments = parser.parse_args()
  set_environment(arguments.threads)
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)
  worker = Worker(arguments.peer, arguments.threads)
  for line in sys.stdin:
    try:
      answer = worker.answer(json.loads(line))
    except Exception as error:
      answer = {"error": explain(error)}
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
  main()
