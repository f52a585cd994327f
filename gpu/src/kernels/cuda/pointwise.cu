// Element by element: activations, dropout, the residual connection, blocks of columns. All of
// them are bound by memory.
#include "vector.cuh"

namespace pointwise {
using vectors::Count;
using vectors::VECTOR;
using vectors::aligned;
using vectors::along_rows;
using vectors::in_vectors;
using vectors::load;
using vectors::store;

// Activations and their slopes (ops/activation.rs). Where results are rounded to bf16, exponentials
// and quotients are the card's quick ones, whose error of some 2⁻²¹ is far below that rounding.
template <class T>
DEVICE float exponential(float x) {
    return sizeof(T) == 2 ? __expf(x) : expf(x);
}
template <class T>
DEVICE float quotient(float x, float y) {
    return sizeof(T) == 2 ? __fdividef(x, y) : x / y;
}

constexpr float SQRT_2_OVER_PI = 0.7978845608028654f, CUBIC = 0.044715f;
constexpr float SQRT_HALF = 0.7071067811865476f, SQRT_2_PI_INVERSE = 0.3989422804014327f;

// x/2 (1 + tanh u) = x σ(2u), u = √(2/π) (x + 0.044715 x³)
struct GeluTanh {
    template <class T>
    static __device__ __forceinline__ float value(float x) {
        float u = SQRT_2_OVER_PI * x * (1.0f + CUBIC * x * x);
        return quotient<T>(x, 1.0f + exponential<T>(-(u + u)));
    }
    template <class T>
    static __device__ __forceinline__ float slope(float x) {
        float u = SQRT_2_OVER_PI * x * (1.0f + CUBIC * x * x);
        float s = quotient<T>(1.0f, 1.0f + exponential<T>(-(u + u)));
        float du = SQRT_2_OVER_PI * (1.0f + 3.0f * CUBIC * x * x);
        return s + x * s * (1.0f - s) * (du + du);
    }
};

// x/2 (1 + erf(x/√2))
struct GeluErf {
    template <class T>
    static __device__ __forceinline__ float value(float x) {
        return 0.5f * x * (1.0f + erff(x * SQRT_HALF));
    }
    template <class T>
    static __device__ __forceinline__ float slope(float x) {
        float phi = 0.5f * (1.0f + erff(x * SQRT_HALF));
        return phi + x * exponential<T>(-0.5f * x * x) * SQRT_2_PI_INVERSE;
    }
};

struct Tanh {
    template <class T>
    static __device__ __forceinline__ float value(float x) {
        return tanhf(x);
    }
    template <class T>
    static __device__ __forceinline__ float slope(float x) {
        float t = tanhf(x);
        return 1.0f - t * t;
    }
};

struct Relu {
    template <class T>
    static __device__ __forceinline__ float value(float x) {
        return x > 0.0f ? x : 0.0f;
    }
    template <class T>
    static __device__ __forceinline__ float slope(float x) {
        return x > 0.0f ? 1.0f : 0.0f;
    }
};

// f of every vector among n elements; what remains is done one by one.
template <int N, class F>
DEVICE void along_all(size_t n, F f) {
    for (size_t at = N * thread_of_grid(); at + N <= n; at += N * threads_of_grid())
        f(Count<N>{}, at);
    size_t rest = n / N * N + thread_of_grid();
    if (rest < n) f(Count<1>{}, rest);
}

template <class T, class A>
DEVICE void activate(const T* x, T* y, unsigned n) {
    in_vectors<VECTOR<T>>(aligned(x, y), [&](auto count) {
        along_all<decltype(count)::value>(n, [&](auto few, size_t at) {
            constexpr int N = decltype(few)::value;
            float v[N];
            load(v, x + at);
#pragma unroll
            for (int i = 0; i < N; i++) v[i] = A::template value<T>(v[i]);
            store(y + at, v);
        });
    });
}
template <class T, class A>
DEVICE void activate_back(const T* x, const T* g, T* dx, unsigned n) {
    in_vectors<VECTOR<T>>(aligned(x, g, dx), [&](auto count) {
        along_all<decltype(count)::value>(n, [&](auto few, size_t at) {
            constexpr int N = decltype(few)::value;
            float v[N], slope[N];
            load(slope, x + at);
            load(v, g + at);
#pragma unroll
            for (int i = 0; i < N; i++) v[i] *= A::template slope<T>(slope[i]);
            store(dx + at, v);
        });
    });
}

#define ACTIVATION(name, A)                                                              \
    template <class T>                                                                   \
    DEVICE void name(const T* x, T* y, unsigned n) {                                     \
        activate<T, A>(x, y, n);                                                         \
    }                                                                                    \
    template <class T>                                                                   \
    DEVICE void name##_back(const T* x, const T* g, T* dx, unsigned n) {                 \
        activate_back<T, A>(x, g, dx, n);                                                \
    }                                                                                    \
    KERNELS(name, (const T* x, T* y, unsigned n), (x, y, n))                             \
    KERNELS(name##_back, (const T* x, const T* g, T* dx, unsigned n), (x, g, dx, n))

ACTIVATION(gelu_tanh, GeluTanh)
ACTIVATION(gelu_erf, GeluErf)
ACTIVATION(tanh_of, Tanh)
ACTIVATION(relu, Relu)

// y = x ∘ mask; the mask's rows are those of x.
template <class A, class B>
DEVICE void dropout_of(const A* x, B* y, unsigned rows, unsigned width, Dropout drop) {
    constexpr int V = VECTOR<A, B>;
    in_vectors<V>(width % V == 0 && aligned(x, y), [&](auto count) {
        constexpr int N = decltype(count)::value;
        along_rows<N>(rows, width, [&](size_t row, unsigned at) {
            KeepRow keep = keep_row(drop, row);
            float v[N];
            load(v, x + row * width + at);
#pragma unroll
            for (int i = 0; i < N; i++) v[i] *= keep_factor(drop, keep, at + i);
            store(y + row * width + at, v);
        });
    });
}
template <class T>
DEVICE void dropout(const T* x, T* y, unsigned rows, unsigned width, Dropout drop) {
    dropout_of(x, y, rows, width, drop);
}
KERNELS(dropout, (const T* x, T* y, unsigned rows, unsigned width, Dropout drop),
        (x, y, rows, width, drop))
KERNEL(dropout_f32_bf16)(const float* x, bf16* y, unsigned rows, unsigned width, Dropout drop) {
    dropout_of(x, y, rows, width, drop);
}
REGISTER(dropout_f32_bf16)

// y = x + branch ∘ mask
template <class T>
DEVICE void residual(const float* x, const T* branch, float* y, unsigned rows, unsigned width,
                     Dropout drop) {
    constexpr int V = VECTOR<float>;
    in_vectors<V>(width % V == 0 && aligned(x, branch, y), [&](auto count) {
        constexpr int N = decltype(count)::value;
        along_rows<N>(rows, width, [&](size_t row, unsigned at) {
            size_t from = row * width + at;
            float v[N], b[N];
            load(v, x + from);
            load(b, branch + from);
            if (drop.threshold) {
                KeepRow keep = keep_row(drop, row);
#pragma unroll
                for (int i = 0; i < N; i++) b[i] *= keep_factor(drop, keep, at + i);
            }
#pragma unroll
            for (int i = 0; i < N; i++) v[i] += b[i];
            store(y + from, v);
        });
    });
}
KERNELS(residual,
        (const float* x, const T* branch, float* y, unsigned rows, unsigned width, Dropout drop),
        (x, branch, y, rows, width, drop))

// Columns `column .. column + width` of rows of `total` elements.
struct Columns {
    unsigned rows, column, width, total;

    __device__ __forceinline__ bool fit(unsigned vector) const {
        return (column | width | total) % vector == 0;
    }
};

// into[:, columns] += block
template <class A, class B>
DEVICE void add_block_of(A* into, const B* block, Columns c) {
    constexpr int V = VECTOR<A, B>;
    in_vectors<V>(c.fit(V) && aligned(into, block), [&](auto count) {
        constexpr int N = decltype(count)::value;
        along_rows<N>(c.rows, c.width, [&](size_t row, unsigned at) {
            A* place = into + row * c.total + c.column + at;
            float a[N], b[N];
            load(a, place);
            load(b, block + row * c.width + at);
#pragma unroll
            for (int i = 0; i < N; i++) a[i] += b[i];
            store(place, a);
        });
    });
}
#define ADD_BLOCK(name, A, B)                                                           \
    KERNEL(name)(A* into, const B* block, unsigned rows, unsigned column, unsigned width, \
                 unsigned total) {                                                      \
        add_block_of(into, block, Columns{rows, column, width, total});                 \
    }                                                                                   \
    REGISTER(name)

ADD_BLOCK(add_block_f32_f32, float, float)
ADD_BLOCK(add_block_f32_bf16, float, bf16)
ADD_BLOCK(add_block_bf16_f32, bf16, float)
ADD_BLOCK(add_block_bf16_bf16, bf16, bf16)

// The block in its columns of a matrix of zeros.
template <class T>
DEVICE void pad_columns(const T* block, T* y, unsigned rows, unsigned column, unsigned width,
                        unsigned total) {
    Columns c{rows, column, width, total};
    constexpr int V = VECTOR<T>;
    in_vectors<V>(c.fit(V) && aligned(block, y), [&](auto count) {
        constexpr int N = decltype(count)::value;
        along_rows<N>(rows, total, [&](size_t row, unsigned at) {
            float v[N] = {};
            if (at >= column && at - column < width) load(v, block + row * width + at - column);
            store(y + row * total + at, v);
        });
    });
}
KERNELS(pad_columns,
        (const T* block, T* y, unsigned rows, unsigned column, unsigned width, unsigned total),
        (block, y, rows, column, width, total))

// The columns as a matrix of their own.
template <class T>
DEVICE void take_columns(const T* x, T* y, unsigned rows, unsigned column, unsigned width,
                         unsigned total) {
    Columns c{rows, column, width, total};
    constexpr int V = VECTOR<T>;
    in_vectors<V>(c.fit(V) && aligned(x, y), [&](auto count) {
        constexpr int N = decltype(count)::value;
        along_rows<N>(rows, width, [&](size_t row, unsigned at) {
            float v[N];
            load(v, x + row * total + column + at);
            store(y + row * width + at, v);
        });
    });
}
KERNELS(take_columns,
        (const T* x, T* y, unsigned rows, unsigned column, unsigned width, unsigned total),
        (x, y, rows, column, width, total))

// (IA)³: x ∘ l in as many columns as l has entries, the others as they are.
template <class T>
DEVICE void rescale(const T* x, const T* l, T* y, unsigned rows, unsigned column, unsigned width,
                    unsigned total) {
    constexpr int V = VECTOR<T>;
    Columns c{rows, column, width, total};
    in_vectors<V>(c.fit(V) && aligned(x, l, y), [&](auto count) {
        constexpr int N = decltype(count)::value;
        along_rows<N>(rows, total, [&](size_t row, unsigned at) {
            float v[N];
            load(v, x + row * total + at);
            if (at >= column && at - column < width) {
                float factor[N];
                load(factor, l + at - column);
#pragma unroll
                for (int i = 0; i < N; i++) v[i] *= factor[i];
            }
            store(y + row * total + at, v);
        });
    });
}
KERNELS(rescale,
        (const T* x, const T* l, T* y, unsigned rows, unsigned column, unsigned width,
         unsigned total),
        (x, l, y, rows, column, width, total))

}  // namespace pointwise
