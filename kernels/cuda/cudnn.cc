/* cudnn.cc: cuDNN's fused attention through its frontend (cudnn.h). Host code only.
 *
 * The frontend is headers; it finds cuDNN's functions through one global handle, which is set here once and for all. It is asked for the
 * deterministic backward, and told the card's capability, so that it needs nothing of CUDA's runtime library itself. Where its headers are
 * not at hand the engine is compiled to a refusal, and attention is our own kernels'. */
#include "kernels/cuda/cudnn.h"

#if defined(__has_include) && __has_include(<cudnn_frontend.h>)

#include "kernels/cuda/library.h"

#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#define NV_CUDNN_FRONTEND_DISABLE_LOGGING
#define NV_CUDNN_DISABLE_EXCEPTION
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

#include <dlfcn.h>
#include <exception>
#include <list>
#include <math.h>
#include <string>
#include <string.h>
#include <unordered_map>

#define LIBRARY "libcudnn.so.9"

namespace cudnn_frontend {
void *cudnn_dlhandle = nullptr;
}

namespace fe = cudnn_frontend;
using tensor = std::shared_ptr<fe::graph::Tensor_attributes>;

/* A tensor's name in the frontend's graphs. */
enum tensor_id : int64_t {
    Q = 1,
    K,
    V,
    Y,
    LOG_SUM,
    DY,
    DQ,
    DK,
    DV,
    Q_LENGTHS,
    KV_LENGTHS,
    Q_AT,
    KV_AT,
    Y_AT,
    LOG_SUM_AT
};

struct cudnn_plan {
    fe::graph::Graph graph;
    std::unordered_map<int64_t, void *> places; /* of this call's tensors */
    int64_t workspace = 0;
};

struct cudnn_plans {
    bft_cudnn_shape shape;
    std::string failure; /* "": none */
    cudnn_plan forward, backward;
};

struct bft_cudnn {
    int capability = 0;
    cudnnHandle_t handle = nullptr;
    std::list<cudnn_plans> plans;
    std::string failure; /* the text that was returned last */
};

/* ---- Graphs ---- */

static fe::graph::Tensor_attributes index_of(tensor_id id, size_t count, fe::DataType_t type) {
    return fe::graph::Tensor_attributes()
        .set_uid(id)
        .set_dim({static_cast<int64_t>(count), 1, 1, 1})
        .set_stride({1, 1, 1, 1})
        .set_data_type(type);
}

static tensor add_offsets(fe::graph::Graph &graph, const bft_cudnn_shape &shape, tensor_id id) {
    return graph.tensor(index_of(id, shape.batch + 1, fe::DataType_t::INT64));
}

/* (B, H, T, D) as rows of `stride` elements, sequences end to end: where each starts, `at` tells, not a stride. */
static void lay_out(fe::graph::Tensor_attributes &rows, const bft_cudnn_shape &shape, size_t stride, const tensor &at) {
    auto batch = static_cast<int64_t>(shape.batch), heads = static_cast<int64_t>(shape.heads);
    auto size = static_cast<int64_t>(shape.head_size), longest = static_cast<int64_t>(shape.longest);
    auto step = static_cast<int64_t>(stride);
    rows.set_dim({batch, heads, longest, size}).set_stride({longest * step, size, step, 1}).set_ragged_offset(at);
}

static tensor add_rows(fe::graph::Graph &graph, const bft_cudnn_shape &shape, tensor_id id, size_t stride,
                       const tensor &at) {
    fe::graph::Tensor_attributes rows;
    lay_out(rows.set_uid(id), shape, stride, at);
    return graph.tensor(rows);
}

static void make_output(const tensor &out, const bft_cudnn_shape &shape, tensor_id id, size_t stride,
                        const tensor &at) {
    lay_out(out->set_uid(id).set_output(true), shape, stride, at);
}

/* (B, H, T, 1), a token's heads side by side, which is the one order that the backward reads right. */
static void lay_out_log_sum(fe::graph::Tensor_attributes &log_sum, const bft_cudnn_shape &shape, const tensor &at) {
    auto batch = static_cast<int64_t>(shape.batch), heads = static_cast<int64_t>(shape.heads);
    auto longest = static_cast<int64_t>(shape.longest);
    log_sum.set_uid(LOG_SUM)
        .set_data_type(fe::DataType_t::FLOAT)
        .set_dim({batch, heads, longest, 1})
        .set_stride({heads * longest, 1, heads, 1})
        .set_ragged_offset(at);
}

static void set_types(fe::graph::Graph &graph, const bft_cudnn_shape &shape, int capability) {
    graph.set_io_data_type(shape.type == BFT_BF16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::HALF)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT)
        .set_sm_version(capability);
}

/* What forward and backward are told alike. */
template <class OPTIONS>
static OPTIONS options_of(fe::graph::Graph &graph, const bft_cudnn_shape &shape, const char *name) {
    OPTIONS options;
    options.set_name(name)
        .set_attn_scale(1 / sqrtf(static_cast<float>(shape.head_size)))
        .set_padding_mask(true)
        .set_seq_len_q(graph.tensor(index_of(Q_LENGTHS, shape.batch, fe::DataType_t::INT32)))
        .set_seq_len_kv(graph.tensor(index_of(KV_LENGTHS, shape.batch, fe::DataType_t::INT32)));
    return options;
}

static void describe_forward(fe::graph::Graph &graph, const bft_cudnn_shape &shape) {
    tensor q_at = add_offsets(graph, shape, Q_AT), kv_at = add_offsets(graph, shape, KV_AT);
    tensor y_at = add_offsets(graph, shape, Y_AT);
    tensor q = add_rows(graph, shape, Q, shape.q_stride, q_at);
    tensor k = add_rows(graph, shape, K, shape.kv_stride, kv_at);
    tensor v = add_rows(graph, shape, V, shape.kv_stride, kv_at);
    auto options = options_of<fe::graph::SDPA_attributes>(graph, shape, "attention");
    options.set_generate_stats(shape.training);
    auto [y, log_sum] = graph.sdpa(q, k, v, options);
    make_output(y, shape, Y, shape.heads * shape.head_size, y_at);
    if (shape.training) {
        lay_out_log_sum(log_sum->set_output(true), shape, add_offsets(graph, shape, LOG_SUM_AT));
    }
}

static void describe_backward(fe::graph::Graph &graph, const bft_cudnn_shape &shape) {
    size_t channels = shape.heads * shape.head_size;
    tensor q_at = add_offsets(graph, shape, Q_AT), kv_at = add_offsets(graph, shape, KV_AT);
    tensor y_at = add_offsets(graph, shape, Y_AT);
    tensor q = add_rows(graph, shape, Q, shape.q_stride, q_at);
    tensor k = add_rows(graph, shape, K, shape.kv_stride, kv_at);
    tensor v = add_rows(graph, shape, V, shape.kv_stride, kv_at);
    tensor y = add_rows(graph, shape, Y, channels, y_at), dy = add_rows(graph, shape, DY, channels, y_at);
    fe::graph::Tensor_attributes log_sum;
    lay_out_log_sum(log_sum, shape, add_offsets(graph, shape, LOG_SUM_AT));
    auto options = options_of<fe::graph::SDPA_backward_attributes>(graph, shape, "attention backward");
    options.set_deterministic_algorithm(true);
    auto [dq, dk, dv] = graph.sdpa_backward(q, k, v, y, dy, graph.tensor(log_sum), options);
    make_output(dq, shape, DQ, shape.q_stride, q_at);
    make_output(dk, shape, DK, shape.kv_stride, kv_at);
    make_output(dv, shape, DV, shape.kv_stride, kv_at);
}

/* ---- Plans ---- */

static fe::error_t build(const bft_cudnn *cudnn, cudnn_plan *plan) {
    fe::error_t status = plan->graph.build(cudnn->handle, {fe::HeurMode_t::A});
    return status.is_good() ? plan->graph.get_workspace_size(plan->workspace) : status;
}

static bool same(const bft_cudnn_shape &a, const bft_cudnn_shape &b) {
    return a.type == b.type && a.training == b.training && a.batch == b.batch && a.heads == b.heads &&
           a.head_size == b.head_size && a.longest == b.longest && a.q_stride == b.q_stride &&
           a.kv_stride == b.kv_stride;
}

static cudnn_plans *find(bft_cudnn *cudnn, const bft_cudnn_shape &shape) {
    for (cudnn_plans &plans : cudnn->plans) {
        if (same(plans.shape, shape)) {
            return &plans;
        }
    }
    return nullptr;
}

static cudnn_plans *make(bft_cudnn *cudnn, const bft_cudnn_shape &shape) {
    cudnn_plans &plans = cudnn->plans.emplace_back();
    plans.shape = shape;
    plans.failure = "cuDNN was interrupted"; /* unless what follows ends */
    set_types(plans.forward.graph, shape, cudnn->capability);
    describe_forward(plans.forward.graph, shape);
    fe::error_t status = build(cudnn, &plans.forward);
    if (status.is_good() && shape.training) {
        set_types(plans.backward.graph, shape, cudnn->capability);
        describe_backward(plans.backward.graph, shape);
        status = build(cudnn, &plans.backward);
    }
    plans.failure = status.is_good() ? "" : status.get_message();
    return &plans;
}

/* The text lives as long as the engine does. */
static const char *keep(bft_cudnn *cudnn, const char *failure) {
    cudnn->failure = failure;
    return cudnn->failure.c_str();
}

/* Runs a step that may throw: the frontend and the standard library do where memory is short or a symbol is missing. */
template <class STEP> static const char *guarded(bft_cudnn *cudnn, STEP step) {
    try {
        return step();
    } catch (const std::bad_alloc &) {
        return "out of memory";
    } catch (const std::exception &failure) {
        return keep(cudnn, failure.what());
    }
}

const char *bft_cudnn_prepare(bft_cudnn *cudnn, const bft_cudnn_shape *shape, size_t *workspace) {
    return guarded(cudnn, [&]() -> const char * {
        cudnn_plans *plans = find(cudnn, *shape);
        plans = plans != nullptr ? plans : make(cudnn, *shape);
        *workspace = static_cast<size_t>(std::max(plans->forward.workspace, plans->backward.workspace));
        return plans->failure.empty() ? NULL : plans->failure.c_str();
    });
}

static const char *run(bft_cudnn *cudnn, cudnn_plan *plan, const bft_cudnn_tensors *tensors) {
    const struct {
        tensor_id id;
        const void *place;
    } all[] = {{Q, tensors->q},
               {K, tensors->k},
               {V, tensors->v},
               {Y, tensors->y},
               {LOG_SUM, tensors->log_sum},
               {DY, tensors->dy},
               {DQ, tensors->dq},
               {DK, tensors->dk},
               {DV, tensors->dv},
               {Q_LENGTHS, tensors->lengths},
               {KV_LENGTHS, tensors->lengths},
               {Q_AT, tensors->q_at},
               {KV_AT, tensors->kv_at},
               {Y_AT, tensors->y_at},
               {LOG_SUM_AT, tensors->log_sum_at}};
    for (const auto &one : all) {
        plan->places[one.id] = const_cast<void *>(one.place);
    }
    fe::error_t status = plan->graph.execute(cudnn->handle, plan->places, tensors->workspace);
    return status.is_good() ? NULL : keep(cudnn, status.get_message().c_str());
}

static const char *run_prepared(bft_cudnn *cudnn, const bft_cudnn_shape *shape, const bft_cudnn_tensors *tensors,
                                cudnn_plan cudnn_plans::*which) {
    return guarded(cudnn, [&]() -> const char * {
        cudnn_plans *plans = find(cudnn, *shape);
        return plans == nullptr ? "attention: cuDNN has no plan for this shape" : run(cudnn, &(plans->*which), tensors);
    });
}

const char *bft_cudnn_forward(bft_cudnn *cudnn, const bft_cudnn_shape *shape, const bft_cudnn_tensors *tensors) {
    return run_prepared(cudnn, shape, tensors, &cudnn_plans::forward);
}

const char *bft_cudnn_backward(bft_cudnn *cudnn, const bft_cudnn_shape *shape, const bft_cudnn_tensors *tensors) {
    return run_prepared(cudnn, shape, tensors, &cudnn_plans::backward);
}

/* ---- Open and close ---- */

/* cuDNN's functions by name; the frontend has the rest. */
template <class FUNCTION> static FUNCTION *symbol(FUNCTION *, const char *name) {
    return reinterpret_cast<FUNCTION *>(dlsym(fe::cudnn_dlhandle, name));
}
#define CUDNN(name) symbol(static_cast<decltype(&name)>(nullptr), #name)

static const char *load() {
    static void *const opened = bft_library_open(LIBRARY);
    fe::cudnn_dlhandle = opened;
    if (opened == NULL) {
        return LIBRARY BFT_LIBRARY_MISSING;
    }
    bool whole = CUDNN(cudnnCreate) != NULL && CUDNN(cudnnDestroy) != NULL && CUDNN(cudnnSetStream) != NULL &&
                 CUDNN(cudnnGetErrorString) != NULL && CUDNN(cudnnGetVersion) != NULL;
    return whole ? NULL : LIBRARY " lacks functions of cuDNN 9";
}

static const char *failure_of(cudnnStatus_t status) {
    return status == CUDNN_STATUS_SUCCESS ? NULL : CUDNN(cudnnGetErrorString)(status);
}

const char *bft_cudnn_open(int capability, void *stream, bft_cudnn **out) {
    const char *failure = load();
    if (failure != NULL) {
        return failure;
    }
    bft_cudnn *cudnn = new (std::nothrow) bft_cudnn();
    if (cudnn == NULL) {
        return "out of memory";
    }
    cudnn->capability = capability;
    failure = failure_of(CUDNN(cudnnCreate)(&cudnn->handle));
    failure =
        failure != NULL ? failure : failure_of(CUDNN(cudnnSetStream)(cudnn->handle, static_cast<cudaStream_t>(stream)));
    if (failure != NULL) {
        bft_cudnn_close(cudnn);
        return failure;
    }
    *out = cudnn;
    return NULL;
}

void bft_cudnn_close(bft_cudnn *cudnn) {
    if (cudnn == NULL) {
        return;
    }
    cudnn->plans.clear();
    if (cudnn->handle != nullptr) {
        (void)CUDNN(cudnnDestroy)(cudnn->handle);
    }
    delete cudnn;
}

int bft_cudnn_version(const bft_cudnn *) {
    return static_cast<int>(CUDNN(cudnnGetVersion)());
}

#else

const char *bft_cudnn_open(int, void *, bft_cudnn **) {
    return "libbertft_cuda.so was built without cuDNN's headers; scripts/setup-cuda.sh fetches them";
}

void bft_cudnn_close(bft_cudnn *) {
}

int bft_cudnn_version(const bft_cudnn *) {
    return 0;
}

const char *bft_cudnn_prepare(bft_cudnn *, const bft_cudnn_shape *, size_t *) {
    return "no cuDNN";
}

const char *bft_cudnn_forward(bft_cudnn *, const bft_cudnn_shape *, const bft_cudnn_tensors *) {
    return "no cuDNN";
}

const char *bft_cudnn_backward(bft_cudnn *, const bft_cudnn_shape *, const bft_cudnn_tensors *) {
    return "no cuDNN";
}

#endif
