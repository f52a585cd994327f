// A block of CUDA threads on a CPU: what `common.cuh` needs where no nvcc compiles it.
//
// The threads of a block are fibres of one operating-system thread. A fibre runs until it waits at
// a barrier, then the next one does; so a barrier that not all threads reach is found, and said,
// rather than waited at. Shared memory is from `malloc`, as long as the launch asks for and no
// longer, so that AddressSanitizer sees its ends.
// Blocks run one after the other: no kernel may wait for another block. What a thread copies
// asynchronously arrives when it waits for it, and not before.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace emulator {

struct Dim {
    unsigned x, y, z;
};

constexpr unsigned WARP = 32;
constexpr size_t STACK = 128 * 1024;

// A kernel that takes its parameters from memory.
using Call = void (*)(void**);

// Of the threads of a warp or block: how many live, how many of them wait, and a number that
// changes when all do and go on.
struct Barrier {
    unsigned alive = 0, arrived = 0, generation = 0;

    void wait();   // for all that live
    void leave();  // for good: one that has ended is waited for no longer

  private:
    void open() {
        arrived = 0;
        generation++;
    }
};

// What the lanes of a warp show to each other. Two exchanges in turn use two places, so that one
// barrier an exchange is enough.
struct Warp {
    Barrier barrier;
    uint64_t words[2][WARP][6];
};

// 16 bytes on their way, or zeros.
struct Copy {
    void* to;
    const void* from;
    bool there;
};

struct Fibre {
    void* top = nullptr;  // the saved stack pointer
    std::unique_ptr<unsigned char[]> stack{new unsigned char[STACK]};  // untouched until used
    Dim thread{0, 0, 0};
    unsigned turn = 0;  // which of the warp's two places is next
    bool done = false;
    const Barrier* at = nullptr;  // where it waits
    unsigned until = 0;           // that barrier's generation while it does
    std::vector<Copy> sent{};     // what it has not waited for yet

    bool may_run() const { return !done && (at == nullptr || at->generation != until); }
};

struct Block {
    std::vector<Fibre> fibres;  // those of the largest block so far; the first `threads` are used
    unsigned threads = 0;
    std::vector<Warp> warps;
    Dim index{0, 0, 0}, size{1, 1, 1}, grid{1, 1, 1};
    Barrier barrier;
    unsigned current = 0;
    unsigned char* shared = nullptr;
    void* host = nullptr;  // the stack pointer of whoever launched
    Call kernel = nullptr;
    void** arguments = nullptr;
    const char* name = "";

    Fibre& fibre() { return fibres[current]; }
    Warp& warp() { return warps[current / WARP]; }
};

// `__thread` and not `thread_local`: it has no constructor, and nobody asks before each use
extern __thread Block* block;

// Ends the program with the kernel's name and block.
[[noreturn]] void fail(const char* what);

// One access of so many bytes, which a card refuses at an address that is no multiple of them.
inline void access(const void* at, size_t bytes) {
    if (reinterpret_cast<uintptr_t>(at) % bytes != 0) fail("an access that is not aligned");
}

// Until they have arrived the memory is nobody's to read: it is full of NaN.
inline void send(void* to, const void* from, bool there) {
    access(to, 16);
    access(from, 16);
    std::memset(to, 0xFF, 16);
    block->fibre().sent.push_back({to, from, there});
}

// All that this thread sent is there.
inline void receive() {
    auto& sent = block->fibre().sent;
    for (const Copy& copy : sent) {
        if (copy.there)
            std::memcpy(copy.to, copy.from, 16);
        else
            std::memset(copy.to, 0, 16);
    }
    sent.clear();
}

// Saves the registers that a call keeps on this stack, and goes on with another stack.
extern "C" void emulator_switch(void** from, void* to);

// What every lane shows, then what this lane reads of it.
template <class T, class F>
auto exchange(const T& mine, F read) {
    static_assert(sizeof(T) <= sizeof(Warp::words[0][0]), "a lane shows at most six words");
    Warp& warp = block->warp();
    auto& place = warp.words[block->fibre().turn++ % 2];
    std::memcpy(place[block->current % WARP], &mine, sizeof(T));
    warp.barrier.wait();
    return read([&](unsigned lane) {
        T of;
        std::memcpy(&of, place[lane % WARP], sizeof(T));
        return of;
    });
}

struct Kernel {
    Call call;
    size_t parameters;
};

std::map<std::string, Kernel>& kernels();

template <class... P, size_t... I>
void unpack(void (*f)(P...), void** arguments, std::index_sequence<I...>) {
    f(*static_cast<std::remove_reference_t<P>*>(arguments[I])...);
}

template <auto F>
struct Caller;
template <class... P, void (*F)(P...)>
struct Caller<F> {
    static constexpr size_t parameters = sizeof...(P);
    static void call(void** arguments) {
        unpack(F, arguments, std::index_sequence_for<P...>{});
    }
};

struct Registration {
    Registration(const char* name, Kernel kernel) { kernels()[name] = kernel; }
};

}  // namespace emulator

#define __device__
#define __forceinline__ inline
#define threadIdx (emulator::block->fibre().thread)
#define blockIdx (emulator::block->index)
#define blockDim (emulator::block->size)
#define gridDim (emulator::block->grid)

inline void __syncthreads() { emulator::block->barrier.wait(); }
inline void __syncwarp() { emulator::block->warp().barrier.wait(); }

template <class T>
T __shfl_xor_sync(unsigned, T x, int mask) {
    unsigned lane = emulator::block->current % emulator::WARP;
    return emulator::exchange(x, [&](auto of) { return of(lane ^ unsigned(mask)); });
}

template <class T>
T __shfl_sync(unsigned, T x, int from) {
    return emulator::exchange(x, [&](auto of) { return of(unsigned(from)); });
}

inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }

inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

// Brain float: the upper half of an f32, rounded to the nearest, ties to even.
struct __nv_bfloat16 {
    uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 x) {
    uint32_t wide = uint32_t(x.bits) << 16;
    float f;
    std::memcpy(&f, &wide, 4);
    return f;
}

inline __nv_bfloat16 __float2bfloat16_rn(float f) {
    uint32_t wide;
    std::memcpy(&wide, &f, 4);
    if (std::isnan(f)) return {0x7FFF};
    return {uint16_t((wide + 0x7FFF + ((wide >> 16) & 1)) >> 16)};
}

struct alignas(16) uint4 {
    uint32_t x, y, z, w;
} __attribute__((may_alias));
