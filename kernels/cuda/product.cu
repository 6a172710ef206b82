/* product.cu: cuBLASLt: opened at run time, one plan for each shape that was asked for.
 *
 * fp32 throughout, no TF32. No algorithm that cuts a sum into pieces (split-K) is taken, so that nothing is added atomically
 * and equal sizes give equal bits. cuBLASLt thinks in columns: a row-major matrix is its transpose there, so
 * c = a' b' is asked for as c^T = b'^T a'^T, with the operands swapped. */
#include "kernels/cuda/product.cuh"

#include <cublasLt.h>
#include <dlfcn.h>
#include <new>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLANS = 1024, WORKSPACE = 32 << 20, PATH_ROOM = 4096 };
static const uint32_t scalar_bytes = sizeof(float), vector_bytes = 4 * sizeof(float);

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define LIBRARY "libcublasLt.so." TEXT(CUBLAS_VER_MAJOR) /* of the header's version: its structs and numbers */

/* ---- The library: every function that is called, by name ---- */

#define FUNCTIONS(X)                                                                                                   \
    X(cublasLtCreate)                                                                                                  \
    X(cublasLtDestroy)                                                                                                 \
    X(cublasLtGetStatusString)                                                                                         \
    X(cublasLtMatmul)                                                                                                  \
    X(cublasLtMatmulAlgoGetHeuristic)                                                                                  \
    X(cublasLtMatmulDescCreate)                                                                                        \
    X(cublasLtMatmulDescDestroy)                                                                                       \
    X(cublasLtMatmulDescSetAttribute)                                                                                  \
    X(cublasLtMatmulPreferenceCreate)                                                                                  \
    X(cublasLtMatmulPreferenceDestroy)                                                                                 \
    X(cublasLtMatmulPreferenceSetAttribute)                                                                            \
    X(cublasLtMatrixLayoutCreate)                                                                                      \
    X(cublasLtMatrixLayoutDestroy)

struct library {
#define MEMBER(name) decltype(&::name) name;
    FUNCTIONS(MEMBER)
#undef MEMBER
};

/* In cuda/lib beside this library, where scripts/setup-cuda.sh puts it; where the loader looks; in the folder that
 * BERTFT_CUDA_LIBS names. It stays open. */
static void *open_library() {
    char path[PATH_ROOM];
    Dl_info here;
    void *opened = NULL;
    if (dladdr(reinterpret_cast<void *>(open_library), &here) != 0 && here.dli_fname != NULL) {
        const char *slash = strrchr(here.dli_fname, '/');
        int folder = slash == NULL ? 0 : static_cast<int>(slash - here.dli_fname + 1);
        int length = snprintf(path, sizeof path, "%.*scuda/lib/" LIBRARY, folder, here.dli_fname);
        opened = length < PATH_ROOM ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    }
    if (opened == NULL) {
        opened = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    }
    const char *folder = getenv("BERTFT_CUDA_LIBS");
    if (opened == NULL && folder != NULL && snprintf(path, sizeof path, "%s/" LIBRARY, folder) < PATH_ROOM) {
        opened = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    return opened;
}

static const char *load(library *lt) {
    void *opened = open_library();
    if (opened == NULL) {
        return LIBRARY " was not found in cuda/lib beside libbertft_cuda.so, nor where the loader looks, nor where "
                       "BERTFT_CUDA_LIBS says; scripts/setup-cuda.sh fetches it";
    }
#define LOAD(name)                                                                                                     \
    lt->name = reinterpret_cast<decltype(lt->name)>(dlsym(opened, #name));                                             \
    if (lt->name == NULL) {                                                                                            \
        return LIBRARY " lacks " #name;                                                                                \
    }
    FUNCTIONS(LOAD)
#undef LOAD
    return NULL;
}

/* ---- Plans ---- */

struct plan_key {
    size_t m, n, k;
    uint32_t alignment; /* of all operands, in bytes */
    bool transpose_a, transpose_b, add;
};

struct plan {
    plan_key key; /* m = 0: none yet */
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t left, right, result; /* b, a, c */
    cublasLtMatmulAlgo_t algorithm;
};

struct bft_products {
    library lt;
    cublasLtHandle_t handle;
    cublasLtMatmulPreference_t preference;
    void *workspace;
    plan plans[PLANS];
};

static const char *failure_of(const library *lt, cublasStatus_t status) {
    return status == CUBLAS_STATUS_SUCCESS ? NULL : lt->cublasLtGetStatusString(status);
}

static plan_key key_of(const bft_product *p) {
    uintptr_t places =
        reinterpret_cast<uintptr_t>(p->a) | reinterpret_cast<uintptr_t>(p->b) | reinterpret_cast<uintptr_t>(p->c);
    plan_key key = {};
    key.m = p->m;
    key.n = p->n;
    key.k = p->k;
    key.alignment = places % vector_bytes == 0 ? vector_bytes : scalar_bytes;
    key.transpose_a = p->transpose_a;
    key.transpose_b = p->transpose_b;
    key.add = p->add;
    return key;
}

static bool same(const plan_key &a, const plan_key &b) {
    return a.m == b.m && a.n == b.n && a.k == b.k && a.alignment == b.alignment && a.transpose_a == b.transpose_a &&
           a.transpose_b == b.transpose_b && a.add == b.add;
}

/* Each key has one place, and takes it from whoever was there. */
static size_t place_of(const plan_key &key) {
    const size_t parts[] = {key.m, key.n, key.k, key.alignment,
                            static_cast<size_t>(key.transpose_a) | static_cast<size_t>(key.transpose_b) << 1 |
                                static_cast<size_t>(key.add) << 2};
    uint64_t hash = 0;
    for (size_t part : parts) {
        hash = (hash ^ part) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 32;
    }
    return hash % PLANS;
}

static void drop(const library *lt, plan *plan) {
    for (cublasLtMatrixLayout_t layout : {plan->left, plan->right, plan->result}) {
        if (layout != NULL) {
            (void)lt->cublasLtMatrixLayoutDestroy(layout);
        }
    }
    if (plan->operation != NULL) {
        (void)lt->cublasLtMatmulDescDestroy(plan->operation);
    }
    *plan = {};
}

static cublasStatus_t describe(const library *lt, const plan_key &key, plan *out) {
    const cublasOperation_t transpose = CUBLAS_OP_T;
    cublasStatus_t status = lt->cublasLtMatmulDescCreate(&out->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (status == CUBLAS_STATUS_SUCCESS && key.transpose_b) {
        status = lt->cublasLtMatmulDescSetAttribute(out->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transpose,
                                                    sizeof transpose);
    }
    if (status == CUBLAS_STATUS_SUCCESS && key.transpose_a) {
        status = lt->cublasLtMatmulDescSetAttribute(out->operation, CUBLASLT_MATMUL_DESC_TRANSB, &transpose,
                                                    sizeof transpose);
    }
    const struct {
        cublasLtMatrixLayout_t *layout;
        size_t rows, columns; /* as it lies in memory, by columns; the first is dense */
    } matrices[] = {{&out->left, key.transpose_b ? key.k : key.n, key.transpose_b ? key.n : key.k},
                    {&out->right, key.transpose_a ? key.m : key.k, key.transpose_a ? key.k : key.m},
                    {&out->result, key.n, key.m}};
    for (const auto &matrix : matrices) {
        if (status == CUBLAS_STATUS_SUCCESS) {
            status = lt->cublasLtMatrixLayoutCreate(matrix.layout, CUDA_R_32F, matrix.rows, matrix.columns,
                                                    static_cast<int64_t>(matrix.rows));
        }
    }
    return status;
}

static cublasStatus_t prefer_alignment(const bft_products *products, uint32_t bytes) {
    const cublasLtMatmulPreferenceAttributes_t operands[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    for (cublasLtMatmulPreferenceAttributes_t operand : operands) {
        if (status == CUBLAS_STATUS_SUCCESS) {
            status =
                products->lt.cublasLtMatmulPreferenceSetAttribute(products->preference, operand, &bytes, sizeof bytes);
        }
    }
    return status;
}

static const char *make_plan(bft_products *products, const plan_key &key, plan *out) {
    const library *lt = &products->lt;
    cublasLtMatmulHeuristicResult_t best;
    int found = 0;
    drop(lt, out);
    cublasStatus_t status = describe(lt, key, out);
    if (status == CUBLAS_STATUS_SUCCESS) {
        status = prefer_alignment(products, key.alignment);
    }
    if (status == CUBLAS_STATUS_SUCCESS) {
        status = lt->cublasLtMatmulAlgoGetHeuristic(products->handle, out->operation, out->left, out->right,
                                                    out->result, out->result, products->preference, 1, &best, &found);
    }
    if (status == CUBLAS_STATUS_SUCCESS) {
        status = found == 0 ? CUBLAS_STATUS_NOT_SUPPORTED : best.state;
    }
    if (status != CUBLAS_STATUS_SUCCESS) {
        drop(lt, out);
        return failure_of(lt, status);
    }
    out->algorithm = best.algo;
    out->key = key;
    return NULL;
}

const char *bft_products_run(bft_products *products, cudaStream_t stream, const bft_product *product) {
    const plan_key key = key_of(product);
    plan *plan = &products->plans[place_of(key)];
    if (!same(plan->key, key)) {
        const char *failure = make_plan(products, key, plan);
        if (failure != NULL) {
            return failure;
        }
    }
    const float one = 1, kept = product->add ? 1.0f : 0.0f;
    return failure_of(&products->lt, products->lt.cublasLtMatmul(
                                         products->handle, plan->operation, &one, product->b, plan->left, product->a,
                                         plan->right, &kept, product->c, plan->result, product->c, plan->result,
                                         &plan->algorithm, products->workspace, WORKSPACE, stream));
}

/* ---- Open and close ---- */

static cublasStatus_t prefer(bft_products *products) {
    const library *lt = &products->lt;
    const uint64_t workspace = WORKSPACE;
    const uint32_t whole_sums = CUBLASLT_REDUCTION_SCHEME_NONE;
    cublasStatus_t status = lt->cublasLtMatmulPreferenceCreate(&products->preference);
    if (status == CUBLAS_STATUS_SUCCESS) {
        status = lt->cublasLtMatmulPreferenceSetAttribute(
            products->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    }
    if (status == CUBLAS_STATUS_SUCCESS) {
        status = lt->cublasLtMatmulPreferenceSetAttribute(
            products->preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &whole_sums, sizeof whole_sums);
    }
    return status;
}

static const char *start(bft_products *products) {
    const char *failure = load(&products->lt);
    if (failure != NULL) {
        return failure;
    }
    failure = failure_of(&products->lt, products->lt.cublasLtCreate(&products->handle));
    failure = failure != NULL ? failure : failure_of(&products->lt, prefer(products));
    if (failure != NULL) {
        return failure;
    }
    cudaError_t status = cudaMalloc(&products->workspace, WORKSPACE);
    return status == cudaSuccess ? NULL : cudaGetErrorString(status);
}

const char *bft_products_open(bft_products **out) {
    bft_products *products = new (std::nothrow) bft_products();
    if (products == NULL) {
        return "out of memory";
    }
    const char *failure = start(products);
    if (failure != NULL) {
        bft_products_close(products);
        return failure;
    }
    *out = products;
    return NULL;
}

void bft_products_close(bft_products *products) {
    if (products == NULL) {
        return;
    }
    for (plan &plan : products->plans) {
        drop(&products->lt, &plan);
    }
    if (products->preference != NULL) {
        (void)products->lt.cublasLtMatmulPreferenceDestroy(products->preference);
    }
    if (products->handle != NULL) {
        (void)products->lt.cublasLtDestroy(products->handle);
    }
    (void)cudaFree(products->workspace);
    delete products;
}
