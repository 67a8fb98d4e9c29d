/// What the machine can do at most, as register loops.
#ifndef KILN_BENCH_CEILINGS_H
#define KILN_BENCH_CEILINGS_H

/// Runs 12 independent chains of fp32 fused multiply-adds in the widest registers, on `threads` threads at once, for
/// about `seconds`; the floating-point operations per second of all together. 0 where no loop fits this CPU.
double ceiling_fma_fp32(int threads, double seconds);

#endif
