// LayerNorm, and sums over the rows of a matrix.
//
// Such a sum is of two passes: blocks add up chunks of rows, and a second kernel adds up their
// results. Every order is fixed, so results do not depend on which block comes first.
#include "pack.cuh"
#include "vector.cuh"

namespace rows {
using vectors::VECTOR;
using vectors::aligned;
using vectors::begins;
using vectors::in_vectors;
using vectors::load;
using vectors::store;

// The groups of N neighbouring columns of a row that are this lane's: f of the group's number and
// its first column. Where HELD is not 0 it bounds their number, and the number is a constant.
template <int N, int HELD, class F>
DEVICE void groups(unsigned width, F f) {
    if constexpr (HELD > 0) {
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            unsigned at = N * (32 * i + lane());
            if (at < width) f(i, at);
        }
    } else {
        for (unsigned at = N * lane(); at < width; at += 32 * N) f(0, at);
    }
}

// A lane's elements of a row: read once and kept in registers, or read each time (HELD = 0).
template <int N, int HELD, class R>
struct Held {
    R read;
    float kept[HELD > 0 ? HELD : 1][N];

    __device__ __forceinline__ Held(R read, unsigned width) : read(read) {
        if constexpr (HELD > 0)
            groups<N, HELD>(width, [&](int i, unsigned at) { read(kept[i], at); });
    }
    __device__ __forceinline__ void get(float (&x)[N], int i, unsigned at) const {
        if constexpr (HELD > 0) {
#pragma unroll
            for (int k = 0; k < N; k++) x[k] = kept[i][k];
        } else {
            read(x, at);
        }
    }
};

// f of every element of the row that this lane has; their sum over the warp.
template <int N, int HELD, class H, class F>
DEVICE float sum_of(const H& held, unsigned width, F f) {
    float sum = 0;
    groups<N, HELD>(width, [&](int i, unsigned at) {
        float x[N];
        held.get(x, i, at);
#pragma unroll
        for (int k = 0; k < N; k++) sum += f(x[k]);
    });
    return warp_sum(sum);
}

struct Statistics {
    float mean, r;  // 1 / √(variance + eps)
};

template <int N, int HELD, class H>
DEVICE Statistics statistics(const H& x, unsigned width, float eps) {
    float mean = sum_of<N, HELD>(x, width, [](float v) { return v; }) / float(width);
    float squares =
        sum_of<N, HELD>(x, width, [=](float v) { return (v - mean) * (v - mean); });
    return {mean, 1.0f / sqrtf(squares / float(width) + eps)};
}

template <int N, class T>
struct Reader {
    const T* row;

    __device__ __forceinline__ void operator()(float (&x)[N], unsigned at) const {
        load(x, row + at);
    }
};
// g ∘ w
template <int N, class T, class G>
struct Weighted {
    const G* g;
    const T* w;

    __device__ __forceinline__ void operator()(float (&x)[N], unsigned at) const {
        float factor[N];
        load(x, g + at);
        load(factor, w + at);
#pragma unroll
        for (int k = 0; k < N; k++) x[k] *= factor[k];
    }
};

template <int N, int HELD, class T, class Y>
DEVICE void normalise_row(const float* row, const T* w, const T* b, Y* y, unsigned width,
                          float eps) {
    Held<N, HELD, Reader<N, float>> x(Reader<N, float>{row}, width);
    Statistics s = statistics<N, HELD>(x, width, eps);
    groups<N, HELD>(width, [&](int i, unsigned at) {
        float v[N], factor[N], shift[N];
        x.get(v, i, at);
        load(factor, w + at);
        load(shift, b + at);
#pragma unroll
        for (int k = 0; k < N; k++) v[k] = (v[k] - s.mean) * s.r * factor[k] + shift[k];
        store(y + at, v);
    });
}

// With x̂ = (x − mean) r and a = g ∘ w: dx = r (a − mean(a) − x̂ mean(a ∘ x̂)). The row's mean and
// r are left for the gradients of weight and bias where these are wanted; dx may be unwanted. What
// else the row's gradient is made of is added where there is some.
template <int N, int HELD, class T, class G>
DEVICE void normalise_row_back(const float* row, const T* w, const G* g, const float* onto,
                               float* dx, float* kept, unsigned width, float eps) {
    Held<N, HELD, Reader<N, float>> x(Reader<N, float>{row}, width);
    Statistics s = statistics<N, HELD>(x, width, eps);
    if (kept && lane() == 0) {
        kept[0] = s.mean;
        kept[1] = s.r;
    }
    if (!dx) return;
    Held<N, HELD, Weighted<N, T, G>> a(Weighted<N, T, G>{g, w}, width);
    float sum = sum_of<N, HELD>(a, width, [](float v) { return v; }), slope = 0;
    groups<N, HELD>(width, [&](int i, unsigned at) {
        float v[N], u[N];
        x.get(v, i, at);
        a.get(u, i, at);
#pragma unroll
        for (int k = 0; k < N; k++) slope += u[k] * (v[k] - s.mean);
    });
    slope = warp_sum(slope) * s.r / float(width);
    sum /= float(width);
    groups<N, HELD>(width, [&](int i, unsigned at) {
        float v[N], u[N];
        x.get(v, i, at);
        a.get(u, i, at);
#pragma unroll
        for (int k = 0; k < N; k++)
            v[k] = s.r * (u[k] - sum - (v[k] - s.mean) * s.r * slope);
        if (onto) {
            float other[N];
            load(other, onto + at);
#pragma unroll
            for (int k = 0; k < N; k++) v[k] += other[k];
        }
        store(dx + at, v);
    });
}

// A warp has a row. Up to 1024 columns it is read once.
template <class T, class Y>
DEVICE void layer_norm(const float* x, const T* w, const T* b, Y* y, unsigned rows,
                       unsigned width, float eps) {
    size_t row = thread_of_grid() / 32;
    if (row >= rows) return;
    x += row * width;
    y += row * width;
    if (width % 4 != 0 || !begins<4>(x, w, b, y))
        normalise_row<1, 0>(x, w, b, y, width, eps);
    else if (width > 1024)
        normalise_row<4, 0>(x, w, b, y, width, eps);
    else
        normalise_row<4, 8>(x, w, b, y, width, eps);
}
// Of weights in From and results, or their gradients, in To: those of weights in f32 are in f32.
#define NORM_PAIRS(name, parameters, arguments)                      \
    KERNEL_PAIR(name, float, float, f32, f32, parameters, arguments) \
    KERNEL_PAIR(name, bf16, float, bf16, f32, parameters, arguments) \
    KERNEL_PAIR(name, bf16, bf16, bf16, bf16, parameters, arguments)
NORM_PAIRS(layer_norm,
           (const float* x, const From* w, const From* b, To* y, unsigned rows, unsigned width,
            float eps),
           (x, w, b, y, rows, width, eps))

template <class T, class G>
DEVICE void layer_norm_back(const float* x, const T* w, const G* g, const float* onto, float* dx,
                            float* kept, unsigned rows, unsigned width, float eps) {
    size_t row = thread_of_grid() / 32;
    if (row >= rows) return;
    x += row * width;
    g += row * width;
    if (onto) onto += row * width;
    if (dx) dx += row * width;
    if (kept) kept += row * 2;
    if (width % 4 != 0 || !begins<4>(x, w, g, onto, dx))
        normalise_row_back<1, 0>(x, w, g, onto, dx, kept, width, eps);
    else if (width > 1024)
        normalise_row_back<4, 0>(x, w, g, onto, dx, kept, width, eps);
    else
        normalise_row_back<4, 8>(x, w, g, onto, dx, kept, width, eps);
}
NORM_PAIRS(layer_norm_back,
           (const float* x, const From* w, const To* g, const float* onto, float* dx,
            float* kept, unsigned rows, unsigned width, float eps),
           (x, w, g, onto, dx, kept, rows, width, eps))

constexpr unsigned ROWS_AT_ONCE = 8;  // a warp each

// S sums over the rows of one chunk, blockIdx.y, for every column: partial [chunks, S, width].
// f(sums, row, column) adds what a row has in N columns. A block of eight warps goes over tiles of
// 32 · N columns; it shares memory for [8, S, 32 · N] words.
template <int N, int S, class F>
DEVICE void sum_chunk(unsigned rows, unsigned chunk, unsigned width, float* partial, F f) {
    SHARED(float, words);
    constexpr unsigned TILE_WIDTH = 32 * N;
    size_t from = size_t(blockIdx.y) * chunk, to = from + chunk < rows ? from + chunk : rows;
    for (size_t tile = size_t(blockIdx.x) * TILE_WIDTH; tile < width;
         tile += size_t(gridDim.x) * TILE_WIDTH) {
        size_t column = tile + N * lane();
        float sums[S][N] = {};
        if (column < width)
#pragma unroll 4
            for (size_t i = from + warp(); i < to; i += ROWS_AT_ONCE) f(sums, i, column);
        __syncthreads();
#pragma unroll
        for (int s = 0; s < S; s++)
#pragma unroll
            for (int k = 0; k < N; k++)
                words[(warp() * S + s) * TILE_WIDTH + N * lane() + k] = sums[s][k];
        __syncthreads();
        for (unsigned j = threadIdx.x; j < S * TILE_WIDTH; j += blockDim.x) {
            float total = 0;
            for (unsigned w = 0; w < ROWS_AT_ONCE; w++) total += words[w * S * TILE_WIDTH + j];
            size_t s = j / TILE_WIDTH, c = tile + j % TILE_WIDTH;
            if (c < width) partial[(size_t(blockIdx.y) * S + s) * width + c] = total;
        }
    }
}

// Σ over rows of g ∘ x̂, and of g; `kept` has each row's mean and r.
KERNEL(layer_norm_sums)(const float* x, const float* g, const float* kept, float* partial,
                        unsigned rows, unsigned width, unsigned chunk) {
    in_vectors<4>(width % 4 == 0 && aligned(x, g), [&](auto count) {
        constexpr int N = decltype(count)::value;
        auto add = [&](float(&sums)[2][N], size_t row, size_t column) {
            float v[N], slope[N], mean = kept[2 * row], r = kept[2 * row + 1];
            load(v, x + row * width + column);
            load(slope, g + row * width + column);
#pragma unroll
            for (int k = 0; k < N; k++) {
                sums[0][k] += slope[k] * (v[k] - mean) * r;
                sums[1][k] += slope[k];
            }
        };
        sum_chunk<N, 2>(rows, chunk, width, partial, add);
    });
}
REGISTER(layer_norm_sums)

// Σ over rows of x, or of x ∘ y, in the columns from `column` on of rows of `total` elements.
template <class T>
DEVICE void sum_rows(const T* x, const T* y, float* partial, unsigned rows, unsigned column,
                     unsigned width, unsigned total, unsigned chunk) {
    constexpr int V = VECTOR<T>;
    bool fit = (column | width | total) % V == 0 && aligned(x, y);
    in_vectors<V>(fit, [&](auto count) {
        constexpr int N = decltype(count)::value;
        auto add = [&](float(&sums)[1][N], size_t row, size_t at) {
            float v[N];
            load(v, x + row * total + column + at);
            if (y) {
                float u[N];
                load(u, y + row * total + column + at);
#pragma unroll
                for (int k = 0; k < N; k++) v[k] *= u[k];
            }
#pragma unroll
            for (int k = 0; k < N; k++) sums[0][k] += v[k];
        };
        sum_chunk<N, 1>(rows, chunk, width, partial, add);
    });
}
KERNELS(sum_rows,
        (const T* x, const T* y, float* partial, unsigned rows, unsigned column, unsigned width,
         unsigned total, unsigned chunk),
        (x, y, partial, rows, column, width, total, chunk))

}  // namespace rows
