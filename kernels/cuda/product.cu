/* product.cu: cuBLASLt: opened at run time, one plan for each shape that was asked for.
 *
 * Sums are fp32, of factors in fp32, bf16 or fp16, or TF32 by choice. No algorithm that cuts a sum into pieces (split-K) is taken,
 * so that nothing is added atomically and equal sizes give equal bits. cuBLASLt thinks in columns: a row-major matrix is its
 * transpose there, so c = a' b' is asked for as c^T = b'^T a'^T, with the operands swapped. */
#include "kernels/cuda/library.h"
#include "kernels/cuda/product.cuh"

#include <cublasLt.h>
#include <dlfcn.h>
#include <new>
#include <stdint.h>

/* The workspace is what cuBLAS' manual recommends for Hopper, at cublasSetWorkspace; 4 MiB would do before. */
enum { PLANS = 1024, CANDIDATES = 8, WORKSPACE = 32 << 20 };
static const uint32_t vector_bytes = 16;

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define LIBRARY "libcublasLt.so." TEXT(CUBLAS_VER_MAJOR) /* of the header's version: its structs and numbers */

/* ---- The library: every function that is called, by name ---- */

#define FUNCTIONS(X)                                                                                                   \
    X(cublasLtCreate)                                                                                                  \
    X(cublasLtDestroy)                                                                                                 \
    X(cublasLtGetStatusString)                                                                                         \
    X(cublasLtMatmul)                                                                                                  \
    X(cublasLtMatmulAlgoConfigGetAttribute)                                                                            \
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

static const char *load(library *lt) {
    void *opened = bft_library_open(LIBRARY);
    if (opened == NULL) {
        return LIBRARY BFT_LIBRARY_MISSING;
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

enum epilogue { PLAIN, WITH_BIAS, WITH_SUMS };

struct plan_key {
    size_t m, n, k;
    uint32_t alignment; /* of all operands, in bytes */
    bft_dtype factors, result;
    epilogue after;
    bool transpose_a, transpose_b, add;
};

struct plan {
    plan_key key;        /* m = 0: none yet */
    const char *failure; /* NULL, or why there can't be one */
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t left, right, result; /* b, a, c */
    cublasLtMatmulAlgo_t algorithm;
};

struct bft_products {
    library lt;
    bool tf32;
    cublasLtHandle_t handle;
    cublasLtMatmulPreference_t preference;
    void *workspace;
    plan plans[PLANS];
};

static const char *failure_of(const library *lt, cublasStatus_t status) {
    return status == CUBLAS_STATUS_SUCCESS ? NULL : lt->cublasLtGetStatusString(status);
}

static plan_key key_of(const bft_product *p) {
    uintptr_t places = 0;
    for (const void *place :
         {p->a, p->b, p->bias, static_cast<const void *>(p->c), static_cast<const void *>(p->a_sums)}) {
        places |= reinterpret_cast<uintptr_t>(place);
    }
    plan_key key = {};
    key.m = p->m;
    key.n = p->n;
    key.k = p->k;
    key.alignment = places % vector_bytes == 0 ? vector_bytes : static_cast<uint32_t>(bft_dtype_size(p->factors));
    key.factors = p->factors;
    key.result = p->result;
    key.after = p->bias != NULL ? WITH_BIAS : p->a_sums != NULL ? WITH_SUMS : PLAIN;
    key.transpose_a = p->transpose_a;
    key.transpose_b = p->transpose_b;
    key.add = p->add;
    return key;
}

/* All of a key but its dimensions, as one number. */
static uint64_t kind_of(const plan_key &key) {
    uint64_t transposed = static_cast<uint64_t>(key.transpose_a) << 1 | static_cast<uint64_t>(key.transpose_b);
    return static_cast<uint64_t>(key.alignment) << 32 | static_cast<uint64_t>(key.factors) << 24 |
           static_cast<uint64_t>(key.result) << 16 | static_cast<uint64_t>(key.after) << 8 | transposed << 1 |
           static_cast<uint64_t>(key.add);
}

static bool same(const plan_key &a, const plan_key &b) {
    return a.m == b.m && a.n == b.n && a.k == b.k && kind_of(a) == kind_of(b);
}

/* Each key has one place, and takes it from whoever was there. */
static size_t place_of(const plan_key &key) {
    const uint64_t parts[] = {key.m, key.n, key.k, kind_of(key)};
    uint64_t hash = 0;
    for (uint64_t part : parts) {
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

static cudaDataType_t type_of(bft_dtype type) {
    return type == BFT_F32 ? CUDA_R_32F : type == BFT_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

template <typename A>
static cublasStatus_t set(const library *lt, const plan *plan, cublasLtMatmulDescAttributes_t which, const A &value) {
    return lt->cublasLtMatmulDescSetAttribute(plan->operation, which, &value, sizeof value);
}

/* Where the bias is read, or the sums are written: not part of a plan, but for its alignment. */
static cublasStatus_t point(const library *lt, const plan *plan, const bft_product *p) {
    const void *vector = p->bias != NULL ? p->bias : p->a_sums;
    return vector == NULL ? CUBLAS_STATUS_SUCCESS : set(lt, plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector);
}

/* Our b is cuBLASLt's A, and our a its B. */
static cublasStatus_t describe_operation(const bft_products *products, const plan_key &key, const plan *plan) {
    const cublasLtEpilogue_t epilogues[] = {CUBLASLT_EPILOGUE_DEFAULT, CUBLASLT_EPILOGUE_BIAS,
                                            CUBLASLT_EPILOGUE_BGRADB};
    const library *lt = &products->lt;
    cublasStatus_t status = set(lt, plan, CUBLASLT_MATMUL_DESC_TRANSA, key.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (status == CUBLAS_STATUS_SUCCESS) {
        status = set(lt, plan, CUBLASLT_MATMUL_DESC_TRANSB, key.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    }
    if (status == CUBLAS_STATUS_SUCCESS) {
        status = set(lt, plan, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogues[key.after]);
    }
    if (status == CUBLAS_STATUS_SUCCESS && key.after != PLAIN) {
        status = set(lt, plan, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(key.result));
    }
    return status;
}

static cublasStatus_t describe(const bft_products *products, const plan_key &key, plan *out) {
    const library *lt = &products->lt;
    bool fast = products->tf32 && key.factors == BFT_F32;
    cublasStatus_t status = lt->cublasLtMatmulDescCreate(
        &out->operation, fast ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (status == CUBLAS_STATUS_SUCCESS) {
        status = describe_operation(products, key, out);
    }
    const struct {
        cublasLtMatrixLayout_t *layout;
        bft_dtype type;
        size_t rows, columns; /* as it lies in memory, by columns; the first is dense */
    } matrices[] = {{&out->left, key.factors, key.transpose_b ? key.k : key.n, key.transpose_b ? key.n : key.k},
                    {&out->right, key.factors, key.transpose_a ? key.m : key.k, key.transpose_a ? key.k : key.m},
                    {&out->result, key.result, key.n, key.m}};
    for (const auto &matrix : matrices) {
        if (status == CUBLAS_STATUS_SUCCESS) {
            status = lt->cublasLtMatrixLayoutCreate(matrix.layout, type_of(matrix.type), matrix.rows, matrix.columns,
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

/* Sums in one piece, and in the workspace that there is. */
static bool fits(const library *lt, const cublasLtMatmulHeuristicResult_t *candidate) {
    int32_t pieces = 0;
    uint32_t scheme = 0;
    size_t written = 0;
    return candidate->state == CUBLAS_STATUS_SUCCESS && candidate->workspaceSize <= WORKSPACE &&
           lt->cublasLtMatmulAlgoConfigGetAttribute(&candidate->algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &pieces,
                                                    sizeof pieces, &written) == CUBLAS_STATUS_SUCCESS &&
           lt->cublasLtMatmulAlgoConfigGetAttribute(&candidate->algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, &scheme,
                                                    sizeof scheme, &written) == CUBLAS_STATUS_SUCCESS &&
           pieces <= 1 && scheme == CUBLASLT_REDUCTION_SCHEME_NONE;
}

/* The heuristic's first choice that fits: they come by estimated time. */
static cublasStatus_t choose(const bft_products *products, plan *out) {
    const library *lt = &products->lt;
    cublasLtMatmulHeuristicResult_t candidates[CANDIDATES];
    int found = 0;
    cublasStatus_t status =
        lt->cublasLtMatmulAlgoGetHeuristic(products->handle, out->operation, out->left, out->right, out->result,
                                           out->result, products->preference, CANDIDATES, candidates, &found);
    for (int i = 0; status == CUBLAS_STATUS_SUCCESS && i < found; i++) {
        if (fits(lt, &candidates[i])) {
            out->algorithm = candidates[i].algo;
            return CUBLAS_STATUS_SUCCESS;
        }
    }
    return status == CUBLAS_STATUS_SUCCESS ? CUBLAS_STATUS_NOT_SUPPORTED : status;
}

/* A plan that can't be made is kept too: it says so each time. */
static void make_plan(bft_products *products, const plan_key &key, const bft_product *product, plan *out) {
    const library *lt = &products->lt;
    drop(lt, out);
    cublasStatus_t status = describe(products, key, out);
    if (status == CUBLAS_STATUS_SUCCESS) {
        status = point(lt, out, product);
    }
    if (status == CUBLAS_STATUS_SUCCESS) {
        status = prefer_alignment(products, key.alignment);
    }
    if (status == CUBLAS_STATUS_SUCCESS) {
        status = choose(products, out);
    }
    out->failure = failure_of(lt, status);
    out->key = key;
}

static const plan *plan_of(bft_products *products, const bft_product *product) {
    const plan_key key = key_of(product);
    plan *plan = &products->plans[place_of(key)];
    if (!same(plan->key, key)) {
        make_plan(products, key, product, plan);
    }
    return plan;
}

bool bft_products_take(bft_products *products, const bft_product *product) {
    return plan_of(products, product)->failure == NULL;
}

const char *bft_products_run(bft_products *products, cudaStream_t stream, const bft_product *product) {
    const library *lt = &products->lt;
    const plan *plan = plan_of(products, product);
    if (plan->failure != NULL) {
        return plan->failure;
    }
    const float one = 1, kept = product->add ? 1.0f : 0.0f;
    cublasStatus_t status = point(lt, plan, product);
    if (status == CUBLAS_STATUS_SUCCESS) {
        status = lt->cublasLtMatmul(products->handle, plan->operation, &one, product->b, plan->left, product->a,
                                    plan->right, &kept, product->c, plan->result, product->c, plan->result,
                                    &plan->algorithm, products->workspace, WORKSPACE, stream);
    }
    return failure_of(lt, status);
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

const char *bft_products_open(bool tf32, bft_products **out) {
    bft_products *products = new (std::nothrow) bft_products();
    if (products == NULL) {
        return "out of memory";
    }
    products->tf32 = tf32;
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
