// Hundreds of damaged and lying prior files: each is one clear error that names the file.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "networks.hpp"
#include "postrec/error.hpp"
#include "postrec/prior_file.hpp"
#include "safetensors.hpp"
#include "temp_folder.hpp"

namespace postrec::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct BadFile {
  std::string what;
  std::string bytes;
};
using BadFiles = std::vector<BadFile>;

std::string content_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// A file taken apart into header and data.
struct Parts {
  std::string header;
  std::string data;

  explicit Parts(const std::string& bytes) {
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof(length));
    header = bytes.substr(8, length);
    data = bytes.substr(8 + length);
  }
  std::string with_header(const std::string& other) const {
    const std::uint64_t length = other.size();
    return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + other + data;
  }
  std::string with_header(const Json& other) const { return with_header(other.dump()); }
};

/// Cuts everywhere that matters, and bytes too many.
void add_truncated(BadFiles& files, const std::string& good) {
  const std::size_t begin_of_data = good.size() - Parts(good).data.size();
  std::vector<std::size_t> lengths{0, 1, 4, 7, 8, 9, begin_of_data / 2, begin_of_data - 1, begin_of_data, begin_of_data + 1, good.size() - 4, good.size() - 1};
  for (std::size_t i = 1; i < 16; ++i) lengths.push_back(begin_of_data + i * (good.size() - begin_of_data) / 16);
  for (const std::size_t length : lengths) files.push_back({"cut to " + std::to_string(length) + " bytes", good.substr(0, length)});
  files.push_back({"a byte too many", good + "x"});
  files.push_back({"twice", good + good});
}

/// One bit changed, in the length of the header, in the header and in the data.
void add_flipped(BadFiles& files, const std::string& good) {
  const std::size_t begin_of_data = good.size() - Parts(good).data.size();
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < 8; ++i) places.push_back(i);
  for (std::size_t i = 0; i < 80; ++i) places.push_back(8 + i * (begin_of_data - 8) / 80);
  for (std::size_t i = 0; i < 40; ++i) places.push_back(begin_of_data + i * (good.size() - begin_of_data) / 40);
  for (std::size_t i = 0; i < places.size(); ++i) {
    std::string bytes = good;
    bytes[places[i]] = static_cast<char>(bytes[places[i]] ^ (1 << (i % 8)));
    files.push_back({"bit " + std::to_string(i % 8) + " of byte " + std::to_string(places[i]) + " flipped", std::move(bytes)});
  }
}

/// The header is no JSON object of the right kind.
void add_bad_json(BadFiles& files, const std::string& good) {
  const Parts parts(good);
  const Json header = Json::parse(parts.header);
  const std::string open = header.dump().substr(0, header.dump().size() - 1);
  const std::pair<const char*, std::string> headers[] = {
      {"empty header", ""}, {"empty object", "{}"}, {"list", "[1,2]"}, {"text", "\"safetensors\""}, {"null", "null"}, {"unfinished", open},
      {"trailing comma", open + ",}"}, {"junk after it", header.dump() + "{}"}, {"zero byte after it", header.dump() + std::string(1, '\0') + "junk"},
      {"comment", header.dump() + "//"}, {"invalid UTF-8", open + ",\"\xff\xfe\":{}}"}, {"a pickle", "\x80\x02}q\x01."},
      {"deep list", std::string(100000, '[')}, {"deep object", open + R"(,"a":{"b":{"c":{"d":{"e":{"f":1}}}}}})"},
      {"tensor twice", open + ",\"mean\":" + header["mean"].dump() + "}"}, {"metadata twice", open + ",\"__metadata__\":" + header["__metadata__"].dump() + "}"},
      {"metadata key twice", "{\"__metadata__\":{\"licence\":\"CC0\"," + header["__metadata__"].dump().substr(1) + open.substr(open.find("}") + 1) + "}"},
      {"dtype twice", open + R"(,"a":{"dtype":"F16","dtype":"F32","shape":[0],"data_offsets":[0,0]}})"}};
  for (const auto& [what, text] : headers) files.push_back({what, parts.with_header(text)});
  for (const Json& value : {Json(1), Json(nullptr), Json::array(), Json::object()}) {
    Json changed = header;
    changed["__metadata__"]["licence"] = value;
    files.push_back({"licence is " + value.dump(), parts.with_header(changed)});
  }
  for (const Json& value : {Json(1), Json("text"), Json::array()}) {
    Json changed = header;
    changed["__metadata__"] = value;
    files.push_back({"metadata is " + value.dump(), parts.with_header(changed)});
  }
  for (const std::uint64_t length : {std::uint64_t(1) << 24, std::uint64_t(1) << 40, std::numeric_limits<std::uint64_t>::max()})
    files.push_back({"header of " + std::to_string(length), std::string(reinterpret_cast<const char*>(&length), 8) + good.substr(8)});
}

/// The header lies about where a tensor is and what it is.
void add_lying_places(BadFiles& files, const std::string& good, const std::vector<std::string>& names) {
  const Parts parts(good);
  const Json header = Json::parse(parts.header);
  const auto add = [&](const std::string& name, const char* member, const Json& value) {
    Json changed = header;
    changed[name][member] = value;
    files.push_back({name + " has " + member + " " + value.dump(), parts.with_header(changed)});
  };
  for (const std::string& name : names) {
    const std::uint64_t begin = header[name]["data_offsets"][0], end = header[name]["data_offsets"][1], huge = std::uint64_t(1) << 63;
    for (const Json& offsets :
         {Json({begin + 4, end + 4}), Json({begin, end + 4}), Json({begin, begin}), Json({end, begin}), Json({huge, huge + (end - begin)}), Json({0, parts.data.size()}),
          Json({parts.data.size(), parts.data.size() + end - begin}), Json({-4, 0}), Json({0.5, 4.5}), Json({begin}), Json({begin, end, end}), Json("0-4"), Json()})
      add(name, "data_offsets", offsets);
    for (const Json& dtype : {Json("F16"), Json("F64"), Json("BF16"), Json("I32"), Json("f32"), Json(""), Json(32), Json()}) add(name, "dtype", dtype);
    const std::int64_t n = static_cast<std::int64_t>(end - begin) / 4;
    Json longer = header[name]["shape"];
    longer.push_back(1);
    for (const Json& shape : {longer, Json({n, 1, 1, 1, 1}), Json({0}), Json({-n}), Json({n + 1}), Json({std::uint64_t(1) << 32, std::uint64_t(1) << 32}),
                              Json({huge, 2}), Json({1e30}), Json({1, 1, 1, 1, 1, 1, 1, 1, n}), Json({{n}}), Json(n), Json()})
      add(name, "shape", shape);
    Json removed = header, renamed = header, empty = header;
    removed.erase(name);
    renamed[name + "_"] = renamed[name];
    renamed.erase(name);
    empty[name] = Json::object();
    files.push_back({name + " is missing", parts.with_header(removed)});
    files.push_back({name + " has another name", parts.with_header(renamed)});
    files.push_back({name + " has an empty entry", parts.with_header(empty)});
  }
}

using Change = std::function<void(SafeTensors&)>;

/// A file whose content is changed and whose content_sha256 is right: only what it says can be wrong.
void add_lie(BadFiles& files, const SafeTensors& good, const std::string& what, const Change& change) {
  SafeTensors content = good;
  change(content);
  if (content.metadata.count("content_sha256") != 0 && content.metadata.at("content_sha256") == good.metadata.at("content_sha256"))
    content.metadata[kContentHash] = content_sha256(content);
  files.push_back({what, safetensors_bytes(content)});
}

/// Layouts that use bytes twice or hide some, of content with a right content_sha256: the reader alone can see them.
void add_lying_layouts(BadFiles& files, const SafeTensors& good) {
  SafeTensors content = good;
  content.tensors["mean"] = good.tensors.at("spectrum").flatten().narrow(0, 0, 1).clone();
  content.metadata[kContentHash] = content_sha256(content);
  Parts parts(safetensors_bytes(content));
  Json header = Json::parse(parts.header);
  Json overlapping = header;
  const std::uint64_t begin = header["spectrum"]["data_offsets"][0];
  overlapping["mean"]["data_offsets"] = {begin, begin + 4};
  files.push_back({"mean is a part of spectrum", parts.with_header(overlapping)});
  for (auto& [name, entry] : header.items())
    if (name != "__metadata__") entry["data_offsets"] = {entry["data_offsets"][0].get<std::uint64_t>() + 4, entry["data_offsets"][1].get<std::uint64_t>() + 4};
  parts.data = "hide" + parts.data;
  files.push_back({"four bytes before the first tensor", parts.with_header(header)});
}

void add_bad_numbers(BadFiles& files, const SafeTensors& good, const std::vector<std::string>& names) {
  const auto with = [&](const std::string& name, std::int64_t index, double value) {
    add_lie(files, good, name + "[" + std::to_string(index) + "] = " + std::to_string(value), [&](SafeTensors& content) {
      at::Tensor changed = content.tensors.at(name).clone();
      changed.view(-1)[index] = value;
      content.tensors[name] = changed;
    });
  };
  for (const std::string& name : names) {
    const std::int64_t last = good.tensors.at(name).numel() - 1;
    with(name, 0, NAN);
    with(name, last, NAN);
    with(name, last / 2, INFINITY);
    with(name, last, -INFINITY);
    if (name == "mean" || name.find('/') != std::string::npos) continue;  // those may be anything finite
    if (name.rfind("correction", 0) != 0) with(name, 0, 0.0);    // a share may be 0, the first frequency must
    with(name, 0, -1.0);
    with(name, last, -0.5);
  }
}

void add_bad_metadata(BadFiles& files, const SafeTensors& good) {
  for (const auto& [key, value] : good.metadata) {
    add_lie(files, good, "no " + key, [&](SafeTensors& content) { content.metadata.erase(key); });
    add_lie(files, good, "empty " + key, [&](SafeTensors& content) { content.metadata[key] = ""; });
    add_lie(files, good, "blank " + key, [&](SafeTensors& content) { content.metadata[key] = " \t\n"; });
  }
  const std::pair<const char*, const char*> lies[] = {
      {"format", "postrec-prior/3"}, {"format", "safetensors"}, {"kind", "oracle"}, {"kind", "torchscript"}, {"basis", "haar"}, {"basis", "DFT"}, {"basis", "dct\n\x1b[2J"},
      {"pixel_mm", "-1"}, {"pixel_mm", "nan"}, {"pixel_mm", "inf"}, {"pixel_mm", "1e999"}, {"pixel_mm", "1 mm"}, {"pixel_mm", "0x10"}, {"intensity", "hounsfield"},
      {"channels", "a, b, c, d"}, {"channels", ","}, {"channels", "a, , b"}, {"channels", ", "}, {"content_sha256", "0"},
      {"content_sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}};
  for (const auto& [key, value] : lies)
    add_lie(files, good, std::string(key) + "=" + value, [&, key = key, value = value](SafeTensors& content) { content.metadata[key] = value; });
  // What the content hash alone can see.
  for (const char* key : {"name", "licence", "trained_on"}) {
    SafeTensors content = good;
    content.metadata[key] += "!";
    files.push_back({std::string(key) + " changed", safetensors_bytes(content)});
  }
  SafeTensors content = good;
  content.metadata["more"] = "text";
  files.push_back({"one entry more", safetensors_bytes(content)});
}

void add_bad_networks(BadFiles& files, const SafeTensors& good) {
  const auto set = [&](const std::string& key, const std::string& value) {
    add_lie(files, good, key + "=" + value, [&](SafeTensors& content) { content.metadata[key] = value; });
  };
  for (const char* bound : {"0", "-1", "20", "30", "nan", "inf", "ten"}) set("sigma_min", bound);
  for (const char* bound : {"0", "-1", "0.01", "0.001", "nan", "inf", "-inf", "1e400"}) set("sigma_max", bound);
  set("basis", "dct");                         // whose network would have one channel
  set("kind", "gaussian");
  set("format", "postrec-prior/1");
  const Json architecture = Json::parse(good.metadata.at("architecture"));
  for (const char* text : {"", "{}", "[]", "8", "{\"widths\":", "unet"}) set("architecture", text);
  for (const auto& [member, value] : architecture.items()) {
    Json changed = architecture;
    changed.erase(member);
    set("architecture", changed.dump());
    for (const Json& lie : {Json("8"), Json(-1), Json(1.5), Json(0), Json(3), Json(1e18), Json({8}), Json({8, 16, 16}), Json({0, 0}), Json({{8, 16}, 1}), Json(true), Json()}) {
      if (lie == value) continue;
      changed[member] = lie;
      set("architecture", changed.dump());
    }
  }
  Json more = architecture;
  more["dropout"] = 0;
  set("architecture", more.dump());
  for (const bool once : {true, false})
    add_lie(files, good, "noise levels that do not rise", [&](SafeTensors& content) { content.tensors["error_sigmas"] = at::tensor({0.1f, once ? 0.1f : 0.05f, 5.0f}); });
  const auto shaped = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    add_lie(files, good, name + " of another shape", [&](SafeTensors& content) { content.tensors[name] = at::ones(shape, at::kFloat); });
  };
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{{}, {0}, {2}, {4}, {1, 3}}) shaped("error_sigmas", shape);
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{{}, {0}, {2, 1, 4, 4}, {3, 1, 4}, {3, 2, 4, 4}, {3, 1, 0, 4}, {3, 0, 4, 4}}) shaped("error_table", shape);
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{{}, {0}, {3}, {3, 2}, {2, 3}, {0, 3}, {3, 3, 1}}) shaped("envelope", shape);
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{{}, {0}, {1}, {2}, {3}, {1, 3}}) shaped("envelope_activities", shape);  // ones do not rise
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{{}, {0}, {4}, {3, 4}, {2, 1, 4}, {3, 2, 4}, {3, 1, 3}, {0, 1, 4}}) shaped("correction", shape);
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{{}, {0}, {1}, {3}, {4}, {1, 4}}) shaped("correction_frequencies", shape);  // ones do not rise from 0
  for (const float share : {-0.1f, 1.1f})
    add_lie(files, good, "a share of " + std::to_string(share), [&](SafeTensors& content) { content.tensors["correction"] = at::full({3, 1, 4}, share); });
  for (const char* name : {"envelope", "envelope_activities", "correction", "correction_frequencies"})
    add_lie(files, good, std::string(name) + " is missing", [&](SafeTensors& content) { content.tensors.erase(name); });
  shaped("network/input.weight", {8, 4, 3});
  shaped("network/input.weight", {8, 2, 3, 3});
  shaped("network/more.weight", {1});
  shaped("more", {1});
}

void add_bad_shapes(BadFiles& files, const SafeTensors& good) {
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{{}, {0}, {0, 4, 4}, {1, 1, 8}, {1, 8}, {3, 8, 8}, {1, 0, 8}, {1, 1, 8, 8}})
    add_lie(files, good, "spectrum of another shape", [&](SafeTensors& content) { content.tensors["spectrum"] = at::ones(shape, at::kFloat); });
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{{}, {0}, {2}, {1, 1}})
    add_lie(files, good, "mean of another shape", [&](SafeTensors& content) { content.tensors["mean"] = at::ones(shape, at::kFloat); });
  add_lie(files, good, "no channel at all", [&](SafeTensors& content) {
    content.tensors["spectrum"] = at::ones({0, 4, 4}, at::kFloat);
    content.tensors["mean"] = at::ones({0}, at::kFloat);
  });
}

class CorruptedPrior : public ::testing::Test {
 protected:
  /// How many of the files are refused as they must be; the others are test failures.
  std::size_t refused(const BadFiles& files) const {
    std::size_t n = 0;
    for (const BadFile& file : files) {
      std::ofstream(path_, std::ios::binary) << file.bytes;
      try {
        load_prior(path_);
        ADD_FAILURE() << "accepted: " << file.what;
      } catch (const Error& error) {
        const std::string text = error.what();
        const bool good = error.kind() == ErrorKind::kBadData && text.find(path_.string()) != std::string::npos && text.find('\n') == std::string::npos &&
                          text.find('\x1b') == std::string::npos;
        EXPECT_TRUE(good) << file.what << ": " << text;
        n += good ? 1 : 0;
      } catch (const std::exception& error) {
        ADD_FAILURE() << file.what << ": no Error but " << error.what();
      }
    }
    return n;
  }

  /// Bytes and content of a good file.
  template <class SomePrior>
  std::pair<std::string, SafeTensors> good_file(const SomePrior& prior) const {
    save_prior(path_, prior);
    EXPECT_NE(load_prior(path_), nullptr);
    return {content_of(path_), read_safetensors(path_)};
  }

  TempFolder folder_;
  fs::path path_ = folder_ / "prior.safetensors";
};

TEST_F(CorruptedPrior, NetworkFilesAreRefused) {
  const auto [bytes, content] = good_file(small_network_prior(SpectralBasis::kDft, 1));
  const std::vector<std::string> names{"spectrum", "mean", "error_table", "error_sigmas", "envelope", "envelope_activities", "correction", "correction_frequencies", "network/output.weight", "network/embedding1.bias"};
  BadFiles files;
  add_truncated(files, bytes);
  add_flipped(files, bytes);
  add_bad_json(files, bytes);
  add_lying_places(files, bytes, names);
  add_lying_layouts(files, content);
  add_bad_numbers(files, content, names);
  add_bad_metadata(files, content);
  add_bad_networks(files, content);
  add_bad_shapes(files, content);
  EXPECT_EQ(refused(files), files.size());
  EXPECT_GE(files.size(), 200u);
}

TEST_F(CorruptedPrior, GaussianFilesAreRefused) {
  const GaussianPrior prior(SpectralBasis::kDct, RandomStreams(1, 0, 1).uniform(0, {8, 8}) + 0.1, at::full({1}, 0.25f), 0.9, {"a Gaussian", "CC0", "nothing", PriorIntensity::kUnit, ""});
  const auto [bytes, content] = good_file(prior);
  BadFiles files;
  add_truncated(files, bytes);
  add_flipped(files, bytes);
  add_bad_json(files, bytes);
  add_lying_places(files, bytes, {"spectrum", "mean"});
  add_lying_layouts(files, content);
  add_bad_numbers(files, content, {"spectrum", "mean"});
  add_bad_metadata(files, content);
  add_bad_shapes(files, content);
  EXPECT_EQ(refused(files), files.size());
  EXPECT_GE(files.size(), 200u);
}

}  // namespace
}  // namespace postrec::test
