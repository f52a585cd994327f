// What all kernels have in common: scalar types, dropout's hash, sums over warps and blocks.
//
// The same text compiles with nvcc for a card, and as C++ over `emulator.h` for a CPU, where the
// tests run it.
#pragma once

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <stdint.h>
#define SHARED(T, name)                                             \
    extern __shared__ __align__(16) unsigned char shared_memory[]; \
    T* name = reinterpret_cast<T*>(shared_memory)
#define KERNEL(name) extern "C" __global__ void name
#define REGISTER(name)
#else
#include "emulator.h"
#define SHARED(T, name) T* name = reinterpret_cast<T*>(emulator::block->shared)
#define KERNEL(name) static void name
#define REGISTER(name) \
    static emulator::Registration registered_##name( \
        #name, {&emulator::Caller<&name>::call, emulator::Caller<&name>::parameters});
#endif

#define DEVICE static __device__ __forceinline__

using bf16 = __nv_bfloat16;

// Two kernels, `name_f32` and `name_bf16`, of a function template `name<T>`. In the parameters T is
// the scalar type of tensors.
#define KERNELS(name, parameters, arguments)                      \
    namespace name##_of_f32 {                                     \
    using T = float;                                              \
    KERNEL(name##_f32) parameters { name<float> arguments; }      \
    REGISTER(name##_f32)                                          \
    }                                                             \
    namespace name##_of_bf16 {                                    \
    using T = bf16;                                               \
    KERNEL(name##_bf16) parameters { name<bf16> arguments; }      \
    REGISTER(name##_bf16)                                         \
    }

DEVICE float wide(float x) { return x; }
DEVICE float wide(bf16 x) { return __bfloat162float(x); }

template <class T>
DEVICE T narrow(float x);
template <>
__device__ __forceinline__ float narrow<float>(float x) {
    return x;
}
template <>
__device__ __forceinline__ bf16 narrow<bf16>(float x) {
    return __float2bfloat16_rn(x);
}

// 16 bytes in one access to memory that is aligned for it.
DEVICE uint4 read_16(const void* from) {
#ifndef __CUDACC__
    emulator::access(from, 16);
#endif
    return *static_cast<const uint4*>(from);
}
DEVICE void write_16(void* to, uint4 words) {
#ifndef __CUDACC__
    emulator::access(to, 16);
#endif
    *static_cast<uint4*>(to) = words;
}

// The i-th of all threads of a one-dimensional grid, and how many there are.
DEVICE size_t thread_of_grid() { return size_t(blockIdx.x) * blockDim.x + threadIdx.x; }
DEVICE size_t threads_of_grid() { return size_t(gridDim.x) * blockDim.x; }

DEVICE unsigned lane() { return threadIdx.x % 32; }
DEVICE unsigned warp() { return threadIdx.x / 32; }

// Sum and maximum over the lanes of a warp, the same in all of them. The order is fixed.
DEVICE float warp_sum(float x) {
    for (int i = 16; i > 0; i /= 2) x += __shfl_xor_sync(0xFFFFFFFFu, x, i);
    return x;
}
DEVICE float warp_max(float x) {
    for (int i = 16; i > 0; i /= 2) x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, i));
    return x;
}

// The same over a block of at most 1024 threads, by way of 32 words of shared memory.
DEVICE float block_sum(float x, float* words) {
    x = warp_sum(x);
    __syncthreads();
    if (lane() == 0) words[warp()] = x;
    __syncthreads();
    unsigned warps = (blockDim.x + 31) / 32;
    return warp_sum(lane() < warps ? words[lane()] : 0.0f);
}
DEVICE float block_max(float x, float* words) {
    x = warp_max(x);
    __syncthreads();
    if (lane() == 0) words[warp()] = x;
    __syncthreads();
    unsigned warps = (blockDim.x + 31) / 32;
    return warp_max(lane() < warps ? words[lane()] : -INFINITY);
}

// Dropout by a hash of (key, index): the CPU's masks bit for bit (kernels/mask.rs).
struct Dropout {
    uint64_t key;
    uint32_t threshold;  // rate · 2³²; 0: nothing is dropped
    float keep;          // 1 / (1 − rate)
};

DEVICE uint64_t mix(uint64_t x) {
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

// Keep factors along one row of a mask.
struct KeepRow {
    uint32_t first, second;
};

DEVICE KeepRow keep_row(Dropout drop, uint64_t row) {
    uint64_t key = mix(drop.key ^ mix(row));
    return {uint32_t(key), uint32_t(key >> 32)};
}

DEVICE float keep_factor(Dropout drop, KeepRow row, uint32_t index) {
    uint32_t x = (index * 0x9E3779B9u) ^ row.first;
    x = (x ^ (x >> 16)) * 0x7FEB352Du;
    x = (x ^ (x >> 15) ^ row.second) * 0x846CA68Bu;
    x ^= x >> 16;
    return x < drop.threshold ? 0.0f : drop.keep;
}
