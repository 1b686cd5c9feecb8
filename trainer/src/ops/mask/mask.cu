/* The dropout masks of mask.rs and weight_mask.rs on a GPU. NVRTC compiles this file when a training first drops something.
   The functions outside of __CUDACC__ are plain C: the tests compile them with the machine's C compiler. */

#ifdef __CUDACC__
#define FUNCTION static __device__ __forceinline__
#else
#define FUNCTION static inline
#endif

/* 32 random bits for a position, by a bijective 32-bit hash (Wellons' lowbias32). */
FUNCTION unsigned int mask_bits(unsigned int position, unsigned int first_key, unsigned int second_key) {
    unsigned int z = position ^ first_key;
    z = (z ^ (z >> 16)) * 0x7FEB352Du;
    z = (z ^ (z >> 15) ^ second_key) * 0x846CA68Bu;
    return z ^ (z >> 16);
}

/* The element at a position: times the scale where the mask keeps it, else times 0. */
FUNCTION float masked(float x, unsigned int position, unsigned int first_key, unsigned int second_key,
                      unsigned int threshold, float scale) {
    return x * (mask_bits(position, first_key, second_key) >= threshold ? scale : 0.0f);
}

/* The attention weight in a column of a row of [blocks, heads, queries, keys]. `table` has four numbers for each query of each
   block: the first column that the query attends to, the end of these columns, the position of the first in head 0, and the
   number of positions from a head to the next. Weights outside of these columns become 0. */
FUNCTION float masked_weight(const float *weights, const unsigned int *table, unsigned int row, unsigned int column,
                             unsigned int heads, unsigned int queries, unsigned int keys, unsigned int first_key,
                             unsigned int second_key, unsigned int threshold, float scale) {
    unsigned int query = row % queries;
    unsigned int head = row / queries % heads;
    unsigned int block = row / queries / heads;
    const unsigned int *of_query = table + 4 * ((unsigned long long)block * queries + query);
    unsigned int position = of_query[2] + head * of_query[3] + (column - of_query[0]);
    if (column < of_query[0] || column >= of_query[1]) {
        return 0.0f;
    }
    return masked(weights[(unsigned long long)row * keys + column], position, first_key, second_key, threshold, scale);
}

#ifdef __CUDACC__
extern "C" __global__ void mask_elements(const float *x, float *y, unsigned long long count, unsigned int first_key,
                                         unsigned int second_key, unsigned int threshold, float scale) {
    unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long at = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; at < count; at += stride) {
        y[at] = masked(x[at], (unsigned int)at, first_key, second_key, threshold, scale);
    }
}

/* A block of threads has a row at a time. */
extern "C" __global__ void mask_weights(const float *weights, const unsigned int *table, float *y, unsigned int rows,
                                        unsigned int heads, unsigned int queries, unsigned int keys,
                                        unsigned int first_key, unsigned int second_key, unsigned int threshold,
                                        float scale) {
    for (unsigned int row = blockIdx.x; row < rows; row += gridDim.x) {
        for (unsigned int column = threadIdx.x; column < keys; column += blockDim.x) {
            y[(unsigned long long)row * keys + column] =
                masked_weight(weights, table, row, column, heads, queries, keys, first_key, second_key, threshold, scale);
        }
    }
}
#endif
