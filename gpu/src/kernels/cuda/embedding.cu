// Lookup of rows in tables, and the sums of the rows of a gradient by where they were looked up.
#include "vector.cuh"

namespace lookup {
using vectors::VECTOR;
using vectors::aligned;
using vectors::along_rows;
using vectors::in_vectors;
using vectors::load;
using vectors::store;

// What the lookups of one position add up to: tokens[id] + positions[p] (+ tokens[segment]); ids
// from `vocabulary` on are rows of `added`. A warp has a position.
template <class T>
DEVICE void embedding(const T* tokens, const T* positions, const T* added, const uint32_t* ids,
                      const uint32_t* at, const uint32_t* segments, float* y, unsigned count,
                      unsigned width, unsigned vocabulary) {
    constexpr int V = VECTOR<float>;
    auto row_of = [&](uint32_t id) {
        return id < vocabulary ? tokens + size_t(id) * width
                               : added + size_t(id - vocabulary) * width;
    };
    in_vectors<V>(width % V == 0 && aligned(tokens, positions, added, y), [&](auto few) {
        constexpr int N = decltype(few)::value;
        along_rows<N>(count, width, [&](size_t i, unsigned j) {
            float sum[N], v[N];
            load(sum, row_of(ids[i]) + j);
            load(v, positions + size_t(at[i]) * width + j);
#pragma unroll
            for (int k = 0; k < N; k++) sum[k] += v[k];
            if (segments) {
                load(v, row_of(segments[i]) + j);
#pragma unroll
                for (int k = 0; k < N; k++) sum[k] += v[k];
            }
            store(y + i * width + j, sum);
        });
    });
}
KERNELS(embedding,
        (const T* tokens, const T* positions, const T* added, const uint32_t* ids,
         const uint32_t* at, const uint32_t* segments, float* y, unsigned count, unsigned width,
         unsigned vocabulary),
        (tokens, positions, added, ids, at, segments, y, count, width, vocabulary))

// Row `to[p]` of y is the sum of the rows `members[starts[p]] …` of x before `members[starts[p +
// 1]]`, in this order. A block has a p.
template <class A, class B>
DEVICE void sum_members(const A* x, const uint32_t* members, const uint32_t* starts,
                        const uint32_t* to, B* y, unsigned width) {
    constexpr int V = VECTOR<A, B>;
    in_vectors<V>(width % V == 0 && aligned(x, y), [&](auto few) {
        constexpr int N = decltype(few)::value;
        unsigned begin = starts[blockIdx.x], end = starts[blockIdx.x + 1];
        for (unsigned j = N * threadIdx.x; j < width; j += N * blockDim.x) {
            float sum[N] = {};
#pragma unroll 8
            for (unsigned m = begin; m < end; m++) {
                float v[N];
                load(v, x + size_t(members[m]) * width + j);
#pragma unroll
                for (int k = 0; k < N; k++) sum[k] += v[k];
            }
            store(y + size_t(to[blockIdx.x]) * width + j, sum);
        }
    });
}
#define SUM_MEMBERS(name, A, B)                                                            \
    KERNEL(name)(const A* x, const uint32_t* members, const uint32_t* starts,              \
                 const uint32_t* to, B* y, unsigned width) {                               \
        sum_members(x, members, starts, to, y, width);                                     \
    }                                                                                      \
    REGISTER(name)

SUM_MEMBERS(sum_members_f32_f32, float, float)
SUM_MEMBERS(sum_members_f32_bf16, float, bf16)
SUM_MEMBERS(sum_members_bf16_f32, bf16, float)
SUM_MEMBERS(sum_members_bf16_bf16, bf16, bf16)

}  // namespace lookup
