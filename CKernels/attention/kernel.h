// Exact attention in tiles. The forward keeps a block of queries and goes
// along the keys; its tiles have keys down and queries across, so that the softmax of many queries runs in the lanes of
// vectors, without a reduction across them. The backward keeps a block of keys and goes along the queries; its tiles are
// the reverse. So only what stays is transposed, once, never what comes by. Tiles are fp32 whatever the tensors are:
// tiles_kernel.h has what works on them alone.
#include "attention/load_kernel.h"
#include "attention/query_kernel.h"
#include "attention/forward_kernel.h"
#include "attention/backward_kernel.h"

static const kiln__attention_kernels KER(attention_kernels) = {
    ATTENTION_COLUMNS,  ATTENTION_COLUMNS, attention_scratch, attention_sums,
    KER(attention_fwd), KER(attention_bwd), KER(attention_dq)};
