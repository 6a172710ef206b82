/* tokenize_stream.c: for tests/parity/tokenizer.py: texts in on stdin, ids out on stdout, all in binary.
 *
 *     tokenize_stream FOLDER             a request: u32 limit, u32 length, bytes, u32 length of a second text or ~0, bytes
 *                                        an answer: u32 count, the ids (u32 each), the types (u8 each)
 *     tokenize_stream FOLDER --save DIR  saves the tokenizer
 *     tokenize_stream FOLDER --time N    encodes the lines of stdin N times; prints seconds and bytes */
#include "bertft/tokenizer.h"

#include "base/buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int fail(const bft_error *err) {
    fprintf(stderr, "tokenize_stream: %s\n", err->message);
    return (int)err->status;
}

static bool read_word(uint32_t *word) {
    return fread(word, sizeof *word, 1, stdin) == 1;
}

static bft_status read_bytes(bft_error *err, bft_buffer *out, size_t length) {
    bft_buffer_clear(out);
    BFT_TRY(bft_buffer_reserve(err, out, length));
    if (fread(out->data, 1, length, stdin) != length) {
        return bft_error_set(err, BFT_BAD, "the request is cut off");
    }
    out->length = length;
    return BFT_OK;
}

static bft_status serve(bft_error *err, const bft_tokenizer *tokenizer, bft_buffer texts[2], bft_encoding *encoding) {
    uint32_t limit, length, second;
    while (read_word(&limit) && read_word(&length)) {
        BFT_TRY(read_bytes(err, &texts[0], length));
        if (!read_word(&second)) {
            return bft_error_set(err, BFT_BAD, "the request is cut off");
        }
        bool pair = second != UINT32_MAX;
        BFT_TRY(read_bytes(err, &texts[1], pair ? second : 0));
        BFT_TRY(bft_tokenizer_encode(err, tokenizer, texts[0].data, texts[0].length, pair ? texts[1].data : NULL,
                                     texts[1].length, limit, encoding));
        uint32_t count = (uint32_t)encoding->count;
        fwrite(&count, sizeof count, 1, stdout);
        fwrite(encoding->ids, sizeof *encoding->ids, count, stdout);
        fwrite(encoding->types, 1, count, stdout);
    }
    return BFT_OK;
}

static bft_status measure(bft_error *err, const bft_tokenizer *tokenizer, int rounds, bft_buffer *text,
                          bft_encoding *encoding) {
    char block[1 << 16];
    for (size_t got; (got = fread(block, 1, sizeof block, stdin)) > 0;) {
        BFT_TRY(bft_buffer_append(err, text, block, got));
    }
    struct timespec start, end;
    size_t ids = 0;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int round = 0; round < rounds; round++) {
        for (size_t at = 0; at < text->length;) {
            const char *newline = memchr(text->data + at, '\n', text->length - at);
            size_t length = newline != NULL ? (size_t)(newline - text->data) - at : text->length - at;
            BFT_TRY(bft_tokenizer_encode(err, tokenizer, text->data + at, length, NULL, 0, 0, encoding));
            ids += encoding->count;
            at += length + 1;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    printf("%.6f %zu %zu\n", seconds, text->length * (size_t)rounds, ids);
    return BFT_OK;
}

int main(int argc, char **argv) {
    bft_error err;
    bft_tokenizer *tokenizer = NULL;
    if (argc != 2 && argc != 4) {
        fprintf(stderr, "usage: tokenize_stream FOLDER [--save DIR | --time ROUNDS]\n");
        return BFT_BAD;
    }
    if (bft_tokenizer_open(&err, &tokenizer, argv[1]) != BFT_OK) {
        return fail(&err);
    }
    bft_buffer texts[2] = {{0}, {0}};
    bft_encoding encoding = {0};
    bft_status status;
    if (argc == 2) {
        status = serve(&err, tokenizer, texts, &encoding);
    } else if (strcmp(argv[2], "--save") == 0) {
        status = bft_tokenizer_save(&err, tokenizer, argv[3]);
    } else {
        status = measure(&err, tokenizer, atoi(argv[3]), &texts[0], &encoding);
    }
    bft_buffer_free(&texts[0]);
    bft_buffer_free(&texts[1]);
    bft_encoding_free(&encoding);
    bft_tokenizer_destroy(tokenizer);
    return status == BFT_OK ? 0 : fail(&err);
}
