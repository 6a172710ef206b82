/* trace.cc: counts bank conflicts in shared memory and uncoalesced accesses to device memory.
 *
 * The kernels are compiled with -fsanitize=thread, which makes the compiler call a hook before each access to memory; but no
 * ThreadSanitizer is linked: the hooks are ours. A hook notes instruction, lane and address. Once a warp has come to a
 * barrier or a shuffle, the accesses of its lanes are put together: those that ran an instruction for the n-th time since
 * the barrier before did it at once, as one access of the warp. It is a model: lanes that part ways at a branch are taken
 * to have run in step.
 *
 * Shared memory has 32 banks of 4 bytes. A wavefront brings from each bank one word, to all lanes that ask for it; accesses
 * of 8 and 16 bytes take at least two and four wavefronts, half and a quarter of the warp's lanes at a time. Device memory
 * comes in sectors of 32 bytes; the least is what the distinct bytes would fill.
 *
 * With BERTFT_SIM_TRACE=FILE a line an instruction goes there at the end: its place in the library as addr2line takes it,
 * space, read or write, bytes a lane, accesses, cost, least. */
#include "tests/cudasim/trace.h"
#include "tests/cudasim/sim.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <map>
#include <tuple>
#include <vector>

namespace sim {

namespace {

enum { BANKS = 32, WORD = 4, SECTOR = 32 };

/* An instruction and how it accesses memory, in one number: its address << 8 | bytes << 2 | write << 1 | shared. */
using instruction = uint64_t;

instruction make_instruction(uintptr_t address, size_t bytes, bool write, bool shared) {
    return (uint64_t)address << 8 | bytes << 2 | (uint64_t)write << 1 | (uint64_t)shared;
}

uintptr_t address_of(instruction what) {
    return (uintptr_t)(what >> 8);
}

size_t bytes_of(instruction what) {
    return what >> 2 & 63;
}

bool is_write(instruction what) {
    return (what & 2) != 0;
}

bool is_shared(instruction what) {
    return (what & 1) != 0;
}

struct access {
    instruction what;
    uint32_t lane, nth; /* since the last barrier */
    uintptr_t at;
};

/* A warp's accesses since its last barrier; each lane's are in the order of the program. */
struct warp {
    uint64_t block = 0;
    unsigned phase = 0;
    std::vector<access> accesses;
};

size_t count_distinct(std::vector<uintptr_t> &values) {
    std::sort(values.begin(), values.end());
    return (size_t)(std::unique(values.begin(), values.end()) - values.begin());
}

/* Wavefronts for lanes that are served together: the most words that one bank must give. */
size_t wavefronts(const access *first, const access *last) {
    std::vector<uintptr_t> words;
    size_t from_bank[BANKS] = {}, most = 0;
    for (const access *a = first; a < last; a++) {
        for (uintptr_t word = a->at / WORD; word <= (a->at + bytes_of(a->what) - 1) / WORD; word++) {
            words.push_back(word);
        }
    }
    size_t distinct = count_distinct(words);
    for (size_t i = 0; i < distinct; i++) {
        most = std::max(most, ++from_bank[words[i] % BANKS]);
    }
    return most;
}

/* One access of a warp, its lanes in order. */
traffic shared_cost(const access *first, const access *last) {
    size_t together = (size_t)WARP * WORD / std::max(bytes_of(first->what), (size_t)WORD);
    traffic cost = {1, 0, 0};
    while (first < last) {
        const access *next =
            std::find_if(first, last, [&](const access &a) { return a.lane / together != first->lane / together; });
        cost.cost += wavefronts(first, next);
        cost.least++;
        first = next;
    }
    return cost;
}

traffic device_cost(const access *first, const access *last) {
    std::vector<uintptr_t> sectors, places;
    for (const access *a = first; a < last; a++) {
        places.push_back(a->at);
        sectors.push_back(a->at / SECTOR);
        sectors.push_back((a->at + bytes_of(a->what) - 1) / SECTOR);
    }
    return {1, count_distinct(sectors), (count_distinct(places) * bytes_of(first->what) + SECTOR - 1) / SECTOR};
}

traffic &operator+=(traffic &sum, const traffic &more) {
    sum.accesses += more.accesses;
    sum.cost += more.cost;
    sum.least += more.least;
    return sum;
}

class tracer {
  public:
    ~tracer() {
        const char *path = getenv("BERTFT_SIM_TRACE");
        if (path != nullptr && !write_to(path)) {
            fprintf(stderr, "cudasim: %s: the report could not be written\n", path);
        }
    }

    void note(const moment &now, access a) {
        warp &w = warps[now.thread / WARP];
        if (w.block != now.block || w.phase != now.phase) {
            settle(w);
            w.block = now.block;
            w.phase = now.phase;
        }
        w.accesses.push_back(a);
    }

    traffic sum(bool shared) {
        traffic sum = {0, 0, 0};
        settle_all();
        for (const auto &[what, cost] : totals) {
            sum += is_shared(what) == shared ? cost : traffic{0, 0, 0};
        }
        return sum;
    }

  private:
    /* Sorting twice: by lane, to number each lane's runs of an instruction; and by these numbers, to have the lanes together. */
    void settle(warp &w) {
        auto by_lane = [](const access &a, const access &b) {
            return std::tie(a.what, a.lane) < std::tie(b.what, b.lane);
        };
        auto by_number = [](const access &a, const access &b) {
            return std::tie(a.what, a.nth) < std::tie(b.what, b.nth);
        };
        std::stable_sort(w.accesses.begin(), w.accesses.end(), by_lane);
        access *begin = w.accesses.data(), *end = begin + w.accesses.size();
        for (access *a = begin; a < end; a++) {
            a->nth = a == begin || by_lane(a[-1], a[0]) ? 0 : a[-1].nth + 1;
        }
        std::stable_sort(begin, end, by_number);
        for (access *first = begin, *next; first < end; first = next) {
            next = std::upper_bound(first, end, *first, by_number);
            totals[first->what] += is_shared(first->what) ? shared_cost(first, next) : device_cost(first, next);
        }
        w.accesses.clear();
    }

    void settle_all() {
        for (warp &w : warps) {
            settle(w);
        }
    }

    bool write_to(const char *path) {
        FILE *file = fopen(path, "w");
        settle_all();
        for (const auto &[what, cost] : totals) {
            Dl_info library = {};
            dladdr(reinterpret_cast<void *>(address_of(what)), &library);
            if (file != nullptr) {
                fprintf(file, "%#zx %s %s %zu %zu %zu %zu\n",
                        address_of(what) - reinterpret_cast<uintptr_t>(library.dli_fbase),
                        is_shared(what) ? "shared" : "device", is_write(what) ? "write" : "read", bytes_of(what),
                        cost.accesses, cost.cost, cost.least);
            }
        }
        bool fine = file != nullptr && ferror(file) == 0;
        return file != nullptr && fclose(file) == 0 && fine;
    }

    warp warps[WORST_THREADS / WARP];
    std::map<instruction, traffic> totals;
};

tracer trace;

/* The hooks' common part. `caller` is where the hook returns to, just behind the instruction. */
void note(const void *caller, const volatile void *pointer, size_t bytes, bool write) {
    moment now = sim::now();
    uintptr_t at = reinterpret_cast<uintptr_t>(pointer);
    space where = now.block == 0 ? PRIVATE : space_of(at);
    if (where != PRIVATE) {
        uintptr_t start = where == SHARED_MEMORY ? reinterpret_cast<uintptr_t>(shared()) : 0;
        instruction what =
            make_instruction(reinterpret_cast<uintptr_t>(caller) - 1, bytes, write, where == SHARED_MEMORY);
        trace.note(now, {what, now.thread % WARP, 0, at - start});
    }
}

/* A structure goes word by word. */
void note_range(const void *caller, const volatile void *pointer, size_t bytes, bool write) {
    for (size_t at = 0; at < bytes; at += WORD) {
        note(caller, static_cast<const volatile char *>(pointer) + at, std::min(bytes - at, (size_t)WORD), write);
    }
}

} // namespace

traffic shared_traffic() {
    return trace.sum(true);
}

traffic device_traffic() {
    return trace.sum(false);
}

} // namespace sim

/* ---- The hooks, by the compiler's names ---- */

extern "C" {

#define HOOK(name, bytes, write)                                                                                       \
    void __tsan_##name(void *at);                                                                                      \
    void __tsan_##name(void *at) {                                                                                     \
        sim::note(__builtin_return_address(0), at, bytes, write);                                                      \
    }
#define HOOKS(bytes)                                                                                                   \
    HOOK(read##bytes, bytes, false)                                                                                    \
    HOOK(write##bytes, bytes, true)                                                                                    \
    HOOK(unaligned_read##bytes, bytes, false)                                                                          \
    HOOK(unaligned_write##bytes, bytes, true)

/* clang-format off */
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
/* clang-format on */

void __tsan_read_range(void *at, size_t bytes);
void __tsan_write_range(void *at, size_t bytes);
void __tsan_init(void);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);

void __tsan_read_range(void *at, size_t bytes) {
    sim::note_range(__builtin_return_address(0), at, bytes, false);
}

void __tsan_write_range(void *at, size_t bytes) {
    sim::note_range(__builtin_return_address(0), at, bytes, true);
}

void __tsan_init(void) {
}

void __tsan_func_entry(void *) {
}

void __tsan_func_exit(void) {
}
}
