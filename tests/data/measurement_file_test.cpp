#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "image_bytes.hpp"
#include "postrec/data/cfl.hpp"
#include "postrec/data/measurement_file.hpp"

namespace postrec::test {
namespace {

Measurement full_measurement(const at::Tensor& y) {
  Measurement m;
  m.y = y;
  m.sigma_y = 0.1 + 0.2;  // a double that needs 17 digits
  m.origin = MeasurementOrigin::kSimulated;
  m.operator_name = "some-operator";
  m.unit = IntensityUnit::kHounsfield;
  m.geometry = oblique();
  m.parameters.set("flag", true);
  m.parameters.set("count", std::int64_t{1} << 40);
  m.parameters.set("whole-number", 3.0);
  m.parameters.set("third", 1.0 / 3.0);
  m.parameters.set("name", std::string("text \"quoted\" \xc3\xa9"));
  m.parameters.set("numbers", std::vector<double>{1.0, 2.5, -1e-300});
  m.parameters.set("one-number", std::vector<double>{1.0});
  m.parameters.set("mask", at::rand({5, 7}));
  m.parameters.set("sens-maps", at::complex(at::rand({2, 5, 7}), at::rand({2, 5, 7})));
  m.parameters.set("weights", at::rand({11}));
  return m;
}

void expect_equal(const Measurement& a, const Measurement& b) {
  EXPECT_TRUE(a.y.sizes() == b.y.sizes() && a.y.scalar_type() == b.y.scalar_type() && at::equal(a.y, b.y))
      << a.y.sizes() << " " << b.y.sizes();
  EXPECT_EQ(a.sigma_y, b.sigma_y);
  EXPECT_EQ(a.origin, b.origin);
  EXPECT_EQ(a.operator_name, b.operator_name);
  EXPECT_EQ(a.unit, b.unit);
  EXPECT_EQ(a.geometry.spacing_mm, b.geometry.spacing_mm);
  EXPECT_EQ(a.geometry.origin_mm, b.geometry.origin_mm);
  EXPECT_EQ(a.geometry.direction, b.geometry.direction);
  ASSERT_EQ(a.parameters.all().size(), b.parameters.all().size());
  for (const auto& [key, value] : a.parameters.all()) {
    ASSERT_TRUE(b.parameters.has(key)) << key;
    const ParameterValue& other = b.parameters.all().at(key);
    ASSERT_EQ(value.index(), other.index()) << key << " came back with another type";
    if (const auto* tensor = std::get_if<at::Tensor>(&value)) {
      EXPECT_TRUE(at::equal(*tensor, std::get<at::Tensor>(other))) << key;
    } else if (const auto* list = std::get_if<std::vector<double>>(&value)) {
      EXPECT_EQ(*list, std::get<std::vector<double>>(other)) << key;
    } else if (const auto* real = std::get_if<double>(&value)) {
      EXPECT_EQ(*real, std::get<double>(other)) << key;
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      EXPECT_EQ(*text, std::get<std::string>(other)) << key;
    } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
      EXPECT_EQ(*integer, std::get<std::int64_t>(other)) << key;
    } else {
      EXPECT_EQ(std::get<bool>(value), std::get<bool>(other)) << key;
    }
  }
}

TEST(MeasurementFile, ReturnsWhatWasWritten) {
  const TempFolder folder;
  int n = 0;
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{
           {3, 5, 7}, {1, 5, 7}, {2, 3, 5, 7}, {1, 1, 5, 7}, {2, 11}, {1, 1}, {2, 3, 5, 7, 2}, {1, 40000}})
    for (const bool complex : {false, true}) {
      const at::Tensor y = complex ? at::complex(at::rand(shape), at::rand(shape)) : at::rand(shape);
      const fs::path path = folder / std::to_string(n++);
      const Measurement written = full_measurement(y);
      write_measurement(path, written);
      expect_equal(written, read_measurement(path));
      expect_equal(written, read_measurement(path / "measurement.json"));
      EXPECT_EQ(read_cfl(path / "parameter-sens-maps.cfl").sizes(), (std::vector<std::int64_t>{1, 2, 5, 7}));
    }
}

TEST(MeasurementFile, TheSmallestHandWrittenFile) {
  const TempFolder folder;
  write_bytes_to(folder / "sinogram.mha", meta_header(ImageGeometry{}, "", "LOCAL") + bytes_of(voxels()));
  write_bytes_to(folder / "measurement.json", R"({
    // a sinogram of 3 slices, 5 views, 7 detector bins
    "format": "postrec-measurement/1",
    "data": "sinogram.mha",
    "operator": "ct-radon",
    "parameters": {"height": 5, "detector-spacing-mm": 0.5, "angles-rad": [0.0, 0.6, 1.2, 1.8, 2.4]},
    "sigma_y": 0.01,
    "geometry": {"spacing_mm": [0.7, 0.7, 5.0]}
  })");
  const Measurement m = read_measurement(folder.path());
  EXPECT_TRUE(m.y.equal(at::tensor(voxels()).reshape({kNz, kNy, kNx})));
  EXPECT_EQ(m.parameters.integer("height"), 5);
  EXPECT_EQ(m.parameters.real("height"), 5.0);
  EXPECT_EQ(m.parameters.real("detector-spacing-mm"), 0.5);
  EXPECT_EQ(m.parameters.real_list("angles-rad"), (std::vector<double>{0.0, 0.6, 1.2, 1.8, 2.4}));
  EXPECT_EQ(m.operator_name, "ct-radon");
  EXPECT_EQ(m.origin, MeasurementOrigin::kAcquired);
  EXPECT_EQ(m.unit, IntensityUnit::kArbitrary);
  EXPECT_EQ(m.geometry.spacing_mm, (std::array<double, 3>{0.7, 0.7, 5.0}));
  EXPECT_EQ(m.geometry.origin_mm, (std::array<double, 3>{0, 0, 0}));
}

TEST(MeasurementFile, PixelsAreSaidOnce) {
  const TempFolder folder;
  write_bytes_to(folder / "s.mha", meta_header(ImageGeometry{}, "", "LOCAL") + bytes_of(voxels()));
  for (const auto& [geometry, z] : {std::pair{"", 1.0}, {R"(, "geometry": {"origin_mm": [1, 2, 3]})", 1.0}, {R"(, "geometry": {"spacing_mm": [4, 4, 5]})", 5.0}}) {
    write_bytes_to(folder / "measurement.json", R"({"format": "postrec-measurement/1", "data": "s.mha", "parameters": {"pixel-mm": 4})" + std::string(geometry) + "}");
    EXPECT_EQ(read_measurement(folder.path()).geometry.spacing_mm, (std::array<double, 3>{4.0, 4.0, z})) << geometry;
  }
}

// A file in another shape has other rows, of which it says nothing.
TEST(MeasurementFile, WhatIsNotSaidOfTheImageIsThatOfTheFile) {
  const TempFolder folder;
  write_bytes_to(folder / "s.mha", meta_header(oblique(), "", "LOCAL") + bytes_of(voxels()));
  const auto read = [&](const std::string& more) {
    write_bytes_to(folder / "measurement.json", R"({"format": "postrec-measurement/1", "data": "s.mha")" + more + "}");
    return read_acquisition(folder.path(), {});
  };
  const ImageGeometry file = read("").measurement.geometry;
  EXPECT_LT(corner_distance_mm(file, oblique(), kNx, kNy, kNz), 1e-4);
  const ReadMeasurement moved = read(R"(, "geometry": {"origin_mm": [1, 2, 3]})");
  EXPECT_EQ(moved.measurement.geometry.origin_mm, (std::array<double, 3>{1, 2, 3}));
  EXPECT_EQ(moved.measurement.geometry.spacing_mm, file.spacing_mm);
  EXPECT_EQ(moved.measurement.geometry.direction, file.direction);
  EXPECT_EQ(moved.element_mm, file.spacing_mm[0]);
  EXPECT_TRUE(moved.said.origin && !moved.said.spacing && !moved.said.direction);
  const std::string nz = std::to_string(kNz), ny = std::to_string(kNy), nx = std::to_string(kNx);
  EXPECT_EQ(read(R"(, "shape": [)" + nz + ", 1, " + ny + ", " + nx + "]").measurement.geometry.spacing_mm, file.spacing_mm);
  const ReadMeasurement other = read(R"(, "shape": [)" + nz + ", " + nx + ", " + ny + "]");
  EXPECT_EQ(other.measurement.geometry.spacing_mm, ImageGeometry().spacing_mm);
  EXPECT_EQ(other.element_mm, 0.0);
}

TEST(MeasurementFile, BareData) {
  const TempFolder folder;
  for (const auto& sample : write_samples(folder, oblique())) {
    const Measurement m = read_measurement(sample.main);
    EXPECT_TRUE(m.y.equal(at::tensor(voxels()).reshape({kNz, kNy, kNx}))) << sample.name;
    EXPECT_EQ(m.operator_name, "");
    EXPECT_EQ(m.sigma_y, 0.0);
    EXPECT_EQ(m.origin, MeasurementOrigin::kAcquired);
    EXPECT_LT(corner_distance_mm(m.geometry, oblique(), kNx, kNy, kNz), 1e-4);
  }
  const at::Tensor kspace = at::complex(at::rand({2, 3, 5, 7}), at::rand({2, 3, 5, 7}));
  write_cfl(folder / "k", kspace);
  for (const char* name : {"k.cfl", "k.hdr"}) EXPECT_TRUE(at::equal(read_measurement(folder / name).y, kspace));
}

TEST(MeasurementFile, ErrorsNameTheKey) {
  const TempFolder folder;
  write_bytes_to(folder / "s.mha", meta_header(ImageGeometry{}, "", "LOCAL") + bytes_of(voxels()));
  const auto refused = [&](const std::string& json, const std::vector<std::string>& texts) {
    SCOPED_TRACE(json);
    write_bytes_to(folder / "measurement.json", json);
    std::vector<std::string> all = texts;
    all.push_back("measurement.json");
    expect_error(ErrorKind::kBadData, all, [&] { read_measurement(folder.path()); });
  };
  const std::string start = R"({"format": "postrec-measurement/1", "data": "s.mha")";
  refused("", {"0 bytes"});
  refused("{", {"not JSON"});
  refused(std::string(100000, '['), {"not JSON"});
  refused("[]", {"not an object"});
  refused(R"({"data": "s.mha"})", {"'format'", "missing"});
  refused(R"({"format": "postrec-measurement/2", "data": "s.mha"})", {"'format'", "postrec-measurement/1"});
  refused(R"({"format": "postrec-measurement/1"})", {"'data'", "missing"});
  refused(start + R"(, "sigmay": 1})", {"'sigmay'", "not known", "sigma_y"});
  refused(start + R"(, "sigma_y": "1"})", {"'sigma_y'", "not a number"});
  refused(start + R"(, "sigma_y": -1})", {"'sigma_y'", "below 0"});
  refused(start + R"(, "parameters": {"pixel-mm": 4}, "geometry": {"spacing_mm": [0.7, 0.7, 5]}})", {"pixel-mm", "0.7", "spacing_mm"});
  for (const char* direction : {"0, 0, 0, 0, 0, 0, 0, 0, 0", "1, 0.5, 0, 0, 1, 0, 0, 0, 1", "2, 0, 0, 0, 1, 0, 0, 0, 1"})
    refused(start + R"(, "geometry": {"direction": [)" + direction + "]}}", {"direction", "not orthonormal"});
  refused(start + R"(, "operator": 3})", {"'operator'", "not a text"});
  refused(start + R"(, "origin": "guessed"})", {"'origin'", "guessed", "acquired"});
  refused(start + R"(, "unit": "HU"})", {"'unit'", "hounsfield"});
  refused(start + R"(, "parameters": []})", {"'parameters.'", "not an object"});
  refused(start + R"(, "parameters": {"a": null}})", {"'parameters.a'", "no value"});
  refused(start + R"(, "parameters": {"a": [1, "x"]}})", {"'parameters.a'", "list of numbers"});
  refused(start + R"(, "parameters": {"a": {"path": "s.mha"}}})", {"'parameters.a.path'", "not known"});
  refused(start + R"(, "parameters": {"a": {"file": "s.mha", "shape": [2, 2]}}})", {"'parameters.a.shape'", "105 values"});
  refused(start + R"(, "shape": [3, 5, -7]})", {"'shape'"});
  refused(start + R"(, "shape": [3, 5, 8]})", {"'shape'", "105 values"});
  refused(start + R"(, "geometry": {"spacing_mm": [1, 1]}})", {"'geometry.spacing_mm'", "2 numbers"});
  refused(start + R"(, "geometry": {"spacing_mm": [1, 1, 0]}})", {"'geometry.spacing_mm'", "above 0"});
  refused(start + R"(, "geometry": {"spacing": [1, 1, 1]}})", {"'geometry.spacing'", "not known"});
}

TEST(MeasurementFile, PathsStayInTheFolder) {
  const TempFolder folder;
  fs::create_directory(folder / "in");
  write_bytes_to(folder / "s.mha", meta_header(ImageGeometry{}, "", "LOCAL") + bytes_of(voxels()));
  write_bytes_to(folder / "in" / "s.mha", meta_header(ImageGeometry{}, "", "LOCAL") + bytes_of(voxels()));
  fs::create_symlink("../s.mha", folder / "in" / "link.mha");
  for (const std::string& name : {std::string("../s.mha"), (folder / "s.mha").string(), std::string("link.mha"), std::string()}) {
    SCOPED_TRACE(name);
    write_bytes_to(folder / "in" / "measurement.json", R"({"format": "postrec-measurement/1", "data": ")" + name + R"("})");
    expect_error(ErrorKind::kBadData, {"'data'", "not inside its folder"}, [&] { read_measurement(folder / "in"); });
    write_bytes_to(folder / "in" / "measurement.json",
                   R"({"format": "postrec-measurement/1", "data": "s.mha", "parameters": {"m": {"file": ")" + name + R"("}}})");
    expect_error(ErrorKind::kBadData, {"'file'", "not inside its folder"}, [&] { read_measurement(folder / "in"); });
  }
}

TEST(MeasurementFile, MissingAndTaken) {
  const TempFolder folder;
  expect_error(ErrorKind::kNoInput, {"none"}, [&] { read_measurement(folder / "none"); });
  expect_error(ErrorKind::kNoInput, {"measurement.json"}, [&] { read_measurement(folder.path()); });
  Measurement m;
  m.y = at::rand({1, 5, 7});
  write_bytes_to(folder / "other.txt", "keep me");
  expect_error(ErrorKind::kCannotCreate, {"not empty"}, [&] { write_measurement(folder.path(), m); });
  EXPECT_EQ(folder.names(), std::set<std::string>{"other.txt"});
  m.parameters.set("bad", std::numeric_limits<double>::infinity());
  expect_error(ErrorKind::kBadData, {"'bad'", "finite"}, [&] { write_measurement(folder / "m", m); });
  EXPECT_FALSE(fs::exists(folder / "m"));
  fs::create_directory(folder / "empty");
  m.parameters = {};
  write_measurement(folder / "empty", m);
  EXPECT_TRUE(at::equal(read_measurement(folder / "empty").y, m.y));
}

}  // namespace
}  // namespace postrec::test
