#include "architecture.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "postrec/error.hpp"

namespace postrec {
namespace {

using Json = nlohmann::json;

[[noreturn]] void refuse(const std::string& what, const std::string& hint) {
  throw Error(ErrorKind::kBadData, "the architecture of a network " + what, hint);
}

void read(const Json& value, const std::string& name, bool& member) {
  if (!value.is_boolean()) refuse("has " + name + "=" + value.dump(), "it must be true or false");
  member = value.get<bool>();
}

void read(const Json& value, const std::string& name, std::int64_t& member) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > 1u << 20) refuse("has " + name + "=" + value.dump(), "it must be a whole number");
  member = value.get<std::int64_t>();
}

void read(const Json& value, const std::string& name, std::vector<std::int64_t>& member) {
  if (!value.is_array()) refuse("has " + name + "=" + value.dump(), "it must be a list of whole numbers");
  member.assign(value.size(), 0);
  for (std::size_t i = 0; i < value.size(); ++i) read(value[i], name, member[i]);
}

/// Every member by its name: the one list that reading and writing share.
template <class Config, class Visit>
void each_member(Config& config, const Visit& visit) {
  visit("in_channels", config.in_channels);
  visit("out_channels", config.out_channels);
  visit("widths", config.widths);
  visit("blocks", config.blocks);
  visit("embedding", config.embedding);
  visit("conditions", config.conditions);
  visit("unshuffle", config.unshuffle);
  visit("group_norm", config.group_norm);
  visit("attention", config.attention);
}

}  // namespace

std::string architecture_text(const UNetConfig& config) {
  Json text;
  each_member(config, [&](const char* name, const auto& member) { text[name] = member; });
  return text.dump();
}

UNetConfig architecture_of(const std::string& text) {
  const Json parsed = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) refuse("is not a JSON object", "train the prior again");
  UNetConfig config;
  std::set<std::string> known;
  each_member(config, [&](const char* name, auto& member) {
    if (!parsed.contains(name)) refuse(std::string("lacks '") + name + "'", "train the prior again");
    read(parsed[name], name, member);
    known.insert(name);
  });
  for (const auto& [name, value] : parsed.items())
    if (known.count(name) == 0) refuse("has '" + name + "', which this program does not know", "use the program that trained it");
  config.validate();
  return config;
}

}  // namespace postrec
