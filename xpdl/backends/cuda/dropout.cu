// Dropout masks in one launch, bit for bit those of xpdl.randomness.dropout_mask.
// The compiler is told the type of the entries: -DENTRY=float (a shorter name would clash with NVRTC's own header).
// Philox4x64-10: Salmon, Moraes, Dror and Shaw 2011, Parallel random numbers: as easy as 1, 2, 3.

typedef unsigned long long u64;

// The counter c becomes the random words at its place.
__device__ void philox(u64 c[4], u64 key0, u64 key1) {
    const u64 factor0 = 0xD2E7470EE14C6C93, factor1 = 0xCA5A826395121157;
    for (int round = 0; round < 10; round++) {
        const u64 high0 = __umul64hi(factor0, c[0]), low0 = factor0 * c[0];
        const u64 high1 = __umul64hi(factor1, c[2]), low1 = factor1 * c[2];
        c[0] = high1 ^ c[1] ^ key0;
        c[1] = low1;
        c[2] = high0 ^ c[3] ^ key1;
        c[3] = low0;
        key0 += 0x9E3779B97F4A7C15;
        key1 += 0xBB67AE8584CAA73B;
    }
}

// A thread makes a block of four words of 64 bits, the low half of each before the high half: eight entries.
extern "C" __global__ void dropout_mask(ENTRY *mask, u64 size, u64 seed, u64 stream, u64 step, u64 layer, u64 threshold,
                                        ENTRY kept) {
    const u64 threads = (u64)gridDim.x * blockDim.x;
    for (u64 block = (u64)blockIdx.x * blockDim.x + threadIdx.x; 8 * block < size; block += threads) {
        u64 words[4] = {block + 1, step, layer, 0};  // NumPy counts before it draws
        philox(words, seed, stream);
        for (int j = 0; j < 8; j++) {
            const u64 bits = words[j / 2] >> 32 * (j % 2) & 0xFFFFFFFF;
            if (8 * block + j < size) mask[8 * block + j] = bits < threshold ? ENTRY(0) : kept;
        }
    }
}
