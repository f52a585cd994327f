// Gradients of a bottleneck's weights, from all tokens (`bottleneck.cuh`).
#pragma once
#include "bottleneck.cuh"

namespace bottleneck {

// c [16, 8 N] += aᵀ b over 64 rows of a [64, 16] and b [64, 8 N], both within wider matrices.
template <int N, int DA, int DB>
DEVICE void columns_by_rows(float c[N][4], const float* a, const float* b) {
    unsigned g = lane() / 4, t = lane() % 4;
#pragma unroll 4
    for (int k = 0; k < TOKENS; k++) {
        float low = a[k * DA + g], high = a[k * DA + g + 8];
#pragma unroll
        for (int j = 0; j < N; j++)
#pragma unroll
            for (int n = 0; n < 2; n++) {
                float x = b[k * DB + 8 * j + 2 * t + n];
                c[j][n] += low * x;
                c[j][n + 2] += high * x;
            }
    }
}
template <int N, int DA, int DB>
DEVICE void columns_by_rows(float c[N][4], const bf16* a, const bf16* b) {
    unsigned l = lane();
#pragma unroll
    for (int k = 0; k < TOKENS; k += 16) {
        uint32_t left[4];  // columns of a, and then 8 rows further down
        load_transposed(left, a + (k + l % 8 + l / 16 * 8) * DA + l / 8 % 2 * 8);
#pragma unroll
        for (int j = 0; j < N; j += 2) {
            uint32_t right[4];
            load_transposed(right, b + (k + l % 16) * DB + 8 * j + l / 16 * 8);
            multiply(c[j], left, right[0], right[1]);
            multiply(c[j + 1], left, right[2], right[3]);
        }
    }
}

// Where a block's share of the weights' gradients goes: W₁ [H, p, r], b₁ [H, r], W₂ [H, r, p] and
// b₂ [H, p] one behind the other, as far as the operation has them.
enum Kind { SCORE, HIDDEN, VALUES };

template <Kind K>
struct Share {
    float* data;
    Sizes s;

    __device__ __forceinline__ void add_down(unsigned unit, unsigned j, float x) const {
        if (unit < s.r && j < s.width)
            data[(size_t(blockIdx.y) * s.width + j) * s.r + unit] = x;
    }
    __device__ __forceinline__ void add_down_bias(unsigned unit, float x) const {
        if (unit < s.r) data[size_t(s.heads) * s.width * s.r + blockIdx.y * s.r + unit] = x;
    }
    __device__ __forceinline__ void add_up(unsigned unit, unsigned j, float x) const {
        size_t h = s.heads, from = K == SCORE ? h * s.width * s.r + h * s.r : 0;
        if (j >= s.width) return;
        if (unit < s.r)
            data[from + (size_t(blockIdx.y) * s.r + unit) * s.width + j] = x;
        else if (unit == s.r)
            data[from + h * s.r * s.width + blockIdx.y * s.width + j] = x;
    }
    __device__ __forceinline__ static size_t size(Sizes s) {
        size_t down = size_t(s.heads) * s.r * (s.width + 1);
        size_t up = size_t(s.heads) * s.width * (s.r + 1);
        return K == SCORE ? down + up : K == HIDDEN ? down : up;
    }
};

// What a block has in shared memory: 64 tokens; of these, what is to be multiplied with them for W₁
// and for W₂, [64, 32]; and W₁ᵀ and W₂, as far as the operation has them.
template <class T, int P, Kind K>
struct Side {
    static constexpr int D = PITCH<T, P>, E = PITCH<T, CHUNK>;
    T *tile, *left, *right, *down, *up;

    __device__ __forceinline__ explicit Side(T* shared) {
        tile = shared;
        left = tile + TOKENS * D;
        right = K == SCORE ? left + TOKENS * E : left;
        down = right + TOKENS * E;
        up = K == SCORE ? down + CHUNK * D : down;
    }
};

// What a pass over the tokens is given: `rows` has q, or for VALUES the gradient of the result;
// `hidden` the gradient of [tokens, H r], or for VALUES these units themselves; `numbers`
// [tokens, H] the score's gradient, or λ.
template <class T>
struct Given {
    const T *rows, *hidden;
    const float* numbers;
    Mlp<T> mlp;
    float scale;
};

// What 16 hidden units have for the warp's tokens: gradients of z, which are also added to those of
// b₁, and the units themselves.
template <class T, int P, Kind K>
DEVICE void units_of_tile(Side<T, P, K> side, Given<T> given, unsigned from, int part,
                          float bias[2][2], Sizes s) {
    constexpr int D = PITCH<T, P>, E = PITCH<T, CHUNK>;
    unsigned first = blockIdx.z * CHUNK + UNITS * part;
    T* mine = side.tile + 16 * warp() * D;
    float u[2][4] = {}, e[2][4] = {}, w[2];
    numbers_of(w, given.numbers, from, given.scale, s);
    if constexpr (K == VALUES) {
        read_units(u, given.hidden, from, first, s);
    } else {
        rows_by_rows<UNITS, P>(u, mine, side.down + UNITS * part * D);
        if constexpr (K == SCORE)
            rows_by_rows<UNITS, P>(e, mine, side.up + UNITS * part * D);
        else
            read_units(e, given.hidden, from, first, s);
    }
#pragma unroll
    for (int j = 0; j < 2; j++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float unit[2], slope[2];
#pragma unroll
            for (int n = 0; n < 2; n++) {
                unsigned i = column_of(first, j, n);
                float x = u[j][2 * half + n];
                if constexpr (K == VALUES) {
                    unit[n] = i == s.r ? w[half] : x;
                } else {
                    x = unit_of(x, given.mlp.down_bias, i, s);
                    unit[n] = w[half] * x;
                    slope[n] = w[half] * e[j][2 * half + n] * (1.0f - x * x);
                    bias[j][n] += slope[n];
                }
            }
            unsigned row = 16 * warp() + row_of(2 * half);
            unsigned at = row * E + column_of(UNITS * part, j, 0);
            if constexpr (K != VALUES) *pair_at(side.left + at) = pair<T>(slope[0], slope[1]);
            if constexpr (K != HIDDEN) *pair_at(side.right + at) = pair<T>(unit[0], unit[1]);
        }
}

// Writes the gradients of b₁: their sums over the lanes with the same columns, then over the warps.
template <Kind K>
DEVICE void share_bias(Share<K> share, const float bias[2][2][2], float* sums) {
    __syncthreads();
#pragma unroll
    for (int part = 0; part < 2; part++)
#pragma unroll
        for (int j = 0; j < 2; j++)
#pragma unroll
            for (int n = 0; n < 2; n++) {
                float x = bias[part][j][n];
                for (int i = 4; i < 32; i *= 2) x += __shfl_xor_sync(0xFFFFFFFFu, x, i);
                if (lane() < 4) sums[warp() * CHUNK + column_of(UNITS * part, j, n)] = x;
            }
    __syncthreads();
    if (threadIdx.x < CHUNK) {
        float x = 0;
        for (int i = 0; i < WARPS; i++) x += sums[i * CHUNK + threadIdx.x];
        share.add_down_bias(blockIdx.z * CHUNK + threadIdx.x, x);
    }
}

// Gradients of the weights of 32 hidden units from the block's tokens.
template <class T, int P, Kind K>
DEVICE void weights(Given<T> given, float* parts, Sizes s) {
    constexpr int D = PITCH<T, P>, E = PITCH<T, CHUNK>, N = P / WARPS / 8;
    SHARED(T, shared);
    Side<T, P, K> side(shared);
    unsigned begin = blockIdx.z * CHUNK, units = K == HIDDEN ? s.r : s.r + 1, h = blockIdx.y;
    const Mlp<T>& mlp = given.mlp;
    if (K != VALUES) load_down<T, P>(side.down, mlp.down, h, begin, CHUNK, s);
    if (K == SCORE) load_up<T, P>(side.up, mlp.up, mlp.up_bias, h, begin, CHUNK, s);

    // a warp has a quarter of the columns
    float of_down[2][N][4] = {}, of_up[2][N][4] = {}, bias[2][2][2] = {};
    for_tiles<T, P>(side.tile, given.rows, s, [&](unsigned from) {
#pragma unroll
        for (int part = 0; part < 2; part++)
            if (begin + UNITS * part < units)
                units_of_tile(side, given, from, part, bias[part], s);
        __syncthreads();
        const T* columns = side.tile + 8 * N * warp();
#pragma unroll
        for (int part = 0; part < 2; part++) {
            if (begin + UNITS * part >= units) continue;
            if constexpr (K != VALUES)
                columns_by_rows<N, E, D>(of_down[part], side.left + UNITS * part, columns);
            if constexpr (K != HIDDEN)
                columns_by_rows<N, E, D>(of_up[part], side.right + UNITS * part, columns);
        }
    });

    Share<K> share{parts + blockIdx.x * Share<K>::size(s), s};
#pragma unroll
    for (int part = 0; part < 2; part++)
#pragma unroll
        for (int j = 0; j < N; j++)
#pragma unroll
            for (int c = 0; c < 4; c++) {
                unsigned unit = begin + UNITS * part + row_of(c);
                unsigned column = column_of(8 * N * warp(), j, c);
                if constexpr (K != VALUES) share.add_down(unit, column, of_down[part][j][c]);
                if constexpr (K != HIDDEN) share.add_up(unit, column, of_up[part][j][c]);
            }
    if constexpr (K != VALUES) share_bias(share, bias, reinterpret_cast<float*>(shared));
}

// The blocks' shares added up in order, into tensors of n[0], n[1], … elements.
template <class T>
DEVICE void sum_shares(const float* parts, unsigned blocks, T* a, unsigned na, T* b, unsigned nb,
                       T* c, unsigned nc, T* d, unsigned nd) {
    size_t size = size_t(na) + nb + nc + nd;
    for (size_t i = thread_of_grid(); i < size; i += threads_of_grid()) {
        float sum = 0;
#pragma unroll 8
        for (unsigned k = 0; k < blocks; k++) sum += parts[k * size + i];
        T x = narrow<T>(sum);
        if (i < na)
            a[i] = x;
        else if (i - na < nb)
            b[i - na] = x;
        else if (i - na - nb < nc)
            c[i - na - nb] = x;
        else
            d[i - na - nb - nc] = x;
    }
}

}  // namespace bottleneck
