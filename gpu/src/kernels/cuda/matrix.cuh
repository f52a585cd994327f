// Products of small matrices by one warp, in f32 or on the bf16 matrix units.
//
// A warp holds 16 rows of a result in registers, as the matrix units do: of the 8 columns from 8 j
// on, lane 4 g + t has columns 2 t and 2 t + 1, in rows g and g + 8:
//
//   c[j][0] (g, 2t)   c[j][1] (g, 2t+1)   c[j][2] (g+8, 2t)   c[j][3] (g+8, 2t+1)
//
// Two products are all that attention needs: `rows_by_rows` of two matrices in shared memory and
// `weights_by_rows` of such a result with one.
#pragma once
#include "common.cuh"

// Elements between the rows of a matrix of width P in shared memory: 16 bytes more than the row,
// so that the eight rows that are read at once lie in different banks.
template <class T, int P>
constexpr int PITCH = P + 16 / int(sizeof(T));

#ifdef __CUDACC__

// Four 8 × 8 matrices of bf16 from shared memory; this lane gives the address of one row.
DEVICE void load_matrices(uint32_t out[4], const bf16* row) {
    uint32_t at = uint32_t(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at));
}
// The same, each of them transposed.
DEVICE void load_transposed(uint32_t out[4], const bf16* row) {
    uint32_t at = uint32_t(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at));
}
// c += a b with a [16, 16], b [16, 8].
DEVICE void multiply(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 16 bytes on their way from global to shared memory, or zeros.
DEVICE void copy_async(void* to, const void* from, bool there) {
    uint32_t at = uint32_t(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from),
                 "r"(there ? 16 : 0));
}
// Everything that the block's threads sent is there, and they have left what was there before.
DEVICE void arrived() {
    asm volatile("cp.async.wait_all;");
    __syncthreads();
}
DEVICE float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
// Two numbers in bf16, the first in the lower half.
DEVICE uint32_t packed(float low, float high) {
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<uint32_t*>(&pair);
}

#else

inline void copy_async(void* to, const void* from, bool there) {
    emulator::send(to, from, there);
}
inline void arrived() {
    emulator::receive();
    __syncthreads();
}
inline float power_of_two(float x) { return std::exp2(x); }
inline uint32_t packed(float low, float high) {
    return uint32_t(narrow<bf16>(low).bits) | uint32_t(narrow<bf16>(high).bits) << 16;
}

inline uint32_t pair_of(const bf16* row, unsigned i, const bf16* next, unsigned j) {
    return uint32_t(row[i].bits) | uint32_t(next[j].bits) << 16;
}
inline void load_matrices(uint32_t out[4], const bf16* row) {
    unsigned g = lane() / 4, t = lane() % 4;
    emulator::access(row, 16);
    emulator::exchange(row, [&](auto of) {
        for (unsigned i = 0; i < 4; i++)
            out[i] = pair_of(of(8 * i + g), 2 * t, of(8 * i + g), 2 * t + 1);
        return 0;
    });
}
inline void load_transposed(uint32_t out[4], const bf16* row) {
    unsigned g = lane() / 4, t = lane() % 4;
    emulator::access(row, 16);
    emulator::exchange(row, [&](auto of) {
        for (unsigned i = 0; i < 4; i++)
            out[i] = pair_of(of(8 * i + 2 * t), g, of(8 * i + 2 * t + 1), g);
        return 0;
    });
}
inline float half_of(uint32_t pair, unsigned which) {
    return wide(bf16{uint16_t(pair >> 16 * which)});
}
inline void multiply(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
    struct Shown {
        uint32_t a[4], b[2];
    } mine{{a[0], a[1], a[2], a[3]}, {b0, b1}};
    unsigned g = lane() / 4, t = lane() % 4;
    emulator::exchange(mine, [&](auto of) {
        // two neighbouring k at a time, which one lane shows
        for (unsigned pair = 0; pair < 8; pair++) {
            unsigned owner = pair % 4, upper = pair / 4;
            Shown row = of(4 * g + owner);
            uint32_t left = of(8 * t + owner).b[upper], right = of(8 * t + 4 + owner).b[upper];
            for (unsigned part = 0; part < 2; part++) {
                float low = half_of(row.a[2 * upper], part);
                float high = half_of(row.a[2 * upper + 1], part);
                float x = half_of(left, part), y = half_of(right, part);
                c[0] += low * x;
                c[1] += low * y;
                c[2] += high * x;
                c[3] += high * y;
            }
        }
        return 0;
    });
}

#endif

// The sum over the four lanes that share a row of a result.
DEVICE float over_quad(float x) {
    x += __shfl_xor_sync(0xFFFFFFFFu, x, 1);
    return x + __shfl_xor_sync(0xFFFFFFFFu, x, 2);
}

// N neighbouring numbers in one access of 4 N bytes.
template <int N>
DEVICE void several(float (&to)[N], const float* from) {
#ifdef __CUDACC__
    if constexpr (N == 4)
        *reinterpret_cast<float4*>(to) = *reinterpret_cast<const float4*>(from);
    else
        *reinterpret_cast<float2*>(to) = *reinterpret_cast<const float2*>(from);
#else
    emulator::access(from, sizeof(to));
    std::memcpy(to, from, sizeof(to));
#endif
}

// c [16, N] += a bᵀ, with a [16, P] and b [N, P] in shared memory; `a` is the warp's first row.
template <int N, int P>
DEVICE void rows_by_rows(float c[N / 8][4], const float* a, const float* b) {
    constexpr int D = PITCH<float, P>;
    unsigned g = lane() / 4, t = lane() % 4;
#pragma unroll 2
    for (int k = 0; k < P; k += 4) {
        float low[4], high[4];
        several<4>(low, a + g * D + k);
        several<4>(high, a + (g + 8) * D + k);
#pragma unroll
        for (int j = 0; j < N / 8; j++)
#pragma unroll
            for (int n = 0; n < 2; n++) {
                float x[4];
                several<4>(x, b + (8 * j + 2 * t + n) * D + k);
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    c[j][n] += low[i] * x[i];
                    c[j][n + 2] += high[i] * x[i];
                }
            }
    }
}
template <int N, int P>
DEVICE void rows_by_rows(float c[N / 8][4], const bf16* a, const bf16* b) {
    constexpr int D = PITCH<bf16, P>;
    unsigned l = lane();
#pragma unroll
    for (int k = 0; k < P; k += 16) {
        uint32_t left[4];
        load_matrices(left, a + (l % 16) * D + k + l / 16 * 8);
#pragma unroll
        for (int j = 0; j < N / 8; j += 2) {
            uint32_t right[4];  // of 16 rows of b: columns k and k + 8 of the first 8, the last 8
            load_matrices(right, b + (8 * j + l % 8 + l / 16 * 8) * D + k + l / 8 % 2 * 8);
            multiply(c[j], left, right[0], right[1]);
            multiply(c[j + 1], left, right[2], right[3]);
        }
    }
}

// c [16, P] += w b, with w [16, N] in registers, b [N, P] in shared memory.
template <int N, int P>
DEVICE void weights_by_rows(float c[P / 8][4], const float w[N / 8][4], const float* b) {
    constexpr int D = PITCH<float, P>;
    unsigned t = lane() % 4, quad = lane() - t;
#pragma unroll
    for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int k = 0; k < 8; k++) {
            float low = __shfl_sync(0xFFFFFFFFu, w[j][k % 2], quad + k / 2);
            float high = __shfl_sync(0xFFFFFFFFu, w[j][k % 2 + 2], quad + k / 2);
            const float* row = b + (8 * j + k) * D;
#pragma unroll
            for (int i = 0; i < P / 8; i++) {
                float x[2];
                several<2>(x, row + 8 * i + 2 * t);
#pragma unroll
                for (int n = 0; n < 2; n++) {
                    c[i][n] += low * x[n];
                    c[i][n + 2] += high * x[n];
                }
            }
        }
}
template <int N, int P>
DEVICE void weights_by_rows(float c[P / 8][4], const float w[N / 8][4], const bf16* b) {
    constexpr int D = PITCH<bf16, P>;
    unsigned l = lane();
#pragma unroll
    for (int j = 0; j < N / 8; j += 2) {
        uint32_t left[4] = {packed(w[j][0], w[j][1]), packed(w[j][2], w[j][3]),
                            packed(w[j + 1][0], w[j + 1][1]), packed(w[j + 1][2], w[j + 1][3])};
#pragma unroll
        for (int i = 0; i < P / 8; i += 2) {
            uint32_t right[4];
            load_transposed(right, b + (8 * j + l % 16) * D + 8 * i + l / 16 * 8);
            multiply(c[i], left, right[0], right[1]);
            multiply(c[i + 1], left, right[2], right[3]);
        }
    }
}
