/* test_trace.cu: the counts of trace.cc on accesses whose cost is known. Usage: test_trace */
#include "tests/cudasim/sim.h"
#include "tests/cudasim/trace.h"

#include <cstdio>

enum { FLOATS = 4096 };

static size_t failed;

static void check(const char *what, const sim::traffic &found, size_t accesses, size_t cost, size_t least) {
    if (found.accesses != accesses || found.cost != cost || found.least != least) {
        fprintf(stderr, "test_trace: %s: %zu accesses, %zu of at least %zu; must be %zu, %zu of %zu\n", what,
                found.accesses, found.cost, found.least, accesses, cost, least);
        failed++;
    }
}

static sim::traffic operator-(const sim::traffic &a, const sim::traffic &b) {
    return {a.accesses - b.accesses, a.cost - b.cost, a.least - b.least};
}

/* Each lane reads the T at lane * stride + offset, in Ts; `to` is the host's, and keeps the read alive. */
template <typename T> __global__ void read_strided(const T *from, size_t stride, size_t offset, T *to) {
    *to = from[threadIdx.x * stride + offset];
}

template <typename T> static sim::traffic in_shared(size_t stride, unsigned lanes = sim::WARP) {
    sim::traffic before = sim::shared_traffic();
    T x;
    sim::launch(1, lanes, FLOATS * sizeof(float),
                [&] { read_strided(static_cast<const T *>(sim::shared()), stride, 0, &x); });
    return sim::shared_traffic() - before;
}

template <typename T> static sim::traffic in_device(const void *memory, size_t stride, size_t offset = 0) {
    sim::traffic before = sim::device_traffic();
    T x;
    sim::launch(1, sim::WARP, 0, [&] { read_strided(static_cast<const T *>(memory), stride, offset, &x); });
    return sim::device_traffic() - before;
}

static void check_shared() {
    check("one word for all", in_shared<float>(0), 1, 1, 1);
    check("floats side by side", in_shared<float>(1), 1, 1, 1);
    check("every other float", in_shared<float>(2), 1, 2, 1);
    check("every third float", in_shared<float>(3), 1, 1, 1);
    check("floats of one bank", in_shared<float>(32), 1, 32, 1);
    check("floats of one bank, 5 lanes", in_shared<float>(32, 5), 1, 5, 1);
    check("shorts, two a word", in_shared<uint16_t>(1), 1, 1, 1);
    check("float2 side by side", in_shared<float2>(1), 1, 2, 2);
    check("every other float2", in_shared<float2>(2), 1, 4, 2);
    check("float4 side by side", in_shared<float4>(1), 1, 4, 4);
    check("every other float4", in_shared<float4>(2), 1, 8, 4);
    check("float4, rows of 36 floats", in_shared<float4>(9), 1, 4, 4);
    check("two warps", in_shared<float>(2, 2 * sim::WARP), 2, 4, 2);
}

static void check_device(const float *memory) {
    check("one place for all", in_device<float>(memory, 0), 1, 1, 1);
    check("floats side by side, device", in_device<float>(memory, 1), 1, 4, 4);
    check("floats side by side from the second on", in_device<float>(memory, 1, 1), 1, 5, 4);
    check("every other float, device", in_device<float>(memory, 2), 1, 8, 4);
    check("scattered floats", in_device<float>(memory, 100), 1, 32, 4);
    check("float4 side by side, device", in_device<float4>(memory, 1), 1, 16, 16);
}

/* Rounds, each with a barrier: the lanes below `few` write in each, the others in every other round. */
static void check_rounds() {
    enum { ROUNDS = 4, FEW = 8 };
    sim::traffic before = sim::shared_traffic();
    sim::launch(1, sim::WARP, FLOATS * sizeof(float), [] {
        float *memory = static_cast<float *>(sim::shared());
        for (unsigned round = 0; round < ROUNDS; round++) {
            if (threadIdx.x < FEW || round % 2 == 1) {
                memory[threadIdx.x * sim::WARP] = 1;
            }
            __syncthreads();
        }
    });
    check("rounds", sim::shared_traffic() - before, ROUNDS, 2 * FEW + 2 * sim::WARP, ROUNDS);
}

int main() {
    float *memory = static_cast<float *>(sim::allocate(FLOATS * sizeof(float)));
    memset(memory, 0, FLOATS * sizeof(float));
    check_shared();
    check_device(memory);
    check_rounds();
    sim::deallocate(memory);
    printf("test_trace: %zu failed\n", failed);
    return failed > 0;
}
