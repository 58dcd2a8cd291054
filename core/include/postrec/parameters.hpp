#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "postrec/error.hpp"

namespace postrec {

enum class ParameterType { kBoolean, kInteger, kReal, kText, kChoice, kRealList, kTensor };

/// One parameter that an operator type declares. The host checks every value against it before the operator is made.
///
/// A parameter with one of the names in `kScanParameters` that the user does not set is filled from the scan.
struct ParameterSpec {
  std::string key;                            ///< lower-hyphen
  ParameterType type = ParameterType::kReal;
  std::string unit;                           ///< "mm", "rad", "" for a pure number
  std::string default_text;                   ///< as typed after `key=`; empty and `required` false: simply absent
  bool required = false;
  std::optional<double> minimum;              ///< inclusive; kInteger, kReal and each element of kRealList
  std::optional<double> maximum;
  std::vector<std::string> choices;           ///< kChoice only
  std::string help;                           ///< one sentence
};

/// Filled from the scan when declared and not set: image rows and columns, channels, coils, and the pixel size in mm.
inline const std::vector<std::string> kScanParameters = {"height", "width", "channels", "coils", "pixel-mm"};

using ParameterValue = std::variant<bool, std::int64_t, double, std::string, std::vector<double>, at::Tensor>;

/// Typed values by key. The getters throw Error(kConfiguration) that names the key when it is absent or of another type.
class Parameters {
 public:
  void set(const std::string& key, ParameterValue value) { values_[key] = std::move(value); }
  void erase(const std::string& key) { values_.erase(key); }
  bool has(const std::string& key) const { return values_.count(key) != 0; }
  const std::map<std::string, ParameterValue>& all() const { return values_; }

  bool boolean(const std::string& key) const { return get<bool>(key, "a boolean"); }
  std::int64_t integer(const std::string& key) const { return get<std::int64_t>(key, "an integer"); }
  /// An integer is a number, too.
  double real(const std::string& key) const {
    const auto found = values_.find(key);
    const auto* integer = found == values_.end() ? nullptr : std::get_if<std::int64_t>(&found->second);
    return integer ? static_cast<double>(*integer) : get<double>(key, "a number");
  }
  const std::string& text(const std::string& key) const { return get<std::string>(key, "a text"); }
  const std::vector<double>& real_list(const std::string& key) const { return get<std::vector<double>>(key, "a list of numbers"); }
  const at::Tensor& tensor(const std::string& key) const { return get<at::Tensor>(key, "a tensor"); }

 private:
  template <class T>
  const T& get(const std::string& key, const char* expected) const {
    const auto found = values_.find(key);
    if (found == values_.end()) throw Error(ErrorKind::kConfiguration, "parameter '" + key + "' is not set", "set " + key + "=...");
    const T* value = std::get_if<T>(&found->second);
    if (!value) throw Error(ErrorKind::kConfiguration, "parameter '" + key + "' has the wrong type", std::string("it must be ") + expected);
    return *value;
  }

  std::map<std::string, ParameterValue> values_;
};

}  // namespace postrec
