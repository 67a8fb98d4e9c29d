// The bodies of every family for one ELEMENT; see isa/kernels.h.
#include "attention/kernel.h"
#include "norm/kernel.h"
