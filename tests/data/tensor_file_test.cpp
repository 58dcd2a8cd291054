#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "image_bytes.hpp"
#include "postrec/data/cfl.hpp"
#include "postrec/data/tensor_file.hpp"
#include "postrec/data/write_image.hpp"

namespace postrec::test {
namespace {

TEST(TensorFile, NumbersInText) {
  const TempFolder folder;
  const auto read = [&](const char* name, const std::string& text) {
    write_bytes_to(folder / name, text);
    return read_tensor(folder / name);
  };
  EXPECT_TRUE(read("a.txt", "1\n2.5\n-3e2\n").equal(at::tensor({1.0f, 2.5f, -300.0f})));
  EXPECT_TRUE(read("a.csv", "1,2.5, -3e2\n").equal(at::tensor({1.0f, 2.5f, -300.0f})));
  EXPECT_TRUE(read("a.csv", "# angles\r\n1;2;3\r\n\r\n4\t5 6\r\n").equal(at::tensor({1.f, 2.f, 3.f, 4.f, 5.f, 6.f}).reshape({2, 3})));
  EXPECT_TRUE(read("a.txt", "7").equal(at::tensor({7.0f})));
}

TEST(TensorFile, BadText) {
  const TempFolder folder;
  const auto refused = [&](const std::string& text, const std::vector<std::string>& texts) {
    write_bytes_to(folder / "a.txt", text);
    expect_error(ErrorKind::kBadData, texts, [&] { read_tensor(folder / "a.txt"); });
  };
  refused("1 2\n3\n", {"line 2", "1 numbers", "2"});
  refused("1 two\n", {"line 1", "not a number"});
  refused("1 2x\n", {"line 1", "not a number"});
  refused("# nothing\n", {"no number"});
  refused("1 nan\n", {"not finite", "[1]"});
  refused("1 1e99\n", {"not finite"});
  refused("", {"0 bytes"});
  expect_error(ErrorKind::kNoInput, {"none.txt"}, [&] { read_tensor(folder / "none.txt"); });
  expect_error(ErrorKind::kNoInput, {"none.dat"}, [&] { read_tensor(folder / "none.dat"); });
  write_bytes_to(folder / "a.dat", "1");
  expect_error(ErrorKind::kBadData, {"a.dat", ".csv"}, [&] { read_tensor(folder / "a.dat"); });
}

TEST(TensorFile, ImagesLoseLeadingAxesOfSizeOne) {
  const TempFolder folder;
  for (const auto& sample : write_samples(folder, ImageGeometry{}))
    EXPECT_TRUE(read_tensor(sample.main).equal(at::tensor(voxels()).reshape({kNz, 1, kNy, kNx}))) << sample.name;
  const at::Tensor slice = at::arange(35, at::kFloat).reshape({1, 5, 7});
  write_png(folder / "a.png", slice, 0, 255);
  EXPECT_TRUE(read_tensor(folder / "a.png").equal(slice[0]));
  const at::Tensor row = at::arange(7, at::kFloat).reshape({1, 1, 1, 7});
  write_nifti(folder / "row.nii", {row, {}, IntensityUnit::kArbitrary});
  EXPECT_TRUE(read_tensor(folder / "row.nii").equal(row[0][0]));
  const at::Tensor maps = at::complex(at::rand({1, 2, 5, 7}), at::rand({1, 2, 5, 7}));
  write_cfl(folder / "maps", maps);
  EXPECT_TRUE(at::equal(read_tensor(folder / "maps.cfl"), maps));
}

}  // namespace
}  // namespace postrec::test
