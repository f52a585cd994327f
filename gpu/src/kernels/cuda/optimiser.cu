// The norm of all gradients together, AdamW's step of all tensors together, and the conversion of
// many tensors.
//
// The tensors are in a table of 64-bit cells, `columns` of them an entry: the gradient's address,
// its number of elements and the number of the first of its chunks; for a step also the factor on
// the weight (1 − lr · decay), the decay that is part of the gradient, and the addresses of weight
// and moments. A block has a chunk of one tensor. Everything is f32, but for
// the norm's sum over the chunks, which is f64.
#include "pack.cuh"

namespace optimiser {

constexpr unsigned CHUNK = 4096;

struct Table {
    const uint32_t* cells;
    unsigned entries, columns;

    __device__ __forceinline__ const uint32_t* at(unsigned entry, unsigned column) const {
        return cells + 2 * (size_t(entry) * columns + column);
    }
    __device__ __forceinline__ unsigned number(unsigned entry, unsigned column) const {
        return *at(entry, column);
    }
    __device__ __forceinline__ float real(unsigned entry, unsigned column) const {
        return *reinterpret_cast<const float*>(at(entry, column));
    }
    template <class T = float>
    __device__ __forceinline__ T* address(unsigned entry, unsigned column) const {
        const uint32_t* cell = at(entry, column);
        return reinterpret_cast<T*>(uintptr_t(uint64_t(cell[0]) | uint64_t(cell[1]) << 32));
    }
};

// The elements `from .. end` of the entry that this block works at.
struct Chunk {
    unsigned entry, from, end;
};

DEVICE Chunk chunk(const Table& table) {
    unsigned low = 0, high = table.entries;  // the last entry that does not begin after the block
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;
        if (table.number(middle, 2) <= blockIdx.x) low = middle;
        else high = middle;
    }
    unsigned from = (blockIdx.x - table.number(low, 2)) * CHUNK, n = table.number(low, 1);
    return {low, from, min(from + CHUNK, n)};
}

// What one pass over the gradients finds, at the beginning of `state`; the losses follow.
enum { NORM, FACTOR, FINITE, LOSSES };

DEVICE bool finite(float x) { return fabsf(x) <= 3.402823466e38f; }

DEVICE void norm_parts(const Table& table, float* parts) {
    SHARED(float, words);
    Chunk mine = chunk(table);
    const float* g = table.address(mine.entry, 0);
    float sum = 0.0f;
    for (unsigned i = mine.from + threadIdx.x * 4; i < mine.end; i += blockDim.x * 4) {
        float x[4];
        pack::load(x, g + i, mine.end - i);
#pragma unroll
        for (int n = 0; n < 4; n++) sum += x[n] * x[n];
    }
    sum = block_sum(sum, words);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}
// √ of the sum of all parts, the factor that brings it within the limit, and whether it and all
// losses are finite; by one block of a power of two threads.
DEVICE void norm(const float* parts, const float* losses, float* state, unsigned count,
                 unsigned losses_count, float limit) {
    SHARED(double, sums);
    double sum = 0.0;
    for (unsigned i = threadIdx.x; i < count; i += blockDim.x) sum += double(parts[i]);
    sums[threadIdx.x] = sum;
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x > 0) return;
    float of_all = float(sqrt(sums[0]));
    bool all_finite = finite(of_all);
    for (unsigned i = 0; i < losses_count; i++) {
        all_finite = all_finite && finite(losses[i]);
        state[LOSSES + i] = losses[i];
    }
    state[NORM] = of_all;
    state[FACTOR] = of_all > limit ? limit / of_all : 1.0f;
    state[FINITE] = all_finite ? 1.0f : 0.0f;
}

}  // namespace optimiser

KERNEL(gradient_norm_parts)(const uint32_t* cells, float* parts, unsigned entries,
                            unsigned columns) {
    optimiser::norm_parts({cells, entries, columns}, parts);
}
REGISTER(gradient_norm_parts)

KERNEL(gradient_norm)(const float* parts, const float* losses, float* state, unsigned count,
                      unsigned losses_count, float limit) {
    optimiser::norm(parts, losses, state, count, losses_count, limit);
}
REGISTER(gradient_norm)

// Nothing is changed where `state` says that something is not finite.
KERNEL(adamw)(const uint32_t* cells, const float* state, unsigned entries, unsigned columns,
              float beta1, float rest1, float beta2, float rest2, float rate, float c2, float eps) {
    if (state[optimiser::FINITE] == 0.0f) return;
    optimiser::Table table{cells, entries, columns};
    optimiser::Chunk mine = optimiser::chunk(table);
    const float* g = table.address(mine.entry, 0);
    float shrink = table.real(mine.entry, 3), decay = table.real(mine.entry, 4);
    float *w = table.address(mine.entry, 5), *m = table.address(mine.entry, 6),
          *v = table.address(mine.entry, 7);
    if (!w) return;
    float factor = state[optimiser::FACTOR];
    for (unsigned i = mine.from + threadIdx.x * 4; i < mine.end; i += blockDim.x * 4) {
        unsigned left = mine.end - i;
        float of_g[4], of_w[4], of_m[4], of_v[4];
        pack::load(of_g, g + i, left);
        pack::load(of_w, w + i, left);
        pack::load(of_m, m + i, left);
        pack::load(of_v, v + i, left);
#pragma unroll
        for (int n = 0; n < 4; n++) {
            float slope = of_g[n] * factor + of_w[n] * decay;
            of_m[n] = beta1 * of_m[n] + rest1 * slope;
            of_v[n] = beta2 * of_v[n] + rest2 * (slope * slope);
            of_w[n] = of_w[n] * shrink - rate * of_m[n] / (sqrtf(of_v[n] / c2) + eps);
        }
        pack::store(m + i, of_m, left);
        pack::store(v + i, of_v, left);
        pack::store(w + i, of_w, left);
    }
}
REGISTER(adamw)

// Copies of tensors in another type: of a table's tensors, to the addresses in its fourth column.
template <class From, class To>
DEVICE void convert(const uint32_t* cells, unsigned entries, unsigned columns) {
    optimiser::Table table{cells, entries, columns};
    optimiser::Chunk mine = optimiser::chunk(table);
    const From* from = table.address<From>(mine.entry, 0);
    To* to = table.address<To>(mine.entry, 3);
    for (unsigned i = mine.from + threadIdx.x * 4; i < mine.end; i += blockDim.x * 4) {
        float x[4];
        pack::load(x, from + i, mine.end - i);
        pack::store(to + i, x, mine.end - i);
    }
}
KERNEL_PAIR(convert, float, bf16, f32, bf16,
            (const uint32_t* cells, unsigned entries, unsigned columns), (cells, entries, columns))
KERNEL_PAIR(convert, bf16, float, bf16, f32,
            (const uint32_t* cells, unsigned entries, unsigned columns), (cells, entries, columns))
