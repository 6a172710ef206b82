/* options.c: the command line's grammar; see options.h. */
#include "cli/options.h"

#include "base/distance.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_THREADS = 256 };

static bool looks_like_key(const char *word) {
    bool dot = false;
    if (*word < 'A' || *word > 'Z') {
        return false;
    }
    for (const char *c = word; *c != '\0'; c++) {
        dot |= *c == '.';
        if (!(*c >= 'A' && *c <= 'Z') && !(*c >= '0' && *c <= '9') && *c != '_' && *c != '.') {
            return false;
        }
    }
    return dot || strcmp(word, "SEED") == 0 || strcmp(word, "OUTPUT_DIR") == 0;
}

static size_t distance(const char *a, const char *b) {
    return bft_edit_distance(a, strlen(a), b, strlen(b));
}

static bft_status unknown_option(bft_error *err, const bft_usage *usage, const bft_option *options, size_t count,
                                 const char *word) {
    const char *nearest = "--help";
    for (size_t i = 0; i < count; i++) {
        if (distance(word, options[i].name) < distance(word, nearest)) {
            nearest = options[i].name;
        }
    }
    return bft_error_set(err, BFT_BAD, "%s: unknown option '%s', the nearest is %s; `bertft %s --help` lists all",
                         usage->name, word, nearest, usage->name);
}

static bft_status check_choice(bft_error *err, const bft_usage *usage, const bft_option *option) {
    if (option->choices == NULL || bft_options_choice(option->choices, *option->value) != SIZE_MAX) {
        return BFT_OK;
    }
    char list[256] = "";
    for (size_t i = 0; option->choices[i] != NULL; i++) {
        size_t room = sizeof list - strlen(list) - 1;
        strncat(list, i == 0 ? "" : option->choices[i + 1] == NULL ? " or " : ", ", room);
        strncat(list, option->choices[i], sizeof list - strlen(list) - 1);
    }
    return bft_error_set(err, BFT_BAD, "%s: %s is %s, not '%s'", usage->name, option->name, list, *option->value);
}

size_t bft_options_choice(const char *const *choices, const char *value) {
    for (size_t i = 0; choices[i] != NULL; i++) {
        if (strcmp(choices[i], value) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* Takes the option at argv[*at], with its value. */
static bft_status take_option(bft_error *err, const bft_usage *usage, const bft_option *options, size_t count, int argc,
                              char **argv, int *at) {
    char *word = argv[*at], *equals = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
    size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
    for (size_t i = 0; i < count; i++) {
        const bft_option *option = &options[i];
        if (strlen(option->name) != length || memcmp(option->name, word, length) != 0) {
            continue;
        }
        if (option->flag != NULL) {
            if (equals != NULL) {
                return bft_error_set(err, BFT_BAD, "%s: %s takes no value, '%s' gives one", usage->name, option->name,
                                     word);
            }
            *option->flag = true;
            return BFT_OK;
        }
        if (*option->value != NULL) {
            return bft_error_set(err, BFT_BAD, "%s: %s stands twice", usage->name, option->name);
        }
        if (equals == NULL && *at + 1 == argc) {
            return bft_error_set(err, BFT_BAD, "%s: %s needs a value after it", usage->name, option->name);
        }
        *option->value = equals != NULL ? equals + 1 : argv[++*at];
        return check_choice(err, usage, option);
    }
    return unknown_option(err, usage, options, count, word);
}

/* A KEY at the very end, or one with its value in the same word. */
static bft_status check_key(bft_error *err, const bft_usage *usage, const char *word, bool last) {
    if (last) {
        return bft_error_set(err, BFT_BAD, "%s: %s needs a value after it", usage->name, word);
    }
    const char *equals = strchr(word, '=');
    char key[64];
    if (!usage->pairs || equals == NULL || (size_t)(equals - word) >= sizeof key) {
        return BFT_OK;
    }
    memcpy(key, word, (size_t)(equals - word));
    key[equals - word] = '\0';
    return !looks_like_key(key)
               ? BFT_OK
               : bft_error_set(err, BFT_BAD, "%s: '%s' is one word, a key and its value are two: %s %s", usage->name,
                               word, key, equals + 1);
}

/* Two plain words look like a pair: `predict a.txt b.txt`. What may be a misspelt key passes: the configuration knows
 * the nearest one. */
static bft_status check_first_pair(bft_error *err, const bft_usage *usage, char *const *pair) {
    bool plain = strchr(pair[0], '.') == NULL && strpbrk(pair[0], "abcdefghijklmnopqrstuvwxyz/") != NULL;
    if (!plain && access(pair[0], F_OK) != 0) {
        return BFT_OK;
    }
    return bft_error_set(err, BFT_BAD, "%s: '%s %s' is no KEY VALUE pair, such as SEED 1; before the pairs stands %s",
                         usage->name, pair[0], pair[1], usage->most > 0 ? usage->expected : "nothing");
}

/* Splits the plain words into the leading ones and the pairs, and checks how many there are. */
static bft_status split_words(bft_error *err, const bft_usage *usage, bft_arguments *out) {
    if (usage->pairs) {
        size_t leading = out->word_count % 2;
        out->pairs = out->words + leading;
        out->pair_words = out->word_count - leading;
        out->word_count = leading;
        if (leading > usage->most) {
            return bft_error_set(err, BFT_BAD, "%s: KEY VALUE pairs are expected, '%s' is left over", usage->name,
                                 out->words[out->pair_words]);
        }
    }
    if (out->word_count > usage->most) {
        return bft_error_set(err, BFT_BAD, "%s: '%s' is one word too many%s%s", usage->name, out->words[usage->most],
                             usage->expected != NULL ? ", expected is " : "",
                             usage->expected != NULL ? usage->expected : "");
    }
    if (out->word_count < usage->least) {
        return bft_error_set(err, BFT_BAD, "%s: %s is missing; `bertft %s --help` says more", usage->name,
                             usage->expected, usage->name);
    }
    if (usage->pairs && out->word_count == 1 && looks_like_key(out->words[0])) {
        return bft_error_set(err, BFT_BAD, "%s: '%s' is left over: %s stands before the KEY VALUE pairs", usage->name,
                             out->words[out->pair_words], usage->expected);
    }
    return out->pair_words > 0 ? check_first_pair(err, usage, out->pairs) : BFT_OK;
}

static bft_status parse_threads(bft_error *err, const bft_usage *usage, const char *text, int *threads) {
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || errno != 0 || value < 0 || value > MOST_THREADS) {
        return bft_error_set(err, BFT_BAD, "%s: --threads is a number from 0 (all processors) to %d, not '%s'",
                             usage->name, MOST_THREADS, text);
    }
    *threads = (int)value;
    return BFT_OK;
}

bft_status bft_options_parse(bft_error *err, const bft_usage *usage, int argc, char **argv, bft_arguments *out) {
    static const char *const precisions[] = {"fp32", "bf16", "fp16", "int8", "auto", NULL};
    const char *threads = NULL;
    *out = (bft_arguments){.threads = -1, .words = argv + 1};
    bft_option options[16] = {{"--help", &out->help, NULL, NULL}};
    size_t count = 1;
    if (usage->runs_model) {
        options[count++] = (bft_option){"--threads", NULL, &threads, NULL};
        options[count++] = (bft_option){"--device", NULL, &out->device, NULL};
        options[count++] = (bft_option){"--precision", NULL, &out->precision, precisions};
        options[count++] = (bft_option){"--profile", &out->profile, NULL, NULL};
    }
    for (size_t i = 0; i < usage->option_count; i++) {
        options[count++] = usage->options[i];
    }
    for (int at = 1; at < argc; at++) {
        if (strcmp(argv[at], "--help") == 0) {
            out->help = true;
            return BFT_OK;
        }
        if (argv[at][0] == '-' && argv[at][1] != '\0') {
            BFT_TRY(take_option(err, usage, options, count, argc, argv, &at));
            continue;
        }
        bool key = usage->pairs && looks_like_key(argv[at]);
        BFT_TRY(check_key(err, usage, argv[at], key && at + 1 == argc));
        out->words[out->word_count++] = argv[at];
        if (key && at + 1 < argc) {
            out->words[out->word_count++] = argv[++at];
        }
    }
    if (threads != NULL) {
        BFT_TRY(parse_threads(err, usage, threads, &out->threads));
    }
    return split_words(err, usage, out);
}
