// Several neighbouring elements of a tensor at once, and the loops over them that kernels of rows
// and of single elements have in common.
#pragma once
#include "common.cuh"

namespace vectors {

// Copies of 4, 8 or a multiple of 16 bytes between registers and memory that is aligned for them.
template <int BYTES>
DEVICE void copy(void* to, const void* from) {
#ifdef __CUDACC__
    if constexpr (BYTES % 16 == 0) {
#pragma unroll
        for (int i = 0; i < BYTES / 16; i++)
            static_cast<uint4*>(to)[i] = static_cast<const uint4*>(from)[i];
    } else if constexpr (BYTES == 8) {
        *static_cast<uint2*>(to) = *static_cast<const uint2*>(from);
    } else {
        static_assert(BYTES == 4, "one access a copy");
        *static_cast<uint32_t*>(to) = *static_cast<const uint32_t*>(from);
    }
#else
    constexpr size_t access = BYTES % 16 == 0 ? 16 : BYTES;
    emulator::access(to, access);
    emulator::access(from, access);
    std::memcpy(to, from, BYTES);
#endif
}

// N elements from memory as floats, and back.
template <int N, class T>
DEVICE void load(float (&x)[N], const T* from) {
    if constexpr (N == 1) {
        x[0] = wide(*from);
    } else {
        alignas(16) T raw[N];
        copy<N * int(sizeof(T))>(raw, from);
#pragma unroll
        for (int i = 0; i < N; i++) x[i] = wide(raw[i]);
    }
}
template <int N, class T>
DEVICE void store(T* to, const float (&x)[N]) {
    if constexpr (N == 1) {
        *to = narrow<T>(x[0]);
    } else {
        alignas(16) T raw[N];
#pragma unroll
        for (int i = 0; i < N; i++) raw[i] = narrow<T>(x[i]);
        copy<N * int(sizeof(T))>(to, raw);
    }
}

// How many elements of the widest of these types 16 bytes hold.
template <class A, class B = A>
constexpr int VECTOR = 16 / int(sizeof(A) > sizeof(B) ? sizeof(A) : sizeof(B));

// Whether vectors may begin at these addresses; null does.
DEVICE bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }
template <class... P>
DEVICE bool aligned(const void* p, P... others) {
    return aligned(p) && aligned(others...);
}

// The same of vectors of N elements alone, which may need less: what a tensor's own length gives
// it. Where the order of a sum hangs on it, memory must not decide.
template <int N, class T>
DEVICE bool begins(const T* p) {
    constexpr uintptr_t bytes = N * sizeof(T);
    return reinterpret_cast<uintptr_t>(p) % (bytes < 16 ? bytes : 16) == 0;
}
template <int N, class T, class... P>
DEVICE bool begins(const T* p, P... others) {
    return begins<N>(p) && begins<N>(others...);
}

template <int N>
struct Count {
    static constexpr int value = N;
};

// Calls f with vectors of N elements where the operands allow it, else with single ones.
template <int N, class F>
DEVICE void in_vectors(bool fit, F f) {
    if (fit)
        f(Count<N>{});
    else
        f(Count<1>{});
}

// Each warp of the grid has a row [width]: f of the row and of each of its vectors' first columns.
template <int N, class F>
DEVICE void along_rows(unsigned rows, unsigned width, F f) {
    for (size_t row = thread_of_grid() / 32; row < rows; row += threads_of_grid() / 32)
        for (unsigned at = N * lane(); at < width; at += 32 * N) f(row, at);
}

}  // namespace vectors
