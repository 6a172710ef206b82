/* attention.c: the cases of attention. */
#include "tests/ops/attention.h"

static const attention_shape shapes[] = {
    {"one token, 1 head of 1", 1, 1, 1, 1, .layout = PACKED},
    {"few tokens, 2 heads of 3", 3, 4, 2, 3, .layout = PACKED},
    {"few tokens, 2 heads of 3, dropout 0.3", 3, 4, 2, 3, .layout = PACKED, .rate = 0.3f},
    {"few tokens, 2 heads of 3, first queries", 3, 4, 2, 3, .layout = FIRST, .rate = 0.3f},
    {"few tokens, 2 heads of 3, gaps between rows", 3, 4, 2, 3, .layout = GAPS, .rate = 0.3f},
    {"few tokens, 3 heads of 4, first queries", 2, 5, 3, 4, .layout = FIRST},
    {"one token, 12 heads of 26", 1, 1, 12, 26, .layout = PACKED, .rate = 0.1f},
    {"sequences up to 33, 12 heads of 26, dropout 0.1", 5, 33, 12, 26, .layout = PACKED, .rate = 0.1f},
    {"sequences up to 33, 12 heads of 22, dropout 0.1", 5, 33, 12, 22, .layout = PACKED, .rate = 0.1f},
    {"sequences up to 33, 12 heads of 26, first queries", 5, 33, 12, 26, .layout = FIRST, .rate = 0.1f},
    {"sequences up to 33, 12 heads of 22, gaps between rows", 5, 33, 12, 22, .layout = GAPS},
    {"sequences up to 17, 12 heads of 64", 3, 17, 12, 64, .layout = PACKED, .rate = 0.1f},
    {"1000 sequences of one token, 12 heads of 26", 1000, 1, 12, 26, .layout = PACKED, .rate = 0.1f},
    {"1000 sequences of one token, first queries", 1000, 1, 3, 22, .layout = FIRST, .rate = 0.1f},
    {"one sequence of 512, 2 heads of 26, dropout 0.1", 1, 512, 2, 26, .layout = PACKED, .rate = 0.1f},
    {"one sequence of 2048, 2 heads of 26, first queries", 1, 2048, 2, 26, .layout = FIRST, .rate = 0.1f},
    {"one sequence of 2048, 1 head of 26, inference", 1, 2048, 1, 26, .layout = PACKED, .inference = true},
    {"sequences up to 33, 12 heads of 26, inference", 5, 33, 12, 26, .layout = PACKED, .inference = true},
    {"sequences up to 33, 12 heads of 22, first queries, inference", 5, 33, 12, 22, .layout = FIRST, .inference = true},
    {"few tokens, 2 heads of 3, large scores", 3, 6, 2, 3, .layout = PACKED, .scale = 7},
    {"sequences up to 33, 4 heads of 26, scores of thousands", 3, 33, 4, 26, .layout = PACKED, .scale = 30},
    {"40 sequences up to 3, 2 heads of 22, scores of thousands", 40, 3, 2, 22, .layout = PACKED, .rate = 0.1f,
     .scale = 30},
};

/* Where q, k and v lie. PACKED: rows of 3C. FIRST: q dense, one row a sequence; k and v in rows of 2C. GAPS: as
 * FIRST, but all rows ask, and unused reals lie behind each row. */
static void prepare(problem *p) {
    const attention_shape *s = p->shape;
    attention_layout *at = take(p, 1, sizeof *at);
    p->inference = s->inference;
    p->extra = at;
    at->rows = make_sequences(p, s->batch, s->longest);
    at->channels = s->heads * s->head_size;
    at->queries = s->layout == FIRST ? at->rows.batch : at->rows.rows;
    at->query_start = at->rows.start;
    if (s->layout == FIRST) {
        at->query_start = take_array(p, at->rows.batch + 1, sizeof *at->query_start);
        for (size_t b = 0; b <= at->rows.batch; b++) {
            at->query_start[b] = (uint32_t)b;
        }
    }
    size_t gap = s->layout == GAPS ? 3 : 0;
    at->q_stride = (s->layout == PACKED ? 3 : 1) * at->channels + gap;
    at->kv_stride = s->layout == PACKED ? at->q_stride : 2 * at->channels + gap;
    double scale = s->scale > 0 ? s->scale : 1;
    flows(add_input(p, Q, s->layout == PACKED ? "qkv" : "q", at->queries * at->q_stride, scale), at->queries);
    if (s->layout != PACKED) {
        flows(add_input(p, KV, "kv", at->rows.rows * at->kv_stride, scale), at->rows.rows);
    }
    flows(add_output(p, Y, "y", at->queries * at->channels, DY), at->queries)->read_again = true;
    if (!s->inference) {
        flows(add_input(p, DY, "dy", at->queries * at->channels, 1), at->queries);
        flows(add_gradient(p, DQ, s->layout == PACKED ? "dqkv" : "dq", at->queries * at->q_stride, Q, OUTPUT),
              at->queries);
    }
    p->tensor[DQ].gap = gap;
    if (!s->inference && s->layout != PACKED) {
        flows(add_gradient(p, DKV, "dkv", at->rows.rows * at->kv_stride, KV, OUTPUT), at->rows.rows)->gap = gap;
    }
}

static void *behind(const run *r, int at, size_t count) {
    return r->memory[at] == NULL ? NULL : (char *)r->memory[at] + count * bft_ops_value_size(r->ops);
}

static bft_attention describe(const run *r) {
    const attention_shape *s = r->problem->shape;
    const attention_layout *at = r->problem->extra;
    bool packed = s->layout == PACKED;
    size_t first = packed ? at->channels : 0;
    return (bft_attention){
        .batch = at->rows.batch,
        .rows = at->query_start[at->rows.batch],
        .heads = s->heads,
        .head_size = s->head_size,
        .longest = at->rows.longest,
        .key_start = at->rows.start,
        .query_start = at->query_start,
        .q = r->memory[Q],
        .k = behind(r, packed ? Q : KV, first),
        .v = behind(r, packed ? Q : KV, first + at->channels),
        .q_stride = at->q_stride,
        .kv_stride = at->kv_stride,
        .dropout = make_dropout(r->problem, s->rate, BFT_SITE_ATTENTION, at->rows.sample_of, NULL),
        .y = r->memory[Y],
        .saved = r->saved,
        .scratch = r->scratch,
        .dy = r->memory[DY],
        .dq = r->memory[DQ],
        .dk = behind(r, packed ? DQ : DKV, first),
        .dv = behind(r, packed ? DQ : DKV, first + at->channels),
    };
}

static void memory(const run *r, bft_memory *out) {
    bft_attention op = describe(r);
    r->ops->attention_memory(&op, out);
}

static void forward(const run *r) {
    bft_attention op = describe(r);
    r->ops->attention_forward(r->device, &op);
}

static bool is_long(const void *shape) {
    const attention_shape *s = shape;
    return s->longest > 100 && s->layout == PACKED;
}

static void backward(const run *r) {
    bft_attention op = describe(r);
    r->ops->attention_backward(r->device, &op);
}

const subject attention_subject = {
    .op = "attention",
    .shapes = shapes,
    .shape_size = sizeof shapes[0],
    .shape_count = sizeof shapes / sizeof shapes[0],
    .prepare = prepare,
    .memory = memory,
    .forward = forward,
    .backward = backward,
    .bound = bound_attention,
    .is_long = is_long,
};
