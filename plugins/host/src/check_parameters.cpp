#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "postrec/host/plugin_registry.hpp"
#include "postrec/nearest_name.hpp"

namespace postrec {
namespace {

const char* name_of(ParameterType type) {
  switch (type) {
    case ParameterType::kBoolean: return "a boolean (true or false)";
    case ParameterType::kInteger: return "an integer";
    case ParameterType::kReal: return "a number";
    case ParameterType::kText: return "a text";
    case ParameterType::kChoice: return "a choice";
    case ParameterType::kRealList: return "numbers separated by commas";
    case ParameterType::kTensor: return "a tensor";
  }
  return "of an unknown type";
}

std::string text_of(double value) {
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  return std::string(buffer, end);
}

/// "a number from 0 to 1 in mm".
std::string description(const ParameterSpec& spec) {
  std::string text = name_of(spec.type);
  if (spec.minimum && spec.maximum) {
    text += " from " + text_of(*spec.minimum) + " to " + text_of(*spec.maximum);
  } else if (spec.minimum) {
    text += " of at least " + text_of(*spec.minimum);
  } else if (spec.maximum) {
    text += " of at most " + text_of(*spec.maximum);
  }
  return spec.unit.empty() ? text : text + " in " + spec.unit;
}

std::string expectation(const ParameterSpec& spec) { return "it must be " + description(spec); }

[[noreturn]] void refuse(const ParameterSpec& spec, const std::string& value) {
  throw Error(ErrorKind::kConfiguration, "parameter '" + spec.key + "' cannot be '" + value + "'",
              spec.type == ParameterType::kChoice ? nearest_hint(value, spec.choices) : expectation(spec));
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<bool> parse_boolean(const std::string& text) {
  for (const char* yes : {"true", "yes", "on", "1"})
    if (text == yes) return true;
  for (const char* no : {"false", "no", "off", "0"})
    if (text == no) return false;
  return std::nullopt;
}

std::optional<std::vector<double>> parse_list(const std::string& text) {
  std::vector<double> values;
  std::size_t begin = 0;
  while (true) {
    const std::size_t comma = text.find(',', begin);
    const auto value = parse_number<double>(std::string_view(text).substr(begin, comma == std::string::npos ? comma : comma - begin));
    if (!value) return std::nullopt;
    values.push_back(*value);
    if (comma == std::string::npos) return values;
    begin = comma + 1;
  }
}

template <class Number>
void check_range(const ParameterSpec& spec, Number value) {
  const bool finite = std::isfinite(static_cast<double>(value));
  if (finite && !(spec.minimum && value < *spec.minimum) && !(spec.maximum && value > *spec.maximum)) return;
  refuse(spec, text_of(static_cast<double>(value)));
}

/// Float and complex float, which is all that crosses to a plugin. Masks often come as bytes or booleans, files as double.
at::Tensor checked_tensor(const ParameterSpec& spec, const at::Tensor& tensor) {
  if (!tensor.defined()) throw Error(ErrorKind::kConfiguration, "parameter '" + spec.key + "' is an undefined tensor", "give a tensor");
  const at::Tensor value = tensor.to(tensor.is_complex() ? at::kComplexFloat : at::kFloat);
  if (!at::isfinite(value).all().item<bool>())
    throw Error(ErrorKind::kConfiguration, "tensor parameter '" + spec.key + "' holds a NaN or an infinite value",
                "every value must be finite");
  return value;
}

/// The value as the type that `spec` declares, or an Error.
ParameterValue checked_value(const ParameterSpec& spec, const ParameterValue& value) {
  const auto wrong_type = [&]() -> ParameterValue {
    throw Error(ErrorKind::kConfiguration, "parameter '" + spec.key + "' has the wrong type", expectation(spec));
  };
  switch (spec.type) {
    case ParameterType::kBoolean: return std::holds_alternative<bool>(value) ? value : wrong_type();
    case ParameterType::kText: return std::holds_alternative<std::string>(value) ? value : wrong_type();
    case ParameterType::kInteger:
      if (const auto* integer = std::get_if<std::int64_t>(&value)) return check_range(spec, *integer), value;
      return wrong_type();
    case ParameterType::kReal:
      if (const auto* integer = std::get_if<std::int64_t>(&value)) return check_range(spec, *integer), static_cast<double>(*integer);
      if (const auto* real = std::get_if<double>(&value)) return check_range(spec, *real), value;
      return wrong_type();
    case ParameterType::kChoice:
      if (const auto* text = std::get_if<std::string>(&value)) {
        for (const std::string& choice : spec.choices)
          if (*text == choice) return value;
        refuse(spec, *text);
      }
      return wrong_type();
    case ParameterType::kRealList:
      if (const auto* list = std::get_if<std::vector<double>>(&value)) {
        for (const double element : *list) check_range(spec, element);
        return value;
      }
      return wrong_type();
    case ParameterType::kTensor:
      if (const auto* tensor = std::get_if<at::Tensor>(&value)) return checked_tensor(spec, *tensor);
      return wrong_type();
  }
  return wrong_type();
}

void refuse_unknown_keys(const OperatorType& type, const Parameters& given) {
  std::vector<std::string> known;
  for (const ParameterSpec& spec : type.parameters) known.push_back(spec.key);
  for (const auto& [key, value] : given.all())
    if (std::find(known.begin(), known.end(), key) == known.end())
      throw Error(ErrorKind::kConfiguration, "operator '" + type.name + "' has no parameter '" + key + "'", nearest_hint(key, known));
}

}  // namespace

ParameterValue parse_parameter(const ParameterSpec& spec, const std::string& text) {
  const auto parsed = [&]() -> std::optional<ParameterValue> {
    switch (spec.type) {
      case ParameterType::kBoolean: return parse_boolean(text);
      case ParameterType::kInteger: return parse_number<std::int64_t>(text);
      case ParameterType::kReal: return parse_number<double>(text);
      case ParameterType::kRealList: return parse_list(text);
      case ParameterType::kText:
      case ParameterType::kChoice: return text;
      case ParameterType::kTensor: break;
    }
    throw Error(ErrorKind::kConfiguration, "parameter '" + spec.key + "' is a tensor, not the text '" + text + "'",
                "give the file that holds it");
  }();
  if (!parsed) refuse(spec, text);
  return checked_value(spec, *parsed);
}

Parameters check_parameters(const OperatorType& type, const Parameters& given) {
  refuse_unknown_keys(type, given);
  Parameters checked;
  for (const ParameterSpec& spec : type.parameters) {
    const auto found = given.all().find(spec.key);
    if (found != given.all().end()) {
      checked.set(spec.key, checked_value(spec, found->second));
    } else if (spec.required) {
      throw Error(ErrorKind::kConfiguration, "operator '" + type.name + "' needs the parameter '" + spec.key + "'",
                  "set " + spec.key + "=..., " + description(spec));
    } else if (!spec.default_text.empty()) {
      checked.set(spec.key, parse_parameter(spec, spec.default_text));
    }
  }
  return checked;
}

}  // namespace postrec
