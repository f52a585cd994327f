// The inducer's operations (Eqs. 5–8 and 11), head by head, and the prefix's mixture (§4.2).
//
// Those with a bottleneck come down to products with two matrices [r, p] of a head, the transposed
// W₁ and W₂. With z = q W₁, v = q W₂ᵀ and u = tanh(z + b₁), the score against q + MLP_k(q) is
//
//   s = (⟨q, q⟩ + ⟨u, v⟩ + ⟨q, b₂⟩)/√p,   so that no result of W₂ is kept.  With e = v ∘ (1 − u²):
//   ds/dq = (2 q + u W₂ + e W₁ᵀ + b₂)/√p,   ds/dW₁ᵀ = e ⊗ q/√p,   ds/dW₂ = u ⊗ q/√p.
//
// b₂ is one more row of W₂, whose hidden unit is always 1 (in the value path: λ). So is its
// gradient.
//
// A block has four warps and 64 tokens of one head at a time, a warp 16 of them. Gradients of
// weights are another pass: a block has 32 hidden units and many tokens, and writes its sum beside
// those of other blocks, which are added up in order. So no two blocks add to the same element.
//
// What bounds it: 16,384 queries of 12 heads of 64 are 25 MB in bf16, 8 µs of an H100's memory; a
// product with the 100 hidden units of Adaptive is 2.5 GFLOP, 4 µs of its matrix units, but as f32
// arithmetic 40 to 80 µs, and there are two such products forward and eight backward. Hence the
// matrix units. The inducer's 10 and 15 units are computed as 16, which makes 0.4 GFLOP of a
// product, under 1 µs on the matrix units: there memory is the bound. As f32 arithmetic it is 6 to
// 13 µs.
#pragma once
#include "matrix.cuh"

namespace bottleneck {

constexpr int TOKENS = 64;  // of a block at a time
constexpr int WARPS = 4;
constexpr int UNITS = 16;   // hidden units of a warp at a time
constexpr int CHUNK = 32;   // hidden units whose weights' gradients a block has

// Heads of this width have r hidden units; vectors of a token lie in rows of `row` elements.
struct Sizes {
    unsigned tokens, heads, width, r, row;
};

// Up to 16 bytes of a row at a time; one by one where they do not lie on such a boundary.
template <class T>
constexpr int PACK = 16 / int(sizeof(T));

template <class T>
DEVICE bool rows_aligned(const T* rows, size_t row) {
    return row % PACK<T> == 0 && reinterpret_cast<uintptr_t>(rows) % 16 == 0;
}

// Rows `from … from + 64` of head h to shared memory; zeros beyond the end and beyond its width.
template <class T, int P>
DEVICE void load_rows(T* tile, const T* rows, unsigned h, unsigned from, Sizes s) {
    constexpr int D = PITCH<T, P>, V = PACK<T>;
    const T* base = rows + size_t(h) * s.width;
    bool whole = s.width % V == 0 && rows_aligned(rows, s.row);
    for (unsigned at = threadIdx.x; at < unsigned(TOKENS * P / V); at += 32 * WARPS) {
        unsigned i = at / (P / V), j = at % (P / V) * V;
        T* to = tile + i * D + j;
        const T* of = base + size_t(from + i) * s.row + j;
        if (whole && from + i < s.tokens && j < s.width) {
            write_16(to, read_16(of));
        } else {
            for (int n = 0; n < V; n++)
                to[n] = from + i < s.tokens && j + n < s.width ? of[n] : narrow<T>(0.0f);
        }
    }
}

// The warp's 16 rows of a tile to those of a tensor [tokens, H p].
template <class T, int P>
DEVICE void store_rows(const T* mine, T* out, unsigned h, unsigned from, Sizes s) {
    constexpr int D = PITCH<T, P>, V = PACK<T>;
    size_t row = size_t(s.heads) * s.width;
    bool whole = s.width % V == 0 && rows_aligned(out, row);
    __syncwarp();
#pragma unroll 4
    for (unsigned at = lane(); at < unsigned(16 * P / V); at += 32) {
        unsigned i = at / (P / V), j = at % (P / V) * V;
        if (from + i >= s.tokens || j >= s.width) continue;
        const T* of = mine + i * D + j;
        T* to = out + (from + i) * row + size_t(h) * s.width + j;
        if (whole) {
            write_16(to, read_16(of));
        } else {
            for (unsigned n = 0; n < unsigned(V) && j + n < s.width; n++) to[n] = of[n];
        }
    }
}

// Hidden units `from … from + count` of W₁ [H, p, r] to shared memory, transposed, with zeros
// beyond its sizes.
template <class T, int P>
DEVICE void load_down(T* tile, const T* down, unsigned h, unsigned from, unsigned count, Sizes s) {
    constexpr int D = PITCH<T, P>;
    const T* base = down + size_t(h) * s.width * s.r;
    for (unsigned j = warp(); j < unsigned(P); j += WARPS)
        for (unsigned i = lane(); i < count; i += 32) {
            bool inside = j < s.width && from + i < s.r;
            tile[i * D + j] = inside ? base[j * s.r + from + i] : narrow<T>(0.0f);
        }
}

// The same of W₂ [H, r, p]; row r is b₂.
template <class T, int P>
DEVICE void load_up(T* tile, const T* up, const T* bias, unsigned h, unsigned from, unsigned count,
                    Sizes s) {
    constexpr int D = PITCH<T, P>, V = PACK<T>;
    bool whole = rows_aligned(up, s.width) && rows_aligned(bias, s.width);
    for (unsigned at = threadIdx.x; at < count * (P / V); at += 32 * WARPS) {
        unsigned i = at / (P / V), j = at % (P / V) * V, unit = from + i;
        T* to = tile + i * D + j;
        const T* of = unit < s.r ? up + (size_t(h) * s.r + unit) * s.width : bias + h * s.width;
        if (whole && unit <= s.r && j < s.width) {
            write_16(to, read_16(of + j));
        } else {
            for (unsigned n = 0; n < unsigned(V); n++)
                to[n] = unit <= s.r && j + n < s.width ? of[j + n] : narrow<T>(0.0f);
        }
    }
}

// One head's matrices as they are given; an operation has some of them.
template <class T>
struct Mlp {
    const T *down, *down_bias, *up, *up_bias;
};

// What a block has in shared memory: 64 tokens, and `held` hidden units at a time.
template <class T, int P>
struct Held {
    T *tile, *down, *up;
    unsigned held;

    __device__ __forceinline__ Held(T* shared, const Mlp<T>& mlp, unsigned held) : held(held) {
        tile = shared;
        down = tile + TOKENS * PITCH<T, P>;
        up = mlp.down ? down + held * PITCH<T, P> : down;
    }
    __device__ __forceinline__ T* mine() const { return tile + 16 * warp() * PITCH<T, P>; }

    // For all hidden units of a head, 16 at a time: `f(first, W₁ᵀ, W₂)`. They stay from one tile to
    // the next where there is room for all.
    template <class F>
    __device__ __forceinline__ void for_units(const Mlp<T>& mlp, unsigned units, bool loaded,
                                              Sizes s, F f) const {
        for (unsigned first = 0; first < units; first += held) {
            unsigned count = min(held, (units - first + UNITS - 1) / UNITS * UNITS);
            if (!loaded || held < units) {
                __syncthreads();
                if (mlp.down) load_down<T, P>(down, mlp.down, blockIdx.y, first, count, s);
                if (mlp.up)
                    load_up<T, P>(up, mlp.up, mlp.up_bias, blockIdx.y, first, count, s);
                __syncthreads();
            }
            for (unsigned i = 0; i < count; i += UNITS)
                f(first + i, down + i * PITCH<T, P>, up + i * PITCH<T, P>);
        }
    }
};

// `f(first token of the warp)` for the block's tiles.
template <class T, int P, class F>
DEVICE void for_tiles(T* tile, const T* rows, Sizes s, F f) {
    for (unsigned from = blockIdx.x * TOKENS; from < s.tokens; from += gridDim.x * TOKENS) {
        __syncthreads();
        load_rows<T, P>(tile, rows, blockIdx.y, from, s);
        __syncthreads();
        f(from + 16 * warp());
    }
}

// The place of element c of group j of a product's 16 columns from `first` on.
DEVICE unsigned row_of(int c) { return lane() / 4 + 8 * (c / 2); }
DEVICE unsigned column_of(unsigned first, int j, int c) {
    return first + 8 * j + 2 * (lane() % 4) + c % 2;
}

// tanh(z + b₁). The unit after the last is 1: its row of W₂ is b₂. Those that only fill up are 0.
template <class T>
DEVICE float unit_of(float z, const T* bias, unsigned unit, Sizes s) {
    if (unit < s.r) return tanhf(z + wide(bias[blockIdx.y * s.r + unit]));
    return unit == s.r ? 1.0f : 0.0f;
}

// A number of each of the lane's two tokens [tokens, H] times a factor; 0 beyond the end.
DEVICE void numbers_of(float out[2], const float* numbers, unsigned from, float factor, Sizes s) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        unsigned token = from + row_of(2 * half);
        bool inside = token < s.tokens;
        out[half] = inside ? factor * numbers[size_t(token) * s.heads + blockIdx.y] : 0.0f;
    }
}
// Writes one number of each of its tokens.
DEVICE void write_numbers(float* out, const float numbers[2], unsigned from, Sizes s) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = over_quad(numbers[half]);
        unsigned token = from + row_of(2 * half);
        if (lane() % 4 == 0 && token < s.tokens)
            out[size_t(token) * s.heads + blockIdx.y] = sum;
    }
}

// Two elements side by side, as a lane has them in a product.
template <class T>
struct alignas(2 * sizeof(T)) Pair {
    T of[2];
};
template <class T>
DEVICE Pair<T>* pair_at(T* at) {
    return reinterpret_cast<Pair<T>*>(at);
}
template <class T>
DEVICE Pair<T> pair(float a, float b) {
    return {{narrow<T>(a), narrow<T>(b)}};
}

// Elements of [tokens, H r] at the lane's places among hidden units `first … first + 16`; zeros
// beyond the sizes.
template <class T>
DEVICE void read_units(float out[2][4], const T* hidden, unsigned from, unsigned first, Sizes s) {
    bool pairs = s.r % 2 == 0 && reinterpret_cast<uintptr_t>(hidden) % sizeof(Pair<T>) == 0;
#pragma unroll
    for (int j = 0; j < 2; j++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            unsigned token = from + row_of(2 * half), unit = column_of(first, j, 0);
            Pair<T> both = pair<T>(0.0f, 0.0f);
            const T* at = hidden + (size_t(token) * s.heads + blockIdx.y) * s.r + unit;
            if (token < s.tokens && unit < s.r) {
                if (pairs) {
                    both = *reinterpret_cast<const Pair<T>*>(at);
                } else {
                    both.of[0] = at[0];
                    if (unit + 1 < s.r) both.of[1] = at[1];
                }
            }
            out[j][2 * half] = wide(both.of[0]);
            out[j][2 * half + 1] = wide(both.of[1]);
        }
}
template <class T>
DEVICE void write_units(T* hidden, const float x[2][4], unsigned from, unsigned first, Sizes s) {
    bool pairs = s.r % 2 == 0;
#pragma unroll
    for (int j = 0; j < 2; j++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            unsigned token = from + row_of(2 * half), unit = column_of(first, j, 0);
            if (token >= s.tokens || unit >= s.r) continue;
            T* at = hidden + (size_t(token) * s.heads + blockIdx.y) * s.r + unit;
            Pair<T> both = pair<T>(x[j][2 * half], x[j][2 * half + 1]);
            if (pairs) {
                *pair_at(at) = both;
            } else {
                at[0] = both.of[0];
                if (unit + 1 < s.r) at[1] = both.of[1];
            }
        }
}

// `f(x, j, c)` for the lane's elements of the warp's rows of the tile: x is elements c and c + 1 of
// group j of a product.
template <class T, int P, class F>
DEVICE void for_pairs(T* mine, F f) {
#pragma unroll
    for (int j = 0; j < P / 8; j++)
#pragma unroll
        for (int c = 0; c < 4; c += 2)
            f(pair_at(mine + row_of(c) * PITCH<T, P> + column_of(0, j, c)), j, c);
}

// Writes `factor (add · tile + c)` over the warp's rows of the tile.
template <class T, int P>
DEVICE void replace_rows(T* mine, const float sum[P / 8][4], float add, const float factor[2]) {
    for_pairs<T, P>(mine, [&](Pair<T>* at, int j, int c) {
        float w = factor[c / 2], a = add * wide(at->of[0]), b = add * wide(at->of[1]);
        *at = pair<T>(w * (a + sum[j][c]), w * (b + sum[j][c + 1]));
    });
}

// s = ⟨q, q + MLP_k(q)⟩/√p.
template <class T, int P>
DEVICE void score(const T* qkv, Mlp<T> mlp, float* out, Sizes s, unsigned held, float scale) {
    SHARED(T, shared);
    Held<T, P> here(shared, mlp, held);
    bool loaded = false;
    for_tiles<T, P>(here.tile, qkv, s, [&](unsigned from) {
        float sum[2] = {};
        here.for_units(mlp, s.r + 1, loaded, s, [&](unsigned first, const T* down, const T* up) {
            float z[2][4] = {}, v[2][4] = {};
            rows_by_rows<UNITS, P>(z, here.mine(), down);
            rows_by_rows<UNITS, P>(v, here.mine(), up);
#pragma unroll
            for (int j = 0; j < 2; j++)
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    unsigned unit = column_of(first, j, c);
                    sum[c / 2] += unit_of(z[j][c], mlp.down_bias, unit, s) * v[j][c];
                }
        });
        loaded = true;
        for_pairs<T, P>(here.mine(), [&](Pair<T>* at, int, int c) {
            float a = wide(at->of[0]), b = wide(at->of[1]);
            sum[c / 2] += a * a + b * b;
        });
        sum[0] *= scale;
        sum[1] *= scale;
        write_numbers(out, sum, from, s);
    });
}

template <class T, int P>
DEVICE void score_queries(const T* qkv, Mlp<T> mlp, const float* g, T* dq, Sizes s, unsigned held,
                          float scale) {
    SHARED(T, shared);
    Held<T, P> here(shared, mlp, held);
    bool loaded = false;
    for_tiles<T, P>(here.tile, qkv, s, [&](unsigned from) {
        float sum[P / 8][4] = {}, w[2];
        numbers_of(w, g, from, scale, s);
        here.for_units(mlp, s.r + 1, loaded, s, [&](unsigned first, const T* down, const T* up) {
            float u[2][4] = {}, e[2][4] = {};
            rows_by_rows<UNITS, P>(u, here.mine(), down);
            rows_by_rows<UNITS, P>(e, here.mine(), up);
#pragma unroll
            for (int j = 0; j < 2; j++)
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    u[j][c] = unit_of(u[j][c], mlp.down_bias, column_of(first, j, c), s);
                    e[j][c] *= 1.0f - u[j][c] * u[j][c];
                }
            weights_by_rows<UNITS, P>(sum, u, up);
            weights_by_rows<UNITS, P>(sum, e, down);
        });
        loaded = true;
        replace_rows<T, P>(here.mine(), sum, 2.0f, w);
        store_rows<T, P>(here.mine(), dq, blockIdx.y, from, s);
    });
}

// λ tanh(q W₁ + b₁), [tokens, H r].
template <class T, int P>
DEVICE void hidden(const T* qkv, const float* lambda, Mlp<T> mlp, T* out, Sizes s, unsigned held) {
    SHARED(T, shared);
    Held<T, P> here(shared, mlp, held);
    bool loaded = false;
    for_tiles<T, P>(here.tile, qkv, s, [&](unsigned from) {
        float w[2];
        numbers_of(w, lambda, from, 1.0f, s);
        here.for_units(mlp, s.r, loaded, s, [&](unsigned first, const T* down, const T*) {
            float u[2][4] = {};
            rows_by_rows<UNITS, P>(u, here.mine(), down);
#pragma unroll
            for (int j = 0; j < 2; j++)
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    unsigned unit = column_of(first, j, c);
                    u[j][c] = w[c / 2] * unit_of(u[j][c], mlp.down_bias, unit, s);
                }
            write_units(out, u, from, first, s);
        });
        loaded = true;
    });
}

template <class T, int P>
DEVICE void hidden_queries(const T* qkv, const float* lambda, Mlp<T> mlp, const T* g, T* dq,
                           float* dlambda, Sizes s, unsigned held) {
    SHARED(T, shared);
    Held<T, P> here(shared, mlp, held);
    bool loaded = false;
    for_tiles<T, P>(here.tile, qkv, s, [&](unsigned from) {
        float sum[P / 8][4] = {}, w[2], dl[2] = {};
        numbers_of(w, lambda, from, 1.0f, s);
        here.for_units(mlp, s.r, loaded, s, [&](unsigned first, const T* down, const T*) {
            float u[2][4] = {}, e[2][4];
            read_units(e, g, from, first, s);
            rows_by_rows<UNITS, P>(u, here.mine(), down);
#pragma unroll
            for (int j = 0; j < 2; j++)
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    float unit = unit_of(u[j][c], mlp.down_bias, column_of(first, j, c), s);
                    dl[c / 2] += unit * e[j][c];
                    e[j][c] *= 1.0f - unit * unit;
                }
            weights_by_rows<UNITS, P>(sum, e, down);
        });
        loaded = true;
        replace_rows<T, P>(here.mine(), sum, 0.0f, w);
        store_rows<T, P>(here.mine(), dq, blockIdx.y, from, s);
        write_numbers(dlambda, dl, from, s);
    });
}

// f + hid W₂ + λ b₂.
template <class T, int P>
DEVICE void values(const T* f, const T* hidden, const float* lambda, Mlp<T> mlp, T* out, Sizes s,
                   unsigned held) {
    SHARED(T, shared);
    Held<T, P> here(shared, mlp, held);
    bool loaded = false;
    for_tiles<T, P>(here.tile, f, s, [&](unsigned from) {
        float sum[P / 8][4] = {}, w[2], one[2] = {1.0f, 1.0f};
        numbers_of(w, lambda, from, 1.0f, s);
        here.for_units(mlp, s.r + 1, loaded, s, [&](unsigned first, const T*, const T* up) {
            float u[2][4];
            read_units(u, hidden, from, first, s);
#pragma unroll
            for (int j = 0; j < 2; j++)
#pragma unroll
                for (int c = 0; c < 4; c++)
                    if (column_of(first, j, c) == s.r) u[j][c] = w[c / 2];
            weights_by_rows<UNITS, P>(sum, u, up);
        });
        loaded = true;
        replace_rows<T, P>(here.mine(), sum, 1.0f, one);
        store_rows<T, P>(here.mine(), out, blockIdx.y, from, s);
    });
}

// Gradients of hid and λ.
template <class T, int P>
DEVICE void values_units(const T* g, Mlp<T> mlp, T* dhidden, float* dlambda, Sizes s,
                         unsigned held) {
    SHARED(T, shared);
    Held<T, P> here(shared, mlp, held);
    bool loaded = false;
    for_tiles<T, P>(here.tile, g, s, [&](unsigned from) {
        float dl[2] = {};
        here.for_units(mlp, s.r + 1, loaded, s, [&](unsigned first, const T*, const T* up) {
            float v[2][4] = {};
            rows_by_rows<UNITS, P>(v, here.mine(), up);
#pragma unroll
            for (int j = 0; j < 2; j++)
#pragma unroll
                for (int c = 0; c < 4; c++)
                    if (column_of(first, j, c) == s.r) dl[c / 2] += v[j][c];
            write_units(dhidden, v, from, first, s);
        });
        loaded = true;
        write_numbers(dlambda, dl, from, s);
    });
}

}  // namespace bottleneck
