/* fuzz_tokenizer_json.c: any bytes as a tokenizer.json, the start of a text to encode with it behind a NUL. */
#include "bertft/tokenizer.h"

#include "text/recipe.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static void expect(bool holds) {
    if (!holds) {
        abort();
    }
}

/* Texts of every kind that the steps look at, and the tokens that the file itself adds. */
static void encode(const bft_tokenizer *tokenizer, const char *text, size_t length, size_t limit) {
    bft_error err;
    bft_encoding encoding = {0};
    for (int pair = 0; pair < 2; pair++) {
        expect(bft_tokenizer_encode(&err, tokenizer, text, length, pair ? "Ё\u302e\u0301 中[SEP]a" : NULL,
                                    pair ? 18 : 0, limit, &encoding) == BFT_OK);
        expect(encoding.count >= 2 && (limit == 0 || encoding.count <= limit));
        for (size_t i = 0; i < encoding.count; i++) {
            expect(encoding.ids[i] < bft_tokenizer_size(tokenizer));
            expect(bft_tokenizer_token(tokenizer, encoding.ids[i]) != NULL);
        }
    }
    bft_encoding_free(&encoding);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
    bft_error err;
    json_t *json = NULL;
    bft_tokenizer *tokenizer = NULL;
    const unsigned char *end = size > 0 ? memchr(bytes, '\0', size) : NULL;
    size_t length = end != NULL ? (size_t)(end - bytes) : size;
    if (bft_json_parse(&err, "tokenizer.json", 1, (const char *)bytes, length, &json) != BFT_OK) {
        return 0;
    }
    bft_recipe recipe = bft_recipe_create("tokenizer.json");
    bft_status status = bft_recipe_read_json(&err, &recipe, json, length);
    if (status == BFT_OK) {
        status = bft_tokenizer_make(&err, &tokenizer, &recipe);
    }
    expect(status != BFT_FAILED);
    bft_recipe_free(&recipe);
    json_decref(json);
    if (status == BFT_OK) {
        encode(tokenizer, (const char *)bytes, size, 0);
        encode(tokenizer, (const char *)bytes + length, size - length, 5);
        bft_tokenizer_destroy(tokenizer);
    }
    return 0;
}
