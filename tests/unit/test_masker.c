/* test_masker.c: which words of a sample are masked, and by what. */
#include "scratch.h"

#include "data/masker.h"

#include <math.h>

/* Ids 0 to 4 are special, 5 to 10 words, 11 and 12 pieces that go on with one, 13 is no text's. */
static const char vocabulary[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\ne\nf\n##x\n##y\n[unused1]\n";
enum { UNK = 1, CLS, SEP, MASK, A, B, C, D, E, F, X, Y, UNUSED, LONGEST = 64 };

static bft_error err;
static bft_tokenizer *tokenizer;

static int enter(void **state) {
    if (scratch_enter(state) != 0) {
        return -1;
    }
    SCRATCH("vocab.txt", vocabulary);
    return bft_tokenizer_from_vocab(&err, &tokenizer, "vocab.txt", (bft_normalizer){0}) == BFT_OK ? 0 : -1;
}

static int leave(void **state) {
    bft_tokenizer_destroy(tokenizer);
    return scratch_leave(state);
}

static bft_masker *masker_of(double rate) {
    bft_masker *masker = NULL;
    assert_int_equal(bft_masker_create(&err, &masker, tokenizer, rate, 7, LONGEST), BFT_OK);
    return masker;
}

static bft_sample sample_of(const uint32_t *ids, size_t length) {
    return (bft_sample){.ids = ids, .length = length};
}

static void pieces(void **state) {
    (void)state;
    uint8_t kinds[UNUSED + 1];
    assert_int_equal(bft_tokenizer_size(tokenizer), UNUSED + 1);
    bft_tokenizer_pieces(tokenizer, kinds);
    for (uint32_t id = 0; id <= UNUSED; id++) {
        bool none = id <= MASK || id == UNUSED, tail = id == X || id == Y;
        assert_int_equal(kinds[id], none ? BFT_PIECE_NONE : tail ? BFT_PIECE_TAIL : BFT_PIECE_WORD);
    }
    uint32_t mask;
    assert_true(bft_tokenizer_mask(tokenizer, &mask));
    assert_int_equal(mask, MASK);
}

/* Over many draws: whole words, in order, only text, the right number, and what stands there instead. */
static void draws(void **state) {
    (void)state;
    /* words: a##x, b, c##x##y, d, e, f, a: ten pieces; 15 % are 1.5, and so 2 */
    static const uint32_t ids[] = {CLS, A, X, B, UNK, C, X, Y, D, E, F, A, SEP};
    static const int word_of[] = {-1, 0, 0, 1, -1, 2, 2, 2, 3, 4, 5, 6, -1};
    enum { COUNT = sizeof ids / sizeof *ids, DRAWS = 20000 };
    bft_masker *masker = masker_of(0.15);
    size_t masked = 0, stayed = 0, replaced = 0, became_mask = 0, times[COUNT] = {0};
    for (uint32_t draw = 0; draw < DRAWS; draw++) {
        bft_sample sample = sample_of(ids, COUNT);
        size_t count = bft_masker_count(masker, sample, draw % 3, draw);
        bft_sample out = bft_masker_draw(masker, sample, draw % 3, draw);
        assert_int_equal(out.masked, count);
        assert_int_equal(out.length, COUNT);
        assert_in_range(count, 1, 2);
        bool at[COUNT] = {false};
        for (size_t i = 0; i < out.masked; i++) {
            uint32_t place = out.masked_place[i];
            assert_true(i == 0 || place > out.masked_place[i - 1]);
            assert_int_equal(out.masked_target[i], ids[place]);
            assert_true(word_of[place] >= 0);
            at[place] = true;
            times[place]++;
            uint32_t now = out.ids[place];
            assert_true(now == MASK || (now >= A && now <= Y));
            became_mask += now == MASK;
            stayed += now == ids[place];
            replaced += now != MASK && now != ids[place];
        }
        for (size_t i = 0; i < COUNT; i++) {
            assert_true(at[i] || out.ids[i] == ids[i]);
            assert_true(i == 0 || word_of[i] < 0 || word_of[i] != word_of[i - 1] || at[i] == at[i - 1]);
        }
        masked += count;
    }
    /* a random token is the one that stood there one time in eight: 10 % * 7 / 8 are replaced. Five standard deviations. */
    double n = (double)masked, share[] = {0.8, 0.1 * 7 / 8, 0.1 + 0.1 / 8};
    size_t seen[] = {became_mask, replaced, stayed};
    for (int i = 0; i < 3; i++) {
        assert_true(fabs((double)seen[i] - share[i] * n) < 5 * sqrt(n * share[i] * (1 - share[i])));
    }
    assert_int_equal(times[5], 0); /* a word of three never fits into two, where others do */
    for (size_t i = 0; i < COUNT; i++) {
        assert_true((times[i] > 0) == (word_of[i] >= 0 && word_of[i] != 2));
    }
    bft_masker_destroy(masker);
}

static void same_bits(void **state) {
    (void)state;
    static const uint32_t ids[] = {CLS, A, B, C, D, E, F, A, B, C, D, E, F, SEP};
    enum { COUNT = sizeof ids / sizeof *ids, SAMPLES = 100 };
    bft_masker *first = masker_of(0.3), *second = masker_of(0.3);
    size_t differ_by_epoch = 0;
    for (uint32_t i = SAMPLES; i-- > 0;) {
        uint32_t kept[COUNT];
        memcpy(kept, bft_masker_draw(first, sample_of(ids, COUNT), 5, i).ids, sizeof kept);
        bft_masker_draw(second, sample_of(ids, COUNT), 1, i); /* what was drawn before doesn't matter */
        assert_memory_equal(bft_masker_draw(second, sample_of(ids, COUNT), 5, i).ids, kept, sizeof kept);
        differ_by_epoch += memcmp(bft_masker_draw(first, sample_of(ids, COUNT), 6, i).ids, kept, sizeof kept) != 0;
    }
    assert_true(differ_by_epoch > SAMPLES * 9 / 10);
    bft_masker_destroy(first);
    bft_masker_destroy(second);
}

static void odd_samples(void **state) {
    (void)state;
    static const uint32_t one_word[] = {CLS, A, X, Y, X, SEP}, tail_first[] = {CLS, X, UNK, Y, SEP},
                          nothing[] = {CLS, UNK, SEP};
    bft_masker *masker = masker_of(0.15);
    bft_sample out = bft_masker_draw(masker, sample_of(one_word, 6), 0, 0);
    assert_int_equal(out.masked, 4); /* none fits: the first is taken, whole */
    for (uint32_t i = 0; i < 50; i++) {
        out = bft_masker_draw(masker, sample_of(tail_first, 5), 0, i);
        assert_int_equal(out.masked, 1); /* a piece without its word's beginning is a word */
    }
    assert_int_equal(bft_masker_draw(masker, sample_of(nothing, 3), 0, 0).masked, 0);
    assert_int_equal(bft_masker_count(masker, sample_of(nothing, 3), 0, 0), 0);
    bft_masker_destroy(masker);
}

static void without_words(void **state) {
    (void)state;
    bft_tokenizer *other;
    bft_masker *masker = NULL;
    SCRATCH("special.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
    assert_int_equal(bft_tokenizer_from_vocab(&err, &other, "special.txt", (bft_normalizer){0}), BFT_OK);
    assert_int_equal(bft_masker_create(&err, &masker, other, 0.15, 1, LONGEST), BFT_BAD);
    assert_string_equal(err.message, "the tokenizer has no words, only special tokens");
    bft_tokenizer_destroy(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces),      cmocka_unit_test(draws),         cmocka_unit_test(same_bits),
        cmocka_unit_test(odd_samples), cmocka_unit_test(without_words),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
