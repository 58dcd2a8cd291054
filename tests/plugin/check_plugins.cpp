// check_plugins FOLDER OPERATOR...: loads plugins from a folder and runs the laws on the operators; 0 when all hold.
#include <cstdio>
#include <filesystem>

#include "postrec/conformance.hpp"
#include "postrec/host/plugin_registry.hpp"

int main(int argc, char** argv) {
  if (argc < 3) return 64;
  try {
    postrec::PluginSearch search;
    search.folders = {std::filesystem::absolute(argv[1])};
    postrec::PluginRegistry registry(search);
    int n_failed = 0;
    for (int i = 2; i < argc; ++i) {
      for (const postrec::LawResult& result : postrec::check_operator_type(registry.operator_type(argv[i]))) {
        std::printf("%s %s %s: %.2g (%s)\n", argv[i], result.passed ? "passes" : "FAILS", result.law.c_str(), result.error,
                    result.detail.c_str());
        n_failed += !result.passed;
      }
    }
    return n_failed > 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
