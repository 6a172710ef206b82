/* ops_test.h: how an op is tested.
 *
 * A subject is one op with its shapes. Each shape becomes a problem: tensors with the values that they hold before
 * the op, and functions that call it. A problem is run on every backend that this machine has. The result is
 * compared, element by element, with the truth: what ref64 gives, or where a subject has its own `truth`, what that
 * computes. ref64's gradients in turn are compared with finite differences of its forward. */
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

typedef struct tensor {
    const char *name; /* NULL: this problem has no such tensor, and the op gets NULL for it */
    role role;
    size_t count;
    double *start;   /* before the op; each is a float's value. OUTPUT: NULL */
    double *truth;   /* after it; NaN where nothing must be written */
    double *error;   /* bound of the error in unit roundoffs (tolerance.c); 0: must be equal */
    double *slack;   /* what is allowed beside it, absolute: what the contract lets an op leave out */
    int gradient_of; /* the tensor whose gradient this is, else NONE */
    int upstream;    /* for a forward's output: the tensor with its gradient, else NONE */
    int shares;      /* the tensor, before this one, in whose memory it lies, else NONE */
    bool backward;   /* written by the backward, not by the forward */
    bool read_again; /* a forward's output that the backward may read */
    bool mask;       /* an exact 0 in the truth is an exact 0 on every backend */
    bool doubles;    /* of doubles, whatever reals are */
    bool in_double;  /* computed in double by every backend: `error` is in double's roundoff */
} tensor;

enum { NONE = -1, MAX_TENSORS = 16 };

typedef struct subject subject;

typedef struct problem {
    const subject *subject;
    const void *shape; /* the subject's own description of the shape */
    tensor tensor[MAX_TENSORS];
    bool inference; /* `saved` is NULL, and there is no backward */
    void *extra;    /* the subject's: index arrays and the like */
    bft_random random;
    bft_arena arena;
} problem;

/* One backend at work on a problem. */
typedef struct run {
    const problem *problem;
    const bft_ops *ops;
    bft_device *device;
    void *memory[MAX_TENSORS]; /* inside guards; NULL for an absent tensor */
    void *saved, *scratch;     /* the same */
    bft_memory wanted;
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
};

extern const subject embed_subject, linear_subject, attention_subject, residual_norm_subject, gather_subject,
    mean_subject, mask_subject, loss_subject, norm_subject, adamw_subject, adamw_rows_subject, cast_subject,
    memory_subject;

/* ---- problem.c: making problems ---- */
void *take(problem *p, size_t count, size_t size); /* zeroed memory that lives as long as the problem */
tensor *add_input(problem *p, int at, const char *name, size_t count, double scale); /* N(0, scale^2) */
tensor *add_output(problem *p, int at, const char *name, size_t count, int upstream);
tensor *add_gradient(problem *p, int at, const char *name, size_t count, int gradient_of, role kind);
float draw(problem *p, double scale); /* N(0, scale^2), rounded to a float */

/* Sequences laid end to end, and dropout's view of their rows. Lengths are 1 to `longest`, the first is `longest`. */
typedef struct sequences {
    size_t batch, rows, longest;
    uint32_t *start;             /* (B + 1) */
    uint32_t *sample, *position; /* (rows) */
    uint32_t *sample_of;         /* (B) */
} sequences;
sequences make_sequences(problem *p, size_t batch, size_t longest);
bft_dropout make_dropout(float rate, bft_site site, const uint32_t *sample, const uint32_t *position);

/* ops.h's rule written once more: 0 or 1 / (1 - rate). */
double dropout_factor(const bft_dropout *dropout, uint32_t sample, uint32_t position, uint32_t channel);
double row_factor(const bft_dropout *dropout, size_t row, size_t channel);

/* ---- run.c: guarded memory, and running a problem ---- */
run run_open(const problem *p, const bft_ops *ops, int threads);
void run_load(run *r); /* all tensors as they are before the op */
void run_forward(run *r);
void run_backward(run *r);
void run_read(const run *r, int at, double *out);
const char *run_check(const run *r, char *why, size_t room); /* guards and inputs: NULL, or what is wrong */
void run_close(run *r);

/* Runs forward and backward and reads all that they wrote into result[] (memory of `arena`). NULL, or what is
 * wrong. */
const char *run_problem(const problem *p, const bft_ops *ops, int threads, bft_arena *arena,
                        double *result[MAX_TENSORS], char *why, size_t room);

/* The harness ends here when the machine fails; a wrong result is counted instead. */
void must(bft_status status, const bft_error *err);

/* ---- tolerance.c ---- */
extern const double FUNCTION, UNDERFLOW;
double growth(size_t terms);
double unit_roundoff(size_t real);
/* The first element that is out of bounds makes an explanation in `why`, which is returned; NULL: none. */
const char *compare(const problem *p, size_t real, double *const result[MAX_TENSORS], double *worst, char *why,
                    size_t room);

/* ---- differences.c: ref64's gradients, given as the truth. NULL, or what is wrong ---- */
bool differences_possible(const problem *p);
const char *check_differences(problem *p, const bft_ops *ref64, double *worst, char *why, size_t room);

#endif
