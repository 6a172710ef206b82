/* cudnn.cc: kernels/cuda/cudnn.h on the host: attention as its definition says, over the lengths and offsets that cuDNN would read, with
 * its layout of log_sum. Sums in double; what cuDNN wouldn't touch stays as it is. */
#include "kernels/cuda/cudnn.h"
#include "tests/cudasim/halves.h"

#include <cmath>
#include <new>
#include <vector>

struct bft_cudnn {};

const char *bft_cudnn_open(int capability, void *stream, bft_cudnn **out) {
    (void)capability;
    (void)stream;
    *out = new (std::nothrow) bft_cudnn();
    return *out == nullptr ? "out of memory" : nullptr;
}

void bft_cudnn_close(bft_cudnn *cudnn) {
    delete cudnn;
}

int bft_cudnn_version(const bft_cudnn *) {
    return 92500;
}

const char *bft_cudnn_prepare(bft_cudnn *, const bft_cudnn_shape *, size_t *workspace) {
    *workspace = 0;
    return nullptr;
}

/* One head of one sequence: rows of `size` values from where it starts. */
template <typename T> struct head {
    T *first;
    size_t stride;

    head(const void *tensor, int64_t at, size_t step, size_t column)
        : first(static_cast<T *>(const_cast<void *>(tensor)) + at + column), stride(step) {
    }
    double get(size_t row, size_t d) const {
        return to_float(first[row * stride + d]);
    }
    void set(size_t row, size_t d, double value) const {
        round_to(static_cast<float>(value), &first[row * stride + d]);
    }
};

template <typename T> static double dot(const head<T> &a, size_t i, const head<T> &b, size_t j, size_t size) {
    double sum = 0;
    for (size_t d = 0; d < size; d++) {
        sum += a.get(i, d) * b.get(j, d);
    }
    return sum;
}

template <typename T>
static void forward_head(const bft_cudnn_shape &s, const bft_cudnn_tensors &t, size_t b, size_t h) {
    size_t column = h * s.head_size, length = static_cast<size_t>(t.lengths[b]);
    head<T> q(t.q, t.q_at[b], s.q_stride, column), k(t.k, t.kv_at[b], s.kv_stride, column);
    head<T> v(t.v, t.kv_at[b], s.kv_stride, column), y(t.y, t.y_at[b], s.heads * s.head_size, column);
    std::vector<double> weight(length);
    for (size_t i = 0; i < length; i++) {
        double largest = -INFINITY, total = 0;
        for (size_t j = 0; j < length; j++) {
            weight[j] = dot(q, i, k, j, s.head_size) / std::sqrt(static_cast<double>(s.head_size));
            largest = std::fmax(largest, weight[j]);
        }
        for (double &w : weight) {
            w = std::exp(w - largest);
            total += w;
        }
        for (size_t d = 0; d < s.head_size; d++) {
            double sum = 0;
            for (size_t j = 0; j < length; j++) {
                sum += weight[j] / total * v.get(j, d);
            }
            y.set(i, d, sum);
        }
        if (s.training) {
            t.log_sum[static_cast<size_t>(t.log_sum_at[b]) + i * s.heads + h] =
                static_cast<float>(largest + std::log(total));
        }
    }
}

/* With P the probabilities: dP = dy v^T; dS = P (dP - sum(dy y)); dq = dS k, dk = dS^T q, both scaled; dv = P^T dy. */
template <typename T>
static void backward_head(const bft_cudnn_shape &s, const bft_cudnn_tensors &t, size_t b, size_t h) {
    size_t column = h * s.head_size, channels = s.heads * s.head_size, length = static_cast<size_t>(t.lengths[b]);
    head<T> q(t.q, t.q_at[b], s.q_stride, column), k(t.k, t.kv_at[b], s.kv_stride, column);
    head<T> v(t.v, t.kv_at[b], s.kv_stride, column), y(t.y, t.y_at[b], channels, column);
    head<T> dy(t.dy, t.y_at[b], channels, column), dq(t.dq, t.q_at[b], s.q_stride, column);
    head<T> dk(t.dk, t.kv_at[b], s.kv_stride, column), dv(t.dv, t.kv_at[b], s.kv_stride, column);
    double scale = 1 / std::sqrt(static_cast<double>(s.head_size));
    std::vector<double> p(length * length), ds(length * length);
    for (size_t i = 0; i < length; i++) {
        double log_sum = t.log_sum[static_cast<size_t>(t.log_sum_at[b]) + i * s.heads + h];
        double along = dot(dy, i, y, i, s.head_size);
        for (size_t j = 0; j < length; j++) {
            p[i * length + j] = std::exp(dot(q, i, k, j, s.head_size) * scale - log_sum);
            ds[i * length + j] = p[i * length + j] * (dot(dy, i, v, j, s.head_size) - along) * scale;
        }
    }
    for (size_t i = 0; i < length; i++) {
        for (size_t d = 0; d < s.head_size; d++) {
            double to_q = 0, to_k = 0, to_v = 0;
            for (size_t j = 0; j < length; j++) {
                to_q += ds[i * length + j] * k.get(j, d);
                to_k += ds[j * length + i] * q.get(j, d);
                to_v += p[j * length + i] * dy.get(j, d);
            }
            dq.set(i, d, to_q);
            dk.set(i, d, to_k);
            dv.set(i, d, to_v);
        }
    }
}

typedef void one_head(const bft_cudnn_shape &s, const bft_cudnn_tensors &t, size_t b, size_t h);

static const char *for_all(const bft_cudnn_shape *s, const bft_cudnn_tensors *t, one_head *work) {
    for (size_t b = 0; b < s->batch; b++) {
        if (static_cast<size_t>(t->lengths[b]) > s->longest) {
            return "a sequence is longer than the plan";
        }
        for (size_t h = 0; h < s->heads; h++) {
            work(*s, *t, b, h);
        }
    }
    return nullptr;
}

const char *bft_cudnn_forward(bft_cudnn *, const bft_cudnn_shape *shape, const bft_cudnn_tensors *tensors) {
    return for_all(shape, tensors, shape->type == BFT_BF16 ? forward_head<bf16> : forward_head<fp16>);
}

const char *bft_cudnn_backward(bft_cudnn *, const bft_cudnn_shape *shape, const bft_cudnn_tensors *tensors) {
    return for_all(shape, tensors, shape->type == BFT_BF16 ? backward_head<bf16> : backward_head<fp16>);
}
