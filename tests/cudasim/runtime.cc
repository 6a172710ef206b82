/* runtime.cc: kernels/cuda/runtime.cuh on the host: memory from the heap, copies at once, and the matrix product as three loops in place of
 * cuBLASLt, with sums in double. */
#include "kernels/cuda/runtime.cuh"
#include "tests/cudasim/halves.h"
#include "tests/cudasim/sim.h"

#include <cstdlib>
#include <new>
#include <vector>

struct bft_runtime {
    bool tf32;
};

bool bft_runtime_has_driver() {
    return true;
}

const char *bft_runtime_open(int index, bool tf32, bft_runtime **out) {
    if (index > 0) {
        return "there is no card of that number";
    }
    *out = new (std::nothrow) bft_runtime{tf32};
    return *out == nullptr ? "out of memory" : nullptr;
}

void bft_runtime_close(bft_runtime *runtime) {
    sim::report();
    delete runtime;
}

const char *bft_runtime_name(const bft_runtime *runtime) {
    (void)runtime;
    return "host simulation";
}

int bft_runtime_capability(const bft_runtime *runtime) {
    (void)runtime;
    const char *chosen = getenv("BERTFT_SIM_CAPABILITY");
    return chosen != nullptr ? atoi(chosen) : 90; /* where cuDNN's stand-in may be chosen for training too */
}

void *bft_runtime_stream(bft_runtime *runtime) {
    (void)runtime;
    return nullptr;
}

const char *bft_runtime_alloc(bft_runtime *runtime, size_t bytes, void **out) {
    (void)runtime;
    *out = sim::allocate(bytes);
    return *out == nullptr ? "out of memory" : nullptr;
}

void bft_runtime_free(bft_runtime *runtime, void *memory) {
    (void)runtime;
    sim::deallocate(memory);
}

void bft_runtime_memory(const bft_runtime *runtime, size_t *free_bytes, size_t *total_bytes) {
    (void)runtime;
    sim::memory(free_bytes, total_bytes);
}

const char *bft_runtime_zero(bft_runtime *runtime, void *memory, size_t bytes) {
    (void)runtime;
    std::memset(memory, 0, bytes);
    return nullptr;
}

const char *bft_runtime_alloc_host(bft_runtime *runtime, size_t bytes, void **out) {
    return bft_runtime_alloc(runtime, bytes, out);
}

void bft_runtime_free_host(bft_runtime *runtime, void *memory) {
    bft_runtime_free(runtime, memory);
}

const char *bft_runtime_to_device(bft_runtime *runtime, void *to, const void *from, size_t bytes) {
    (void)runtime;
    std::memcpy(to, from, bytes);
    return nullptr;
}

const char *bft_runtime_to_host(bft_runtime *runtime, void *to, const void *from, size_t bytes) {
    return bft_runtime_to_device(runtime, to, from, bytes);
}

const char *bft_runtime_sync(bft_runtime *runtime) {
    (void)runtime;
    return nullptr;
}

const char *bft_runtime_mark(bft_runtime *runtime, int number) {
    (void)runtime;
    (void)number;
    return nullptr;
}

const char *bft_runtime_wait(bft_runtime *runtime, int number) {
    return bft_runtime_mark(runtime, number);
}

const char *bft_runtime_launch(bft_runtime *runtime, const char *name, kernel_handle kernel,
                               const bft_launch_shape &shape, void **arguments) {
    (void)runtime;
    sim::count(name, sim::AS_KERNEL);
    bool fine =
        sim::launch(shape.grid, shape.block, shape.shared_bytes, [&] { kernel.call(kernel.function, arguments); });
    return fine ? nullptr : "BERTFT_SIM_FAIL_LAUNCH";
}

/* Nothing is captured: the work is done once more at each replay. */
struct bft_graph {
    bft_graph_work *work;
    void *context;
};

const char *bft_runtime_capture(bft_runtime *runtime, bft_graph_work *work, void *context, bft_graph **out) {
    (void)runtime;
    *out = new (std::nothrow) bft_graph{work, context};
    return *out == nullptr ? "out of memory" : nullptr;
}

const char *bft_runtime_replay(bft_runtime *runtime, bft_graph *graph) {
    (void)runtime;
    sim::count("graph", sim::REPLAYED);
    return graph->work(graph->context);
}

void bft_runtime_forget(bft_runtime *runtime, bft_graph *graph) {
    (void)runtime;
    delete graph;
}

/* ---- The product ---- */

static float value_at(const void *tensor, bft_dtype type, size_t i) {
    switch (type) {
    case BFT_BF16:
        return to_float(static_cast<const bf16 *>(tensor)[i]);
    case BFT_F16:
        return to_float(static_cast<const fp16 *>(tensor)[i]);
    default:
        return static_cast<const float *>(tensor)[i];
    }
}

static void put(void *tensor, bft_dtype type, size_t i, double x) {
    switch (type) {
    case BFT_BF16:
        return round_to((float)x, &static_cast<bf16 *>(tensor)[i]);
    case BFT_F16:
        return round_to((float)x, &static_cast<fp16 *>(tensor)[i]);
    default:
        static_cast<float *>(tensor)[i] = (float)x;
    }
}

/* To 10 bits of fraction, ties away from zero: cvt.rna.tf32. */
static float to_tf32(float x) {
    return std::isfinite(x) ? float_of((bits_of(x) + 0x1000u) & ~0x1FFFu) : x;
}

/* A factor as (rows, columns), transposed where asked. */
static std::vector<double> factor(const bft_runtime *runtime, const bft_product *p, const void *tensor, bool transpose,
                                  size_t rows, size_t columns) {
    std::vector<double> out(rows * columns);
    bool rounded = runtime->tf32 && p->factors == BFT_F32;
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            float x = value_at(tensor, p->factors, transpose ? j * rows + i : i * columns + j);
            out[i * columns + j] = rounded ? to_tf32(x) : x;
        }
    }
    return out;
}

/* Epilogues where the vectors allow them, so that the ops' other way is walked too. */
bool bft_runtime_takes(bft_runtime *runtime, const bft_product *p) {
    (void)runtime;
    return (p->bias == nullptr || p->n % 8 == 0) && (p->a_sums == nullptr || p->m % 8 == 0);
}

/* Row by row: all columns' sums at once, each from the first product to the last. */
const char *bft_runtime_product(bft_runtime *runtime, const bft_product *p) {
    std::vector<double> a = factor(runtime, p, p->a, p->transpose_a, p->m, p->k);
    std::vector<double> b = factor(runtime, p, p->b, p->transpose_b, p->k, p->n), sums(p->n);
    for (size_t i = 0; i < p->m; i++) {
        double of_a = 0;
        for (size_t j = 0; j < p->n; j++) {
            sums[j] = (p->add ? value_at(p->c, p->result, i * p->n + j) : 0.0) +
                      (p->bias != nullptr ? value_at(p->bias, p->result, j) : 0.0);
        }
        for (size_t l = 0; l < p->k; l++) {
            double x = a[i * p->k + l];
            of_a += x;
            for (size_t j = 0; j < p->n; j++) {
                sums[j] += x * b[l * p->n + j];
            }
        }
        for (size_t j = 0; j < p->n; j++) {
            put(p->c, p->result, i * p->n + j, sums[j]);
        }
        if (p->a_sums != nullptr) {
            put(p->a_sums, p->result, i, of_a);
        }
    }
    sim::count(p->bias != nullptr     ? "product with bias"
               : p->a_sums != nullptr ? "product with bias gradient"
                                      : "product",
               sim::SUBSTITUTED);
    return nullptr;
}
