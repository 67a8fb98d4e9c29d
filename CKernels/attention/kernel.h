// Exact attention in tiles. The forward keeps a block of queries and goes along the keys; its tiles have keys down and
// queries across, so that the softmax of many queries runs in the lanes of vectors, without a reduction across them.
// The backward keeps a block of keys and goes along the queries; its tiles are the reverse. So only what stays is
// transposed, once, never what comes by. Tiles are fp32 whatever the tensors are: tiles_kernel.h has what works on
// them alone.
#include "attention/load_kernel.h"
#include "attention/forward_kernel.h"
#include "attention/query_kernel.h"
#include "attention/backward_kernel.h"

static const kiln__attention_kernels KER(attention_kernels) = {
    .query_block = ATTENTION_COLUMNS, .key_block = ATTENTION_COLUMNS, .scratch = attention_scratch,
    .sums = attention_sums, .fwd = KER(attention_fwd), .bwd = KER(attention_bwd), .dq = KER(attention_dq),
    .few = attention_few, .query_bytes = attention_query_bytes, .query = KER(attention_query),
    .merge = KER(attention_merge)};
