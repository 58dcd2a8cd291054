#include "case/image_size.hpp"

#include <cstdio>

#include "postrec/error.hpp"

namespace postrec {

std::pair<std::int64_t, std::int64_t> image_size(const std::string& text, std::int64_t smallest) {
  constexpr std::int64_t kLargest = 8192;
  long long height = 0, width = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%lldx%lld%c", &height, &width, &rest) != 2 || height < smallest || width < smallest || height > kLargest || width > kLargest)
    throw Error(ErrorKind::kUsage, "--size '" + text + "' is not known", "give rows and columns of " + std::to_string(smallest) + " to " + std::to_string(kLargest) + ", e.g. 192x224");
  return {height, width};
}

}  // namespace postrec
