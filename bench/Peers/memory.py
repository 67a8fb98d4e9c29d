"""Resident memory of this process in bytes, where the system tells (Linux); None elsewhere."""
import ctypes
import gc


def resident():
  return _status("VmRSS")


def peak():
  """The most that was resident since `reset_peak`."""
  return _status("VmHWM")


def reset_peak():
  """Forgets the high-water mark; False where that cannot be done."""
  try:
    with open("/proc/self/clear_refs", "w") as file:
      file.write("5")
    return True
  except OSError:
    return False


def trim():
  """Gives freed memory back to the system, so that it does not hide what a run takes."""
  gc.collect()
  try:
    ctypes.CDLL(None).malloc_trim(0)
  except (AttributeError, OSError):
    pass


def _status(field):
  try:
    with open("/proc/self/status") as file:
      return next(int(line.split()[1]) << 10 for line in file if line.startswith(field + ":"))
  except (OSError, StopIteration):
    return None
