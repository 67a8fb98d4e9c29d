// What the kernels of attention do with tiles, in fp32 for every type of tensors.
#include "attention/tile_kernel.h"

#include "attention/softmax_kernel.h"
#include "attention/blocks_kernel.h"
