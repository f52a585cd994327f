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
// What bounds it: at 32 × 512 tokens of 12 heads of 64 the products of one layer are 45 GFLOP, 0.1
// ms at half the rate of an H100's matrix units, while an n × n matrix of the batch is 200 MB in
// bf16, 0.07 ms for each time that it is written or read, of which there would be about ten.
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

// Rows of the other side in shared memory at a time.
template <class T, int P>
constexpr int OTHER = sizeof(T) == 2 ? (P > 64 ? 32 : 64) : (P > 64 ? 16 : 32);

// Rows `from .. from + N` of a matrix to shared memory; zeros beyond its end and its width.
template <class T, int N, int P>
DEVICE void load_tile(T* tile, Vectors<const T> source, unsigned h, unsigned first, unsigned from,
                      unsigned end, unsigned width) {
    constexpr int D = PITCH<T, P>, V = 16 / int(sizeof(T));
    const T* base = source.at(h, first);
    bool whole = width % V == 0 && source.row % V == 0 && reinterpret_cast<uintptr_t>(base) % 16 == 0;
    for (int at = int(threadIdx.x); at < N * P / V; at += THREADS) {
        unsigned i = at / (P / V), j = at % (P / V) * V;
        T* to = tile + i * D + j;
        const T* of = base + size_t(from + i) * source.row + j;
        if (whole && from + i < end && j < width) {
            *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(of);
        } else {
            for (int n = 0; n < V; n++)
                to[n] = from + i < end && j + n < width ? of[n] : narrow<T>(0.0f);
        }
    }
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

// Sum and maximum over the four lanes that share a row.
DEVICE float row_sum(float x) {
    x += __shfl_xor_sync(0xFFFFFFFFu, x, 1);
    return x + __shfl_xor_sync(0xFFFFFFFFu, x, 2);
}
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
    constexpr int M = OTHER<T, P>, D = PITCH<T, P>;
    SHARED(T, tiles);
    T *queries = tiles, *keys = queries + TILE * D, *values = keys + M * D;
    Part row(job);
    unsigned h = row.h, n = row.queries, m = row.keys;
    // the last queries see most keys: they begin first
    unsigned from = (gridDim.x - 1 - blockIdx.x) * TILE;
    if (from >= n) return;
    unsigned g = lane() / 4, t = lane() % 4, mine = from + 16 * warp();
    load_tile<T, TILE, P>(queries, q, h, row.first, from, n, job.width);

    float sum[P / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
    KeepRow keep[2];
    for (int half = 0; half < 2; half++) {
        uint64_t token = row.first + mine + g + 8 * half;
        keep[half] = keep_row(job.drop, token * job.heads + h);
    }
    unsigned last = row.sees(min(from + TILE, n) - 1);
    for (unsigned at = 0; at < last; at += M) {
        __syncthreads();
        load_tile<T, M, P>(keys, k, h, row.first_key, at, m, job.width);
        load_tile<T, M, P>(values, v, h, row.first_key, at, m, job.width);
        __syncthreads();
        float s[M / 8][4] = {};
        rows_by_rows<M, P>(s, queries + 16 * warp() * D, keys);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            unsigned seen = row.sees(mine + g + 8 * half);
            float best = top[half];
#pragma unroll
            for (int j = 0; j < M / 8; j++)
#pragma unroll
                for (int c = 2 * half; c < 2 * half + 2; c++) {
                    unsigned key = at + 8 * j + 2 * t + c % 2;
                    s[j][c] = key < seen ? s[j][c] * job.scale : -INFINITY;
                    best = fmaxf(best, s[j][c]);
                }
            best = row_max(best);
            // a query that sees no key of this tile and of those before has nothing to scale
            float shrink = best == -INFINITY ? 1.0f : expf(top[half] - best);
            top[half] = best;
            total[half] *= shrink;
#pragma unroll
            for (int j = 0; j < P / 8; j++)
                for (int c = 2 * half; c < 2 * half + 2; c++) sum[j][c] *= shrink;
            float part = 0;
#pragma unroll
            for (int j = 0; j < M / 8; j++)
#pragma unroll
                for (int c = 2 * half; c < 2 * half + 2; c++) {
                    float e = s[j][c] == -INFINITY ? 0.0f : expf(s[j][c] - best);
                    part += e;
                    unsigned key = at + 8 * j + 2 * t + c % 2;
                    s[j][c] = job.drop.threshold ? e * keep_factor(job.drop, keep[half], key) : e;
                }
            total[half] += row_sum(part);
        }
        weights_by_rows<M, P>(sum, s, values);
    }
    store_rows<T, P>(sum, 1.0f / total[0], 1.0f / total[1], o, h, row.first, mine, n, job.width);
    for (int half = 0; half < 2; half++) {
        unsigned i = mine + g + 8 * half;
        if (t == 0 && i < n)
            lse[size_t(row.first + i) * job.heads + h] = top[half] + logf(total[half]);
    }
}

// What the backward pass knows: LSE, and D − dLSE, both [tokens, H].
struct Known {
    const float *lse, *shift;
};

// P and dS of one score; w is P with dropout.
struct Slope {
    float w, ds;
};
DEVICE Slope slope(const Job& job, float s, float dp, bool seen, float lse, float shift,
                   KeepRow keep, unsigned key) {
    if (!seen) return {0.0f, 0.0f};
    float p = expf(s * job.scale - lse);
    float kept = job.drop.threshold ? keep_factor(job.drop, keep, key) : 1.0f;
    return {p * kept, p * (kept * dp - shift)};
}

template <class T, int P>
DEVICE void backward_queries(Job job, Vectors<const T> q, Vectors<const T> k, Vectors<const T> v,
                             Vectors<const T> go, Known known, Vectors<T> dq) {
    constexpr int M = OTHER<T, P>, D = PITCH<T, P>;
    SHARED(T, tiles);
    T *queries = tiles, *slopes_of = queries + TILE * D, *keys = slopes_of + TILE * D,
      *values = keys + M * D;
    Part row(job);
    unsigned h = row.h, n = row.queries, m = row.keys;
    unsigned from = (gridDim.x - 1 - blockIdx.x) * TILE;
    if (from >= n) return;
    unsigned g = lane() / 4, t = lane() % 4, mine = from + 16 * warp();
    load_tile<T, TILE, P>(queries, q, h, row.first, from, n, job.width);
    load_tile<T, TILE, P>(slopes_of, go, h, row.first, from, n, job.width);

    float sum[P / 8][4] = {}, lse[2] = {0, 0}, shift[2] = {0, 0};
    KeepRow keep[2];
    for (int half = 0; half < 2; half++) {
        unsigned i = mine + g + 8 * half;
        size_t at = size_t(row.first + i) * job.heads + h;
        keep[half] = keep_row(job.drop, at);
        if (i < n) {
            lse[half] = known.lse[at];
            shift[half] = known.shift[at];
        }
    }
    unsigned last = row.sees(min(from + TILE, n) - 1);
    for (unsigned at = 0; at < last; at += M) {
        __syncthreads();
        load_tile<T, M, P>(keys, k, h, row.first_key, at, m, job.width);
        load_tile<T, M, P>(values, v, h, row.first_key, at, m, job.width);
        __syncthreads();
        float s[M / 8][4] = {}, dp[M / 8][4] = {};
        rows_by_rows<M, P>(s, queries + 16 * warp() * D, keys);
        rows_by_rows<M, P>(dp, slopes_of + 16 * warp() * D, values);
#pragma unroll
        for (int j = 0; j < M / 8; j++)
#pragma unroll
            for (int c = 0; c < 4; c++) {
                unsigned i = mine + g + 8 * (c / 2), key = at + 8 * j + 2 * t + c % 2;
                bool seen = i < n && key < m && key < row.sees(i);
                s[j][c] = slope(job, s[j][c], dp[j][c], seen, lse[c / 2], shift[c / 2],
                                keep[c / 2], key).ds;
            }
        weights_by_rows<M, P>(sum, s, keys);
    }
    store_rows<T, P>(sum, job.scale, job.scale, dq, h, row.first, mine, n, job.width);
}

// O is the type of the gradients: f32 where those of several blocks are to be added.
template <class T, class O, int P>
DEVICE void backward_keys(Job job, Vectors<const T> q, Vectors<const T> k, Vectors<const T> v,
                          Vectors<const T> go, Known known, Vectors<O> dk, Vectors<O> dv) {
    constexpr int M = OTHER<T, P>, D = PITCH<T, P>;
    SHARED(T, tiles);
    T *keys = tiles, *values = keys + TILE * D, *queries = values + TILE * D,
      *slopes_of = queries + M * D;
    float* lse = reinterpret_cast<float*>(slopes_of + M * D);
    float* shift = lse + M;
    auto* keep = reinterpret_cast<KeepRow*>(shift + M);
    Part row(job);
    unsigned h = row.h, n = row.queries, m = row.keys, from = blockIdx.x * TILE;
    if (from >= m) return;
    unsigned g = lane() / 4, t = lane() % 4, mine = from + 16 * warp();
    load_tile<T, TILE, P>(keys, k, h, row.first_key, from, m, job.width);
    load_tile<T, TILE, P>(values, v, h, row.first_key, from, m, job.width);

    float sum_k[P / 8][4] = {}, sum_v[P / 8][4] = {};
    // no query before the tile's first key sees it
    unsigned begin = job.causal && from + n > m ? (from + n - m) / M * M : 0;
    for (unsigned at = begin; at < n; at += M) {
        __syncthreads();
        load_tile<T, M, P>(queries, q, h, row.first, at, n, job.width);
        load_tile<T, M, P>(slopes_of, go, h, row.first, at, n, job.width);
        for (unsigned i = threadIdx.x; i < M; i += THREADS) {
            size_t known_at = size_t(row.first + min(at + i, n - 1)) * job.heads + h;
            lse[i] = known.lse[known_at];
            shift[i] = known.shift[known_at];
            keep[i] = keep_row(job.drop, known_at);
        }
        __syncthreads();
        float s[M / 8][4] = {}, dp[M / 8][4] = {};
        rows_by_rows<M, P>(s, keys + 16 * warp() * D, queries);
        rows_by_rows<M, P>(dp, values + 16 * warp() * D, slopes_of);
#pragma unroll
        for (int j = 0; j < M / 8; j++)
#pragma unroll
            for (int c = 0; c < 4; c++) {
                unsigned key = mine + g + 8 * (c / 2), of = 8 * j + 2 * t + c % 2, i = at + of;
                bool seen = i < n && key < m && key < row.sees(i);
                Slope both = slope(job, s[j][c], dp[j][c], seen, lse[of], shift[of], keep[of], key);
                s[j][c] = both.w;
                dp[j][c] = both.ds;
            }
        weights_by_rows<M, P>(sum_v, s, slopes_of);
        weights_by_rows<M, P>(sum_k, dp, queries);
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
