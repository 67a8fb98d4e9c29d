// The bodies of every family for one ELEMENT; see isa/kernels.h.
#include "activation/kernel.h"
#include "attention/kernel.h"
#include "elementwise/kernel.h"
#include "embedding/kernel.h"
#include "gemm/kernel.h"
#include "loss/kernel.h"
#include "norm/kernel.h"
#include "rope/kernel.h"
