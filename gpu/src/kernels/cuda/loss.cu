// The loss of the language-model head, and which logit is the largest.
//
//   loss = (1 − ε)(LSE − z_y) + ε(LSE − mean z),  dz = (softmax z − ε/V − (1 − ε)[y]) / count
//
// A block has one row of logits. It reads the row once for LSE and once more, from the cache, for
// the gradient, which takes the logits' place: 132 processors with two rows of 50 304 in bf16 hold
// 27 MB. Rows are padded to a whole number of 128 bytes; the padding's gradient is zero.
#include "pack.cuh"

namespace loss {

constexpr float LOWEST = -3.402823466e38f;

// The slope of a logit in bf16 has eight bits; the processor's own exponential has twenty.
template <class T>
DEVICE float exponential(float x) {
    if constexpr (sizeof(T) == 2) return __expf(x);
    else return expf(x);
}

// What a thread knows of the logits that it has seen: their maximum, Σ exp(z − top) and Σ z.
struct Seen {
    float top, total, sum;
};

template <class T, int N>
DEVICE void see(Seen& seen, const float (&z)[N]) {
    float best = seen.top;
#pragma unroll
    for (int n = 0; n < N; n++) best = fmaxf(best, z[n]);
    if (best > seen.top) {
        seen.total *= exponential<T>(seen.top - best);
        seen.top = best;
    }
#pragma unroll
    for (int n = 0; n < N; n++) {
        seen.total += exponential<T>(z[n] - best);
        seen.sum += z[n];
    }
}

}  // namespace loss

template <class T>
DEVICE void loss_rows(T* logits, const uint32_t* labels, float* losses, unsigned width,
                      unsigned pitch, float smoothing, float count, unsigned wanted) {
    constexpr unsigned N = pack::WIDE<T>;
    SHARED(float, words);
    T* row = logits + size_t(blockIdx.x) * pitch;
    unsigned label = labels[blockIdx.x];
    float z[N], of_label = wide(row[label]);
    loss::Seen seen{loss::LOWEST, 0.0f, 0.0f};
    for (unsigned j = threadIdx.x * N; j < width; j += blockDim.x * N) {
        unsigned left = width - j;
        pack::load(z, row + j, left);
        if (left >= N) {
            loss::see<T>(seen, z);
        } else {
            for (unsigned n = 0; n < left; n++) {
                float one[1] = {z[n]};
                loss::see<T>(seen, one);
            }
        }
    }
    float top = block_max(seen.top, words);
    float total = block_sum(seen.total * loss::exponential<T>(seen.top - top), words);
    float mean = smoothing > 0.0f ? block_sum(seen.sum, words) / float(width) : 0.0f;
    if (threadIdx.x == 0) {
        float log = top + logf(total);
        float smooth = smoothing > 0.0f ? smoothing * (log - mean) : 0.0f;
        losses[blockIdx.x] = (1.0f - smoothing) * (log - of_label) + smooth;
    }
    if (!wanted) return;
    float scale = 1.0f / (total * count), spread = smoothing / float(width) / count;
    for (unsigned j = threadIdx.x * N; j < pitch; j += blockDim.x * N) {
        unsigned left = width > j ? width - j : 0;
        pack::load(z, row + j, pitch - j);
#pragma unroll
        for (unsigned n = 0; n < N; n++)
            z[n] = n < left ? loss::exponential<T>(z[n] - top) * scale - spread : 0.0f;
        pack::store(row + j, z, pitch - j);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        float p = loss::exponential<T>(of_label - top) * scale;
        row[label] = narrow<T>(p - spread - (1.0f - smoothing) / count);
    }
}
KERNELS(loss_rows,
        (T* logits, const uint32_t* labels, float* losses, unsigned width, unsigned pitch,
         float smoothing, float count, unsigned wanted),
        (logits, labels, losses, width, pitch, smoothing, count, wanted))

// The mean of n losses, by one block.
DEVICE void loss_mean_of(const float* losses, float* mean, unsigned n) {
    SHARED(float, words);
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x) sum += losses[i];
    sum = block_sum(sum, words);
    if (threadIdx.x == 0) *mean = sum / float(n);
}
KERNEL(loss_mean)(const float* losses, float* mean, unsigned n) { loss_mean_of(losses, mean, n); }
REGISTER(loss_mean)

// Row i of the result is row `rows[i]` of the hidden states.
template <class From, class To>
DEVICE void loss_gather(const From* hidden, const uint32_t* rows, To* out, unsigned count,
                        unsigned width, unsigned lanes) {
    unsigned i = pack::row(lanes);
    if (i >= count) return;
    const From* from = hidden + size_t(rows[i]) * width;
    To* to = out + size_t(i) * width;
    for (unsigned j = pack::lane_of_row(lanes) * 4; j < width; j += lanes * 4) {
        float x[4];
        pack::load(x, from + j, width - j);
        pack::store(to + j, x, width - j);
    }
}
KERNEL_PAIRS(loss_gather,
             (const From* hidden, const uint32_t* rows, To* out, unsigned count, unsigned width,
              unsigned lanes),
             (hidden, rows, out, count, width, lanes))

// Row t of the result is the sum of the rows `order[starts[t]] .. order[starts[t + 1]]`, in this
// order, times a factor.
template <class From, class To>
DEVICE void loss_scatter(const From* rows, const uint32_t* starts, const uint32_t* order,
                         const float* factor, To* out, unsigned tokens, unsigned width,
                         unsigned lanes) {
    unsigned t = pack::row(lanes);
    if (t >= tokens) return;
    unsigned first = starts[t], last = starts[t + 1];
    float by = *factor;
    for (unsigned j = pack::lane_of_row(lanes) * 4; j < width; j += lanes * 4) {
        float sum[4] = {}, x[4];
        for (unsigned i = first; i < last; i++) {
            pack::load(x, rows + size_t(order[i]) * width + j, width - j);
#pragma unroll
            for (int n = 0; n < 4; n++) sum[n] += x[n];
        }
#pragma unroll
        for (int n = 0; n < 4; n++) sum[n] *= by;
        pack::store(out + size_t(t) * width + j, sum, width - j);
    }
}
KERNEL_PAIRS(loss_scatter,
             (const From* rows, const uint32_t* starts, const uint32_t* order,
              const float* factor, To* out, unsigned tokens, unsigned width, unsigned lanes),
             (rows, starts, order, factor, out, tokens, width, lanes))

// Adds a chunk's gradient of a table.
template <class T>
DEVICE void loss_add(const T* part, float* sum, unsigned n) {
    for (size_t i = thread_of_grid() * 4; i < n; i += threads_of_grid() * 4) {
        float a[4], b[4];
        pack::load(a, sum + i, unsigned(n - i));
        pack::load(b, part + i, unsigned(n - i));
#pragma unroll
        for (int k = 0; k < 4; k++) a[k] += b[k];
        pack::store(sum + i, a, unsigned(n - i));
    }
}
KERNELS(loss_add, (const T* part, float* sum, unsigned n), (part, sum, n))

template <class From, class To>
DEVICE void loss_scaled(const From* x, const float* factor, To* out, unsigned n) {
    float by = *factor;
    for (size_t i = thread_of_grid() * 4; i < n; i += threads_of_grid() * 4) {
        float a[4];
        pack::load(a, x + i, unsigned(n - i));
#pragma unroll
        for (int k = 0; k < 4; k++) a[k] *= by;
        pack::store(out + i, a, unsigned(n - i));
    }
}
KERNEL_PAIRS(loss_scaled, (const From* x, const float* factor, To* out, unsigned n),
             (x, factor, out, n))

// The index of a row's largest element, the lowest of equal ones; as a loop that begins with the
// first element and takes what is greater. A block has a row.
template <class T>
DEVICE void argmax(const T* x, uint32_t* out, unsigned width) {
    constexpr unsigned N = pack::WIDE<T>;
    SHARED(float, words);
    uint32_t* places = reinterpret_cast<uint32_t*>(words + 32);
    const T* row = x + size_t(blockIdx.x) * width;
    float best = -INFINITY;
    unsigned place = width;
    auto take = [&](float other, unsigned at) {
        if (other > best || (other == best && at < place)) {
            best = other;
            place = at;
        }
    };
    for (unsigned j = threadIdx.x * N; j < width; j += blockDim.x * N) {
        float z[N];
        pack::load(z, row + j, width - j);
        for (unsigned n = 0; n < N && j + n < width; n++) take(z[n], j + n);
    }
    auto across = [&]() {
        for (int i = 16; i > 0; i /= 2) {
            float other = __shfl_xor_sync(0xFFFFFFFFu, best, i);
            unsigned at = __shfl_xor_sync(0xFFFFFFFFu, place, i);
            take(other, at);
        }
    };
    across();
    if (lane() == 0) {
        words[warp()] = best;
        places[warp()] = place;
    }
    __syncthreads();
    if (warp() > 0) return;
    bool alive = lane() < (blockDim.x + 31) / 32;
    best = alive ? words[lane()] : -INFINITY;
    place = alive ? places[lane()] : width;
    across();
    if (lane() == 0) {
        float first = wide(row[0]);
        // nothing is greater than what is no number, and nothing was taken where none is
        out[blockIdx.x] = first != first || place == width ? 0 : place;
    }
}
KERNELS(argmax, (const T* x, uint32_t* out, unsigned width), (x, out, width))
