#include "report/html_picture.hpp"

#include <ATen/ATen.h>
#include <png.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "postrec/error.hpp"
#include "report/html.hpp"

namespace postrec {
namespace {

using ColourMap = std::array<png_byte, 256 * 3>;

/// Blue, white, red: straight lines between colours of equal lightness that people who do not tell red from green tell apart.
const ColourMap& diverging_colours() {
  static const ColourMap map = [] {
    constexpr std::array<std::array<double, 3>, 3> kEnds = {{{33, 102, 172}, {255, 255, 255}, {178, 24, 43}}};
    ColourMap made{};
    for (int i = 0; i < 256; ++i) {
      const double at = std::max(0.0, (i - 1) / 127.0);  // 1 .. 255, so that 128 is 0; 0 is as 1
      const int from = at < 1.0 ? 0 : 1;
      for (int c = 0; c < 3; ++c) made[3 * i + c] = static_cast<png_byte>(std::lround(kEnds[from][c] + (kEnds[from + 1][c] - kEnds[from][c]) * (at - from)));
    }
    return made;
  }();
  return map;
}

/// Bytes [H, W, C], contiguous; with a map they are its indices.
std::string data_uri(const at::Tensor& bytes, const ColourMap* colours) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(bytes.size(1));
  image.height = static_cast<png_uint_32>(bytes.size(0));
  image.format = colours ? PNG_FORMAT_RGB_COLORMAP : bytes.size(2) == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  image.colormap_entries = colours ? 256 : 0;
  png_alloc_size_t n_bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::vector<char> file(n_bytes);
  if (!png_image_write_to_memory(&image, file.data(), &n_bytes, /*convert_to_8_bit=*/0, bytes.data_ptr<std::uint8_t>(), /*row_stride=*/0, colours ? colours->data() : nullptr))
    throw Error(ErrorKind::kInternal, std::string("a picture cannot be made into a PNG: ") + image.message);
  return "data:image/png;base64," + base64(file.data(), n_bytes);
}

at::Tensor as_bytes(const at::Tensor& picture, double low, double high, double first) {
  const at::Tensor scaled = (picture.detach().to(at::kCPU, at::kDouble) - low) * ((255.0 - first) / (high - low)) + first;
  return at::nan_to_num(scaled, 0.0, 255.0, 0.0).clamp(first, 255.0).round().to(at::kByte).permute({1, 2, 0}).contiguous();
}

}  // namespace

std::string grey_data_uri(const at::Tensor& picture, GreyWindow window) { return data_uri(as_bytes(picture, window.low, window.high, 0.0), nullptr); }

std::string signed_data_uri(const at::Tensor& picture, double extent) { return data_uri(as_bytes(picture, -extent, extent, 1.0), &diverging_colours()); }

}  // namespace postrec
