/* pickle.c: the stack machine for PyTorch's pickles: an allow-list of opcodes and of global names.
 *
 * Protocol 2, as torch.save writes it. One instruction makes at most one value and pushes at most one, so the limit on
 * instructions bounds the memory; values refer to each other, and nothing here recurses. */
#include "weights/pickle.h"

#include "weights/little.h"

#include <string.h>

/* A state dict takes 30 instructions a tensor, so these do for thousands of tensors; one makes up to 200 bytes. */
enum { INSTRUCTION_LIMIT = 1 << 18, STRING_LIMIT = 1 << 16, NAME_LIMIT = 200 };

/* The opcodes, by the names of Python's pickletools. */
enum {
    OP_MARK = '(',
    OP_STOP = '.',
    OP_PROTO = 0x80,
    OP_NONE = 'N',
    OP_NEWTRUE = 0x88,
    OP_NEWFALSE = 0x89,
    OP_BININT = 'J',
    OP_BININT1 = 'K',
    OP_BININT2 = 'M',
    OP_LONG1 = 0x8a,
    OP_BINUNICODE = 'X',
    OP_BINSTRING = 'T',
    OP_SHORT_BINSTRING = 'U',
    OP_EMPTY_TUPLE = ')',
    OP_TUPLE = 't',
    OP_TUPLE1 = 0x85,
    OP_TUPLE2 = 0x86,
    OP_TUPLE3 = 0x87,
    OP_EMPTY_LIST = ']',
    OP_APPEND = 'a',
    OP_APPENDS = 'e',
    OP_EMPTY_DICT = '}',
    OP_SETITEM = 's',
    OP_SETITEMS = 'u',
    OP_BINPUT = 'q',
    OP_LONG_BINPUT = 'r',
    OP_BINGET = 'h',
    OP_LONG_BINGET = 'j',
    OP_GLOBAL = 'c',
    OP_REDUCE = 'R',
    OP_BUILD = 'b',
    OP_BINPERSID = 'Q'
};

typedef struct machine {
    bft_arena *arena;
    const char *path;
    const unsigned char *bytes;
    size_t size, position;
    size_t budget;          /* instructions, and items copied by one of them, that may still come */
    bft_values stack, memo; /* memo: NULL where nothing was put */
    bft_storage **storages;
    bft_value mark;
} machine;

/* ---- Errors and memory ---- */

static bft_status bad(bft_error *err, const machine *m, const char *what) {
    return bft_error_set(err, BFT_BAD, "%s: pickle, byte %zu: %s", m->path, m->position, what);
}

/* Puts the place before an error that doesn't have one yet. */
static bft_status placed(bft_error *err, const machine *m, bft_status status) {
    return status == BFT_BAD ? bft_error_prefix(err, "%s: pickle, byte %zu", m->path, m->position) : status;
}

static bft_status spend(bft_error *err, machine *m, size_t count) {
    if (count > m->budget) {
        return bad(err, m, "it has too many instructions for a state dict");
    }
    m->budget -= count;
    return BFT_OK;
}

/* ---- The stack ---- */

static bft_status push(bft_error *err, machine *m, bft_value *value) {
    return bft_values_append(err, m->arena, &m->stack, value);
}

static bft_status push_copy(bft_error *err, machine *m, bft_value value) {
    bft_value *fresh;
    BFT_TRY(BFT_NEW(err, m->arena, &fresh, 1));
    *fresh = value;
    return push(err, m, fresh);
}

static bft_status peek(bft_error *err, const machine *m, bft_value **out) {
    if (m->stack.count == 0 || m->stack.at[m->stack.count - 1]->kind == BFT_VALUE_MARK) {
        return bad(err, m, "a value is missing on the stack");
    }
    *out = m->stack.at[m->stack.count - 1];
    return BFT_OK;
}

static bft_status pop(bft_error *err, machine *m, bft_value **out) {
    BFT_TRY(peek(err, m, out));
    m->stack.count--;
    return BFT_OK;
}

/* Takes the last `count` values off the stack. They stay where they were until the next push. */
static bft_status pop_many(bft_error *err, machine *m, size_t count, bft_value ***out) {
    bft_value *ignored;
    for (size_t i = 0; i < count; i++) {
        BFT_TRY(pop(err, m, &ignored));
    }
    *out = m->stack.at + m->stack.count;
    return BFT_OK;
}

/* The same for the values above the last mark, and the mark. */
static bft_status pop_to_mark(bft_error *err, machine *m, bft_value ***out, size_t *count) {
    size_t at = m->stack.count;
    while (at > 0 && m->stack.at[at - 1]->kind != BFT_VALUE_MARK) {
        at--;
    }
    if (at == 0) {
        return bad(err, m, "a mark is missing on the stack");
    }
    *out = m->stack.at + at;
    *count = m->stack.count - at;
    m->stack.count = at - 1;
    return BFT_OK;
}

/* ---- Operands ---- */

static bft_status take(bft_error *err, machine *m, size_t length, const unsigned char **out) {
    if (length > m->size - m->position) {
        return bad(err, m, "the file is cut short");
    }
    *out = m->bytes + m->position;
    m->position += length;
    return BFT_OK;
}

static bft_status take_little(bft_error *err, machine *m, size_t length, uint64_t *out) {
    const unsigned char *bytes = NULL;
    BFT_TRY(take(err, m, length, &bytes));
    *out = bft_little(bytes, length);
    return BFT_OK;
}

/* A name up to its newline. */
static bft_status take_name(bft_error *err, machine *m, bft_string *out) {
    size_t room = m->size - m->position;
    const char *start = (const char *)m->bytes + m->position;
    const char *end = memchr(start, '\n', room < NAME_LIMIT ? room : NAME_LIMIT);
    if (end == NULL) {
        return bad(err, m, "a global's name does not end");
    }
    *out = (bft_string){start, (size_t)(end - start)};
    m->position += out->length + 1;
    return BFT_OK;
}

/* ---- Instructions that push one plain value ---- */

static bft_status push_integer(bft_error *err, machine *m, size_t length) {
    uint64_t value = 0;
    BFT_TRY(take_little(err, m, length, &value));
    int64_t integer =
        length == 4 ? (int32_t)(uint32_t)value : (int64_t)value; /* BININT has a sign, the shorter have not */
    return push_copy(err, m, (bft_value){.kind = BFT_VALUE_INT, .integer = integer});
}

static bft_status push_long(bft_error *err, machine *m) {
    uint64_t length = 0, value = 0;
    BFT_TRY(take_little(err, m, 1, &length));
    if (length > 8) {
        return bad(err, m, "an integer of more than 8 bytes");
    }
    BFT_TRY(take_little(err, m, (size_t)length, &value));
    if (length > 0 && length < 8 && (value >> (8 * length - 1)) != 0) {
        value |= UINT64_MAX << (8 * length); /* two's complement */
    }
    return push_copy(err, m, (bft_value){.kind = BFT_VALUE_INT, .integer = (int64_t)value});
}

static bft_status push_string(bft_error *err, machine *m, size_t length_bytes) {
    uint64_t length;
    const unsigned char *bytes = NULL;
    BFT_TRY(take_little(err, m, length_bytes, &length));
    if (length > STRING_LIMIT) {
        return bad(err, m, "a string is too long for a name");
    }
    BFT_TRY(take(err, m, (size_t)length, &bytes));
    return push_copy(err, m, (bft_value){.kind = BFT_VALUE_STRING, .string = {(const char *)bytes, (size_t)length}});
}

/* ---- Containers ---- */

static bft_status push_tuple(bft_error *err, machine *m, bft_value **items, size_t count) {
    bft_value tuple = {.kind = BFT_VALUE_TUPLE, .items = {.count = count, .capacity = count}};
    BFT_TRY(BFT_NEW(err, m->arena, &tuple.items.at, count));
    if (count > 0) {
        memcpy(tuple.items.at, items, count * sizeof *items);
    }
    return push_copy(err, m, tuple);
}

static bft_status push_short_tuple(bft_error *err, machine *m, size_t count) {
    bft_value **items = NULL;
    BFT_TRY(pop_many(err, m, count, &items));
    return push_tuple(err, m, items, count);
}

static bft_status push_marked_tuple(bft_error *err, machine *m) {
    bft_value **items = NULL;
    size_t count = 0;
    BFT_TRY(pop_to_mark(err, m, &items, &count));
    return push_tuple(err, m, items, count);
}

/* Adds values to the list or dict below them, which stays on the stack. */
static bft_status extend(bft_error *err, machine *m, bft_value_kind kind, bft_value **items, size_t count) {
    bft_value *target = NULL;
    BFT_TRY(peek(err, m, &target));
    if (target->kind != kind || (kind == BFT_VALUE_DICT && count % 2 != 0)) {
        return bad(err, m,
                   kind == BFT_VALUE_DICT ? "pairs are added to something that is not a dict"
                                          : "items are added to something that is not a list");
    }
    for (size_t i = 0; i < count; i++) {
        BFT_TRY(bft_values_append(err, m->arena, &target->items, items[i]));
    }
    return BFT_OK;
}

static bft_status extend_few(bft_error *err, machine *m, bft_value_kind kind, size_t count) {
    bft_value **items = NULL;
    BFT_TRY(pop_many(err, m, count, &items));
    return extend(err, m, kind, items, count);
}

static bft_status extend_marked(bft_error *err, machine *m, bft_value_kind kind) {
    bft_value **items = NULL;
    size_t count = 0;
    BFT_TRY(pop_to_mark(err, m, &items, &count));
    return extend(err, m, kind, items, count);
}

/* ---- The memo ---- */

static bft_status put(bft_error *err, machine *m, size_t index_bytes) {
    uint64_t index = 0;
    bft_value *value = NULL;
    BFT_TRY(take_little(err, m, index_bytes, &index));
    BFT_TRY(peek(err, m, &value));
    if (index >= INSTRUCTION_LIMIT) {
        return bad(err, m, "a memo index is too large");
    }
    while (m->memo.count <= index) {
        BFT_TRY(bft_values_append(err, m->arena, &m->memo, NULL));
    }
    m->memo.at[index] = value;
    return BFT_OK;
}

static bft_status get(bft_error *err, machine *m, size_t index_bytes) {
    uint64_t index = 0;
    BFT_TRY(take_little(err, m, index_bytes, &index));
    if (index >= m->memo.count || m->memo.at[index] == NULL) {
        return bad(err, m, "the memo has no such entry");
    }
    return push(err, m, m->memo.at[index]);
}

/* ---- Names and what is done with them: pickle_torch.c knows which there are ---- */

static bft_status push_global(bft_error *err, machine *m) {
    bft_string module = {0}, name = {0};
    bft_value value = {0};
    BFT_TRY(take_name(err, m, &module));
    BFT_TRY(take_name(err, m, &name));
    BFT_TRY(placed(err, m, bft_torch_global(err, module, name, &value)));
    return push_copy(err, m, value);
}

static bft_status reduce(bft_error *err, machine *m) {
    bft_value *arguments = NULL, *callee = NULL, value = {0};
    BFT_TRY(pop(err, m, &arguments));
    BFT_TRY(pop(err, m, &callee));
    if (arguments->kind == BFT_VALUE_TUPLE && arguments->items.count > 0 &&
        arguments->items.at[0]->kind == BFT_VALUE_LIST) {
        BFT_TRY(spend(err, m, arguments->items.at[0]->items.count)); /* it is copied, and may be given many times */
    }
    BFT_TRY(placed(err, m, bft_torch_call(err, m->arena, callee, arguments, &value)));
    return push_copy(err, m, value);
}

static bft_status push_storage(bft_error *err, machine *m) {
    bft_value *id = NULL;
    bft_storage *storage = NULL;
    BFT_TRY(pop(err, m, &id));
    BFT_TRY(placed(err, m, bft_torch_storage(err, m->arena, id, &storage)));
    storage->next = *m->storages;
    *m->storages = storage;
    return push_copy(err, m, (bft_value){.kind = BFT_VALUE_STORAGE, .storage = storage});
}

/* Sets attributes. A state dict has one, _metadata, which we don't read; nothing else has any. */
static bft_status build(bft_error *err, machine *m) {
    bft_value *state, *object = NULL;
    BFT_TRY(pop(err, m, &state));
    BFT_TRY(peek(err, m, &object));
    return object->kind == BFT_VALUE_DICT ? BFT_OK : bad(err, m, "sets the state of something that is not a dict");
}

/* ---- The machine ---- */

static bft_status step_scalar(bft_error *err, machine *m, unsigned char opcode) {
    uint64_t version = 0;
    switch (opcode) {
    case OP_PROTO:
        BFT_TRY(take_little(err, m, 1, &version));
        return version == 2 ? BFT_OK : bad(err, m, "pickle protocol 2 is expected, as torch.save writes it");
    case OP_NONE:
        return push_copy(err, m, (bft_value){.kind = BFT_VALUE_NONE});
    case OP_NEWTRUE:
    case OP_NEWFALSE:
        return push_copy(err, m, (bft_value){.kind = BFT_VALUE_BOOL, .integer = opcode == OP_NEWTRUE});
    case OP_BININT:
        return push_integer(err, m, 4);
    case OP_BININT1:
        return push_integer(err, m, 1);
    case OP_BININT2:
        return push_integer(err, m, 2);
    case OP_LONG1:
        return push_long(err, m);
    case OP_BINUNICODE:
    case OP_BINSTRING:
        return push_string(err, m, 4);
    case OP_SHORT_BINSTRING:
        return push_string(err, m, 1);
    default:
        return bft_error_set(err, BFT_BAD, "%s: pickle, byte %zu: opcode 0x%02x has no place in a state dict", m->path,
                             m->position - 1, opcode);
    }
}

static bft_status step_object(bft_error *err, machine *m, unsigned char opcode) {
    switch (opcode) {
    case OP_BINPUT:
        return put(err, m, 1);
    case OP_LONG_BINPUT:
        return put(err, m, 4);
    case OP_BINGET:
        return get(err, m, 1);
    case OP_LONG_BINGET:
        return get(err, m, 4);
    case OP_GLOBAL:
        return push_global(err, m);
    case OP_REDUCE:
        return reduce(err, m);
    case OP_BUILD:
        return build(err, m);
    case OP_BINPERSID:
        return push_storage(err, m);
    default:
        return step_scalar(err, m, opcode);
    }
}

static bft_status step(bft_error *err, machine *m, unsigned char opcode) {
    switch (opcode) {
    case OP_MARK:
        return push(err, m, &m->mark);
    case OP_EMPTY_TUPLE:
        return push_tuple(err, m, NULL, 0);
    case OP_TUPLE:
        return push_marked_tuple(err, m);
    case OP_TUPLE1:
    case OP_TUPLE2:
    case OP_TUPLE3:
        return push_short_tuple(err, m, (size_t)(opcode - OP_TUPLE1) + 1);
    case OP_EMPTY_LIST:
        return push_copy(err, m, (bft_value){.kind = BFT_VALUE_LIST});
    case OP_EMPTY_DICT:
        return push_copy(err, m, (bft_value){.kind = BFT_VALUE_DICT});
    case OP_APPEND:
        return extend_few(err, m, BFT_VALUE_LIST, 1);
    case OP_APPENDS:
        return extend_marked(err, m, BFT_VALUE_LIST);
    case OP_SETITEM:
        return extend_few(err, m, BFT_VALUE_DICT, 2);
    case OP_SETITEMS:
        return extend_marked(err, m, BFT_VALUE_DICT);
    default:
        return step_object(err, m, opcode);
    }
}

bft_status bft_pickle_read(bft_error *err, bft_arena *arena, const char *path, const unsigned char *bytes, size_t size,
                           size_t *position, bft_storage **storages, bft_value **out) {
    machine m = {.arena = arena,
                 .path = path,
                 .bytes = bytes,
                 .size = size,
                 .position = *position,
                 .budget = INSTRUCTION_LIMIT,
                 .storages = storages,
                 .mark.kind = BFT_VALUE_MARK};
    for (;;) {
        const unsigned char *opcode = NULL;
        BFT_TRY(spend(err, &m, 1));
        BFT_TRY(take(err, &m, 1, &opcode));
        if (*opcode == OP_STOP) {
            *position = m.position;
            return pop(err, &m, out);
        }
        BFT_TRY(step(err, &m, *opcode));
    }
}
