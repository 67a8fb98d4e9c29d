"""NumPy with the BLAS of its wheel, and the system's OpenBLAS through cblas_sgemm."""
import ctypes
import ctypes.util
from functools import partial

import numpy

from cases import gemm_operands

ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE = 101, 111, 112


class Peer:
  def __init__(self, name, threads):
    if name == "openblas":
      library = load_openblas(threads)
      self.note, self.product = library.openblas_get_config().decode().strip(), partial(sgemm, library)
    else:
      blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
      self.note, self.product = f"numpy {numpy.__version__}, {blas['name']} {blas['version']}", numpy.matmul

  def prepare(self, case):
    if case["work"] != "gemm" or case["dtype"] != "float32":
      raise NotImplementedError("only gemm in float32")
    random = numpy.random.default_rng(0)
    a, b = gemm_operands(case, lambda *shape: random.standard_normal(shape, dtype=numpy.float32))
    return partial(self.product, a, b, out=numpy.empty((a.shape[0], b.shape[1]), numpy.float32))


def load_openblas(threads):
  path = ctypes.util.find_library("openblas")
  if path is None:
    raise NotImplementedError("the system has no OpenBLAS (libopenblas.so)")
  library = ctypes.CDLL(path)
  library.openblas_get_config.restype = ctypes.c_char_p
  matrix = [ctypes.c_void_p, ctypes.c_int]
  scale = [ctypes.c_float]
  library.cblas_sgemm.argtypes = [ctypes.c_int] * 6 + scale + matrix + matrix + scale + matrix
  library.openblas_set_num_threads(threads)
  return library


def sgemm(library, a, b, out):
  """out[m,n] = a[m,k] b[k,n], where a factor may be the transposed view of a row-major matrix."""
  (m, k), n = a.shape, b.shape[1]
  library.cblas_sgemm(
    ROW_MAJOR, *map(transposition, (a, b)), m, n, k, 1, *stored(a), *stored(b), 0, *stored(out))
  return out


def transposition(matrix):
  return NO_TRANSPOSE if matrix.flags.c_contiguous else TRANSPOSE


def stored(matrix):
  """Address and length of a stored row."""
  return matrix.ctypes.data, matrix.shape[1 if matrix.flags.c_contiguous else 0]
