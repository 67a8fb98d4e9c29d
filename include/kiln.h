/// Kiln: kernels for training and running Transformers, behind a stable C ABI.
///
/// The conventions of every header:
/// - A function returns a `kiln_status`; `kiln_last_error(ctx)` has the detail of the last failure on that context.
///   Nothing prints, exits or aborts, and on an error no output has been written unless the header says so.
/// - Arguments come in the order: context, outputs, inputs, options. An output is passed as a `const kiln_tensor *`
///   too: the view is constant, the memory it names is written.
/// - `options` may be NULL, which means `kiln_<op>_defaults()`; otherwise start from that function's result and change
///   what you need. The first field is the size of the struct as the caller compiled it: fields that a caller of an
///   older header does not know keep their defaults.
/// - Letters: b batch, t time, c channels, h heads, d head width, v vocabulary; m n k for products.
/// - Outputs and inputs must not overlap unless the header says "may be in place".
/// - Data is fp32 unless the header says otherwise; every function also accepts fp64 in all its floating-point tensors
///   and then runs the plain reference loops, which is what a gradient check needs.
/// - The same build, instruction set and device give the same bits for any number of threads.
#ifndef KILN_H
#define KILN_H

#include "kiln/status.h"
#include "kiln/tensor.h"
#include "kiln/context.h"
#include "kiln/device.h"
#include "kiln/activation.h"
#include "kiln/attention.h"
#include "kiln/elementwise.h"
#include "kiln/embedding.h"
#include "kiln/gemm.h"
#include "kiln/loss.h"
#include "kiln/norm.h"
#include "kiln/optim.h"
#include "kiln/quant.h"
#include "kiln/random.h"
#include "kiln/rope.h"
#include "kiln/sparse.h"

#endif
