/* trace.h: what the traced kernels have done to memory so far, summed over their instructions. */
#ifndef BFT_TESTS_CUDASIM_TRACE_H
#define BFT_TESTS_CUDASIM_TRACE_H

#include <cstddef>

namespace sim {

struct traffic {
    size_t accesses; /* of a warp: its lanes' n-th run of one instruction */
    size_t cost;     /* shared memory: wavefronts; device memory: sectors of 32 bytes */
    size_t least;    /* what as many bytes cost when they lie well */
};

traffic shared_traffic();
traffic device_traffic();

} // namespace sim

#endif
