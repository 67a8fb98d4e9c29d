// One function on several threads, started at the same moment.
#ifndef KILN_BENCH_TOGETHER_H
#define KILN_BENCH_TOGETHER_H

enum { MAX_THREADS = 256 };

double seconds_now(void);

// Calls body(thread, data) for thread in 0 ..< threads, each on a thread of its own once all of them are there.
// The seconds from the common start to the last end; 0 where the threads could not be had.
double together(int threads, void (*body)(int thread, void *data), void *data);

#endif
