/* tokenize.c: how many bytes a second the tokenizer reads, line by line, on some threads.
 *
 * Usage: tokenize FOLDER LINES THREADS. FOLDER holds the tokenizer, LINES is a text file. Each line of stdin is a number of passes;
 * a JSON object on stdout answers it, with how long each pass took, the ids that one gave and their sum. */
#include "bertft/tokenizer.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_THREADS = 64, MOST_PASSES = 1000 };

enum { PIECE = 1 << 15 }; /* bytes: what a thread takes at a time, so that all end at once */

typedef struct job {
    const bft_tokenizer *tokenizer;
    const char *text;  /* whole lines */
    size_t size, next; /* next: piece, which threads count up */
} job;

typedef struct share {
    job *job;
    bft_encoding encoding;
    uint64_t tokens, sum;
    bft_status status;
    bft_error err;
} share;

static void encode_line(share *s, const char *line, size_t length) {
    s->status = bft_tokenizer_encode(&s->err, s->job->tokenizer, line, length, NULL, 0, 0, &s->encoding);
    for (size_t i = 0; s->status == BFT_OK && i < s->encoding.count; i++) {
        s->sum += s->encoding.ids[i];
    }
    s->tokens += s->encoding.count;
}

/* The first line that begins at this byte or behind it, or the text's end. */
static const char *line_at(const job *j, size_t at) {
    if (at == 0 || at >= j->size) {
        return j->text + (at == 0 ? 0 : j->size);
    }
    const char *feed = memchr(j->text + at - 1, '\n', j->size - at + 1);
    return feed + 1;
}

static void *encode(void *argument) {
    share *s = argument;
    s->tokens = s->sum = 0;
    s->status = BFT_OK;
    while (s->status == BFT_OK) {
        size_t at = __atomic_fetch_add(&s->job->next, 1, __ATOMIC_RELAXED) * PIECE;
        const char *line = line_at(s->job, at), *behind = line_at(s->job, at + PIECE);
        while (line < behind && s->status == BFT_OK) {
            const char *end = memchr(line, '\n', (size_t)(behind - line));
            encode_line(s, line, (size_t)(end - line));
            line = end + 1;
        }
        if (at >= s->job->size) {
            break;
        }
    }
    return NULL;
}

static double pass(share *shares, size_t threads) {
    struct timespec start, end;
    pthread_t others[MOST_THREADS];
    clock_gettime(CLOCK_MONOTONIC, &start);
    shares[0].job->next = 0;
    for (size_t i = 1; i < threads; i++) {
        if (pthread_create(&others[i], NULL, encode, &shares[i]) != 0) {
            fprintf(stderr, "tokenize: no thread\n");
            exit(1);
        }
    }
    encode(&shares[0]);
    for (size_t i = 1; i < threads; i++) {
        pthread_join(others[i], NULL);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
}

static bft_status answer(bft_error *err, share *shares, size_t threads, size_t size, size_t passes) {
    uint64_t tokens = 0, sum = 0;
    printf("{\"bytes\": %zu, \"seconds\": [", size);
    for (size_t i = 0; i < passes; i++) {
        printf("%s%.6f", i == 0 ? "" : ", ", pass(shares, threads));
    }
    for (size_t i = 0; i < threads; i++) {
        if (shares[i].status != BFT_OK) {
            *err = shares[i].err;
            return shares[i].status;
        }
        tokens += shares[i].tokens;
        sum += shares[i].sum;
    }
    printf("], \"tokens\": %" PRIu64 ", \"sum\": %" PRIu64 "}\n", tokens, sum);
    fflush(stdout);
    return BFT_OK;
}

/* The whole file; NULL where it can't be read, is empty, or doesn't end with a line. */
static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
        long end = ftell(file);
        rewind(file);
        *size = end > 0 ? (size_t)end : 0;
        text = malloc(*size + 1);
        if (text != NULL && (*size == 0 || fread(text, 1, *size, file) != *size || text[*size - 1] != '\n')) {
            free(text);
            text = NULL;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return text;
}

static bft_status serve(bft_error *err, share *shares, size_t threads, size_t size) {
    char line[32];
    while (fgets(line, sizeof line, stdin) != NULL) {
        size_t passes = strtoul(line, NULL, 10);
        BFT_TRY(answer(err, shares, threads, size, passes < MOST_PASSES ? passes : MOST_PASSES));
    }
    return BFT_OK;
}

int main(int count, char **words) {
    size_t threads = count == 4 ? strtoul(words[3], NULL, 10) : 0, size = 0;
    if (threads == 0 || threads > MOST_THREADS) {
        fprintf(stderr, "usage: tokenize FOLDER LINES THREADS\n");
        return 2;
    }
    char *text = read_file(words[2], &size);
    if (text == NULL) {
        fprintf(stderr, "tokenize: %s: no text file of whole lines\n", words[2]);
        return 2;
    }
    bft_error err;
    bft_tokenizer *tokenizer = NULL;
    job work = {.text = text, .size = size};
    share shares[MOST_THREADS] = {0};
    bft_status status = bft_tokenizer_open(&err, &tokenizer, words[1]);
    if (status == BFT_OK) {
        work.tokenizer = tokenizer;
        for (size_t i = 0; i < threads; i++) {
            shares[i].job = &work;
        }
        printf("{\"ready\": %zu}\n", threads);
        fflush(stdout);
        status = serve(&err, shares, threads, size);
    }
    if (status != BFT_OK) {
        fprintf(stderr, "tokenize: %s\n", err.message);
    }
    for (size_t i = 0; i < threads; i++) {
        bft_encoding_free(&shares[i].encoding);
    }
    bft_tokenizer_destroy(tokenizer);
    free(text);
    return status == BFT_OK ? 0 : 1;
}
