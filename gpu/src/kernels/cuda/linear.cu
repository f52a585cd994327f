// What is around the product of a linear map: y = onto + scale · (product + bias) in one pass, the
// columns of a gradient that the product was written to, and the gradient of the bias.
//
// `lanes` threads have a row of a matrix.
#include "pack.cuh"

// `onto` and the result have `total` columns, the product has `width`, and is added from `column`
// on. Without `onto` they have the same columns and the result may take the product's place.
template <class From, class To>
DEVICE void linear_finish(const From* product, const From* bias, const To* onto, To* out,
                          unsigned rows, unsigned width, unsigned column, unsigned total,
                          float scale, unsigned lanes) {
    constexpr unsigned N = pack::WIDE<To>;
    unsigned i = pack::row(lanes);
    if (i >= rows) return;
    const From* of_row = product + size_t(i) * width;
    size_t first = size_t(i) * total;
    for (unsigned j = pack::lane_of_row(lanes) * N; j < total; j += lanes * N) {
        float y[N] = {}, x[N], b[N] = {};
        unsigned left = total - j;
        if (onto) pack::load(y, onto + first + j, left);
        if (j >= column && j - column < width && (j - column + N <= width || left < N)) {
            unsigned k = j - column;
            pack::load(x, of_row + k, width - k);
            if (bias) pack::load(b, bias + k, width - k);
#pragma unroll
            for (unsigned n = 0; n < N; n++)
                if (k + n < width) y[n] += scale * (x[n] + b[n]);
        } else if (j + N > column && j < column + width) {
            for (unsigned n = 0; n < N; n++) {
                if (j + n < column || j + n >= column + width) continue;
                unsigned k = j + n - column;
                y[n] += scale * (wide(of_row[k]) + (bias ? wide(bias[k]) : 0.0f));
            }
        }
        pack::store(out + first + j, y, left);
    }
}
KERNEL_PAIRS(linear_finish,
             (const From* product, const From* bias, const To* onto, To* out, unsigned rows,
              unsigned width, unsigned column, unsigned total, float scale, unsigned lanes),
             (product, bias, onto, out, rows, width, column, total, scale, lanes))

// The columns `column .. column + width` of g [rows, total], times the scale.
template <class From, class To>
DEVICE void linear_block(const From* g, To* out, unsigned rows, unsigned width, unsigned column,
                         unsigned total, float scale, unsigned lanes) {
    constexpr unsigned N = pack::WIDE<To>;
    unsigned i = pack::row(lanes);
    if (i >= rows) return;
    const From* from = g + size_t(i) * total + column;
    To* to = out + size_t(i) * width;
    for (unsigned j = pack::lane_of_row(lanes) * N; j < width; j += lanes * N) {
        float x[N];
        pack::load(x, from + j, width - j);
#pragma unroll
        for (unsigned n = 0; n < N; n++) x[n] *= scale;
        pack::store(to + j, x, width - j);
    }
}
KERNEL_PAIRS(linear_block,
             (const From* g, To* out, unsigned rows, unsigned width, unsigned column,
              unsigned total, float scale, unsigned lanes),
             (g, out, rows, width, column, total, scale, lanes))

// Sums over `part` rows each of a matrix [rows, width], to [parts, width]. A block has 128 columns
// and one part, whose rows its eight warps take in turn.
template <class T>
DEVICE void linear_bias_parts(const T* g, float* parts, unsigned rows, unsigned width,
                              unsigned part) {
    SHARED(float, sums);  // [8, 128]
    unsigned j = blockIdx.x * 128 + lane() * 4;
    unsigned from = blockIdx.y * part, end = min(from + part, rows);
    unsigned left = j < width ? width - j : 0;
    float sum[4] = {}, x[4];
#pragma unroll 4
    for (unsigned i = from + warp(); i < end; i += 8) {
        pack::load(x, g + size_t(i) * width + j, left);
#pragma unroll
        for (int n = 0; n < 4; n++) sum[n] += x[n];
    }
#pragma unroll
    for (int n = 0; n < 4; n++) sums[warp() * 128 + lane() * 4 + n] = sum[n];
    __syncthreads();
    unsigned column = blockIdx.x * 128 + threadIdx.x;
    if (threadIdx.x >= 128 || column >= width) return;
    float all = 0.0f;
    for (unsigned w = 0; w < 8; w++) all += sums[w * 128 + threadIdx.x];
    parts[size_t(blockIdx.y) * width + column] = all;
}
KERNELS(linear_bias_parts,
        (const T* g, float* parts, unsigned rows, unsigned width, unsigned part),
        (g, parts, rows, width, part))

template <class T>
DEVICE void linear_bias(const float* parts, T* out, unsigned count, unsigned width) {
    for (size_t j = thread_of_grid(); j < width; j += threads_of_grid()) {
        float sum = 0.0f;
        for (unsigned i = 0; i < count; i++) sum += parts[size_t(i) * width + j];
        out[j] = narrow<T>(sum);
    }
}
KERNELS(linear_bias, (const float* parts, T* out, unsigned count, unsigned width),
        (parts, out, count, width))
