// Attention over packed rows (Eqs. 2–4), by tiles: no n × n matrix is in memory.
//
//   o_i = Σ_j P_ij v_j,  P_ij = exp(⟨q_i,k_j⟩/√p − LSE_i),  dS = P ∘ (mask ∘ dO Vᵀ − D + dLSE),
//   D_i = ⟨dO_i, o_i⟩
//
// A block has four warps and 64 queries (forward, dq) or 64 keys (dk, dv) of one row and head; a
// warp has 16 of them. The other side goes by in tiles. The backward pass computes the scores
// twice, once by queries and once by keys, so that no two blocks add to the same element: results
// do not depend on which block comes first.
//
// What bounds it: at 32 × 512 tokens of 12 heads of 64 the nine products of one layer (two forward,
// three by queries, four by keys) are 58 GFLOP, 0.12 ms at half the rate of an H100's matrix units,
// while an n × n matrix of the batch is 200 MB in bf16, 0.07 ms for each time that it is written or
// read, of which there would be about ten.
#include "matrix.cuh"

// Vector i of head h of one role starts at `data + h * head + i * row`.
template <class T>
struct Vectors {
    T* data;
    unsigned head, row;

    __device__ __forceinline__ T* at(unsigned h, unsigned i) const {
        return data + size_t(h) * head + size_t(i) * row;
    }
};

constexpr int TILE = 64;     // queries or keys of a block
constexpr int THREADS = 128;

// Rows of the other side in shared memory at a time, for queries and, with more sums in registers,
// for keys.
template <class T, int P>
constexpr int OTHER = sizeof(T) == 2 ? (P > 64 ? 32 : 64) : (P > 64 ? 16 : 32);
template <class T, int P>
constexpr int OTHER_OF_KEYS = sizeof(T) == 2 || P <= 64 ? 32 : 16;

// While a tile is worked at the next one is on its way, where there is room for both.
template <class T>
constexpr int BUFFERS = sizeof(T) == 2 ? 2 : 1;

// Rows `from .. from + N` of a matrix on their way to shared memory; zeros beyond its end and its
// width. `arrived` waits for them.
template <class T, int N, int P>
DEVICE void load_tile(T* tile, Vectors<const T> source, unsigned h, unsigned first, unsigned from,
                      unsigned end, unsigned width) {
    constexpr int D = PITCH<T, P>, V = 16 / int(sizeof(T));
    const T* base = source.at(h, first);
    bool whole =
        width % V == 0 && source.row % V == 0 && reinterpret_cast<uintptr_t>(base) % 16 == 0;
    for (int at = int(threadIdx.x); at < N * P / V; at += THREADS) {
        unsigned i = at / (P / V), j = at % (P / V) * V;
        T* to = tile + i * D + j;
        bool there = from + i < end && j < width;
        const T* of = there ? base + size_t(from + i) * source.row + j : base;
        if (whole) {
            copy_async(to, of, there);
        } else {
            for (int n = 0; n < V; n++)
                to[n] = there && j + n < width ? of[n] : narrow<T>(0.0f);
        }
    }
}

// exp(x) is `power(x · FACTOR)`. In bf16 a power of two is exact enough, and one instruction.
template <class T>
constexpr float FACTOR = sizeof(T) == 2 ? 1.44269504f : 1.0f;
template <class T>
DEVICE float power(float x) {
    return sizeof(T) == 2 ? power_of_two(x) : expf(x);
}

// Writes the warp's 16 rows of a result [16, P] times a factor for each of its two rows.
template <class T, int P>
DEVICE void store_rows(const float c[P / 8][4], float low, float high, Vectors<T> out, unsigned h,
                       unsigned first, unsigned from, unsigned end, unsigned width) {
    unsigned g = lane() / 4, t = lane() % 4;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        unsigned i = from + g + 8 * half;
        if (i >= end) continue;
        T* row = out.at(h, first + i);
        float factor = half ? high : low;
#pragma unroll
        for (int j = 0; j < P / 8; j++)
#pragma unroll
            for (int n = 0; n < 2; n++)
                if (8 * j + 2 * t + n < width)
                    row[8 * j + 2 * t + n] = narrow<T>(c[j][2 * half + n] * factor);
    }
}

// The maximum over the four lanes that share a row.
DEVICE float row_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 2));
}

// What forward and backward passes have in common. `starts` are the rows' boundaries among the
// queries; `keys` has each row's first key and their number, and is null where they are those of
// the row itself.
struct Job {
    const uint32_t *starts, *keys;
    unsigned heads, width, causal;
    float scale;
    Dropout drop;
};

// The part of a job that a block is for: a row and a head.
struct Part {
    unsigned h, first, queries, first_key, keys, causal;

    __device__ __forceinline__ explicit Part(const Job& job) {
        unsigned row = blockIdx.z;
        h = blockIdx.y;
        first = job.starts[row];
        queries = job.starts[row + 1] - first;
        first_key = job.keys ? job.keys[2 * row] : first;
        keys = job.keys ? job.keys[2 * row + 1] : queries;
        causal = job.causal;
    }
    // How many keys query i sees; the newest of them is its own.
    __device__ __forceinline__ unsigned sees(unsigned i) const {
        return causal ? i + 1 + keys - queries : keys;
    }
};

template <class T, int P>
DEVICE void forward(Job job, Vectors<const T> q, Vectors<const T> k, Vectors<const T> v,
                    Vectors<T> o, float* lse) {
    constexpr int M = OTHER<T, P>, D = PITCH<T, P>, B = BUFFERS<T>;
    SHARED(T, tiles);
    T *queries = tiles, *keys = queries + TILE * D, *values = keys + B * M * D;
    Part row(job);
    unsigned h = row.h, n = row.queries, m = row.keys;
    // the last queries see most keys: they begin first
    unsigned from = (gridDim.x - 1 - blockIdx.x) * TILE;
    if (from >= n) return;
    unsigned g = lane() / 4, t = lane() % 4, mine = from + 16 * warp();
    load_tile<T, TILE, P>(queries, q, h, row.first, from, n, job.width);

    // the greatest score times `scale`
    float sum[P / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
    float scale = job.scale * FACTOR<T>;
    KeepRow keep[2];
    for (int half = 0; half < 2; half++) {
        uint64_t token = row.first + mine + g + 8 * half;
        keep[half] = keep_row(job.drop, token * job.heads + h);
    }
    unsigned last = row.sees(min(from + TILE, n) - 1);
    auto fetch = [&](unsigned at) {
        int to = at / M % B * M * D;
        load_tile<T, M, P>(keys + to, k, h, row.first_key, at, m, job.width);
        load_tile<T, M, P>(values + to, v, h, row.first_key, at, m, job.width);
    };
    fetch(0);
    for (unsigned at = 0; at < last; at += M) {
        arrived();
        if (B > 1 && at + M < last) fetch(at + M);
        const T *key = keys + at / M % B * M * D, *value = values + at / M % B * M * D;
        if (mine < n) {  // else the warp has no row
            float s[M / 8][4] = {};
            rows_by_rows<M, P>(s, queries + 16 * warp() * D, key);
            if (at + M > row.sees(mine)) {  // not every query of the warp sees every key
#pragma unroll
                for (int j = 0; j < M / 8; j++)
#pragma unroll
                    for (int c = 0; c < 4; c++)
                        if (at + 8 * j + 2 * t + c % 2 >= row.sees(mine + g + 8 * (c / 2)))
                            s[j][c] = -INFINITY;
            }
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float best = -INFINITY;
#pragma unroll
                for (int j = 0; j < M / 8; j++)
                    best = fmaxf(best, fmaxf(s[j][2 * half], s[j][2 * half + 1]));
                // every query sees the first key, so that this is finite
                best = fmaxf(top[half], row_max(best) * scale);
                float shrink = power<T>(top[half] - best), part = 0;
                top[half] = best;
#pragma unroll
                for (int j = 0; j < P / 8; j++)
#pragma unroll
                    for (int c = 2 * half; c < 2 * half + 2; c++) sum[j][c] *= shrink;
#pragma unroll
                for (int j = 0; j < M / 8; j++)
#pragma unroll
                    for (int c = 2 * half; c < 2 * half + 2; c++) {
                        s[j][c] = power<T>(s[j][c] * scale - best);
                        part += s[j][c];
                    }
                total[half] = total[half] * shrink + over_quad(part);
            }
            if (job.drop.threshold) {
#pragma unroll
                for (int j = 0; j < M / 8; j++)
#pragma unroll
                    for (int c = 0; c < 4; c++)
                        s[j][c] *= keep_factor(job.drop, keep[c / 2], at + 8 * j + 2 * t + c % 2);
            }
            weights_by_rows<M, P>(sum, s, value);
        }
        if (B == 1 && at + M < last) {
            __syncthreads();
            fetch(at + M);
        }
    }
    store_rows<T, P>(sum, 1.0f / total[0], 1.0f / total[1], o, h, row.first, mine, n, job.width);
    for (int half = 0; half < 2; half++) {
        unsigned i = mine + g + 8 * half;
        if (t == 0 && i < n)
            lse[size_t(row.first + i) * job.heads + h] =
                top[half] / FACTOR<T> + logf(total[half]);
    }
}

// What the backward pass knows: LSE, and D − dLSE, both [tokens, H].
struct Known {
    const float *lse, *shift;
};

template <class T, int P>
DEVICE void backward_queries(Job job, Vectors<const T> q, Vectors<const T> k, Vectors<const T> v,
                             Vectors<const T> go, Known known, Vectors<T> dq) {
    constexpr int M = OTHER<T, P>, D = PITCH<T, P>, B = BUFFERS<T>;
    SHARED(T, tiles);
    T *queries = tiles, *slopes_of = queries + TILE * D, *keys = slopes_of + TILE * D,
      *values = keys + B * M * D;
    Part row(job);
    unsigned h = row.h, n = row.queries, m = row.keys;
    unsigned from = (gridDim.x - 1 - blockIdx.x) * TILE;
    if (from >= n) return;
    unsigned g = lane() / 4, t = lane() % 4, mine = from + 16 * warp();
    load_tile<T, TILE, P>(queries, q, h, row.first, from, n, job.width);
    load_tile<T, TILE, P>(slopes_of, go, h, row.first, from, n, job.width);

    float sum[P / 8][4] = {}, lse[2] = {0, 0}, shift[2] = {0, 0};
    float scale = job.scale * FACTOR<T>;
    KeepRow keep[2];
    for (int half = 0; half < 2; half++) {
        unsigned i = mine + g + 8 * half;
        size_t at = size_t(row.first + i) * job.heads + h;
        keep[half] = keep_row(job.drop, at);
        if (i < n) {
            lse[half] = known.lse[at] * FACTOR<T>;
            shift[half] = known.shift[at];
        }
    }
    unsigned last = row.sees(min(from + TILE, n) - 1);
    auto fetch = [&](unsigned at) {
        int to = at / M % B * M * D;
        load_tile<T, M, P>(keys + to, k, h, row.first_key, at, m, job.width);
        load_tile<T, M, P>(values + to, v, h, row.first_key, at, m, job.width);
    };
    fetch(0);
    for (unsigned at = 0; at < last; at += M) {
        arrived();
        if (B > 1 && at + M < last) fetch(at + M);
        const T *key = keys + at / M % B * M * D, *value = values + at / M % B * M * D;
        // (a warp without a row computes too: a branch takes two registers more, and a block less
        // fits on a card at p = 64 in bf16)
        float s[M / 8][4] = {}, dp[M / 8][4] = {};
        rows_by_rows<M, P>(s, queries + 16 * warp() * D, key);
        rows_by_rows<M, P>(dp, slopes_of + 16 * warp() * D, value);
        if (job.drop.threshold) {
#pragma unroll
            for (int j = 0; j < M / 8; j++)
#pragma unroll
                for (int c = 0; c < 4; c++)
                    dp[j][c] *= keep_factor(job.drop, keep[c / 2], at + 8 * j + 2 * t + c % 2);
        }
#pragma unroll
        for (int j = 0; j < M / 8; j++)
#pragma unroll
            for (int c = 0; c < 4; c++)
                s[j][c] = power<T>(s[j][c] * scale - lse[c / 2]) * (dp[j][c] - shift[c / 2]);
        if (at + M > row.sees(mine) || mine + 16 > n) {
#pragma unroll
            for (int j = 0; j < M / 8; j++)
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    unsigned i = mine + g + 8 * (c / 2), of = at + 8 * j + 2 * t + c % 2;
                    if (i >= n || of >= row.sees(i)) s[j][c] = 0.0f;
                }
        }
        weights_by_rows<M, P>(sum, s, key);
        if (B == 1 && at + M < last) {
            __syncthreads();
            fetch(at + M);
        }
    }
    store_rows<T, P>(sum, job.scale, job.scale, dq, h, row.first, mine, n, job.width);
}

// O is the type of the gradients: f32 where those of several blocks are to be added.
template <class T, class O, int P>
DEVICE void backward_keys(Job job, Vectors<const T> q, Vectors<const T> k, Vectors<const T> v,
                          Vectors<const T> go, Known known, Vectors<O> dk, Vectors<O> dv) {
    constexpr int M = OTHER_OF_KEYS<T, P>, D = PITCH<T, P>, B = BUFFERS<T>;
    SHARED(T, tiles);
    T *keys = tiles, *values = keys + TILE * D, *queries = values + TILE * D,
      *slopes_of = queries + B * M * D;
    float* numbers = reinterpret_cast<float*>(slopes_of + B * M * D);  // of B tiles of queries
    float *lse = numbers, *shift = lse + B * M;
    auto* keep = reinterpret_cast<KeepRow*>(shift + B * M);
    Part row(job);
    unsigned h = row.h, n = row.queries, m = row.keys, from = blockIdx.x * TILE;
    if (from >= m) return;
    unsigned g = lane() / 4, t = lane() % 4, mine = from + 16 * warp();
    load_tile<T, TILE, P>(keys, k, h, row.first_key, from, m, job.width);
    load_tile<T, TILE, P>(values, v, h, row.first_key, from, m, job.width);

    float sum_k[P / 8][4] = {}, sum_v[P / 8][4] = {};
    float scale = job.scale * FACTOR<T>;
    auto fetch = [&](unsigned at) {
        unsigned tile = at / M % B;
        load_tile<T, M, P>(queries + tile * M * D, q, h, row.first, at, n, job.width);
        load_tile<T, M, P>(slopes_of + tile * M * D, go, h, row.first, at, n, job.width);
        for (unsigned i = threadIdx.x; i < M; i += THREADS) {
            size_t of = size_t(row.first + min(at + i, n - 1)) * job.heads + h;
            lse[tile * M + i] = known.lse[of] * FACTOR<T>;
            shift[tile * M + i] = known.shift[of];
            keep[tile * M + i] = keep_row(job.drop, of);
        }
    };
    // no query before the tile's first key sees it
    unsigned begin = job.causal && from + n > m ? (from + n - m) / M * M : 0;
    if (begin < n) fetch(begin);
    for (unsigned at = begin; at < n; at += M) {
        arrived();
        if (B > 1 && at + M < n) fetch(at + M);
        unsigned tile = at / M % B * M;
        const T *query = queries + tile * D, *slope = slopes_of + tile * D;
        if (mine < m) {  // else the warp has no row
            float s[M / 8][4] = {}, dp[M / 8][4] = {};
            rows_by_rows<M, P>(s, keys + 16 * warp() * D, query);
            rows_by_rows<M, P>(dp, values + 16 * warp() * D, slope);
            // some key of the warp is not seen by some query, or there is none
            bool edge = at + M > n || mine + 16 > row.sees(at);
#pragma unroll
            for (int j = 0; j < M / 8; j++)
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    unsigned key = mine + g + 8 * (c / 2), of = tile + 8 * j + 2 * t + c % 2;
                    float p = power<T>(s[j][c] * scale - lse[of]), kept = 1.0f;
                    if (job.drop.threshold) kept = keep_factor(job.drop, keep[of], key);
                    if (edge) {
                        unsigned i = at + of - tile;
                        if (i >= n || key >= row.sees(i)) p = 0.0f;
                    }
                    s[j][c] = p * kept;
                    dp[j][c] = p * (kept * dp[j][c] - shift[of]);
                }
            weights_by_rows<M, P>(sum_v, s, slope);
            weights_by_rows<M, P>(sum_k, dp, query);
        }
        if (B == 1 && at + M < n) {
            __syncthreads();
            fetch(at + M);
        }
    }
    store_rows<O, P>(sum_k, job.scale, job.scale, dk, h, row.first_key, mine, m, job.width);
    store_rows<O, P>(sum_v, 1.0f, 1.0f, dv, h, row.first_key, mine, m, job.width);
}

// D − dLSE of each token and head, from dO and o [tokens, d]; no dLSE where nothing depends on it.
template <class T>
DEVICE void attention_shift(const T* go, const T* o, const float* glse, float* shift, unsigned n,
                            unsigned width) {
    size_t at = thread_of_grid() / 32;  // a warp for each token and head
    if (at >= n) return;
    float sum = 0;
    for (unsigned j = lane(); j < width; j += 32)
        sum += wide(go[at * width + j]) * wide(o[at * width + j]);
    sum = warp_sum(sum);
    if (lane() == 0) shift[at] = sum - (glse ? glse[at] : 0.0f);
}
KERNELS(attention_shift,
        (const T* go, const T* o, const float* glse, float* shift, unsigned n, unsigned width),
        (go, o, glse, shift, n, width))

// Queries and keys lie in rows of `row` and `key_row` elements, the heads of keys `key_head` apart.
#define ATTENTION(P)                                                                               \
    template <class T>                                                                             \
    DEVICE void attention_##P(const T* q, const T* k, const T* v, T* o, float* lse,                \
                              const uint32_t* starts, const uint32_t* keys, unsigned heads,        \
                              unsigned width, unsigned row, unsigned key_head, unsigned key_row,   \
                              unsigned causal, float scale, Dropout drop) {                        \
        forward<T, P>({starts, keys, heads, width, causal, scale, drop}, {q, width, row},          \
                      {k, key_head, key_row}, {v, key_head, key_row}, {o, width, heads * width},   \
                      lse);                                                                        \
    }                                                                                              \
    KERNELS(attention_##P,                                                                         \
            (const T* q, const T* k, const T* v, T* o, float* lse, const uint32_t* starts,         \
             const uint32_t* keys, unsigned heads, unsigned width, unsigned row,                   \
             unsigned key_head, unsigned key_row, unsigned causal, float scale, Dropout drop),     \
            (q, k, v, o, lse, starts, keys, heads, width, row, key_head, key_row, causal, scale,   \
             drop))                                                                                \
                                                                                                   \
    template <class T>                                                                             \
    DEVICE void attention_queries_##P(                                                             \
        const T* q, const T* k, const T* v, const T* go, const float* lse, const float* shift,     \
        T* dq, const uint32_t* starts, const uint32_t* keys, unsigned heads, unsigned width,       \
        unsigned row, unsigned key_head, unsigned key_row, unsigned causal, float scale,           \
        Dropout drop, unsigned out_row) {                                                          \
        backward_queries<T, P>({starts, keys, heads, width, causal, scale, drop},                  \
                               {q, width, row}, {k, key_head, key_row}, {v, key_head, key_row},    \
                               {go, width, heads * width}, {lse, shift}, {dq, width, out_row});    \
    }                                                                                              \
    KERNELS(attention_queries_##P,                                                                 \
            (const T* q, const T* k, const T* v, const T* go, const float* lse,                    \
             const float* shift, T* dq, const uint32_t* starts, const uint32_t* keys,              \
             unsigned heads, unsigned width, unsigned row, unsigned key_head, unsigned key_row,    \
             unsigned causal, float scale, Dropout drop, unsigned out_row),                        \
            (q, k, v, go, lse, shift, dq, starts, keys, heads, width, row, key_head, key_row,      \
             causal, scale, drop, out_row))                                                        \
                                                                                                   \
    template <class T>                                                                             \
    DEVICE void attention_keys_##P(                                                                \
        const T* q, const T* k, const T* v, const T* go, const float* lse, const float* shift,     \
        T* dk, T* dv, const uint32_t* starts, unsigned heads, unsigned width, unsigned row,        \
        unsigned causal, float scale, Dropout drop) {                                              \
        backward_keys<T, T, P>({starts, nullptr, heads, width, causal, scale, drop},               \
                               {q, width, row}, {k, width, row}, {v, width, row},                  \
                               {go, width, heads * width}, {lse, shift}, {dk, width, row},         \
                               {dv, width, row});                                                  \
    }                                                                                              \
    KERNELS(attention_keys_##P,                                                                    \
            (const T* q, const T* k, const T* v, const T* go, const float* lse,                    \
             const float* shift, T* dk, T* dv, const uint32_t* starts, unsigned heads,             \
             unsigned width, unsigned row, unsigned causal, float scale, Dropout drop),            \
            (q, k, v, go, lse, shift, dk, dv, starts, heads, width, row, causal, scale, drop))     \
                                                                                                   \
    template <class T>                                                                             \
    DEVICE void attention_prefix_##P(                                                              \
        const T* q, const T* k, const T* v, const T* go, const float* lse, const float* shift,     \
        float* dk, float* dv, const uint32_t* starts, const uint32_t* keys, unsigned heads,        \
        unsigned width, unsigned row, unsigned length, float scale, Dropout drop) {                \
        unsigned head = length * width;                                                            \
        size_t part = size_t(blockIdx.z) * heads * head;                                           \
        backward_keys<T, float, P>({starts, keys, heads, width, 0, scale, drop}, {q, width, row},  \
                                   {k, head, width}, {v, head, width},                             \
                                   {go, width, heads * width}, {lse, shift},                       \
                                   {dk + part, head, width}, {dv + part, head, width});            \
    }                                                                                              \
    KERNELS(attention_prefix_##P,                                                                  \
            (const T* q, const T* k, const T* v, const T* go, const float* lse,                    \
             const float* shift, float* dk, float* dv, const uint32_t* starts,                     \
             const uint32_t* keys, unsigned heads, unsigned width, unsigned row, unsigned length,  \
             float scale, Dropout drop),                                                           \
            (q, k, v, go, lse, shift, dk, dv, starts, keys, heads, width, row, length, scale,      \
             drop))

ATTENTION(16)
ATTENTION(32)
ATTENTION(64)
ATTENTION(128)

// Keys and values of new tokens to a cache of rows of d elements, each to its place there.
template <class T>
DEVICE void cache_append(const T* qkv, T* keys, T* values, const uint32_t* places, unsigned d) {
    size_t token = blockIdx.x, to = places[blockIdx.x];
    for (unsigned j = threadIdx.x; j < d; j += blockDim.x) {
        keys[to * d + j] = qkv[token * 3 * d + d + j];
        values[to * d + j] = qkv[token * 3 * d + 2 * d + j];
    }
}
KERNELS(cache_append,
        (const T* qkv, T* keys, T* values, const uint32_t* places, unsigned d),
        (qkv, keys, values, places, d))
