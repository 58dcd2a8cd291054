// A corpus of bad files, made class by class from good ones: each must be one clean Error, or, where the damage does not touch the image, the good image.
// The classes are those of the hospital notes, 1 to 14; class 15 (prior files) is in tests/unit/corrupted_prior_test.cpp.
#include <ATen/ATen.h>
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <cstdio>
// libjpeg needs FILE.
#include <jpeglib.h>

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <numeric>

#include "dicom_files.hpp"
#include "image_bytes.hpp"
#include "mrd_files.hpp"
#include "postrec/data/cfl.hpp"
#include "postrec/data/measurement_file.hpp"
#include "postrec/data/raw_kspace.hpp"
#include "postrec/data/scan.hpp"

namespace postrec::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInf = std::numeric_limits<double>::infinity();
constexpr std::size_t kLongestMessage = 500;  ///< the path of a temporary folder included

/// How many files of each class are refused, and how many are read all the same. A class that shrinks fails.
constexpr std::array<int, 14> kRefused = {224, 31, 50, 47, 36, 44, 86, 52, 82, 157, 118, 117, 73, 165};
constexpr std::array<int, 14> kSame = {2, 1, 7, 0, 3, 22, 5, 2, 1, 91, 1, 3, 0, 0};
static_assert(std::accumulate(kRefused.begin(), kRefused.end(), 0) >= 500, "the corpus has at least 500 bad files");

// ---- the corpus ----

using Reader = std::function<at::Tensor(const fs::path&)>;
at::Tensor scan(const fs::path& path) { return read_scan(path).image.pixels; }
at::Tensor measurement(const fs::path& path) { return read_measurement(path).y; }
at::Tensor kspace(const fs::path& path) { return read_raw_kspace(path, {.prewhiten = false}).measurement.y; }

/// One clean line: what, and what would be right; nothing of the patient and nothing that a terminal obeys.
void expect_clean(const Error& error, const std::string& what) {
  const std::string text = error.what();
  EXPECT_TRUE(error.kind() == ErrorKind::kBadData || error.kind() == ErrorKind::kNoInput) << what << ": " << text;
  EXPECT_FALSE(error.message().empty() || error.hint().empty()) << what << ": " << text;
  EXPECT_LE(text.size(), kLongestMessage) << what << ": " << text;
  EXPECT_EQ(text.find(kCanary), std::string::npos) << what << ": " << text;
  EXPECT_EQ(text.find("\xe2\x80\xae"), std::string::npos) << what << " turns the direction of writing: " << text;
  EXPECT_TRUE(std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; })) << what << ": " << text;
}

class Corpus {
 public:
  explicit Corpus(int number) : number_(number) {}

  /// Judged at once: there is one bad file on the disk at a time.
  void refused(const std::string& what, const fs::path& path, const Reader& read) {
    ++n_refused_;
    try {
      const at::Tensor found = read(path);
      ADD_FAILURE() << "class " << number_ << ", " << what << ": was read, " << found.sizes();
    } catch (const Error& error) {
      expect_clean(error, what);
    } catch (const std::exception& error) {
      ADD_FAILURE() << "class " << number_ << ", " << what << ": " << typeid(error).name() << " " << error.what();
    }
  }
  void same(const std::string& what, const fs::path& path, const Reader& read, const at::Tensor& good) {
    ++n_same_;
    try {
      const at::Tensor found = read(path);
      EXPECT_TRUE(found.equal(good)) << "class " << number_ << ", " << what << ": another image";
    } catch (const std::exception& error) {
      ADD_FAILURE() << "class " << number_ << ", " << what << ": " << error.what();
    }
  }

  void refused(const std::string& what, const std::string& bytes, const std::string& name = "IM1") { refused(what, written(name, bytes), scan); }
  void same(const std::string& what, const std::string& bytes, const at::Tensor& good, const std::string& name = "IM1") {
    same(what, written(name, bytes), scan, good);
  }

  fs::path written(const std::string& name, const std::string& bytes) {
    write_bytes_to(folder_ / name, bytes);
    return folder_ / name;
  }
  const TempFolder& folder() const { return folder_; }

  ~Corpus() {
    EXPECT_EQ(n_refused_, kRefused[static_cast<std::size_t>(number_ - 1)]) << "class " << number_;
    EXPECT_EQ(n_same_, kSame[static_cast<std::size_t>(number_ - 1)]) << "class " << number_;
  }

 private:
  int number_, n_refused_ = 0, n_same_ = 0;
  TempFolder folder_;
};

// ---- DICOM, byte by byte ----

struct Element {
  std::uint16_t group, element;
  std::string vr, value;
  std::optional<std::uint32_t> length = {};  ///< what is said instead of the length of the value

  std::uint32_t tag() const { return std::uint32_t{group} << 16 | element; }
};

bool has_long_header(const std::string& vr) { return vr == "OB" || vr == "OW" || vr == "SQ" || vr == "UN" || vr == "UT" || vr == "OF"; }

std::string number_bytes(std::uint64_t value, int n, bool big) {
  std::string bytes;
  for (int i = 0; i < n; ++i) bytes += static_cast<char>(value >> 8 * (big ? n - 1 - i : i));
  return bytes;
}
std::string u16(std::uint64_t value) { return number_bytes(value, 2, false); }
std::string u32(std::uint64_t value) { return number_bytes(value, 4, false); }

std::string encoded(const Element& e, bool big = false) {
  const std::uint32_t length = e.length.value_or(static_cast<std::uint32_t>(e.value.size()));
  std::string value = e.value;
  if (big && (e.vr == "US" || e.vr == "OW"))
    for (std::size_t i = 0; i + 1 < value.size(); i += 2) std::swap(value[i], value[i + 1]);
  const std::string head = number_bytes(e.group, 2, big) + number_bytes(e.element, 2, big) + e.vr;
  return head + (has_long_header(e.vr) ? std::string(2, '\0') + number_bytes(length, 4, big) : number_bytes(length, 2, big)) + value;
}

constexpr std::uint32_t kTransferSyntax = 0x00020010, kPixels = 0x7fe00010, kRowsTag = 0x00280010, kColumnsTag = 0x00280011, kFramesTag = 0x00280008,
                        kSlope = 0x00281053;

/// A file of the explicit little endian syntax, taken apart.
struct DicomBytes {
  std::vector<Element> elements;
  std::string preamble;

  explicit DicomBytes(const std::string& bytes) : preamble(bytes.substr(0, 132)) {
    const auto number = [&](std::size_t at, int n) {
      std::uint32_t value = 0;
      for (int i = 0; i < n; ++i) value |= std::uint32_t{static_cast<unsigned char>(bytes.at(at + static_cast<std::size_t>(i)))} << 8 * i;
      return value;
    };
    for (std::size_t at = 132; at < bytes.size();) {
      Element e{static_cast<std::uint16_t>(number(at, 2)), static_cast<std::uint16_t>(number(at + 2, 2)), bytes.substr(at + 4, 2), ""};
      const bool is_long = has_long_header(e.vr);
      const std::uint32_t length = is_long ? number(at + 8, 4) : number(at + 6, 2);
      at += is_long ? 12 : 8;
      e.value = bytes.substr(at, length);
      at += length;
      elements.push_back(e);
    }
  }

  std::size_t index(std::uint32_t tag) const {
    return static_cast<std::size_t>(std::find_if(elements.begin(), elements.end(), [&](const Element& e) { return e.tag() >= tag; }) - elements.begin());
  }
  Element& at(std::uint32_t tag) {
    const std::size_t i = index(tag);
    if (i == elements.size() || elements[i].tag() != tag)
      elements.insert(elements.begin() + static_cast<std::ptrdiff_t>(i),
                      Element{static_cast<std::uint16_t>(tag >> 16), static_cast<std::uint16_t>(tag), "LO", ""});
    return elements[i];
  }
  void erase(std::uint32_t tag) {
    std::erase_if(elements, [&](const Element& e) { return e.tag() == tag; });
  }

  std::string meta() const {
    std::string all;
    for (const Element& e : elements)
      if (e.group == 2 && e.element != 0) all += encoded(e);
    for (const Element& e : elements)
      if (e.tag() == 0x00020000) return encoded({2, 0, e.vr, e.length ? e.value : u32(all.size())}) + all;
    return all;
  }
  std::string data(bool big = false) const {
    std::string all;
    for (const Element& e : elements)
      if (e.group != 2) all += encoded(e, big);
    return all;
  }
  std::string bytes() const { return preamble + meta() + data(); }
};

std::string padded(std::string text, char pad = ' ') { return text.size() % 2 ? text + pad : text; }

class Dicom {
 public:
  Dicom() {
    const TempFolder folder;
    write_ct_slice(folder / "a", oblique(), {});
    bytes_ = read_bytes(folder / "a");
    pixels_ = scan(folder / "a");
  }
  const std::string& bytes() const { return bytes_; }
  const at::Tensor& pixels() const { return pixels_; }
  DicomBytes parts() const { return DicomBytes(bytes_); }
  /// The file with one element of this VR and value.
  std::string with(std::uint32_t tag, const std::string& vr, const std::string& value) const {
    DicomBytes d = parts();
    Element& e = d.at(tag);
    e.vr = vr;
    e.value = value;
    return d.bytes();
  }

 private:
  std::string bytes_;
  at::Tensor pixels_;
};

TEST(BadCorpus, TheGoodFilesAreGood) {
  const Dicom good;
  EXPECT_EQ(good.parts().bytes(), good.bytes());
  std::vector<float> values;
  for (int row = 0; row < kRows; ++row)
    for (int column = 0; column < kColumns; ++column) values.push_back(static_cast<float>(2 * stored_value(column, row, 0) - 1000));
  EXPECT_TRUE(good.pixels().flatten().equal(at::tensor(values)));
}

// ---- class 1 ----

TEST(BadCorpus, Class01Truncation) {
  Corpus corpus(1);
  const Dicom good;
  const DicomBytes parts = good.parts();
  std::size_t begin = 132;
  for (const Element& e : parts.elements) {
    const std::size_t n = encoded(e).size(), head = n - e.value.size();
    for (const std::size_t cut : {std::size_t{0}, std::size_t{5}, head + e.value.size() / 2})
      corpus.refused("DICOM cut at " + std::to_string(begin + cut), good.bytes().substr(0, begin + cut), "a.dcm");
    begin += n;
  }
  // Padding behind the pixels: without it the file is whole, with half of it damaged.
  const std::string padding = encoded({0xfffc, 0xfffc, "OB", std::string(20, '\0')});
  corpus.same("cut before its padding", good.bytes(), good.pixels());
  corpus.same("with its padding", good.bytes() + padding, good.pixels());
  for (const std::size_t n : {3u, 7u, 20u}) corpus.refused("cut in its padding", good.bytes() + padding.substr(0, n));
  for (const auto& sample : write_samples(corpus.folder(), oblique())) {
    const std::string whole = read_bytes(sample.data);
    for (std::size_t i = 0; i < 10; ++i) {
      write_bytes_to(sample.data, whole.substr(0, i * whole.size() / 10));
      corpus.refused(sample.name + " cut", sample.main, scan);
    }
  }
  write_cfl(corpus.folder() / "k", at::ones({1, 2, 5, 7}, at::kComplexFloat));
  const std::string cfl = read_bytes(corpus.folder() / "k.cfl");
  for (std::size_t i = 0; i < 10; ++i) corpus.refused("cfl cut", corpus.written("k.cfl", cfl.substr(0, i * cfl.size() / 10 + i)), measurement);
  MrdWriter(corpus.folder() / "m.h5", 11, 14).add_all(at::ones({1, 2, 14, 11}, at::kComplexFloat));
  const std::string mrd = read_bytes(corpus.folder() / "m.h5");
  for (std::size_t i = 0; i < 20; ++i) corpus.refused("MRD cut", corpus.written("cut.h5", mrd.substr(0, i * mrd.size() / 20)), kspace);
}

// ---- class 2 ----

TEST(BadCorpus, Class02LengthOfPixelData) {
  Corpus corpus(2);
  const Dicom good;
  const std::string pixels = good.parts().at(kPixels).value;
  for (const std::size_t n : {0u, 1u, 2u, 34u, 35u, 36u, 68u, 69u, 71u, 72u, 74u, 140u, 141u, 700u})
    corpus.refused(std::to_string(n) + " bytes", good.with(kPixels, "OW", (pixels + std::string(700, 'x')).substr(0, n)));
  for (const std::uint32_t n : {0u, 2u, 35u, 68u, 69u, 71u, 72u, 4096u, 0x7ffffffeu, 0xfffffff0u, 0xfffffffeu, 0xffffffffu}) {
    DicomBytes d = good.parts();
    d.at(kPixels).length = n;
    corpus.refused("says " + std::to_string(n) + " bytes", d.bytes());
  }
  DicomBytes bytes = good.parts();
  for (const auto& [tag, value] : {std::pair{0x00280100u, 8}, {0x00280101u, 8}, {0x00280102u, 7}}) bytes.at(tag).value = u16(static_cast<std::uint64_t>(value));
  for (const std::size_t n : {33u, 34u, 37u, 38u, 70u}) {
    bytes.at(kPixels) = {0x7fe0, 0x10, "OB", std::string(n, 'x')};
    corpus.refused("8 bits, " + std::to_string(n) + " bytes", bytes.bytes());
  }
  bytes.at(kPixels).value = std::string(36, 'x');
  corpus.same("8 bits, 36 bytes", bytes.bytes(), at::full({1, 1, kRows, kColumns}, 2.0f * 'x' - 1000));
}

// ---- class 3 ----

TEST(BadCorpus, Class03RowsColumnsAndFrames) {
  Corpus corpus(3);
  const Dicom good;
  for (const std::uint32_t tag : {kRowsTag, kColumnsTag}) {
    const std::uint64_t right = tag == kRowsTag ? kRows : kColumns;
    for (const std::uint64_t n : {std::uint64_t{0}, std::uint64_t{1}, right - 1, right + 1, 2 * right, std::uint64_t{32768}, std::uint64_t{65535}})
      corpus.refused("rows or columns " + std::to_string(n), good.with(tag, "US", u16(n)));
    for (const std::uint64_t n : {right, right + 65536, std::uint64_t{0xffffffff}}) corpus.refused("UL", good.with(tag, "UL", u32(n)));
    corpus.refused("SS", good.with(tag, "SS", u16(0xffff)));
    corpus.refused("IS", good.with(tag, "IS", padded(std::to_string(right))));
    corpus.refused("FD", good.with(tag, "FD", std::string(8, '\0')));
    corpus.refused("empty", good.with(tag, "US", ""));
    // The byte that is missing is 0: the value is the right one.
    corpus.same("one byte", good.with(tag, "US", std::string(1, static_cast<char>(right))), good.pixels());
    DicomBytes d = good.parts();
    d.erase(tag);
    corpus.refused("missing", d.bytes());
  }
  DicomBytes huge = good.parts();
  huge.at(kRowsTag).value = huge.at(kColumnsTag).value = u16(65535);
  corpus.refused("65535 x 65535", huge.bytes());
  huge.at(kPixels).length = 0xfffffffe;
  corpus.refused("65535 x 65535, and the length says so", huge.bytes());
  for (const char* frames : {"0", "2", "-1", "10", "35", "65536", "2147483647", "-2147483648", "4294967297", "99999999999999999999", "1e9", "1.5", "abc",
                             "ZZCANARY", "1\\1", "0x1", "1 2", "--1"})
    corpus.refused(std::string("frames ") + frames, good.with(kFramesTag, "IS", padded(frames)));
  for (const char* frames : {"1", "+1", " 1", "01", ""})
    corpus.same(std::string("frames ") + frames, good.with(kFramesTag, "IS", padded(frames)), good.pixels());
}

// ---- class 4 ----

TEST(BadCorpus, Class04Bits) {
  Corpus corpus(4);
  const Dicom good;
  const std::vector<std::array<int, 3>> bits = {{1, 52, 51},  {52, 12, 11},    {16, 52, 51},       {16, 17, 16}, {16, 0, 0},      {16, 0, 65535},
                                                {16, 12, 12}, {16, 12, 15},    {16, 12, 10},       {16, 16, 14}, {16, 16, 16},    {16, 16, 20},
                                                {0, 0, 0},    {8, 16, 15},     {8, 8, 7},          {12, 12, 11}, {24, 16, 15},    {32, 16, 15},
                                                {64, 64, 63}, {65535, 16, 15}, {16, 65535, 65534}, {1, 1, 0},    {16, 12, 65535}, {17, 16, 15}};
  for (const auto& [allocated, stored, high] : bits) {
    DicomBytes d = good.parts();
    for (const auto& [tag, value] : {std::pair{0x00280100u, allocated}, {0x00280101u, stored}, {0x00280102u, high}})
      d.at(tag).value = u16(static_cast<std::uint64_t>(value));
    corpus.refused(std::to_string(allocated) + " " + std::to_string(stored) + " " + std::to_string(high), d.bytes());
  }
  for (const std::uint64_t samples : {0, 2, 3, 4, 5, 255, 65535})
    corpus.refused("samples " + std::to_string(samples), good.with(0x00280002, "US", u16(samples)));
  for (const char* photometric :
       {"", "MONOCHROME3", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "RGB", "ARGB", "CMYK", "HSV", "ZZCANARY", "monochrome2", "MONOCHROME2\\RGB"})
    corpus.refused(std::string("photometric ") + photometric, good.with(0x00280004, "CS", padded(photometric)));
  for (const std::uint64_t sign : {2, 255, 65535}) corpus.refused("sign " + std::to_string(sign), good.with(0x00280103, "US", u16(sign)));
}

// ---- class 5 ----

std::string repeated(const std::string& text, int n) {
  std::string all;
  for (int i = 0; i < n; ++i) all += text;
  return all;
}

TEST(BadCorpus, Class05Nesting) {
  Corpus corpus(5);
  const Dicom good;
  const DicomBytes parts = good.parts();
  const std::string open_sequence = encoded({0x0040, 0xa730, "SQ", "", 0xffffffff}), open_item = u16(0xfffe) + u16(0xe000) + u32(0xffffffff);
  const std::string close_item = u16(0xfffe) + u16(0xe00d) + u32(0), close_sequence = u16(0xfffe) + u16(0xe0dd) + u32(0);
  const std::string pixels = encoded(parts.elements.back()), before = good.bytes().substr(0, good.bytes().size() - pixels.size());
  for (const int depth : {1, 10, 1000, 10000, 100000}) {
    const std::string open = repeated(open_sequence + open_item, depth);
    corpus.refused("open, behind everything " + std::to_string(depth), good.bytes() + open);
    corpus.refused("open, before the pixels " + std::to_string(depth), before + open + pixels);
    corpus.refused("one close too few " + std::to_string(depth), before + open + repeated(close_item + close_sequence, depth - 1) + pixels);
  }
  for (const int depth : {1, 10, 60})
    corpus.same("closed " + std::to_string(depth), before + repeated(open_sequence + open_item, depth) + repeated(close_item + close_sequence, depth) + pixels,
                good.pixels());
  corpus.refused("closed 100000", before + repeated(open_sequence + open_item, 100000) + repeated(close_item + close_sequence, 100000) + pixels);
  for (const std::uint32_t length : {7u, 9u, 100000u, 0xfffffffeu}) {
    corpus.refused("length of an item " + std::to_string(length), before + open_sequence + u16(0xfffe) + u16(0xe000) + u32(length) + close_sequence + pixels);
    corpus.refused("length of a sequence " + std::to_string(length), before + encoded({0x0040, 0xa730, "SQ", "", length}) + open_item + close_item + pixels);
  }
  for (const int depth : {10000, 100000, 1000000}) {
    for (const char* bracket : {"[", "{\"a\":", "[{\"a\":"})
      corpus.refused("JSON of depth " + std::to_string(depth), corpus.written("measurement.json", repeated(bracket, depth)), measurement);
    corpus.refused("closed JSON of depth " + std::to_string(depth),
                   corpus.written("measurement.json", std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']')),
                   measurement);
  }
}

// ---- class 6 ----

bool is_text(const std::string& vr) { return vr != "US" && !has_long_header(vr) && vr != "UL"; }

TEST(BadCorpus, Class06OddTexts) {
  Corpus corpus(6);
  const Dicom good;
  const DicomBytes parts = good.parts();
  for (std::size_t i = 0; i < parts.elements.size(); ++i) {
    const Element& e = parts.elements[i];
    if (e.group == 2 || !is_text(e.vr) || e.value.empty()) continue;
    for (const int more : {-1, 1}) {
      DicomBytes d = parts;
      d.elements[i].length = static_cast<std::uint32_t>(static_cast<int>(e.value.size()) + more);
      corpus.refused(e.vr + " number " + std::to_string(i) + " says " + std::to_string(more), d.bytes());
    }
    // Odd and no pad: what it says is the same.
    DicomBytes d = parts;
    std::string& value = d.elements[i].value;
    if (value.back() == ' ' || value.back() == '\0')
      value.pop_back();
    else
      value += ' ';
    corpus.same(e.vr + " number " + std::to_string(i) + " without its pad", d.bytes(), good.pixels());
  }
}

// ---- class 7 ----

TEST(BadCorpus, Class07MetaHeaderAndSyntax) {
  Corpus corpus(7);
  const Dicom good;
  const DicomBytes parts = good.parts();
  for (std::size_t i = 0; parts.elements[i].group == 2; ++i) {
    const std::size_t at = 132 + std::accumulate(parts.elements.begin(), parts.elements.begin() + static_cast<std::ptrdiff_t>(i), std::size_t{0},
                                                 [](std::size_t n, const Element& e) { return n + encoded(e).size(); });
    for (const std::string vr : {"OB", "UN", "SQ", "UT"}) {
      if (vr == parts.elements[i].vr) continue;
      std::string bytes = good.bytes();
      bytes.replace(at + 4, 2, vr);
      // A version whose VR has a length of the same size is passed over like one of OB.
      if (parts.elements[i].vr == "OB" && vr != "SQ")
        corpus.same("meta element " + std::to_string(i) + " as " + vr, bytes, good.pixels());
      else
        corpus.refused("meta element " + std::to_string(i) + " as " + vr, bytes);
      // A memory bomb: four gigabytes are promised.
      corpus.refused("bomb in meta element " + std::to_string(i), bytes.replace(at + 6, 6, std::string(2, '\0') + u32(0xfffffff0)));
    }
  }
  const auto syntax = [&](const std::string& uid) {
    DicomBytes d = parts;
    d.at(kTransferSyntax).value = padded(uid, '\0');
    return d;
  };
  for (const char* uid : {"1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90",
                          "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.100"})
    corpus.refused(std::string("says ") + uid, syntax(uid).bytes());
  const std::string big = parts.preamble + syntax("1.2.840.10008.1.2.2").meta() + parts.data(true);
  corpus.same("big endian", big, good.pixels());
  const std::string deflate = deflated(parts.data(), -15), head = parts.preamble + syntax("1.2.840.10008.1.2.1.99").meta();
  corpus.same("deflated", head + deflate, good.pixels());
  for (std::size_t i = 0; i < 10; ++i) {
    corpus.refused("deflated, cut", head + deflate.substr(0, i * deflate.size() / 10));
    corpus.refused("big endian, cut", big.substr(0, big.size() - 1 - i * 7));
  }
  DicomBytes bomb = parts;
  bomb.at(kPixels).value = std::string(1 << 26, '\0');
  corpus.refused("a deflated bomb", head + deflated(bomb.data(), -15));
  bomb.at(kPixels).length = 0xfffffffe;
  corpus.refused("a deflated bomb that lies", head + deflated(bomb.data(), -15));
  corpus.refused("no meta header, no ending", parts.data());
  corpus.refused("mark of another file", std::string(parts.preamble).replace(128, 4, "DICN") + parts.meta() + parts.data());
  corpus.refused("mark alone", parts.preamble);
  corpus.refused("meta header alone", parts.preamble + parts.meta());
  corpus.same("meta header twice", parts.preamble + parts.meta() + parts.meta() + parts.data(), good.pixels());
  corpus.refused("a program",
                 "\x7f"
                 "ELF" +
                     std::string(500, 'x'),
                 "a.dcm");
}

// ---- classes 8 and 9 ----

std::string item(const std::string& value, std::optional<std::uint32_t> length = {}) {
  return u16(0xfffe) + u16(0xe000) + u32(length.value_or(static_cast<std::uint32_t>(value.size()))) + value;
}
const std::string kEndOfItems = u16(0xfffe) + u16(0xe0dd) + u32(0);
const std::string kRle = "1.2.840.10008.1.2.5", kJpeg = "1.2.840.10008.1.2.4.50", kJpegLs = "1.2.840.10008.1.2.4.80", kJpeg2000 = "1.2.840.10008.1.2.4.90";

/// The file with these items for its pixels.
std::string encapsulated(DicomBytes d, const std::string& uid, const std::string& items) {
  d.at(kTransferSyntax).value = padded(uid, '\0');
  d.at(kPixels) = {0x7fe0, 0x10, "OB", items, 0xffffffff};
  return d.bytes();
}

/// A run of literals, at most 128 bytes.
std::string literals(const std::string& bytes) { return static_cast<char>(bytes.size() - 1) + bytes; }

/// The stripes of 16-bit pixels, the high bytes first.
std::array<std::string, 2> rle_stripes(const std::string& pixels) {
  std::string high, low;
  for (std::size_t i = 0; i < pixels.size(); i += 2) low += pixels[i], high += pixels[i + 1];
  return {literals(high), literals(low)};
}

std::string rle_frame(std::uint64_t n, const std::vector<std::uint64_t>& offsets, const std::string& data) {
  std::string head = u32(n);
  for (const auto offset : offsets) head += u32(offset);
  head.resize(64, '\0');
  return head + padded(data, '\0');
}

/// 8 bits, gray.
std::string jpeg_bytes(int columns, int rows) {
  jpeg_compress_struct c{};
  jpeg_error_mgr errors{};
  c.err = jpeg_std_error(&errors);
  jpeg_create_compress(&c);
  unsigned char* out = nullptr;
  unsigned long n = 0;
  jpeg_mem_dest(&c, &out, &n);
  c.image_width = static_cast<JDIMENSION>(columns);
  c.image_height = static_cast<JDIMENSION>(rows);
  c.input_components = 1;
  c.in_color_space = JCS_GRAYSCALE;
  jpeg_set_defaults(&c);
  jpeg_start_compress(&c, TRUE);
  for (int row = 0; row < rows; ++row) {
    std::vector<unsigned char> line;
    for (int column = 0; column < columns; ++column) line.push_back(static_cast<unsigned char>(column * 37 + row * 91));
    unsigned char* lines[] = {line.data()};
    jpeg_write_scanlines(&c, lines, 1);
  }
  jpeg_finish_compress(&c);
  jpeg_destroy_compress(&c);
  std::string bytes(reinterpret_cast<char*>(out), n);
  std::free(out);
  return bytes;
}

DicomBytes eight_bits(DicomBytes d) {
  for (const auto& [tag, value] : {std::pair{0x00280100u, 8}, {0x00280101u, 8}, {0x00280102u, 7}, {0x00280103u, 0}})
    d.at(tag).value = u16(static_cast<std::uint64_t>(value));
  return d;
}

TEST(BadCorpus, Class08Fragments) {
  Corpus corpus(8);
  const Dicom good;
  const DicomBytes parts = good.parts();
  const auto [high, low] = rle_stripes(good.parts().at(kPixels).value);
  const std::string frame = rle_frame(2, {64, 64 + high.size()}, high + low);
  for (const auto& uid : {kRle, kJpeg, kJpegLs, kJpeg2000}) {
    for (const std::size_t n : {0u, 1u, 2u, 3u})
      corpus.refused(uid + " fragment of " + std::to_string(n), encapsulated(parts, uid, item("") + item(std::string(n, '\xff')) + kEndOfItems));
    corpus.refused(uid + " no fragment", encapsulated(parts, uid, item("") + kEndOfItems));
    corpus.refused(uid + " no item", encapsulated(parts, uid, kEndOfItems));
    corpus.refused(uid + " nothing", encapsulated(parts, uid, ""));
    corpus.refused(uid + " fragment to beyond the end", encapsulated(parts, uid, item("") + item("xx", 0x7ffffffe) + kEndOfItems));
    corpus.refused(uid + " fragment of undefined length", encapsulated(parts, uid, item("") + item("xx", 0xffffffff) + kEndOfItems));
    corpus.refused(uid + " an element for an item", encapsulated(parts, uid, item("") + u16(0x0008) + u16(0x0060) + u32(2) + "CT" + kEndOfItems));
  }
  corpus.same("RLE", encapsulated(parts, kRle, item("") + item(frame) + kEndOfItems), good.pixels());
  corpus.same("RLE with a table", encapsulated(parts, kRle, item(u32(0)) + item(frame) + kEndOfItems), good.pixels());
  corpus.refused("no end", encapsulated(parts, kRle, item("") + item(frame)));
  corpus.refused("half an end", encapsulated(parts, kRle, item("") + item(frame) + kEndOfItems.substr(0, 4)));
  corpus.refused("a frame in the place of the table", encapsulated(parts, kRle, item(frame) + kEndOfItems));
  corpus.refused("the frame lies in no fragment", encapsulated(parts, kRle, item("") + frame + kEndOfItems));
  corpus.refused("fragments in a file that is not compressed", encapsulated(parts, "1.2.840.10008.1.2.1", item("") + item(frame) + kEndOfItems));
  for (const std::size_t n : {10u, 63u, 64u, 65u, 80u, 100u, 120u})
    corpus.refused("RLE cut to " + std::to_string(n), encapsulated(parts, kRle, item("") + item(padded(frame.substr(0, n))) + kEndOfItems));
}

TEST(BadCorpus, Class09Codecs) {
  Corpus corpus(9);
  const Dicom good;
  const DicomBytes parts = good.parts();
  const auto [high, low] = rle_stripes(good.parts().at(kPixels).value);
  const std::uint64_t second = 64 + high.size();
  const auto rle = [&](const std::string& what, const std::string& frame) {
    corpus.refused("RLE " + what, encapsulated(parts, kRle, item("") + item(frame) + kEndOfItems));
  };
  for (const std::uint64_t n : {0ull, 1ull, 3ull, 4ull, 15ull, 16ull, 17ull, 0xffffffffull})
    rle(std::to_string(n) + " stripes", rle_frame(n, {64, second}, high + low));
  for (const std::uint64_t offset : {0ull, 1ull, 63ull, 65ull, 5000ull, 0x7fffffffull, 0xffffffffull}) {
    rle("first offset " + std::to_string(offset), rle_frame(2, {offset, second}, high + low));
    rle("second offset " + std::to_string(offset), rle_frame(2, {64, offset}, high + low));
  }
  rle("a run beyond the stripe", rle_frame(2, {64, second}, high + '\x7f' + low.substr(1)));
  rle("a stripe that is short", rle_frame(2, {64, second}, high + literals(low.substr(1, 20))));
  rle("stripes of nothing", rle_frame(2, {64, second}, std::string(72, '\x80')));
  rle("a stripe that is long", rle_frame(2, {64, 64 + 73}, literals(high.substr(1) + high.substr(1)) + low));
  const std::string jpeg = jpeg_bytes(kColumns, kRows);
  const DicomBytes bytes = eight_bits(parts);
  const auto with_jpeg = [&](const std::string& content) { return encapsulated(bytes, kJpeg, item("") + item(padded(content, '\0')) + kEndOfItems); };
  const at::Tensor gray = scan(corpus.written("IM1", with_jpeg(jpeg)));
  corpus.same("JPEG", with_jpeg(jpeg), gray);
  for (std::size_t i = 0; i < 12; ++i) corpus.refused("JPEG cut " + std::to_string(i), with_jpeg(jpeg.substr(0, i * jpeg.size() / 12)));
  corpus.refused("JPEG cut before its last bytes", with_jpeg(jpeg.substr(0, jpeg.size() - 8)));
  for (const auto& [columns, rows] : {std::pair{8, 5}, {7, 6}, {5, 7}, {1, 1}, {70, 50}})
    corpus.refused("JPEG of another size", with_jpeg(jpeg_bytes(columns, rows)));
  const auto changed = [&](const std::string& marker, std::size_t at, const std::string& value) {
    std::string bad = jpeg;
    return bad.replace(bad.find(marker) + at, value.size(), value);
  };
  corpus.refused("JPEG Huffman counts", with_jpeg(changed("\xff\xc4", 5, std::string(16, '\xff'))));
  corpus.refused("JPEG Huffman length", with_jpeg(changed("\xff\xc4", 2, std::string("\xff\xff"))));
  corpus.refused("JPEG 12 bits", with_jpeg(changed("\xff\xc0", 4, "\x0c")));
  corpus.refused("JPEG 3 components", with_jpeg(changed("\xff\xc0", 9, "\x03")));
  corpus.refused("JPEG arithmetic", with_jpeg(changed("\xff\xc0", 1, "\xc9")));
  corpus.refused("JPEG of 65535 columns", with_jpeg(changed("\xff\xc0", 7, "\xff\xff")));
  corpus.refused("JPEG without a quantisation table", with_jpeg(changed("\xff\xdb", 1, "\xe9")));
  for (const auto& uid : {kJpegLs, kJpeg2000}) corpus.refused("JPEG for " + uid, encapsulated(bytes, uid, item("") + item(padded(jpeg, '\0')) + kEndOfItems));
  // JPEG 2000: SOC, SIZ with lies, and no more.
  const auto siz = [](std::uint64_t width, std::uint64_t tile, std::uint64_t components) {
    const auto b = [](std::uint64_t value, int n) { return number_bytes(value, n, true); };
    return "\xff\x4f\xff\x51" + b(38 + 3 * components, 2) + b(0, 2) + b(width, 4) + b(5, 4) + b(0, 8) + b(tile, 4) + b(tile, 4) + b(0, 8) + b(components, 2) +
           std::string("\x07\x01\x01");
  };
  for (const std::uint64_t width : {0ull, 7ull, 0xffffffffull})
    for (const std::uint64_t tile : {0ull, 1ull, 0xffffffffull})
      for (const std::uint64_t components : {0ull, 1ull, 16384ull})
        corpus.refused("JPEG 2000", encapsulated(bytes, kJpeg2000, item("") + item(padded(siz(width, tile, components), '\0')) + kEndOfItems));
  for (const char* photometric : {"PALETTE COLOR", "YBR_FULL"}) {
    DicomBytes d = bytes;
    d.at(0x00280004).value = padded(photometric);
    d.at(kPixels) = {0x7fe0, 0x10, "OB", std::string(36, '\xff')};
    corpus.refused(photometric, d.bytes());
  }
}

// ---- class 10 ----

TEST(BadCorpus, Class10NamesAndUids) {
  Corpus corpus(10);
  const Dicom good;
  const std::vector<std::string> texts = {"..",
                                          "../../../etc/passwd",
                                          "/etc/passwd",
                                          "",
                                          std::string(66, '1'),
                                          std::string(5000, '9'),
                                          "ZZCANARY\x1b[31m",
                                          "ZZCANARY\n",
                                          std::string("ZZ\0CANARY", 9),
                                          "ZZCANARY\xe2\x80\xae",
                                          "ZZCANARY\xff\xfe",
                                          "%s%n%s%n",
                                          "ZZCANARY\r\x07\x08"};
  for (const std::uint32_t tag : {0x00080018u, 0x0020000eu, 0x0020000du, 0x00100010u, 0x00100020u, 0x0008103eu, 0x00080060u})
    for (const auto& text : texts) {
      DicomBytes d = good.parts();
      d.at(tag).value = padded(text);
      corpus.same("text in an image that is whole", d.bytes(), good.pixels());
      // Something is to be said about it.
      d.at(kSlope).value = "0 ";
      corpus.refused("text", d.bytes());
    }
  for (const char* hostile : {"\x1b[31m", "a\nb", "a\rb", "\xe2\x80\xae", "\x7f", "\x07"}) {
    corpus.refused("name of a file", good.with(kSlope, "DS", "0 "), std::string("a") + hostile);
    corpus.refused("name of a NIfTI file", nifti_bytes(oblique()).substr(0, 400), std::string("a") + hostile + ".nii");
    corpus.refused("ElementDataFile", meta_header(oblique(), "", std::string("../") + hostile), "a.mhd");
    corpus.refused("ElementType", std::string("ObjectType = Image\nNDims = ") + hostile + "\nElementDataFile = LOCAL\n", "a.mha");
    corpus.refused("data file", nrrd_header(oblique(), "raw") + "data file: ../" + hostile + "\n", "a.nhdr");
    corpus.refused("encoding", nrrd_header(oblique(), hostile) + "\n", "a.nrrd");
    std::string escaped;
    for (const char* c = hostile; *c; ++c) {
      char code[8];
      std::snprintf(code, sizeof code, static_cast<unsigned char>(*c) < 0x80 ? "\\u%04x" : "%c", *c);
      escaped += code;
    }
    const auto json = [&](const std::string& text) { corpus.refused("JSON " + text, corpus.written("measurement.json", text), measurement); };
    json("{\"" + escaped + "\": 1}");
    json("{\"format\": \"postrec-measurement/1\", \"data\": \"../" + escaped + "\"}");
    json("{\"format\": \"" + escaped + "\", \"data\": \"a\"}");
    corpus.written("y.nii", nifti_bytes(oblique()));
    json("{\"format\": \"postrec-measurement/1\", \"data\": \"y.nii\", \"unit\": \"" + escaped + "\"}");
    json("{\"format\": \"postrec-measurement/1\", \"data\": \"y.nii\", \"parameters\": {\"" + escaped + "\": null}}");
  }
}

// ---- class 11 ----

TEST(BadCorpus, Class11Series) {
  Corpus corpus(11);
  constexpr int kSlices = 3;
  at::Tensor good;
  {
    const TempFolder folder;
    write_ct_series(folder.path(), oblique(), kSlices);
    good = scan(folder.path());
  }
  int n = 0;
  const auto series = [&](const std::function<void(SliceSpec&)>& change) {
    const fs::path path = corpus.folder() / std::to_string(n++);
    write_ct_series(path, oblique(), kSlices, change);
    return path;
  };
  const auto second = [&](const std::function<void(SliceSpec&)>& change) {
    return series([&](SliceSpec& spec) {
      if (spec.index == 1) change(spec);
    });
  };
  const auto element = [&](const DcmTagKey& tag, const std::string& value) {
    return second([&](SliceSpec& spec) { spec.change = [=](DcmDataset& d) { ASSERT_TRUE(d.putAndInsertString(tag, value.c_str()).good()); }; });
  };
  corpus.refused("UID twice, other pixels", second([](SliceSpec& s) { s.sop_uid = "1.2.3.4.1"; }), scan);
  corpus.refused("two series", second([](SliceSpec& s) { s.series_uid = "1.2.3.5"; }), scan);
  corpus.refused("a series without a UID", element(DCM_SeriesInstanceUID, ""), scan);
  corpus.refused("position twice", second([](SliceSpec& s) { s.index = 2, s.sop_uid = "1.9"; }), scan);
  corpus.refused("far away", second([](SliceSpec& s) { s.index = 30; }), scan);
  corpus.refused("missing slice", series([](SliceSpec& s) { s.index *= s.index == 2 ? 2 : 1; }), scan);
  for (const double degrees : {1.0, 5.0, -20.0}) {
    const auto tilted = series([&](SliceSpec& s) {
      const auto p = place_mm(oblique(), 0, s.index * oblique().spacing_mm[2] * std::tan(degrees * M_PI / 180) / oblique().spacing_mm[1], s.index);
      char text[100];
      std::snprintf(text, sizeof text, "%.8f\\%.8f\\%.8f", p[0], p[1], p[2]);
      s.change = [text = std::string(text)](DcmDataset& d) { d.putAndInsertString(DCM_ImagePositionPatient, text.c_str()); };
    });
    corpus.refused("tilt", tilted, scan);
  }
  for (const auto& [tag, value] : {std::pair<DcmTagKey, std::string>{DCM_Modality, "MR"},
                                   {DCM_Modality, ""},
                                   {DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0"},
                                   {DCM_PixelSpacing, "1\\1"},
                                   {DCM_PixelSpacing, "0\\0"},
                                   {DCM_PixelSpacing, "-1\\1"},
                                   {DCM_PixelSpacing, "1"},
                                   {DCM_ImagePositionPatient, "1\\2"},
                                   {DCM_ImagePositionPatient, "1\\2\\3\\4"},
                                   {DCM_ImageOrientationPatient, "0\\0\\0\\0\\0\\0"},
                                   {DCM_ImageOrientationPatient, "1\\0\\0\\1\\0\\0"},
                                   {DCM_PhotometricInterpretation, "MONOCHROME1"},
                                   {DCM_PatientID, "ZZCANARY2"},
                                   {DCM_PatientID, ""},
                                   {DCM_StudyInstanceUID, "1.2.4"},
                                   {DCM_FrameOfReferenceUID, "1.2.3.9"},
                                   {DCM_ImageType, "ORIGINAL\\PRIMARY\\LOCALIZER"},
                                   {DCM_SOPClassUID, UID_SecondaryCaptureImageStorage}})
    corpus.refused("one slice has another " + value, element(tag, value), scan);
  for (const char* number : {"nan", "inf", "-inf", "1e999", "ZZCANARY", "1,5", "1.5x", "0x10", "1..5", "--1", "\xd9\xa1", "1e", "+-1", "+"})
    for (const auto& [tag, first, rest] : {std::tuple<DcmTagKey, std::string, std::string>{DCM_RescaleSlope, "", ""},
                                           {DCM_RescaleIntercept, "", ""},
                                           {DCM_ImagePositionPatient, "1\\2\\", ""},
                                           {DCM_ImageOrientationPatient, "", "\\0\\0\\0\\1\\0"},
                                           {DCM_PixelSpacing, "", "\\1"},
                                           {DCM_SliceThickness, "", ""}})
      corpus.refused(std::string("number ") + number + " in " + DcmTag(tag).getTagName(), element(tag, first + number + rest), scan);
  for (const char* slope : {"0", "-0", "0.0", "1e-400", ""}) corpus.refused(std::string("slope ") + slope, element(DCM_RescaleSlope, slope), scan);
  // The names of these files hold the patient's.
  write_phantom_series(corpus.folder() / "cut");
  truncate_middle_file(corpus.folder() / "cut");
  corpus.refused("a file with a name", corpus.folder() / "cut", scan);
  write_tilted_series(corpus.folder() / "tilted");
  corpus.refused("files with names, tilted", corpus.folder() / "tilted", scan);
  corpus.same("no thickness", element(DCM_SliceThickness, ""), scan, good);
}

// ---- class 12 ----

TEST(BadCorpus, Class12Measurements) {
  Corpus corpus(12);
  constexpr std::int64_t kCoils = 2, kLines = 14, kSamples = 11;
  const at::Tensor good =
      at::complex(at::arange(kCoils * kLines * kSamples, at::kFloat), at::ones({kCoils * kLines * kSamples})).reshape({1, kCoils, kLines, kSamples});
  int n = 0;
  const auto mrd = [&](
                       const at::Tensor& values, const std::function<void(ISMRMRD::Acquisition&)>& edit = [](auto&) {}) {
    const fs::path path = corpus.folder() / (std::to_string(n++) + ".h5");
    MrdOptions options;
    options.edit_header = [](ISMRMRD::IsmrmrdHeader& header) {
      header.subjectInformation = ISMRMRD::SubjectInformation{};
      header.subjectInformation->patientName = kCanary;
      header.subjectInformation->patientID = kCanary;
    };
    MrdWriter writer(path, kSamples, kLines, options);
    for (std::int64_t line = 0; line < kLines; ++line) writer.add(values[0].select(1, line), line, 0, edit);
    return path;
  };
  corpus.same("MRD", mrd(good), kspace, good);
  for (const std::int64_t line : {0, 7, 13})
    for (const std::complex<float> bad :
         {std::complex<float>(static_cast<float>(kNan), 0), {0, static_cast<float>(kNan)}, {static_cast<float>(kInf), 0}, {0, -static_cast<float>(kInf)}})
      corpus.refused("MRD not finite",
                     mrd(good,
                         [&](auto& a) {
                           if (a.idx().kspace_encode_step_1 == line) a.data(5, 1) = bad;
                         }),
                     kspace);
  corpus.refused("MRD all zero", mrd(at::zeros_like(good)), kspace);
  for (const std::uint16_t line : {0, 7, 13}) {
    const auto one = [&](const std::function<void(ISMRMRD::Acquisition&)>& edit) {
      corpus.refused("MRD line " + std::to_string(line),
                     mrd(good,
                         [&](auto& a) {
                           if (a.idx().kspace_encode_step_1 == line) edit(a);
                         }),
                     kspace);
    };
    for (const std::uint16_t coils : {0, 1, 3}) one([&](auto& a) { a.resize(kSamples, coils, 0); });
    for (const std::uint16_t samples : {0, 60}) one([&](auto& a) { a.resize(samples, kCoils, 0); });
    one([](auto& a) { a.idx().kspace_encode_step_1 = 65535; });
    one([](auto& a) { a.center_sample() = 65535; });
    one([](auto& a) { a.discard_pre() = 65535; });
    one([](auto& a) { a.discard_post() = 12; });
    one([](auto& a) { a.position()[0] = static_cast<float>(kNan); });
    one([](auto& a) { a.read_dir()[0] = static_cast<float>(kInf); });
  }
  // BART's files.
  write_cfl(corpus.folder() / "k", good);
  const std::string cfl = read_bytes(corpus.folder() / "k.cfl"), hdr = read_bytes(corpus.folder() / "k.hdr");
  corpus.same("cfl", corpus.folder() / "k.cfl", measurement, good);
  for (const std::size_t at : {std::size_t{0}, std::size_t{4}, cfl.size() / 8 * 4, cfl.size() - 4})
    for (const double bad : {kNan, kInf, -kInf}) {
      std::string bytes = cfl;
      put<float>(bytes, at, static_cast<float>(bad));
      corpus.refused("cfl not finite", corpus.written("k.cfl", bytes), measurement);
    }
  corpus.written("k.cfl", cfl);
  for (const char* sizes : {"11 14 1 3", "11 14 1 1", "11 14 1 0", "11 14 1 -2", "11 14 2 1", "11 14 1 2 2", "nan 14 1 2", "1e1 14 1 2", "",
                            "99999999999999999999 1 1 1", "4294967296 4294967296 1 2", "11,14,1,2", "11 14 1 2 1 1 1 1 1 1 1 1 1 1 1 1 2"})
    corpus.refused(std::string("hdr ") + sizes, (corpus.written("k.hdr", std::string("# Dimensions\n") + sizes + "\n"), corpus.folder() / "k.cfl"),
                   measurement);
  corpus.refused("hdr without its mark", (corpus.written("k.hdr", "11 14 1 2\n"), corpus.folder() / "k.cfl"), measurement);
  // Sinograms.
  const std::string nifti = nifti_bytes(oblique());
  for (const std::size_t at : {std::size_t{352}, std::size_t{352 + 4 * 50}, nifti.size() - 4})
    for (const double bad : {kNan, kInf, -kInf}) {
      std::string bytes = nifti;
      put<float>(bytes, at, static_cast<float>(bad));
      corpus.refused("sinogram not finite", corpus.written("y.nii", bytes), measurement);
    }
  corpus.written("y.nii", nifti);
  const auto json = [&](const std::string& more) {
    return corpus.written("measurement.json", R"({"format": "postrec-measurement/1", "data": "y.nii")" + more + "}");
  };
  corpus.same("sinogram", json(R"(, "sigma_y": 0.1)"), measurement, at::tensor(voxels()).reshape({kNz, kNy, kNx}));
  for (const char* more : {R"(, "sigma_y": -1)",
                           R"(, "sigma_y": NaN)",
                           R"(, "sigma_y": 1e999)",
                           R"(, "sigma_y": "0.1")",
                           R"(, "sigma_y": null)",
                           R"(, "shape": [3, 5, 8])",
                           R"(, "shape": [-3, 5, -7])",
                           R"(, "shape": [0, 5, 7])",
                           R"(, "shape": [1e300, 5, 7])",
                           R"(, "shape": [])",
                           R"(, "shape": ["3", 5, 7])",
                           R"(, "shape": [1.5, 70])",
                           R"(, "origin": "found")",
                           R"(, "unit": "kelvin")",
                           R"(, "geometry": {"spacing_mm": [0, 1, 1]})",
                           R"(, "geometry": {"spacing_mm": [-1, 1, 1]})",
                           R"(, "geometry": {"spacing_mm": [1, 1]})",
                           R"(, "geometry": {"spacing_mm": [1e999, 1, 1]})",
                           R"(, "geometry": {"direction": [1]})",
                           R"(, "geometry": 3)",
                           R"(, "operator": 3)",
                           R"(, "parameters": [])",
                           R"(, "parameters": {"a": null})",
                           R"(, "parameters": {"a": ["x"]})",
                           R"(, "parameters": {"a": {"file": "none.nii"}})",
                           R"(, "parameters": {"a": {"file": "../y.nii"}})",
                           R"(, "parameters": {"a": {"file": "y.nii", "shape": [7]}})",
                           R"(, "parameters": {"a": {"b": 1}})",
                           R"(, "patient": "ZZCANARY")",
                           R"(, "data": "/etc/passwd")",
                           R"(, "data": "measurement.json")",
                           R"(, "data": ".")",
                           R"(, "data": "")",
                           R"(, "data": 5)",
                           ", ",
                           " /* "})
    corpus.refused(std::string("JSON ") + more, json(more), measurement);
}

// ---- class 13 ----

/// An HDF5 identifier that closes itself.
struct H5 {
  H5(hid_t i, herr_t (*c)(hid_t)) : id(i), close(c) { EXPECT_GE(i, 0); }
  ~H5() { close(id); }
  H5(const H5&) = delete;
  operator hid_t() const { return id; }
  hid_t id;
  herr_t (*close)(hid_t);
};

TEST(BadCorpus, Class13Hdf5) {
  Corpus corpus(13);
  int n = 0;
  const auto refused = [&](const std::string& what, const std::function<void(hid_t file)>& fill) {
    const fs::path path = corpus.folder() / (std::to_string(n++) + ".h5");
    {
      const H5 file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
      fill(file);
    }
    corpus.refused("HDF5 " + what, path, kspace);
  };
  const H5 complex(H5Tcreate(H5T_COMPOUND, 8), H5Tclose);
  H5Tinsert(complex, "r", 0, H5T_NATIVE_FLOAT);
  H5Tinsert(complex, "i", 4, H5T_NATIVE_FLOAT);
  const auto dataset = [](hid_t file, const char* name, hid_t type, const std::vector<hsize_t>& shape, hid_t creation = H5P_DEFAULT) {
    const H5 space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), H5Sclose);
    H5Dclose(H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT));
  };
  const std::vector<hsize_t> shape = {1, 2, 14, 11};
  MrdWriter(corpus.folder() / "good.h5", 11, 14).add_all(at::ones({1, 2, 14, 11}, at::kComplexFloat));
  const std::string good = (corpus.folder() / "good.h5").string();
  for (const std::string& target : {good, std::string("/etc/passwd"), std::string("../good.h5"), std::string("ZZCANARY\x1b")})
    for (const char* name : {"dataset", "kspace", "dataset/xml", "dataset/data"})
      refused("external link to " + target, [&](hid_t file) {
        if (std::string(name).find('/') != std::string::npos) H5Gclose(H5Gcreate2(file, "dataset", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
        H5Lcreate_external(target.c_str(), (std::string("/") + name).c_str(), file, name, H5P_DEFAULT, H5P_DEFAULT);
      });
  for (const char* name : {"dataset", "kspace"}) {
    refused("soft link to itself", [&](hid_t file) { H5Lcreate_soft((std::string("/") + name).c_str(), file, name, H5P_DEFAULT, H5P_DEFAULT); });
    refused("soft links in a circle", [&](hid_t file) {
      H5Lcreate_soft("/b", file, name, H5P_DEFAULT, H5P_DEFAULT);
      H5Lcreate_soft((std::string("/") + name).c_str(), file, "b", H5P_DEFAULT, H5P_DEFAULT);
    });
    refused("hard link to the root", [&](hid_t file) { H5Lcreate_hard(file, "/", file, name, H5P_DEFAULT, H5P_DEFAULT); });
  }
  refused("groups in a circle", [&](hid_t file) {
    const H5 group(H5Gcreate2(file, "dataset", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
    for (const char* name : {"xml", "data"}) H5Lcreate_hard(file, "dataset", group, name, H5P_DEFAULT, H5P_DEFAULT);
  });
  corpus.written("secret", std::string(8 * 2 * 14 * 11, 'x'));
  for (const std::string& name : {(corpus.folder() / "secret").string(), std::string("/etc/passwd"), std::string("/dev/zero")})
    refused("data in " + name, [&](hid_t file) {
      const H5 creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
      H5Pset_external(creation, name.c_str(), 0, 8 * 2 * 14 * 11);
      dataset(file, "kspace", complex, shape, creation);
    });
  for (const char* source : {"good.h5", "/etc/passwd", "."})
    refused(std::string("virtual data of ") + source, [&](hid_t file) {
      const H5 creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose), space(H5Screate_simple(4, shape.data(), nullptr), H5Sclose);
      H5Pset_virtual(creation, space, source, "kspace", space);
      dataset(file, "kspace", complex, shape, creation);
    });
  for (const H5Z_filter_t filter : {256, 305, 32000, 32008, 32015, 65535, static_cast<int>(H5Z_FILTER_NBIT), static_cast<int>(H5Z_FILTER_SCALEOFFSET)})
    refused("filter " + std::to_string(filter), [&](hid_t file) {
      const H5 creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
      H5Pset_chunk(creation, 4, shape.data());
      const unsigned none[] = {0, 0};
      H5Pset_filter(creation, filter, H5Z_FLAG_OPTIONAL, 2, none);
      dataset(file, "kspace", complex, shape, creation);
    });
  for (const auto& sizes :
       {std::vector<hsize_t>{1000000, 1000000, 1000000, 100}, {1ull << 40, 1, 1, 1}, {1, 1ull << 31, 1ull << 31, 1}, {1, 65536, 65536, 1}, {1, 2, 14, 100000}})
    for (const hsize_t chunk : {1, 100000}) {
      refused("size bomb", [&](hid_t file) {
        const H5 creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
        std::vector<hsize_t> chunks;
        for (const hsize_t size : sizes) chunks.push_back(std::min<hsize_t>(size, size == sizes.back() ? chunk : 1));
        H5Pset_chunk(creation, 4, chunks.data());
        H5Pset_deflate(creation, 9);
        dataset(file, "kspace", complex, sizes, creation);
      });
    }
  for (const auto& sizes : {std::vector<hsize_t>{11}, {14, 11}, {1, 1, 2, 14, 11}, {0, 2, 14, 11}, {1, 0, 14, 11}, {1, 2, 14, 0}, std::vector<hsize_t>(32, 1)})
    refused("axes", [&](hid_t file) { dataset(file, "kspace", complex, sizes); });
  for (const hid_t type : {H5T_NATIVE_FLOAT, H5T_NATIVE_INT, H5T_C_S1, H5T_STD_REF_OBJ})
    refused("type", [&](hid_t file) { dataset(file, "kspace", type, shape); });
  for (const hid_t type : {H5T_NATIVE_FLOAT, H5T_C_S1, H5T_STD_REF_OBJ})
    for (const hsize_t size : {0, 1, 10, 100000})
      refused("xml", [&](hid_t file) {
        const H5 group(H5Gcreate2(file, "dataset", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
        dataset(group, "xml", type, {size});
        dataset(group, "data", complex, {size});
      });
  for (const int depth : {100, 100000})
    refused("XML of depth " + std::to_string(depth), [&](hid_t file) {
      const std::string xml = repeated("<ismrmrdHeader>", depth) + kCanary;
      const H5 group(H5Gcreate2(file, "dataset", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose), type(H5Tcopy(H5T_C_S1), H5Tclose),
          space(H5Screate(H5S_SCALAR), H5Sclose);
      H5Tset_size(type, xml.size());
      const H5 text(H5Dcreate2(group, "xml", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Dclose);
      H5Dwrite(text, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, xml.data());
    });
  refused("nothing", [](hid_t) {});
}

// ---- class 14 ----

TEST(BadCorpus, Class14VolumeHeaders) {
  Corpus corpus(14);
  const std::string nifti = nifti_bytes(oblique());
  const auto sixteen = [&](std::size_t at, std::vector<int> values) {
    for (const int value : values) {
      std::string bytes = nifti;
      put<std::int16_t>(bytes, at, static_cast<std::int16_t>(value));
      corpus.refused("NIfTI " + std::to_string(at) + " = " + std::to_string(value), bytes, "a.nii");
    }
  };
  sixteen(40, {0, 1, 2, 7 + 1, -1, 32767});
  for (const std::size_t axis : {42u, 44u, 46u}) sixteen(axis, {0, -1, -32768, 1, 2, 32767});
  sixteen(70, {0, 1, 2, 4, 32, 64, 128, 1536, 1792, 999, -1});
  sixteen(72, {0, 8, 64, -32});
  const auto real = [&](std::size_t at, std::vector<double> values) {
    for (const double value : values) {
      std::string bytes = nifti;
      put<float>(bytes, at, static_cast<float>(value));
      corpus.refused("NIfTI " + std::to_string(at) + " = " + std::to_string(value), bytes, "a.nii");
    }
  };
  for (const std::size_t axis : {80u, 84u, 88u}) real(axis, {0, -1, kNan, kInf});
  real(108, {0, -352, 351, 356, 1e30, kNan, kInf, -kInf});
  real(112, {kNan, kInf, -kInf});
  for (const std::size_t row : {280u, 292u, 296u, 312u, 324u}) real(row, {kNan, kInf, 1e30});

  const auto replaced = [](std::string text, const std::string& from, const std::string& to) { return text.replace(text.find(from), from.size(), to); };
  const std::string raw = bytes_of(voxels()), nrrd = nrrd_header(oblique(), "raw"), meta = meta_header(oblique(), "", "LOCAL");
  for (const char* sizes : {"7 5", "7 5 3 1", "7 5 0", "7 -5 3", "-7 -5 3", "7 5 4", "7 5 2", "7 x 3", "4294967297 5 3", "9223372036854775807 2 1",
                            "4000000000000 4000000000000 4000000000000", "1e400 5 3", "nan 5 3", "7.5 5 3", ""}) {
    corpus.refused(std::string("NRRD sizes ") + sizes, replaced(nrrd, "7 5 3", sizes) + "\n" + raw, "a.nrrd");
    corpus.refused(std::string("MetaImage sizes ") + sizes, replaced(meta, "7 5 3", sizes) + raw, "a.mha");
  }
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{{"type: float", "type: double"},
                                                                                 {"type: float", "type: block"},
                                                                                 {"type: float", "type: "},
                                                                                 {"dimension: 3", "dimension: 0"},
                                                                                 {"dimension: 3", "dimension: 17"},
                                                                                 {"dimension: 3", "dimension: -3"},
                                                                                 {"encoding: raw", "encoding: gzip"},
                                                                                 {"encoding: raw", "encoding: ascii"},
                                                                                 {"encoding: raw", "encoding: bzip2"},
                                                                                 {"endian: little", "byte skip: -1"},
                                                                                 {"endian: little", "line skip: 1"},
                                                                                 {"space directions: (", "space directions: none ("},
                                                                                 {"space directions: (", "space directions: (nan,nan,nan) ("},
                                                                                 {"space directions: (", "space directions: (0,0,0) ("},
                                                                                 {"space origin: (", "space origin: (nan,"},
                                                                                 {"NRRD0004", "NRRD9999"},
                                                                                 {"NRRD0004", "PRRD0004"},
                                                                                 {"sizes:", "size:"}})
    corpus.refused("NRRD " + to, replaced(nrrd, from, to) + "\n" + raw, "a.nrrd");
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{{"NDims = 3", "NDims = 0"},
                                                                                 {"NDims = 3", "NDims = 2"},
                                                                                 {"NDims = 3", "NDims = 99999999"},
                                                                                 {"NDims = 3", "NDims = -3"},
                                                                                 {"MET_FLOAT", "MET_DOUBLE"},
                                                                                 {"MET_FLOAT", "MET_OTHER"},
                                                                                 {"ElementSpacing = ", "ElementSpacing = 0 "},
                                                                                 {"ElementSpacing = ", "ElementSpacing = -1 "},
                                                                                 {"ElementSpacing = ", "ElementSpacing = nan "},
                                                                                 {"ElementSpacing = ", "ElementSpacing = inf "},
                                                                                 {"Offset = ", "Offset = nan "},
                                                                                 {"TransformMatrix = ", "TransformMatrix = 0 0 0 0 0 0 0 0 0 "},
                                                                                 {"TransformMatrix = ", "TransformMatrix = nan "},
                                                                                 {"BinaryData = True", "BinaryData = False"},
                                                                                 {"BinaryData = True", "HeaderSize = -1"},
                                                                                 {"BinaryData = True", "CompressedData = True"},
                                                                                 {"BinaryData = True", "ElementNumberOfChannels = 0"},
                                                                                 {"BinaryData = True", "ElementNumberOfChannels = 99999"}})
    corpus.refused("MetaImage " + to, replaced(meta, from, to) + raw, "a.mha");
  // The header's data lie elsewhere: the file is there, of the right length.
  fs::create_directory(corpus.folder() / "in");
  corpus.written("secret.raw", raw);
  fs::create_symlink("../secret.raw", corpus.folder() / "in" / "link.raw");
  for (const std::string& name : {std::string("../secret.raw"), (corpus.folder() / "secret.raw").string(), std::string("link.raw"),
                                  std::string("in/../../secret.raw"), std::string("/etc/passwd"), std::string("/dev/zero"), std::string("."),
                                  std::string("none.raw"), std::string("LIST"), std::string("x%03d.raw 1 3 1"), std::string(5000, 'x')}) {
    corpus.refused("NRRD data file", nrrd_header(oblique(), "raw") + "data file: " + name + "\n", "in/a.nhdr");
    corpus.refused("MetaImage data file", meta_header(oblique(), "", name), "in/a.mhd");
  }
}

}  // namespace
}  // namespace postrec::test
