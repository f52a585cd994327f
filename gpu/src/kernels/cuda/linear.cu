// What is around the product of a linear map: y = onto + scale · (product + bias) in one pass, and
// the columns of a gradient that the product was written to.
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
#define LINEAR_BLOCK(A, B, of_a, of_b)                                                      \
    KERNEL_PAIR(linear_block, A, B, of_a, of_b,                                             \
                (const From* g, To* out, unsigned rows, unsigned width, unsigned column,    \
                 unsigned total, float scale, unsigned lanes),                              \
                (g, out, rows, width, column, total, scale, lanes))
// products read the gradient itself where it has their type
LINEAR_BLOCK(float, bf16, f32, bf16)
LINEAR_BLOCK(bf16, float, bf16, f32)
