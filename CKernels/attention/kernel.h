// Exact attention in tiles of ATTENTION_Q queries by ATTENTION_K keys. All that lies in a tile is transposed, keys down
// and queries across: then the softmax of many queries runs in the lanes of vectors, without a reduction across them,
// and only a block's queries need to be transposed, once, never the keys that stream by. Tiles are fp32 whatever the
// tensors are: tiles_kernel.h has what works on them alone.
#include "attention/load_kernel.h"
#include "attention/query_kernel.h"
#include "attention/forward_kernel.h"
#include "attention/backward_kernel.h"

static const kiln__attention_kernels KER(attention_kernels) = {
    ATTENTION_Q, attention_scratch, KER(attention_fwd), KER(attention_bwd), attention_add, KER(attention_store)};
