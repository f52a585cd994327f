// Fibres, barriers and launches: see `emulator.h`.
#include "matrix.cuh"

#include <iterator>
#include <mutex>
#include <set>

namespace emulator {

__thread Block* block = nullptr;

std::map<std::string, Kernel>& kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

#if defined(__x86_64__)
asm(R"(
.text
.globl emulator_switch
.type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulator_switch, . - emulator_switch
.section .note.GNU-stack,"",@progbits
.text
)");
constexpr size_t SAVED = 6;  // registers below the return address

void prepare(Fibre& fibre, void (*entry)()) {
    auto end = reinterpret_cast<uintptr_t>(fibre.stack.get() + STACK) & ~uintptr_t(15);
    auto* top = reinterpret_cast<void**>(end);
    *--top = nullptr;  // where `entry` would return to; it aligns the stack as a call does
    *--top = reinterpret_cast<void*>(entry);
    for (size_t i = 0; i < SAVED; i++) *--top = nullptr;
    fibre.top = top;
}
#elif defined(__aarch64__)
asm(R"(
.text
.globl emulator_switch
.type emulator_switch, %function
emulator_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
)");

void prepare(Fibre& fibre, void (*entry)()) {
    auto end = reinterpret_cast<uintptr_t>(fibre.stack.get() + STACK) & ~uintptr_t(15);
    auto* top = reinterpret_cast<void**>(end - 160);
    for (size_t i = 0; i < 20; i++) top[i] = nullptr;
    top[11] = reinterpret_cast<void*>(entry);  // x30
    fibre.top = top;
}
#else
#error "the emulator switches stacks on x86-64 and aarch64"
#endif

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "kernel %s, block (%u, %u, %u): %s\n", block->name, block->index.x,
                 block->index.y, block->index.z, what);
    std::abort();
}

// The next fibre, in turn, that does not wait.
static Fibre& next() {
    Block& b = *block;
    for (unsigned asked = 0; asked < b.threads; asked++) {
        if (++b.current == b.threads) b.current = 0;
        if (b.fibre().may_run()) return b.fibre();
    }
    fail("a barrier that not every thread reaches");
}

void Barrier::wait() {
    if (++arrived == alive) return open();
    Fibre& own = block->fibre();
    own.at = this;
    own.until = generation;
    emulator_switch(&own.top, next().top);
    own.at = nullptr;
}

void Barrier::leave() {
    if (--alive > 0 && arrived == alive) open();
}

__attribute__((no_sanitize("address"))) static void entry() {
    Block& b = *block;
    b.kernel(b.arguments);
    b.fibre().done = true;
    b.barrier.leave();
    b.warp().barrier.leave();
    void* unused;
    emulator_switch(&unused, b.barrier.alive == 0 ? b.host : next().top);
}

static void run_block(Block& b) {
    unsigned n = b.threads;
    b.barrier = Barrier{};
    b.barrier.alive = n;
    b.current = 0;
    for (auto& w : b.warps) w = Warp{};
    for (unsigned i = 0; i < n; i++) {
        Fibre& f = b.fibres[i];
        f.thread = {i % b.size.x, i / b.size.x % b.size.y, i / (b.size.x * b.size.y)};
        f.done = false;
        f.turn = 0;
        f.at = nullptr;
        f.sent.clear();
        b.warps[i / WARP].barrier.alive++;
        prepare(f, entry);
    }
    emulator_switch(&b.host, b.fibres[0].top);
}

// With INDUCER_KERNELS_SEEN=DIR a kernel's first launch leaves an empty file of its name in DIR.
static void seen(const std::string& name) {
    static const char* dir = std::getenv("INDUCER_KERNELS_SEEN");
    if (dir == nullptr) return;
    static std::mutex one_at_a_time;
    static std::set<std::string> known;
    std::lock_guard<std::mutex> guard(one_at_a_time);
    if (!known.insert(name).second) return;
    std::string path = std::string(dir) + "/" + name;
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (file == nullptr) fail("INDUCER_KERNELS_SEEN: the file of its name cannot be made");
    std::fclose(file);
}

}  // namespace emulator

// The name of the i-th kernel; null where there is none.
extern "C" const char* emulator_kernel(size_t i) {
    auto& all = emulator::kernels();
    return i < all.size() ? std::next(all.begin(), long(i))->first.c_str() : nullptr;
}

// Runs a kernel over a grid. Returns how many parameters it has, and -1 where there is none of this
// name; it is not run unless there are as many arguments.
extern "C" int emulator_launch(const char* name, const unsigned* grid, const unsigned* size,
                               unsigned shared, void** arguments, size_t count) {
    using namespace emulator;
    auto found = kernels().find(name);
    if (found == kernels().end()) return -1;
    if (found->second.parameters != count) return int(found->second.parameters);
    static thread_local Block kept;  // its stacks serve the next launch
    Block& b = kept;
    b.kernel = found->second.call;
    b.arguments = arguments;
    b.name = found->first.c_str();
    b.size = {size[0], size[1], size[2]};
    b.grid = {grid[0], grid[1], grid[2]};
    b.threads = size[0] * size[1] * size[2];
    if (b.fibres.size() < b.threads) b.fibres.resize(b.threads);
    b.warps.resize((b.threads + WARP - 1) / WARP);
    block = &b;
    seen(found->first);
    for (b.index.z = 0; b.index.z < grid[2]; b.index.z++)
        for (b.index.y = 0; b.index.y < grid[1]; b.index.y++)
            for (b.index.x = 0; b.index.x < grid[0]; b.index.x++) {
                // at a boundary of 16 bytes, as any memory of `malloc` in 64 bits
                b.shared = static_cast<unsigned char*>(std::malloc(shared));
                std::memset(b.shared, 0xFF, shared);  // NaN: what nobody wrote shows
                run_block(b);
                std::free(b.shared);
            }
    block = nullptr;
    return int(count);
}

// Copies four numbers a thread through shared memory, and may forget to wait for them; `from` not
// at a boundary of 16 bytes ends the program.
KERNEL(copied)(const float* from, float* to, unsigned waits) {
    SHARED(float, tile);
    float* mine = tile + 4 * threadIdx.x;
    copy_async(mine, from + 4 * threadIdx.x, true);
    if (waits) arrived();
    for (unsigned n = 0; n < 4; n++) to[4 * threadIdx.x + n] = mine[n];
}
REGISTER(copied)

// The controls of the sanitizers: one writes an element beyond the end, and one shifts a number of
// 32 bits by n of them.
KERNEL(one_beyond)(float* x, unsigned n) {
    x[n] = 1.0f;
}
REGISTER(one_beyond)
KERNEL(shifted)(float* x, unsigned n) {
    x[0] = float(1u << n);
}
REGISTER(shifted)

#include "attention.cu"
#include "embedding.cu"
#include "inducer.cu"
#include "linear.cu"
#include "loss.cu"
#include "optimiser.cu"
#include "pointwise.cu"
#include "rows.cu"
