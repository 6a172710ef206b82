/* label_set.c: resolving labels to classes. */
#include "data/label_set.h"

#include "base/buffer.h"
#include "base/distance.h"
#include "data/label_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Error lines ---- */

/* Appends the names, the first ones where there are many. */
static bft_status list_names(bft_error *err, const bft_names *names, bft_buffer *out) {
    enum { SHOWN = 30 };
    for (size_t i = 0; i < names->count && i < SHOWN; i++) {
        BFT_TRY(bft_buffer_printf(err, out, "%s%s", i > 0 ? ", " : "", names->at[i]));
    }
    return names->count <= SHOWN ? BFT_OK : bft_buffer_printf(err, out, " and %zu more", names->count - SHOWN);
}

/* The name nearest to a misspelt one, or NULL where none is near. */
static const char *nearest_name(const bft_names *names, bft_field wrong) {
    const char *nearest = NULL;
    size_t least = wrong.length;
    for (size_t i = 0; i < names->count; i++) {
        size_t distance = bft_edit_distance(wrong.bytes, wrong.length, names->at[i], strlen(names->at[i]));
        if (distance < least && 2 * distance <= strlen(names->at[i])) {
            least = distance;
            nearest = names->at[i];
        }
    }
    return nearest;
}

/* `prefix` ends before the list of what is known. */
static bft_status not_a_class(bft_error *err, const bft_label_set *set, const char *prefix, bft_field name) {
    bft_buffer known = {0};
    bft_status status = list_names(err, &set->classes, &known);
    const char *nearest = nearest_name(&set->classes, name);
    if (status == BFT_OK) {
        status = bft_error_set(err, BFT_BAD, "%s \"%.*s\"%s%s%s; the labels are: %s", prefix, (int)name.length,
                               name.bytes, nearest != NULL ? ", did you mean \"" : "", nearest != NULL ? nearest : "",
                               nearest != NULL ? "\"" : "", known.data);
    }
    bft_buffer_free(&known);
    return status;
}

/* ---- Making the set ---- */

static bft_status read_map(bft_error *err, bft_label_set *set, const bft_config *config) {
    static const char key[] = "DATA.LABEL_MAP";
    size_t count = bft_config_is_null(config, key) ? 0 : bft_config_map_size(config, key);
    set->map_to = calloc(count + 1, sizeof *set->map_to);
    if (set->map_to == NULL) {
        return bft_error_memory(err, count * sizeof *set->map_to);
    }
    for (size_t i = 0; i < count; i++) {
        const char *from, *to;
        uint32_t number;
        bft_config_map_at(config, key, i, &from, &to);
        BFT_TRY(bft_names_add(err, &set->map_from, bft_field_of(from), &number));
        set->map_to[number] = to;
    }
    return BFT_OK;
}

/* What LABEL_MAP makes of a label known by `name` and perhaps written as the id `written`. False: it is dropped. */
static bool map_label(const bft_label_set *set, bft_field written, bft_field *name) {
    int64_t entry = bft_names_find(&set->map_from, *name);
    if (entry == BFT_NO_NAME) {
        entry = bft_names_find(&set->map_from, written);
    }
    if (entry == BFT_NO_NAME) {
        return true;
    }
    const char *to = set->map_to[entry];
    if (to != NULL) {
        *name = bft_field_of(to);
    }
    return to != NULL;
}

/* The number of a class, which is added where it is new. */
static bft_status add_class(bft_error *err, bft_label_set *set, bft_field name, uint32_t *number) {
    if (set->classes.count == BFT_LABEL_LIMIT && bft_names_find(&set->classes, name) == BFT_NO_NAME) {
        return bft_error_set(err, BFT_BAD, "more than %d different labels", BFT_LABEL_LIMIT);
    }
    return bft_names_add(err, &set->classes, name, number);
}

/* A class out of a list of them: it must be new. */
static bft_status add_listed(bft_error *err, bft_label_set *set, const char *origin, const char *name) {
    uint32_t number;
    size_t count = set->classes.count;
    if (add_class(err, set, bft_field_of(name), &number) != BFT_OK) {
        return bft_error_prefix(err, "%s", origin);
    }
    if (number != count || name[0] == '\0') {
        return bft_error_set(err, BFT_BAD, "%s: the label \"%s\" %s", origin, name,
                             name[0] == '\0' ? "is empty" : "stands twice");
    }
    return BFT_OK;
}

/* The classes that LABEL_NAMES and LABEL_MAP leave, in the order of their smallest ids. */
static bft_status add_mapped_names(bft_error *err, bft_label_set *set) {
    for (size_t i = 0; i < set->ids.count; i++) {
        char digits[32];
        snprintf(digits, sizeof digits, "%zu", i);
        bft_field name = bft_field_of(set->ids.at[i]);
        uint32_t number;
        if (map_label(set, bft_field_of(digits), &name)) {
            BFT_TRY(add_class(err, set, name, &number));
        }
    }
    return BFT_OK;
}

/* The classes that are known before any row is read. *given: they can't be added to. */
static bft_status add_known(bft_error *err, bft_label_set *set, const bft_config *config, const bft_labels *labels,
                            bool *given) {
    static const char key[] = "DATA.LABELS";
    bool automatic = strcmp(bft_config_string(config, key), "auto") == 0;
    size_t listed = automatic ? 0 : bft_config_list_size(config, key);
    *given = labels != NULL || !automatic;
    set->open = !*given && set->ids.count == 0;
    for (size_t i = 0; labels != NULL && i < labels->count; i++) {
        BFT_TRY(add_listed(err, set, "the model's labels", labels->names[i]));
    }
    for (size_t i = 0; labels == NULL && i < listed; i++) {
        BFT_TRY(add_listed(err, set, bft_config_origin(config, key), bft_config_list_at(config, key, i)));
    }
    return *given ? BFT_OK : add_mapped_names(err, set);
}

/* EMPTY_LABEL joins the classes, unless they were given: then it must be one of them. */
static bft_status add_empty(bft_error *err, bft_label_set *set, const bft_config *config, bool given) {
    static const char key[] = "DATA.EMPTY_LABEL";
    set->empty = BFT_NO_NAME;
    if (bft_config_is_null(config, key)) {
        return BFT_OK;
    }
    const char *name = bft_config_string(config, key), *origin = bft_config_origin(config, key);
    set->empty = bft_names_find(&set->classes, bft_field_of(name));
    if (set->empty == BFT_NO_NAME && given) {
        not_a_class(err, set, "DATA.EMPTY_LABEL is", bft_field_of(name));
        return bft_error_prefix(err, "%s", origin);
    }
    if (set->empty == BFT_NO_NAME) {
        set->empty = (int64_t)set->classes.count;
        return add_listed(err, set, origin, name);
    }
    return BFT_OK;
}

/* Ids may be written where nothing else can be meant: LABEL_NAMES doesn't say what they are, and no class is itself
 * called by a number. */
static bool may_be_written_as_ids(const bft_label_set *set) {
    bool may = !set->open && set->ids.count == 0;
    for (size_t i = 0; may && i < set->classes.count; i++) {
        size_t value;
        may = !bft_field_integer(bft_field_of(set->classes.at[i]), &value);
    }
    return may;
}

bft_status bft_label_set_create(bft_error *err, bft_label_set *set, const bft_config *config,
                                const bft_labels *labels) {
    bool given;
    set->multi = bft_config_bool(config, "DATA.MULTI_LABEL");
    set->skip_multi = bft_config_bool(config, "DATA.SKIP_MULTI");
    set->row = calloc(2 * BFT_LABEL_LIMIT, sizeof *set->row);
    if (set->row == NULL) {
        return bft_error_memory(err, 2 * BFT_LABEL_LIMIT * sizeof *set->row);
    }
    set->seen = set->row + BFT_LABEL_LIMIT;
    BFT_TRY(bft_label_names_read(err, &set->ids, config));
    BFT_TRY(read_map(err, set, config));
    BFT_TRY(add_known(err, set, config, labels, &given));
    BFT_TRY(add_empty(err, set, config, given));
    set->by_number = may_be_written_as_ids(set);
    return BFT_OK;
}

void bft_label_set_free(bft_label_set *set) {
    bft_names_free(&set->classes);
    bft_names_free(&set->ids);
    bft_names_free(&set->map_from);
    free(set->map_to);
    free(set->row);
    *set = (bft_label_set){0};
}

/* ---- Using it ---- */

/* The class of one written label. *dropped: the map says that it is none. */
static bft_status resolve_label(bft_error *err, bft_label_set *set, bft_field written, uint32_t *class, bool *dropped) {
    bft_field name = written;
    size_t id;
    if (!bft_field_is_name(written)) {
        return bft_error_set(err, BFT_BAD, "the label isn't valid UTF-8");
    }
    bool is_id = bft_field_integer(written, &id);
    if (is_id && set->ids.count > 0) {
        if (id >= set->ids.count) {
            return bft_error_set(err, BFT_BAD, "label %zu has no name: DATA.LABEL_NAMES goes from 0 to %zu", id,
                                 set->ids.count - 1);
        }
        name = bft_field_of(set->ids.at[id]);
    }
    *dropped = !map_label(set, written, &name);
    if (*dropped) {
        return BFT_OK;
    }
    int64_t known = bft_names_find(&set->classes, name);
    if (known == BFT_NO_NAME && set->open) {
        return add_class(err, set, name, class);
    }
    if (known == BFT_NO_NAME && set->by_number && bft_field_integer(name, &id) && id < set->classes.count) {
        known = (int64_t)id;
    }
    if (known == BFT_NO_NAME) {
        return not_a_class(err, set, "unknown label", name);
    }
    *class = (uint32_t)known;
    return BFT_OK;
}

bft_status bft_label_set_resolve(bft_error *err, bft_label_set *set, const bft_row *row, bool *left_out) {
    bool any_dropped = false;
    set->row_count = 0;
    set->row_number++;
    for (size_t i = 0; i < row->label_count; i++) {
        uint32_t class = 0;
        bool dropped = false;
        BFT_TRY(resolve_label(err, set, row->labels[i], &class, &dropped));
        any_dropped |= dropped;
        if (!dropped && set->seen[class] != set->row_number) {
            set->seen[class] = set->row_number;
            set->row[set->row_count++] = class;
        }
    }
    if (set->row_count == 0 && set->empty != BFT_NO_NAME) {
        set->row[set->row_count++] = (uint32_t)set->empty;
    }
    *left_out = !set->multi && ((set->row_count > 1 && set->skip_multi) || (set->row_count == 0 && any_dropped));
    if (set->multi || set->row_count == 1 || *left_out) {
        return BFT_OK;
    }
    if (set->row_count == 0) {
        return bft_error_set(err, BFT_BAD, "no label; DATA.EMPTY_LABEL can name the class of such rows");
    }
    return bft_error_set(err, BFT_BAD,
                         "%zu labels where one is expected; DATA.MULTI_LABEL takes them all, DATA.SKIP_MULTI leaves "
                         "such rows out",
                         set->row_count);
}

/* Numbers before names. */
static int compare_names(const void *left, const void *right) {
    const char *a = *(char *const *)left, *b = *(char *const *)right;
    size_t x = 0, y = 0;
    bool a_number = bft_field_integer(bft_field_of(a), &x), b_number = bft_field_integer(bft_field_of(b), &y);
    if (a_number != b_number) {
        return a_number ? -1 : 1;
    }
    return x != y ? (x < y ? -1 : 1) : strcmp(a, b);
}

bft_status bft_label_set_close(bft_error *err, bft_label_set *set, uint32_t *new_id) {
    if (set->open) {
        set->open = false;
        return bft_names_sort(err, &set->classes, compare_names, new_id);
    }
    for (size_t i = 0; i < set->classes.count; i++) {
        new_id[i] = (uint32_t)i;
    }
    return BFT_OK;
}
