// Elements of a row, several at a time: one access where the address allows it.
#pragma once
#include "common.cuh"

namespace pack {

template <class T, int N>
struct alignas(N * sizeof(T)) Pack {
    T at[N];
};

// As many elements as 16 bytes have.
template <class T>
constexpr int WIDE = 16 / int(sizeof(T));

template <class T, int N>
DEVICE bool whole(const T* at, unsigned left) {
    return left >= unsigned(N) && reinterpret_cast<uintptr_t>(at) % (N * sizeof(T)) == 0;
}

// The next N elements of a row that has `left` more; zeros beyond its end.
template <int N, class T>
DEVICE void load(float (&to)[N], const T* from, unsigned left) {
    if (whole<T, N>(from, left)) {
        Pack<T, N> all = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
        for (int n = 0; n < N; n++) to[n] = wide(all.at[n]);
    } else {
#pragma unroll
        for (int n = 0; n < N; n++) to[n] = unsigned(n) < left ? wide(from[n]) : 0.0f;
    }
}

template <int N, class T>
DEVICE void store(T* to, const float (&from)[N], unsigned left) {
    if (whole<T, N>(to, left)) {
        Pack<T, N> all;
#pragma unroll
        for (int n = 0; n < N; n++) all.at[n] = narrow<T>(from[n]);
        *reinterpret_cast<Pack<T, N>*>(to) = all;
    } else {
#pragma unroll
        for (int n = 0; n < N; n++)
            if (unsigned(n) < left) to[n] = narrow<T>(from[n]);
    }
}

// The row of a matrix that a thread works at, with `lanes` threads a row, a power of two.
DEVICE unsigned row(unsigned lanes) {
    return blockIdx.x * (blockDim.x / lanes) + threadIdx.x / lanes;
}
DEVICE unsigned lane_of_row(unsigned lanes) { return threadIdx.x % lanes; }

}  // namespace pack

// Kernels `name_A_B` of a function template `name<From, To>` for both scalar types on either side.
#define KERNEL_PAIR(name, A, B, of_a, of_b, parameters, arguments)                \
    namespace name##_of_##of_a##_##of_b {                                         \
    using From = A;                                                               \
    using To = B;                                                                 \
    KERNEL(name##_##of_a##_##of_b) parameters { name<From, To> arguments; }       \
    REGISTER(name##_##of_a##_##of_b)                                              \
    }
// Of all four pairs.
#define KERNEL_PAIRS(name, parameters, arguments)                            \
    KERNEL_PAIR(name, float, float, f32, f32, parameters, arguments)         \
    KERNEL_PAIR(name, float, bf16, f32, bf16, parameters, arguments)         \
    KERNEL_PAIR(name, bf16, float, bf16, f32, parameters, arguments)         \
    KERNEL_PAIR(name, bf16, bf16, bf16, bf16, parameters, arguments)
