#include "batch_size.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

namespace postrec {
namespace {

/// The smallest multiple of `group` that holds n.
std::int64_t whole_groups(std::int64_t n, std::int64_t group) { return (n + group - 1) / group * group; }

}  // namespace

BatchSize::BatchSize(std::int64_t n, std::int64_t group, std::int64_t image_bytes, std::shared_ptr<BatchLimit> limit)
    : group_(group), image_bytes_(image_bytes), limit_(std::move(limit)), n_(std::min(whole_groups(n, group), known_limit())) {}

std::int64_t BatchSize::of(std::int64_t n_left) const { return whole_groups(std::min(n_, n_left), group_); }

std::int64_t BatchSize::known_limit() const {
  if (!limit_ || limit_->image_bytes == 0) return std::numeric_limits<std::int64_t>::max();
  return std::max(limit_->image_bytes / image_bytes_ / group_, std::int64_t{1}) * group_;
}

bool BatchSize::halve(std::int64_t n) {
  if (n <= group_) return false;
  if (first_ == 0) first_ = n;
  n_ = whole_groups(n / 2, group_);
  return true;
}

void BatchSize::tell(Observer& observer) {
  if (first_ == 0) return;
  if (limit_) limit_->image_bytes = n_ * image_bytes_;
  if (told_) return;
  observer.on_message("the device has no memory for " + std::to_string(first_) + " samples together: going on with " + std::to_string(n_) + " (--batch-size)");
  told_ = true;
}

}  // namespace postrec
