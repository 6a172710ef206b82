/* ops.c: which backends there are, which of them this machine can run, and what belongs to the contract itself. */
#include "kernels/ops.h"
#include "kernels/plugin.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#include <string.h>

extern const bft_ops bft_ops_ref, bft_ops_ref64, bft_ops_cpu_generic;
extern const bft_ops bft_ops_cpu_generic_bf16;
#if defined(__x86_64__)
extern const bft_ops bft_ops_cpu_avx2, bft_ops_cpu_avx512, bft_ops_cpu_avx512vnni;
extern const bft_ops bft_ops_cpu_avx2_bf16, bft_ops_cpu_avx512_bf16, bft_ops_cpu_avx512vnni_bf16;
extern const bft_ops bft_ops_cpu_amx, bft_ops_cpu_amx_bf16;
#elif defined(__aarch64__)
extern const bft_ops bft_ops_cpu_neondot, bft_ops_cpu_neondot_bf16;
#endif

/* The best instruction set first, and each one's machines run all that follow it. */
static const bft_ops *const backends[] = {
#if defined(__x86_64__)
    &bft_ops_cpu_avx512vnni, &bft_ops_cpu_avx512, &bft_ops_cpu_avx2,
#elif defined(__aarch64__)
    &bft_ops_cpu_neondot,
#endif
    &bft_ops_cpu_generic,    &bft_ops_ref,        &bft_ops_ref64,    NULL};

/* The same sets with factors in bfloat16. */
static const bft_ops *const in_bf16[] = {
#if defined(__x86_64__)
    &bft_ops_cpu_avx512vnni_bf16, &bft_ops_cpu_avx512_bf16, &bft_ops_cpu_avx2_bf16,
#elif defined(__aarch64__)
    &bft_ops_cpu_neondot_bf16,
#endif
    &bft_ops_cpu_generic_bf16, NULL};

/* By name only: no machine that has AMX has run these yet, only an emulation of its tiles (`make wide`). */
static const bft_ops *const on_tiles[] = {
#if defined(__x86_64__)
    &bft_ops_cpu_amx, &bft_ops_cpu_amx_bf16,
#endif
    NULL};

#if defined(__x86_64__)
/* clang 14's __builtin_cpu_supports doesn't know this one. */
static bool has_f16c(void) {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C) != 0;
}

/* How many sets of the lists this machine lacks. */
static size_t lacking(void) {
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    bool vnni = __builtin_cpu_supports("avx512vnni");
    return !avx2 ? 3 : !avx512 ? 2 : !vnni ? 1 : 0;
}

/* Linux lets a process use tiles when it has asked: they make what it saves of a thread 8 KiB larger. */
static bool may_use_tiles(void) {
    enum { ASK_FOR_STATE = 0x1023, TILE_DATA = 18 };        /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    const unsigned wanted = 1u << 22 | 1u << 24 | 1u << 25; /* AMX-BF16, AMX-TILE, AMX-INT8, of leaf 7's EDX */
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & wanted) == wanted && lacking() == 0 &&
           __builtin_cpu_supports("avx512bf16") && syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) == 0;
}
#elif defined(__aarch64__)
static size_t lacking(void) {
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) == 0 ? 1 : 0;
}

static bool may_use_tiles(void) {
    return false;
}
#else
static size_t lacking(void) {
    return 0;
}

static bool may_use_tiles(void) {
    return false;
}
#endif

const bft_ops *const *bft_ops_all(void) {
    return backends + lacking();
}

/* All members from `open` on are pointers to functions. */
static bft_status check_complete(bft_error *err, const bft_ops *ops) {
    typedef void function(void);
    size_t first = offsetof(bft_ops, open);
    for (size_t at = first; at < sizeof *ops; at += sizeof(function *)) {
        function *pointer;
        memcpy(&pointer, (const char *)ops + at, sizeof pointer);
        if (pointer == NULL) {
            return bft_error_set(err, BFT_FAILED,
                                 "kernels/ops.h: backend %s leaves function %zu of struct bft_ops empty; it must have "
                                 "them all",
                                 ops->name, (at - first) / sizeof pointer + 1);
        }
    }
    return BFT_OK;
}

/* `any` names the first of the list too; it may be NULL. */
static const bft_ops *find(const bft_ops *const *list, const char *any, const char *name) {
    for (; *list != NULL; list++) {
        if ((any != NULL && strcmp(name, any) == 0) || strcmp(name, (*list)->name) == 0) {
            return *list;
        }
    }
    return NULL;
}

static bft_status refuse(bft_error *err, const char *name) {
    if (find(backends, NULL, name) != NULL || find(in_bf16, NULL, name) != NULL || find(on_tiles, NULL, name) != NULL) {
        return bft_error_set(err, BFT_BAD,
                             "this machine or its system lacks what backend \"%s\" needs; \"cpu\" takes "
                             "the best that it has",
                             name);
    }
    return bft_error_set(err, BFT_BAD,
                         "\"%s\" is not a backend; \"cpu\" is, or one of its instruction sets "
                         "(cpu-generic, cpu-avx2, cpu-avx512, cpu-avx512vnni, cpu-amx; cpu-neondot), ref, ref64",
                         name);
}

bft_status bft_ops_find(bft_error *err, const char *name, const bft_ops **out) {
    const bft_ops *found = find(bft_ops_all(), "cpu", name);
    found = found != NULL ? found : find(in_bf16 + lacking(), "cpu-bf16", name);
    const bft_ops *tiles = found != NULL ? NULL : find(on_tiles, NULL, name);
    found = tiles != NULL && may_use_tiles() ? tiles : found;
    if (found != NULL) {
        BFT_TRY(check_complete(err, found));
        *out = found;
        return BFT_OK;
    }
    if (strncmp(name, "cuda", 4) == 0) {
        BFT_TRY(bft_plugin_open(err, name, out));
        return check_complete(err, *out);
    }
    return refuse(err, name);
}
