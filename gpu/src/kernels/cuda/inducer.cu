// The inducer's operations, head by head (`bottleneck.cuh`), and what is applied to heads: the
// gate, Gating, and the prefix's mixture (§4.2).
#include "bottleneck_weights.cuh"

KERNEL(inducer_sum)(const float* parts, unsigned blocks, float* a, unsigned na, float* b,
                    unsigned nb, float* c, unsigned nc, float* d, unsigned nd) {
    bottleneck::sum_shares<float>(parts, blocks, a, na, b, nb, c, nc, d, nd);
}
REGISTER(inducer_sum)

#define SIZES unsigned tokens, unsigned heads, unsigned width, unsigned r, unsigned row
#define SIZES_GIVEN {tokens, heads, width, r, row}
#define SIZES_PASSED tokens, heads, width, r, row
#define MLP const T *down, const T *down_bias, const T *up, const T *up_bias
#define MLP_PASSED down, down_bias, up, up_bias

#define BOTTLENECK(P)                                                                             \
    template <class T>                                                                            \
    DEVICE void inducer_score_##P(const T* qkv, MLP, float* out, SIZES, unsigned held,            \
                                  float scale) {                                                  \
        bottleneck::score<T, P>(qkv, {MLP_PASSED}, out, SIZES_GIVEN, held, scale);                \
    }                                                                                             \
    KERNELS(inducer_score_##P,                                                                    \
            (const T* qkv, MLP, float* out, SIZES, unsigned held, float scale),                   \
            (qkv, MLP_PASSED, out, SIZES_PASSED, held, scale))                                    \
                                                                                                  \
    template <class T>                                                                            \
    DEVICE void inducer_score_queries_##P(const T* qkv, MLP, const float* g, T* dq, SIZES,        \
                                          unsigned held, float scale) {                           \
        bottleneck::score_queries<T, P>(qkv, {MLP_PASSED}, g, dq, SIZES_GIVEN, held, scale);      \
    }                                                                                             \
    KERNELS(inducer_score_queries_##P,                                                            \
            (const T* qkv, MLP, const float* g, T* dq, SIZES, unsigned held, float scale),        \
            (qkv, MLP_PASSED, g, dq, SIZES_PASSED, held, scale))                                  \
                                                                                                  \
    template <class T>                                                                            \
    DEVICE void inducer_score_weights_##P(const T* qkv, MLP, const float* g, float* parts, SIZES, \
                                          float scale) {                                          \
        bottleneck::weights<T, P, bottleneck::SCORE>({qkv, nullptr, g, {MLP_PASSED}, scale},      \
                                                     parts, SIZES_GIVEN);                         \
    }                                                                                             \
    KERNELS(inducer_score_weights_##P,                                                            \
            (const T* qkv, MLP, const float* g, float* parts, SIZES, float scale),                \
            (qkv, MLP_PASSED, g, parts, SIZES_PASSED, scale))                                     \
                                                                                                  \
    template <class T>                                                                            \
    DEVICE void inducer_hidden_##P(const T* qkv, const float* lambda, const T* down,              \
                                   const T* down_bias, T* out, SIZES, unsigned held) {            \
        bottleneck::hidden<T, P>(qkv, lambda, {down, down_bias, nullptr, nullptr}, out,           \
                                 SIZES_GIVEN, held);                                              \
    }                                                                                             \
    KERNELS(inducer_hidden_##P,                                                                   \
            (const T* qkv, const float* lambda, const T* down, const T* down_bias, T* out, SIZES, \
             unsigned held),                                                                      \
            (qkv, lambda, down, down_bias, out, SIZES_PASSED, held))                              \
                                                                                                  \
    template <class T>                                                                            \
    DEVICE void inducer_hidden_queries_##P(const T* qkv, const float* lambda, const T* down,      \
                                           const T* down_bias, const T* g, T* dq, float* dlambda, \
                                           SIZES, unsigned held) {                                \
        bottleneck::hidden_queries<T, P>(qkv, lambda, {down, down_bias, nullptr, nullptr}, g, dq, \
                                         dlambda, SIZES_GIVEN, held);                             \
    }                                                                                             \
    KERNELS(inducer_hidden_queries_##P,                                                           \
            (const T* qkv, const float* lambda, const T* down, const T* down_bias, const T* g,    \
             T* dq, float* dlambda, SIZES, unsigned held),                                        \
            (qkv, lambda, down, down_bias, g, dq, dlambda, SIZES_PASSED, held))                   \
                                                                                                  \
    template <class T>                                                                            \
    DEVICE void inducer_hidden_weights_##P(const T* qkv, const float* lambda, const T* down,      \
                                           const T* down_bias, const T* g, float* parts, SIZES) { \
        bottleneck::weights<T, P, bottleneck::HIDDEN>(                                            \
            {qkv, g, lambda, {down, down_bias, nullptr, nullptr}, 1.0f}, parts, SIZES_GIVEN);     \
    }                                                                                             \
    KERNELS(inducer_hidden_weights_##P,                                                           \
            (const T* qkv, const float* lambda, const T* down, const T* down_bias, const T* g,    \
             float* parts, SIZES),                                                                \
            (qkv, lambda, down, down_bias, g, parts, SIZES_PASSED))                               \
                                                                                                  \
    template <class T>                                                                            \
    DEVICE void inducer_values_##P(const T* f, const T* hidden, const float* lambda, const T* up, \
                                   const T* up_bias, T* out, SIZES, unsigned held) {              \
        bottleneck::values<T, P>(f, hidden, lambda, {nullptr, nullptr, up, up_bias}, out,         \
                                 SIZES_GIVEN, held);                                              \
    }                                                                                             \
    KERNELS(inducer_values_##P,                                                                   \
            (const T* f, const T* hidden, const float* lambda, const T* up, const T* up_bias,     \
             T* out, SIZES, unsigned held),                                                       \
            (f, hidden, lambda, up, up_bias, out, SIZES_PASSED, held))                            \
                                                                                                  \
    template <class T>                                                                            \
    DEVICE void inducer_values_units_##P(const T* g, const T* up, const T* up_bias, T* dhidden,   \
                                         float* dlambda, SIZES, unsigned held) {                  \
        bottleneck::values_units<T, P>(g, {nullptr, nullptr, up, up_bias}, dhidden, dlambda,      \
                                       SIZES_GIVEN, held);                                        \
    }                                                                                             \
    KERNELS(inducer_values_units_##P,                                                             \
            (const T* g, const T* up, const T* up_bias, T* dhidden, float* dlambda, SIZES,        \
             unsigned held),                                                                      \
            (g, up, up_bias, dhidden, dlambda, SIZES_PASSED, held))                               \
                                                                                                  \
    template <class T>                                                                            \
    DEVICE void inducer_values_weights_##P(const T* g, const T* hidden, const float* lambda,      \
                                           float* parts, SIZES) {                                 \
        bottleneck::weights<T, P, bottleneck::VALUES>({g, hidden, lambda, {}, 1.0f}, parts,       \
                                                      SIZES_GIVEN);                               \
    }                                                                                             \
    KERNELS(inducer_values_weights_##P,                                                           \
            (const T* g, const T* hidden, const float* lambda, float* parts, SIZES),              \
            (g, hidden, lambda, parts, SIZES_PASSED))

BOTTLENECK(64)
BOTTLENECK(128)

// What needs no matrix: eight lanes have the p elements of one token and head, 16 bytes of them at
// a time.
namespace heads {

template <class T>
constexpr int PACK = 16 / int(sizeof(T));

template <class T>
struct Pack {
    float x[PACK<T>];
};

template <class T>
DEVICE Pack<T> read(const T* from, unsigned count, bool whole) {
    T few[PACK<T>];
    if (whole) {
        uint4 words = read_16(from);
        memcpy(few, &words, 16);
    } else {
        for (unsigned n = 0; n < unsigned(PACK<T>); n++)
            few[n] = n < count ? from[n] : narrow<T>(0.0f);
    }
    Pack<T> pack;
#pragma unroll
    for (int n = 0; n < PACK<T>; n++) pack.x[n] = wide(few[n]);
    return pack;
}
template <class T>
DEVICE void write(T* to, const Pack<T>& pack, unsigned count, bool whole) {
    T few[PACK<T>];
#pragma unroll
    for (int n = 0; n < PACK<T>; n++) few[n] = narrow<T>(pack.x[n]);
    if (whole) {
        uint4 words;
        memcpy(&words, few, 16);
        write_16(to, words);
    } else {
        for (unsigned n = 0; n < unsigned(PACK<T>) && n < count; n++) to[n] = few[n];
    }
}

DEVICE float over_eight(float x) {
    for (int i = 1; i < 8; i *= 2) x += __shfl_xor_sync(0xFFFFFFFFu, x, i);
    return x;
}

// Vectors of `width` elements, `heads` of them in a row of `row` elements.
struct Vectors {
    unsigned count, heads, width, row;

    __device__ __forceinline__ size_t in_rows(size_t i) const {
        return i / heads * row + i % heads * width;
    }
};

// `f(i)` by eight lanes for the i-th vector; all lanes of a warp take part.
template <class F>
DEVICE void for_vectors(unsigned count, F f) {
    for (size_t i = thread_of_grid() / 8; i / 4 * 4 < count; i += threads_of_grid() / 8) f(i);
}
// `f(from, how many)` for this lane's elements of a vector.
template <class T, class F>
DEVICE void for_packs(unsigned width, F f) {
    for (unsigned j = threadIdx.x % 8 * PACK<T>; j < width; j += 8 * PACK<T>) f(j, width - j);
}
template <class T>
DEVICE bool whole(const T* data, unsigned width, unsigned row) {
    constexpr unsigned V = PACK<T>;
    return width % V == 0 && row % V == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

}  // namespace heads

// ⟨q, q⟩/√p [tokens, H].
template <class T>
DEVICE void inducer_length(const T* qkv, float* out, unsigned count, unsigned heads, unsigned width,
                           unsigned row, float scale) {
    heads::Vectors v{count, heads, width, row};
    bool whole = heads::whole(qkv, width, row);
    heads::for_vectors(count, [&](size_t i) {
        float sum = 0;
        if (i < count)
            heads::for_packs<T>(width, [&](unsigned j, unsigned left) {
                auto q = heads::read(qkv + v.in_rows(i) + j, left, whole);
                for (float x : q.x) sum += x * x;
            });
        sum = heads::over_eight(sum);
        if (i < count && threadIdx.x % 8 == 0) out[i] = scale * sum;
    });
}
KERNELS(inducer_length,
        (const T* qkv, float* out, unsigned count, unsigned heads, unsigned width, unsigned row,
         float scale),
        (qkv, out, count, heads, width, row, scale))

template <class T>
DEVICE void inducer_length_backward(const T* qkv, const float* g, T* dq, unsigned count,
                                    unsigned heads, unsigned width, unsigned row, float scale) {
    heads::Vectors v{count, heads, width, row};
    bool whole = heads::whole(qkv, width, row) && heads::whole(dq, width, width);
    heads::for_vectors(count, [&](size_t i) {
        if (i >= count) return;
        float w = 2.0f * scale * g[i];
        heads::for_packs<T>(width, [&](unsigned j, unsigned left) {
            auto q = heads::read(qkv + v.in_rows(i) + j, left, whole);
            for (float& x : q.x) x *= w;
            heads::write(dq + i * width + j, q, left, whole);
        });
    });
}
KERNELS(inducer_length_backward,
        (const T* qkv, const float* g, T* dq, unsigned count, unsigned heads, unsigned width,
         unsigned row, float scale),
        (qkv, g, dq, count, heads, width, row, scale))

// λ = σ(s − LSE).
DEVICE float logistic(float x) {
    float e = expf(-fabsf(x));  // of a negative number only, so that nothing overflows
    float small = e / (1.0f + e);
    return x >= 0 ? 1.0f - small : small;
}
template <class T>
DEVICE void gate(const T* s, const T* lse, T* out, unsigned n) {
    for (size_t i = thread_of_grid(); i < n; i += threads_of_grid())
        out[i] = narrow<T>(logistic(wide(s[i]) - wide(lse[i])));
}
KERNELS(gate, (const T* s, const T* lse, T* out, unsigned n), (s, lse, out, n))

// λ and 1 − λ, each from its own exponential: λ(1 − λ) stays exact where λ rounds to 1.
template <class T>
DEVICE void gate_backward(const T* s, const T* lse, const T* g, T* ds, T* dlse, unsigned n) {
    for (size_t i = thread_of_grid(); i < n; i += threads_of_grid()) {
        float x = wide(s[i]) - wide(lse[i]);
        float slope = wide(g[i]) * logistic(x) * logistic(-x);
        ds[i] = narrow<T>(slope);
        dlse[i] = narrow<T>(-slope);
    }
}
KERNELS(gate_backward, (const T* s, const T* lse, const T* g, T* ds, T* dlse, unsigned n),
        (s, lse, g, ds, dlse, n))

// (1 − λ) f.
template <class T>
DEVICE void complement(const T* f, const float* lambda, T* out, unsigned count, unsigned width) {
    bool whole = heads::whole(f, width, width) && heads::whole(out, width, width);
    heads::for_vectors(count, [&](size_t i) {
        if (i >= count) return;
        float keep = 1.0f - lambda[i];
        heads::for_packs<T>(width, [&](unsigned j, unsigned left) {
            auto x = heads::read(f + i * width + j, left, whole);
            for (float& x : x.x) x *= keep;
            heads::write(out + i * width + j, x, left, whole);
        });
    });
}
KERNELS(complement, (const T* f, const float* lambda, T* out, unsigned count, unsigned width),
        (f, lambda, out, count, width))

template <class T>
DEVICE void complement_backward(const T* f, const float* lambda, const T* g, T* df, float* dlambda,
                                unsigned count, unsigned width) {
    bool whole = heads::whole(f, width, width) && heads::whole(g, width, width) &&
                 heads::whole(df, width, width);
    heads::for_vectors(count, [&](size_t i) {
        float sum = 0;
        if (i < count)
            heads::for_packs<T>(width, [&](unsigned j, unsigned left) {
                auto of = heads::read(f + i * width + j, left, whole);
                auto to = heads::read(g + i * width + j, left, whole);
                for (int n = 0; n < heads::PACK<T>; n++) {
                    sum += of.x[n] * to.x[n];
                    to.x[n] *= 1.0f - lambda[i];
                }
                if (df) heads::write(df + i * width + j, to, left, whole);
            });
        sum = heads::over_eight(sum);
        if (i < count && threadIdx.x % 8 == 0) dlambda[i] = -sum;
    });
}
KERNELS(complement_backward,
        (const T* f, const float* lambda, const T* g, T* df, float* dlambda, unsigned count,
         unsigned width),
        (f, lambda, g, df, dlambda, count, width))

// (1 − μ) f + μ g.
template <class T>
DEVICE void mixture(const T* f, const T* g, const float* mu, T* out, unsigned count,
                    unsigned width) {
    bool whole = heads::whole(f, width, width) && heads::whole(g, width, width) &&
                 heads::whole(out, width, width);
    heads::for_vectors(count, [&](size_t i) {
        if (i >= count) return;
        float m = mu[i];
        heads::for_packs<T>(width, [&](unsigned j, unsigned left) {
            auto a = heads::read(f + i * width + j, left, whole);
            auto b = heads::read(g + i * width + j, left, whole);
            for (int n = 0; n < heads::PACK<T>; n++) a.x[n] = (1.0f - m) * a.x[n] + m * b.x[n];
            heads::write(out + i * width + j, a, left, whole);
        });
    });
}
KERNELS(mixture,
        (const T* f, const T* g, const float* mu, T* out, unsigned count, unsigned width),
        (f, g, mu, out, count, width))

template <class T>
DEVICE void mixture_backward(const T* f, const T* g, const float* mu, const T* dy, T* df, T* dg,
                             float* dmu, unsigned count, unsigned width) {
    bool whole = heads::whole(f, width, width) && heads::whole(g, width, width) &&
                 heads::whole(dy, width, width) && heads::whole(df, width, width) &&
                 heads::whole(dg, width, width);
    heads::for_vectors(count, [&](size_t i) {
        float sum = 0;
        if (i < count)
            heads::for_packs<T>(width, [&](unsigned j, unsigned left) {
                float m = mu[i];
                auto a = heads::read(f + i * width + j, left, whole);
                auto b = heads::read(g + i * width + j, left, whole);
                auto y = heads::read(dy + i * width + j, left, whole);
                for (int n = 0; n < heads::PACK<T>; n++) {
                    sum += y.x[n] * (b.x[n] - a.x[n]);
                    a.x[n] = (1.0f - m) * y.x[n];
                    b.x[n] = m * y.x[n];
                }
                if (df) heads::write(df + i * width + j, a, left, whole);
                if (dg) heads::write(dg + i * width + j, b, left, whole);
            });
        sum = heads::over_eight(sum);
        if (i < count && threadIdx.x % 8 == 0) dmu[i] = sum;
    });
}
KERNELS(mixture_backward,
        (const T* f, const T* g, const float* mu, const T* dy, T* df, T* dg, float* dmu,
         unsigned count, unsigned width),
        (f, g, mu, dy, df, dg, dmu, count, width))

// log(eᵃ + eᵇ), and with its gradient those of a and b.
template <class T>
DEVICE void joint(const T* a, const T* b, T* out, unsigned n) {
    for (size_t i = thread_of_grid(); i < n; i += threads_of_grid()) {
        float x = wide(a[i]), y = wide(b[i]), difference = fabsf(x - y);
        out[i] = narrow<T>(fmaxf(x, y) + log1pf(expf(-difference)));
    }
}
KERNELS(joint, (const T* a, const T* b, T* out, unsigned n), (a, b, out, n))

template <class T>
DEVICE void joint_backward(const T* a, const T* b, const T* g, T* da, T* db, unsigned n) {
    for (size_t i = thread_of_grid(); i < n; i += threads_of_grid()) {
        float x = wide(a[i]) - wide(b[i]);
        da[i] = narrow<T>(wide(g[i]) * logistic(x));
        db[i] = narrow<T>(wide(g[i]) * logistic(-x));
    }
}
KERNELS(joint_backward, (const T* a, const T* b, const T* g, T* da, T* db, unsigned n),
        (a, b, g, da, db, n))
