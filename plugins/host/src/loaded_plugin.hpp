#pragma once

#include <deque>
#include <memory>
#include <string>

#include "postrec/abi.h"
#include "postrec/host/plugin_registry.hpp"

namespace postrec {

/// The operator types of a plugin whose library is loaded and whose descriptor was checked from end to end.
class LoadedPlugin {
 public:
  /// Checks the file's sha256 against the manifest, loads it, and checks all that it declares.
  /// Throws Error(kUnavailable) with the reason. `hooks` are kept by the operators.
  LoadedPlugin(const PluginInfo& info, std::shared_ptr<const PluginHooks> hooks);

  /// Null when there is no such operator.
  const OperatorType* find(const std::string& operator_name) const;

 private:
  std::deque<OperatorType> types_;
};

}  // namespace postrec
