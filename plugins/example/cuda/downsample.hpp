// What one GPU thread computes, as functions that the host runs too: the test of the arithmetic needs neither nvcc nor a GPU.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define EXAMPLE_HOST_DEVICE __host__ __device__
#else
#define EXAMPLE_HOST_DEVICE
#endif

namespace example {

/// An image of height x width pixels, cut into blocks of factor x factor pixels; those of the last row and column may be smaller.
struct Blocks {
  std::int64_t height, width, factor;

  EXAMPLE_HOST_DEVICE std::int64_t rows() const { return (height + factor - 1) / factor; }
  EXAMPLE_HOST_DEVICE std::int64_t columns() const { return (width + factor - 1) / factor; }
  EXAMPLE_HOST_DEVICE std::int64_t block_height(std::int64_t row) const { return row + 1 < rows() ? factor : height - row * factor; }
  EXAMPLE_HOST_DEVICE std::int64_t block_width(std::int64_t column) const { return column + 1 < columns() ? factor : width - column * factor; }
  /// Pixels of a block.
  EXAMPLE_HOST_DEVICE float size(std::int64_t row, std::int64_t column) const { return static_cast<float>(block_height(row) * block_width(column)); }

  /// The mean of one block of one image [height, width].
  EXAMPLE_HOST_DEVICE float mean(const float* image, std::int64_t row, std::int64_t column) const {
    const float* first = image + row * factor * width + column * factor;
    float sum = 0.f;
    for (std::int64_t y = 0; y < block_height(row); ++y)
      for (std::int64_t x = 0; x < block_width(column); ++x) sum += first[y * width + x];
    return sum / size(row, column);
  }
};

/// A x. Work (i) makes element i of means [n, rows, columns] from images [n, height, width].
struct MeanOfEachBlock {
  Blocks blocks;
  const float* images;
  float* means;

  EXAMPLE_HOST_DEVICE void operator()(std::int64_t i) const {
    const std::int64_t column = i % blocks.columns(), line = i / blocks.columns(), row = line % blocks.rows(), image = line / blocks.rows();
    means[i] = blocks.mean(images + image * blocks.height * blocks.width, row, column);
  }
};

/// Where pixel i of images [n, height, width] lies: its block, and the index of that block in means [n, rows, columns].
struct BlockOfPixel {
  std::int64_t image, row, column, index;

  EXAMPLE_HOST_DEVICE BlockOfPixel(const Blocks& blocks, std::int64_t i) {
    const std::int64_t line = i / blocks.width;
    image = line / blocks.height;
    row = line % blocks.height / blocks.factor;
    column = i % blocks.width / blocks.factor;
    index = (image * blocks.rows() + row) * blocks.columns() + column;
  }
};

/// A^T v. Every pixel gathers from its block, so no two threads write to one place and no atomics are needed.
struct AdjointOfMeans {
  Blocks blocks;
  const float* means;
  float* images;

  EXAMPLE_HOST_DEVICE void operator()(std::int64_t i) const {
    const BlockOfPixel block(blocks, i);
    images[i] = means[block.index] / blocks.size(block.row, block.column);
  }
};

/// A^+ y, exact because blocks do not overlap: each pixel gets the mean of its block.
struct RepeatMeans {
  Blocks blocks;
  const float* means;
  float* images;

  EXAMPLE_HOST_DEVICE void operator()(std::int64_t i) const { images[i] = means[BlockOfPixel(blocks, i).index]; }
};

/// (A^T A + lambda I)^-1 b. A^T A maps a block of n pixels to its mean / n: what is constant in the block has the eigenvalue 1 / n, the rest 0.
struct SolveEachBlock {
  Blocks blocks;
  float lambda;
  const float* b;
  float* images;

  EXAMPLE_HOST_DEVICE void operator()(std::int64_t i) const {
    const BlockOfPixel block(blocks, i);
    const float n = blocks.size(block.row, block.column);
    const float mean = blocks.mean(b + block.image * blocks.height * blocks.width, block.row, block.column);
    images[i] = mean * (n / (1.f + lambda * n)) + (b[i] - mean) / lambda;
  }
};

}  // namespace example
