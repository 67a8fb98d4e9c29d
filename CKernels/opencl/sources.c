#include "opencl/sources.h"

static const char common[] = {
#embed "kernels/common.cl"
};
static const char activation[] = {
#embed "kernels/activation.cl"
};
static const char attention[] = {
#embed "kernels/attention.cl"
};
static const char elementwise[] = {
#embed "kernels/elementwise.cl"
};
static const char embedding[] = {
#embed "kernels/embedding.cl"
};
static const char gemm[] = {
#embed "kernels/gemm.cl"
};
static const char loss[] = {
#embed "kernels/loss.cl"
};
static const char norm[] = {
#embed "kernels/norm.cl"
};
static const char optim[] = {
#embed "kernels/optim.cl"
};
static const char quant[] = {
#embed "kernels/quant.cl"
};
static const char rope[] = {
#embed "kernels/rope.cl"
};

#define SOURCE(text) {#text, text, sizeof text}

const kiln__cl_source kiln__cl_common = SOURCE(common);

const kiln__cl_source kiln__cl_sources[KILN_CL_FAMILIES] = {
    [KILN_CL_ACTIVATION] = SOURCE(activation),
    [KILN_CL_ATTENTION] = SOURCE(attention),
    [KILN_CL_ELEMENTWISE] = SOURCE(elementwise),
    [KILN_CL_EMBEDDING] = SOURCE(embedding),
    [KILN_CL_GEMM] = SOURCE(gemm),
    [KILN_CL_LOSS] = SOURCE(loss),
    [KILN_CL_NORM] = SOURCE(norm),
    [KILN_CL_OPTIM] = SOURCE(optim),
    [KILN_CL_QUANT] = SOURCE(quant),
    [KILN_CL_ROPE] = SOURCE(rope),
};
