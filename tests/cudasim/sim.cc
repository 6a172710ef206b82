/* sim.cc: fibers, barriers and shuffles.
 *
 * A fiber is made once, by makecontext, and then runs one thread after another. It is left and entered by _setjmp and _longjmp, which
 * ask the kernel nothing: swapcontext makes a system call. */
#include "tests/cudasim/sim.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <setjmp.h>
#include <string>
#include <ucontext.h>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace sim {

namespace {

enum { STACK = 64 * 1024 };

enum state { READY, AT_BLOCK, AT_WARP, DONE };

struct fiber {
    bool made = false;
    jmp_buf place; /* where it goes on */
    char stack[STACK];
    state now = DONE;
    unsigned round = 0; /* of exchanges, to alternate between two slots */
    unsigned phase = 0; /* barriers and exchanges so far */
};

fiber *fibers = new fiber[WORST_THREADS]; /* for as long as the program runs */
jmp_buf scheduler;                        /* where the host goes on */
const std::function<void()> *body;
unsigned current, threads;
uint64_t slots[2][WORST_THREADS];
unsigned stamps[2][WORST_THREADS]; /* the exchange that wrote the slot, per thread from 1 */
std::vector<char> shared_memory;
uint64_t random_state = 0;                              /* 0: in order */
unsigned long launches = 0;                             /* so far */
uint64_t blocks = 0;                                    /* started so far */
bool running = false;                                   /* a thread of the device, not the host */
auto &device_memory = *new std::map<uintptr_t, size_t>; /* where each allocation starts, and its bytes */

auto *const counts = new std::map<std::string, unsigned long>[REPLAYED + 1]; /* of each `how` */

unsigned long from_environment(const char *name) {
    const char *text = getenv(name);
    return text == nullptr ? 0 : strtoul(text, nullptr, 10);
}

[[noreturn]] void give_up(const char *what) {
    fprintf(stderr, "cudasim: block (%u, %u): %s\n", blockIdx.x, blockIdx.y, what);
    exit(1);
}

uint64_t next_random() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

__attribute__((noinline)) void leave_fiber() {
    if (_setjmp(fibers[current].place) == 0) {
        _longjmp(scheduler, 1);
    }
}

void pause_as(state why) {
    fibers[current].now = why;
    leave_fiber();
    fibers[current].phase++;
}

[[noreturn]] void run_threads() {
    for (;;) {
        (*body)();
        fibers[current].now = DONE;
        leave_fiber();
    }
}

__attribute__((noinline)) void make_fiber(fiber *f) {
    static ucontext_t context, unused;
    f->made = true;
    getcontext(&context);
    context.uc_stack.ss_sp = f->stack;
    context.uc_stack.ss_size = STACK;
    makecontext(&context, run_threads, 0);
    swapcontext(&unused, &context);
}

__attribute__((noinline)) void enter_fiber(fiber *f) {
    if (_setjmp(scheduler) == 0) {
        if (f->made) {
            _longjmp(f->place, 1);
        }
        make_fiber(f);
    }
}

void resume(unsigned thread) {
    current = thread;
    threadIdx = dim3(thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y));
    running = true;
    enter_fiber(&fibers[thread]);
    running = false;
}

/* Lets go the threads [from, to) if all that are left wait for `what`; true where any did. */
bool release(unsigned from, unsigned to, state what) {
    bool any = false;
    for (unsigned t = from; t < to; t++) {
        if (fibers[t].now != DONE && fibers[t].now != what) {
            return false;
        }
        any |= fibers[t].now == what;
    }
    for (unsigned t = from; any && t < to; t++) {
        if (fibers[t].now == what) {
            fibers[t].now = READY;
        }
    }
    return any;
}

bool release_all() {
    bool any = false;
    for (unsigned warp = 0; warp < threads; warp += WARP) {
        any |= release(warp, warp + WARP < threads ? warp + WARP : threads, AT_WARP);
    }
    return release(0, threads, AT_BLOCK) || any;
}

/* The threads' order for one round, from one barrier to the next. */
void make_order(std::vector<unsigned> &order) {
    for (unsigned t = 0; t < threads; t++) {
        order[t] = t;
    }
    for (unsigned t = threads; random_state != 0 && t > 1; t--) {
        unsigned other = (unsigned)(next_random() % t), kept = order[t - 1];
        order[t - 1] = order[other];
        order[other] = kept;
    }
}

void prepare(unsigned t) {
    fiber &f = fibers[t];
    f.now = READY;
    f.round = f.phase = 0;
    stamps[0][t] = stamps[1][t] = 0;
}

void run_block(size_t shared_bytes) {
    std::vector<unsigned> order(threads);
    blocks++;
    shared_memory.assign(shared_bytes, (char)0xFF); /* NaN as a float */
    for (unsigned t = 0; t < threads; t++) {
        prepare(t);
    }
    for (;;) {
        bool ran = false, left = false;
        make_order(order);
        for (unsigned t : order) {
            if (fibers[t].now == READY) {
                resume(t);
                ran = true;
            }
            left |= fibers[t].now != DONE;
        }
        if (!left) {
            return;
        }
        if (!release_all() && !ran) {
            give_up("threads wait at different barriers, or some have left before one");
        }
    }
}

} // namespace

bool launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &thread) {
    static unsigned long failing = from_environment("BERTFT_SIM_FAIL_LAUNCH");
    static bool seeded = (random_state = from_environment("BERTFT_SIM_ORDER"), true);
    (void)seeded;
    if (++launches == failing) {
        return false;
    }
    threads = block.x * block.y * block.z;
    if (threads == 0 || threads > WORST_THREADS || grid.x == 0 || grid.y == 0 || grid.y > 65535) {
        give_up("an impossible launch");
    }
    gridDim = grid;
    blockDim = block;
    body = &thread;
    for (unsigned y = 0; y < grid.y; y++) {
        for (unsigned x = 0; x < grid.x; x++) {
            blockIdx = dim3(x, y);
            run_block(shared_bytes);
        }
    }
    return true;
}

void *shared() {
    return shared_memory.data();
}

void wait_block() {
    pause_as(AT_BLOCK);
}

uint64_t exchange(uint64_t value, unsigned lane) {
    unsigned warp = current / WARP * WARP, number = ++fibers[current].round, round = number % 2;
    slots[round][current] = value;
    stamps[round][current] = number;
    pause_as(AT_WARP);
    unsigned source = warp + lane;
    if (source >= threads || stamps[round][source] != number) {
        give_up("a shuffle reads a lane that isn't there");
    }
    return slots[round][source];
}

void count(const char *name, how ran) {
    counts[ran][name]++;
}

void report() {
    const char *titles[] = {"kernel", "substituted", "replayed"};
    if (from_environment("BERTFT_SIM_REPORT") == 1) {
        fprintf(stderr, "cudasim: launches: %lu\n", launches);
    }
    for (how ran : {AS_KERNEL, SUBSTITUTED, REPLAYED}) {
        for (const auto &[name, times] : counts[ran]) {
            if (from_environment("BERTFT_SIM_REPORT") == 1) {
                fprintf(stderr, "cudasim: %s: %s: %lu\n", titles[ran], name.c_str(), times);
            }
        }
        counts[ran].clear();
    }
}

void *allocate(size_t bytes) {
    static unsigned long allocations = 0, failing = from_environment("BERTFT_SIM_FAIL_ALLOC");
    size_t left, total;
    memory(&left, &total);
    void *block = ++allocations == failing || bytes > left ? nullptr : aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (block != nullptr) {
        device_memory[reinterpret_cast<uintptr_t>(block)] = bytes;
    }
    return block;
}

void deallocate(void *block) {
    device_memory.erase(reinterpret_cast<uintptr_t>(block));
    free(block);
}

void memory(size_t *free_bytes, size_t *total) {
    static size_t megabytes = from_environment("BERTFT_SIM_MEMORY");
    *total = *free_bytes = (megabytes != 0 ? megabytes : 16384) << 20;
    for (const auto &[start, bytes] : device_memory) {
        *free_bytes -= bytes;
    }
}

moment now() {
    return running ? moment{blocks, current, fibers[current].phase} : moment{0, 0, 0};
}

space space_of(uintptr_t address) {
    if (address - reinterpret_cast<uintptr_t>(shared_memory.data()) < shared_memory.size()) {
        return SHARED_MEMORY;
    }
    auto after = device_memory.upper_bound(address);
    bool inside = after != device_memory.begin() && address - std::prev(after)->first < std::prev(after)->second;
    return inside ? DEVICE_MEMORY : PRIVATE;
}

} // namespace sim
