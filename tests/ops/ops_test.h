/* ops_test.h: how an op is tested.
 *
 * A subject is one op with its shapes. Each shape becomes a problem, one for each type that values may have: tensors
 * with the numbers that they hold before the op, and functions that call it. A problem is run on every backend of its
 * type. The result is compared, element by element, with the truth: what ref64 gives, or where a subject has its own
 * `truth`, what that computes. ref64's gradients in turn are compared with finite differences of its forward.
 *
 * Then the problem is run in stretches (bft_ops.begin and end), by turns with another problem of the same padded sizes,
 * on one device and in the same memory: the bits must be those of the runs without. */
#ifndef BFT_TESTS_OPS_TEST_H
#define BFT_TESTS_OPS_TEST_H

#include "base/arena.h"
#include "base/philox.h"
#include "kernels/ops.h"

#include <stdbool.h>
#include <stddef.h>

/* ---- Problems ---- */

typedef enum role {
    INPUT,  /* read, and as it was afterwards */
    OUTPUT, /* overwritten: starts as NaN everywhere */
    ADDED   /* added to, or updated in place */
} role;

/* What a tensor's elements are on the device. Reals and values start as numbers that these types have. */
typedef enum numbers { REALS, VALUES, DOUBLES } numbers;

typedef struct tensor {
    const char *name; /* NULL: this problem has no such tensor, and the op gets NULL for it */
    role role;
    numbers numbers;
    size_t count;
    size_t rows;   /* one a token or a sequence: memory has room for padded rows. 0: another kind of tensor */
    size_t gap;    /* elements at the end of each row that no op touches */
    double *start; /* before the op. OUTPUT: NULL */
    double *truth; /* after it; NaN where nothing must be written */
    double *error; /* bound of the error in unit roundoffs (tolerance.c); 0: must be equal */
    double *slack; /* what is allowed beside it, absolute: what the contract lets an op leave out; INFINITY: anything */
    int gradient_of; /* the tensor whose gradient this is, else NONE */
    int upstream;    /* for a forward's output: the tensor with its gradient, else NONE */
    int shares;      /* the tensor, before this one, in whose memory it lies, else NONE */
    bool gradient;   /* of a loss: the rows behind the last are zero after the op, and before it unless overwritten */
    bool backward;   /* written by the backward, not by the forward */
    bool read_again; /* a forward's output that the backward may read */
    bool mask;       /* an exact 0 in the truth is an exact 0 on every backend */
    bool in_double;  /* computed in double by every backend: `error` is in double's roundoff */
} tensor;

enum { NONE = -1, MAX_TENSORS = 16, MAX_ARRAYS = 8 };

typedef struct subject subject;

typedef struct problem {
    const subject *subject;
    const void *shape; /* the subject's own description of the shape */
    tensor tensor[MAX_TENSORS];
    bft_dtype values;         /* the type that values are rounded to; BFT_F32: reals */
    size_t (*padded)(size_t); /* the backend's, for the other problem of a shape; NULL for the first */
    bool inference;           /* `saved` is NULL, and there is no backward */
    void *extra;              /* the subject's: what its index arrays belong to, and the like */
    void *array[MAX_ARRAYS];
    size_t arrays;
    bft_random lengths, random; /* `lengths` draws the same for both problems of a shape */
    bft_arena arena;
} problem;

/* One backend at work on a problem. */
typedef struct run {
    const problem *problem;
    const bft_ops *ops;
    bft_device *device;
    void *memory[MAX_TENSORS]; /* inside guards; NULL for an absent tensor */
    size_t room[MAX_TENSORS];  /* bytes between the guards */
    void *saved, *scratch;     /* the same */
    bft_memory room_beside;
    bft_memory wanted; /* by the problem at hand, of room_beside */
} run;

struct subject {
    const char *op;
    const void *shapes; /* structs whose first member is the title, a char * */
    size_t shape_size, shape_count;
    void (*prepare)(problem *p);
    void (*memory)(const run *r, bft_memory *out); /* NULL: the op wants none */
    void (*forward)(const run *r);
    void (*backward)(const run *r);     /* NULL: there is none */
    void (*truth)(problem *p);          /* NULL: ref64's result is the truth */
    void (*bound)(problem *p);          /* fills `error`, given the truth */
    const char *(*check)(const run *r); /* NULL, or what to check beside the tensors: NULL or what is wrong */
    bool (*is_known)(const bft_ops *ops,
                     const void *shape); /* NULL, or whether the backend has what the shape asks for */
    bool (*is_long)(const void *shape);  /* NULL, or whether the shim takes long for it: once, for reals, is enough */
};

extern const subject embed_subject, linear_subject, linear_prepared_subject, attention_subject, residual_norm_subject,
    gather_subject, mean_subject, mask_subject, loss_subject, tied_loss_subject, norm_subject, adamw_subject,
    adamw_rows_subject, to_device_subject, to_values_subject, memory_subject;

/* ---- problem.c: making problems ---- */

/* `padded` given: another problem of that shape, with other numbers, and other sizes that padding makes the same. */
void problem_open(problem *p, const subject *s, size_t shape, uint64_t seed, bft_dtype values,
                  size_t (*padded)(size_t));
void problem_close(problem *p);

void *take(problem *p, size_t count, size_t size); /* zeroed memory that lives as long as the problem */
/* The same for the host's arrays that ops read: each by itself, so that a sanitizer sees who reads behind it. */
void *take_array(problem *p, size_t count, size_t size);
tensor *add_input(problem *p, int at, const char *name, size_t count, double scale); /* N(0, scale^2) */
tensor *add_output(problem *p, int at, const char *name, size_t count, int upstream);
tensor *add_gradient(problem *p, int at, const char *name, size_t count, int gradient_of, role kind);
/* A struct that ops read on the device, of doubles for the most part. */
tensor *add_struct(problem *p, int at, const char *name, const void *bytes, size_t size);
tensor *flows(tensor *t, size_t rows); /* between ops: it is of values, in so many rows */
float draw(problem *p, double scale);  /* N(0, scale^2), rounded to a float */

/* `size` of a problem; in the other problem less by one where padding makes that the same. */
size_t size_in(const problem *p, size_t size);

/* Sequences laid end to end, and dropout's view of their rows. Lengths are 1 to `longest`, which the first has; the
 * other problem's are others, and may all be shorter. */
typedef struct sequences {
    size_t batch, rows, longest;
    uint32_t *start;             /* (B + 1) */
    uint32_t *sample, *position; /* (rows) */
    uint32_t *sample_of;         /* (B) */
} sequences;
sequences make_sequences(problem *p, size_t batch, size_t longest);
bft_dropout make_dropout(const problem *p, float rate, bft_site site, const uint32_t *sample, const uint32_t *position);

/* ops.h's rule written once more: 0 or 1 / (1 - rate). */
double dropout_factor(const bft_dropout *dropout, uint32_t sample, uint32_t position, uint32_t channel);
double row_factor(const bft_dropout *dropout, size_t row, size_t channel);

/* ---- types.c: numbers as the types have them, by the book ---- */
double value_of(bft_dtype type, uint32_t bits);
double round_value(bft_dtype type, double x);           /* to nearest, ties to even */
uint32_t bits_of_value(bft_dtype type, double rounded); /* by round_value */

/* ---- place.c: tensors in the device's memory, between guards ---- */
void *guarded_alloc(const run *r, size_t bytes);
void guarded_free(const run *r, void *inside);
void guarded_poison(const run *r, void *inside, size_t bytes,
                    size_t room); /* NaN; the rest of the room is guarded too */
bool guards_hold(const run *r, const void *inside, size_t bytes, size_t room);

size_t tensor_bytes(const run *r, int at);
void tensor_load(const run *r, int at); /* as it is before the op */
void tensor_lose(const run *r, int at); /* NaN, as an output is before the op */
void tensor_read(const run *r, int at, double *out);
const char *tensor_tail_check(const run *r, int at); /* the rows behind the last: NULL, or what is wrong with them */

/* ---- run.c: running a problem ---- */
run run_open(const problem *p, const bft_ops *ops, int threads);
void run_load(run *r); /* all tensors as they are before the op */
void run_forward(run *r);
void run_close(run *r);

typedef double *results[MAX_TENSORS]; /* all that an op wrote */

/* Runs forward and backward. The results are in memory of `arena`. NULL, or what is wrong. */
const char *run_problem(const problem *p, const bft_ops *ops, int threads, bft_arena *arena, results out, char *why,
                        size_t room);

/* Problem after problem on one device, in memory of the first one's sizes. */
typedef struct turn {
    const problem *problem;
    bool stretch; /* between begin and end */
    results result;
} turn;
const char *run_turns(turn *turns, size_t count, const bft_ops *ops, bft_arena *arena, char *why, size_t room);

/* The harness ends here when the machine fails; a wrong result is counted instead. */
void must(bft_status status, const bft_error *err);

/* ---- tolerance.c ---- */
extern const double FUNCTION, UNDERFLOW;
double growth(size_t terms);
double stored(const problem *p, double x); /* the error of rounding x to the type of values, in float's roundoffs */
double unit_roundoff(size_t real);
/* The first element that is out of bounds makes an explanation in `why`, which is returned; NULL: none. */
const char *compare(const problem *p, size_t real, const results result, double *worst, char *why, size_t room);

/* ---- differences.c: ref64's gradients, given as the truth. NULL, or what is wrong ---- */
bool differences_possible(const problem *p);
const char *check_differences(problem *p, const bft_ops *ref64, double *worst, char *why, size_t room);

#endif
