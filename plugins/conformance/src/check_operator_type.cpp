#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <tuple>

#include "postrec/conformance.hpp"
#include "postrec/host/plugin_registry.hpp"
#include "postrec/random.hpp"

namespace postrec {
namespace {

struct Size {
  std::int64_t height, width;
};

// Primes that differ, so that a swapped axis or an assumed factor of two shows; an odd product; an even pair.
constexpr Size kSizes[] = {{17, 23}, {31, 13}, {15, 21}, {16, 12}};
constexpr std::int64_t kCoils = 3;
constexpr double kPixelMm = 0.7;

/// Parameters of one operator to try, and what is special about them.
struct Variant {
  std::string name;
  Parameters parameters;
};

const ParameterSpec* find(const OperatorType& type, const std::string& key) {
  const auto found =
      std::find_if(type.parameters.begin(), type.parameters.end(), [&](const ParameterSpec& spec) { return spec.key == key; });
  return found == type.parameters.end() ? nullptr : &*found;
}

/// `key` = value where it is declared, free and allowed.
void set_scan_parameter(const OperatorType& type, const Parameters& base, Parameters& parameters, const std::string& key, double value) {
  const ParameterSpec* spec = find(type, key);
  if (!spec || base.has(key)) return;
  if ((spec->minimum && value < *spec->minimum) || (spec->maximum && value > *spec->maximum)) return;
  if (spec->type == ParameterType::kInteger) parameters.set(key, static_cast<std::int64_t>(value));
  if (spec->type == ParameterType::kReal) parameters.set(key, value);
}

Variant sized(const OperatorType& type, const Parameters& base, Size size) {
  Variant variant{std::to_string(size.height) + "x" + std::to_string(size.width), base};
  set_scan_parameter(type, base, variant.parameters, "height", static_cast<double>(size.height));
  set_scan_parameter(type, base, variant.parameters, "width", static_cast<double>(size.width));
  set_scan_parameter(type, base, variant.parameters, "pixel-mm", kPixelMm);
  // Colour is three channels; what has no fixed number gets two, which is neither one nor three.
  const ParameterSpec* channels = find(type, "channels");
  const bool has_three = channels && channels->minimum.value_or(0) > 2;
  set_scan_parameter(type, base, variant.parameters, "channels", has_three ? 3 : 2);
  return variant;
}

/// Coil maps [coils, height, width]: smooth complex bumps, different for each coil, nowhere zero.
at::Tensor smooth_maps(Size size) {
  const at::Tensor row = at::linspace(-1, 1, size.height).view({-1, 1}), column = at::linspace(-1, 1, size.width).view({1, -1});
  std::vector<at::Tensor> maps;
  for (std::int64_t coil = 0; coil < kCoils; ++coil) {
    const double angle = 2.1 * static_cast<double>(coil);
    const at::Tensor magnitude = at::exp(-0.5 * ((row - std::cos(angle)).square() + (column - std::sin(angle)).square())) + 0.1;
    maps.push_back(at::polar(magnitude, angle + 0.8 * row - 0.5 * column));
  }
  return at::stack(maps).to(at::kComplexFloat);
}

/// One choice beside the defaults: nothing, or a value of one parameter.
struct Setting {
  std::string name;
  std::function<void(Parameters&, Size)> apply;
};

std::vector<Setting> settings_of(const OperatorType& type, const Parameters& base) {
  std::vector<Setting> settings = {{"", [](Parameters&, Size) {}}};
  const auto vary = [&](const std::string& key, const std::string& text, const ParameterValue& value) {
    if (!base.has(key)) settings.push_back({" " + key + "=" + text, [=](Parameters& parameters, Size) { parameters.set(key, value); }});
  };
  for (const ParameterSpec& spec : type.parameters) {
    if (spec.type == ParameterType::kBoolean) {
      vary(spec.key, "true", true);
      vary(spec.key, "false", false);
    }
    for (const std::string& choice : spec.choices) vary(spec.key, choice, choice);
  }
  const bool has_coils = find(type, "coils");
  if (has_coils) vary("coils", std::to_string(kCoils), kCoils);
  if (find(type, "sens-maps") && !base.has("sens-maps")) {
    settings.push_back({" sens-maps=random", [=](Parameters& parameters, Size size) {
                          parameters.set("sens-maps", smooth_maps(size));
                          if (has_coils) parameters.set("coils", kCoils);
                        }});
  }
  return settings;
}

/// Every setting at every size.
std::vector<Variant> variants_of(const OperatorType& type, const Parameters& base) {
  std::vector<Variant> variants;
  for (const Setting& setting : settings_of(type, base)) {
    for (const Size size : kSizes) {
      variants.push_back(sized(type, base, size));
      variants.back().name += setting.name;
      setting.apply(variants.back().parameters, size);
    }
  }
  return variants;
}

bool same_forward(const Operator& a, const Operator& b, at::Device device) {
  const TensorSpec spec = a.domain();
  if (spec != b.domain()) return false;
  const at::Tensor x = RandomStreams(0, 0, 1).normal(0, spec.shape, spec.dtype).to(device);
  const at::Tensor p = a.forward(x).cpu().contiguous(), q = b.forward(x).cpu().contiguous();
  return p.sizes() == q.sizes() && std::memcmp(p.const_data_ptr(), q.const_data_ptr(), p.nbytes()) == 0;
}

LawResult same_operator(const Operator& a, const Operator& b, at::Device device) {
  LawResult result{"make", true, false, 1.0, 0.0, "the same parameters make the same operator"};
  try {
    result.passed = same_forward(a, b, device);
    result.error = result.passed ? 0.0 : 1.0;
  } catch (const std::exception& e) {
    result.detail += std::string("; it failed: ") + e.what();
  }
  return result;
}

/// The results of all variants, law by law: the worst is shown, and how many there were.
class Summary {
 public:
  void add(const std::string& variant, LawResult result) {
    Entry& entry = entry_of(result.law);
    result.detail = variant + ": " + result.detail;
    entry.n_failed += !result.passed;
    entry.n_applied += result.applies;
    const auto badness = [](const LawResult& r) { return std::make_tuple(r.applies, !r.passed, std::isnan(r.error), r.error); };
    if (entry.n++ == 0 || badness(result) > badness(entry.worst)) entry.worst = std::move(result);
  }

  std::vector<LawResult> results() const {
    std::vector<LawResult> all;
    for (const Entry& entry : entries_) {
      all.push_back(entry.worst);
      if (entry.n_applied > 0)
        all.back().detail += " (worst of " + std::to_string(entry.n_applied) + ", " + std::to_string(entry.n_failed) + " failed)";
    }
    return all;
  }

 private:
  struct Entry {
    std::string law;
    int n = 0, n_applied = 0, n_failed = 0;
    LawResult worst;
  };

  Entry& entry_of(const std::string& law) {
    for (Entry& entry : entries_)
      if (entry.law == law) return entry;
    return entries_.emplace_back(Entry{law, 0, 0, 0, {}});
  }

  std::vector<Entry> entries_;
};

/// The laws of one variant on one device. False when the operator refuses it with an Error.
bool check_variant(const OperatorType& type, const Variant& variant, at::Device device, Summary& summary, std::string& refusal) {
  const auto make = [&] { return type.make(check_parameters(type, variant.parameters)); };
  std::unique_ptr<Operator> op, again;
  try {
    op = make();
    again = make();
  } catch (const Error& e) {
    refusal = variant.name + ": " + e.what();
    return false;
  }
  const std::string name = device.is_cpu() ? variant.name : variant.name + " on " + device.str();
  for (const LawResult& result : check_operator(*op, {.device = device, .works_on_cpu = type.devices.cpu})) summary.add(name, result);
  summary.add(name, same_operator(*op, *again, device));
  return true;
}

/// Whether the host and the operator refuse these parameters with an Error.
LawResult refusal(const OperatorType& type, const Parameters& parameters, const std::string& what) {
  LawResult result{"bad_parameter", true, false, 1.0, 0.0, what + " must give an Error"};
  try {
    type.make(check_parameters(type, parameters));
  } catch (const Error&) {
    result.passed = true;
    result.error = 0.0;
  }
  return result;
}

std::vector<LawResult> check_refusals(const OperatorType& type, const Variant& standard) {
  Parameters unknown = standard.parameters;
  unknown.set("no-such-parameter", 1.0);
  std::vector<LawResult> results = {refusal(type, unknown, "an unknown key")};
  const auto out_of_range = [&](const ParameterSpec& spec, double value) {
    Parameters parameters = standard.parameters;
    if (spec.type == ParameterType::kInteger) parameters.set(spec.key, static_cast<std::int64_t>(value));
    if (spec.type == ParameterType::kReal) parameters.set(spec.key, value);
    if (spec.type == ParameterType::kRealList) parameters.set(spec.key, std::vector<double>{value});
    results.push_back(refusal(type, parameters, spec.key + " out of its range"));
  };
  for (const ParameterSpec& spec : type.parameters) {
    if (spec.minimum) out_of_range(spec, *spec.minimum - 1);
    if (spec.maximum) out_of_range(spec, *spec.maximum + 1);
  }
  return results;
}

[[noreturn]] void refuse_unchecked(const OperatorType& type) {
  const std::string who = "operator '" + type.name + "' ";
  if (!type.devices.cuda) throw Error(ErrorKind::kUnavailable, who + "names no device that it works on", "let its type name the CPU, CUDA or both");
  throw Error(ErrorKind::kUnavailable, who + "works on CUDA only, and there is no CUDA device here, only the CPU",
              "check it on a machine that has one, with a LibTorch built for CUDA, or let it work on the CPU too");
}

}  // namespace

std::vector<LawResult> check_operator_type(const OperatorType& type, const Parameters& base, const std::vector<at::Device>& devices) {
  if (devices.empty()) refuse_unchecked(type);
  std::vector<LawResult> results;
  std::string refused;
  std::optional<Variant> standard;
  for (const at::Device device : devices) {
    Summary summary;
    for (const Variant& variant : variants_of(type, base))
      if (check_variant(type, variant, device, summary, refused) && !standard) standard = variant;
    const std::vector<LawResult> there = summary.results();
    results.insert(results.end(), there.begin(), there.end());
  }
  if (!standard) return {{"make", true, false, 1.0, 0.0, "no operator could be made; set the parameters that it needs; " + refused}};
  if (!refused.empty()) results.push_back({"refused", false, true, 0.0, 0.0, "some variants were not made, the last: " + refused});
  const std::vector<LawResult> refusals = check_refusals(type, *standard);
  results.insert(results.end(), refusals.begin(), refusals.end());
  return results;
}

std::vector<LawResult> check_operator_type(const OperatorType& type, const Parameters& base) {
  return check_operator_type(type, base, devices_to_check(type).here);
}

}  // namespace postrec
