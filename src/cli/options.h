/* options.h: reading a command's words: options from a table, up to a few plain words, KEY VALUE pairs.
 *
 * A word that starts with '-' is an option (but "-" alone, which is stdin), unless it follows a KEY: then it is a
 * value, whatever it looks like. A KEY is written in capitals with a dot between ("OPTIM.LR"), or is SEED or
 * OUTPUT_DIR. With pairs, one leading plain word is there when the number of plain words is odd:
 * `eval [RUN] [KEY VALUE]...`. */
#ifndef BFT_CLI_OPTIONS_H
#define BFT_CLI_OPTIONS_H

#include "bertft/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct bft_option {
    const char *name;           /* "--json", "-m" */
    bool *flag;                 /* set where the option stands; NULL for an option with a value */
    const char **value;         /* the word after it, or what follows "=" in "--name=value" */
    const char *const *choices; /* the values allowed, NULL at the end; NULL: any */
} bft_option;

typedef struct bft_usage {
    const char *name;          /* the command's */
    const bft_option *options; /* (option_count) */
    size_t option_count;
    bool runs_model;      /* has --threads, --device, --precision and --profile too */
    bool pairs;           /* takes KEY VALUE pairs */
    size_t least, most;   /* plain words; with pairs `most` is 0 or 1 */
    const char *expected; /* what the plain words are, for error lines: "SRC DST"; NULL where `most` is 0 */
} bft_usage;

typedef struct bft_arguments {
    bool help;                      /* --help stood somewhere: nothing else was checked */
    int threads;                    /* -1: not given; 0: all processors */
    const char *device, *precision; /* NULL: not given */
    bool profile;
    char **words; /* (word_count) the plain words, then the pairs' words, in the caller's argv, which is reordered */
    size_t word_count;
    char **pairs; /* (pair_words) KEY, VALUE, KEY, VALUE, ... */
    size_t pair_words;
} bft_arguments;

/* argv[0] is the command's name. A wrong word is BFT_BAD, with the nearest known one. */
bft_status bft_options_parse(bft_error *err, const bft_usage *usage, int argc, char **argv, bft_arguments *out);

/* The value of an option as one of its `choices`, by index; `value` has been checked by bft_options_parse. */
size_t bft_options_choice(const char *const *choices, const char *value);

#endif
