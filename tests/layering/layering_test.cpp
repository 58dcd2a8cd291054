// The dependency rules of the house, as a table of patterns over the source tree. Each rule is also shown to fail on a planted breach.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "temp_folder.hpp"

namespace {

namespace fs = std::filesystem;

struct Rule {
  std::string name;
  std::string forbidden;      ///< regular expression, searched line by line
  std::string where;          ///< regular expression on the path: the files that the rule speaks of
  std::string except;         ///< regular expression on the path: the files that may
  std::string planted_path;   ///< a breach of this rule: this line in this file
  std::string planted_line;
};

const std::vector<Rule> kRules = {
    {"ITK and DCMTK headers stay inside data/src", R"re(#include\s*[<"](itk[A-Z]|dcmtk/|gdcm))re", ".*", "^(data/src|tests)/", "core/src/a.cpp",
     "#include <itkImage.h>"},
    {"HDF5 and ISMRMRD headers stay inside data/src", R"re(#include\s*[<"](hdf5|ismrmrd/))re", ".*", "^(data/src|tests)/", "core/src/a.cpp",
     "#include <hdf5.h>"},
    {"libraries are loaded in plugins/host only", R"re(\b(dlopen|dlsym|dlmopen)\s*\(|#include\s*<dlfcn\.h>)re", ".*", "^plugins/host/", "apps/case/a.cpp",
     "void* handle = dlopen(path, RTLD_NOW);"},
    {"Boost.Program_options stays in apps", R"re(boost/program_options)re", ".*", "^apps/", "core/src/a.cpp", "#include <boost/program_options.hpp>"},
    {"exceptions become exit codes in run_main only", R"re(\bexit_code\s*\()re", "^(apps|data|plugins|operators)/", "^apps/cli/run_main", "apps/commands/a.cpp",
     "return error.exit_code();"},
    {"random numbers come from RandomStreams", R"re(std::(mt19937|random_device|default_random_engine|normal_distribution|uniform_\w+_distribution)|\b(at|torch)::(rand|randn|randint|randperm|normal|bernoulli)\w*\()re",
     "^(core|data|apps|plugins)/", "^$", "core/src/a.cpp", "std::mt19937 generator;"},
    {"core knows no other layer", R"re(#include\s*[<"](postrec/(data|host)/|postrec/(abi\.h|plugin\.hpp|conformance\.hpp)|mri_fourier/|ct_radon/|masking/|grayscale/|commands/|(batch|calibration|case|cli|options|report|result|run|training)/))re",
     "^core/", "^$", "core/src/a.cpp", "#include \"postrec/data/scan.hpp\""},
    {"data knows core alone", R"re(#include\s*[<"](postrec/host/|postrec/(abi\.h|plugin\.hpp|conformance\.hpp)|mri_fourier/|ct_radon/|masking/|grayscale/|commands/|(batch|calibration|case|cli|options|report|result|run|training)/))re",
     "^data/", "^$", "data/src/a.cpp", "#include \"postrec/host/plugin_registry.hpp\""},
    {"operators use core/operator.hpp, and nothing else of ours but errors and their words", R"re(#include\s*[<"]postrec/(?!operator\.hpp|parameters\.hpp|error\.hpp|shape_text\.hpp|host_device\.hpp|for_each_index\.cuh))re", "^operators/", "^$",
     "operators/masking/a.cpp", "#include \"postrec/sampler.hpp\""},
    {"the ABI header stands alone", R"re(#include\s*(?!\s|<(stddef|stdint|assert)\.h>))re", "^plugins/abi/.*\\.h$", "^$", "plugins/abi/postrec/abi.h", "#include <ATen/ATen.h>"},
    {"the SDK uses the ABI and the operator contract", R"re(#include\s*[<"]postrec/(?!abi\.h|operator\.hpp|parameters\.hpp|error\.hpp|out_of_memory\.hpp|shape_text\.hpp))re", "^plugins/sdk/", "^$",
     "plugins/sdk/postrec/plugin.hpp", "#include \"postrec/prior.hpp\""},
    {"the host knows neither data nor operators", R"re(#include\s*[<"](postrec/data/|mri_fourier/|ct_radon/|masking/|grayscale/|(batch|calibration|case|cli|options|report|result|run|training)/))re", "^plugins/(host|conformance)/", "^$",
     "plugins/host/src/a.cpp", "#include \"masking/masking.hpp\""},
    {"builtin modules use the SDK like everybody", R"re(#include\s*[<"](postrec/(?!plugin\.hpp)))re", "^plugins/builtin/", "^$", "plugins/builtin/a.cpp",
     "#include \"postrec/host/plugin_registry.hpp\""},
    {"the program reaches operators through plugins only", R"re(#include\s*[<"](mri_fourier/(?!espirit\.hpp)|ct_radon/|masking/|grayscale/))re", "^apps/", "^$", "apps/commands/a.cpp",
     "#include \"ct_radon/ct_radon.hpp\""},
    {"commands use what they share, not the other way round", R"re(#include\s*"commands/)re", "^apps/", "^apps/(commands|postrec)/", "apps/result/a.cpp", "#include \"commands/commands.hpp\""},
    {"what jobs share knows no job", R"re(#include\s*"(batch|calibration|training)/)re", "^apps/(cli|case|run|report|options|result)/", "^$", "apps/result/a.cpp",
     "#include \"batch/batch_run.hpp\""},
};

bool is_source(const fs::path& path) {
  static const std::regex kSource(R"re(\.(c|h|cpp|hpp|cu|cuh)$)re");
  return std::regex_search(path.filename().string(), kSource);
}

/// Every breach of `rule` below `root`, as "path:line: text".
std::vector<std::string> breaches(const Rule& rule, const fs::path& root) {
  const std::regex where(rule.where), except(rule.except), forbidden(rule.forbidden);
  std::vector<std::string> found;
  for (const char* part : {"core", "operators", "plugins", "apps", "data", "tests"}) {
    if (!fs::exists(root / part)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / part)) {
      const std::string path = fs::relative(entry.path(), root).generic_string();
      if (!entry.is_regular_file() || !is_source(entry.path()) || path.rfind("tests/layering/", 0) == 0) continue;
      if (!std::regex_search(path, where) || std::regex_search(path, except)) continue;
      std::ifstream file(entry.path());
      std::string line;
      for (int number = 1; std::getline(file, line); ++number)
        if (std::regex_search(line, forbidden)) found.push_back(path + ":" + std::to_string(number) + ": " + line);
    }
  }
  return found;
}

std::string joined(const std::vector<std::string>& lines) {
  std::ostringstream text;
  for (const auto& line : lines) text << "\n  " << line;
  return text.str();
}

class Layering : public testing::TestWithParam<Rule> {};

TEST_P(Layering, TheTreeKeepsTheRule) {
  const auto found = breaches(GetParam(), POSTREC_SOURCE_DIR);
  EXPECT_TRUE(found.empty()) << GetParam().name << " is broken:" << joined(found);
}

TEST_P(Layering, APlantedBreachIsFound) {
  const Rule& rule = GetParam();
  const postrec::test::TempFolder root;
  const fs::path file = root / rule.planted_path;
  fs::create_directories(file.parent_path());
  std::ofstream(file) << "int before;\n" << rule.planted_line << "\n";
  const auto found = breaches(rule, root.path());
  ASSERT_EQ(found.size(), 1u) << rule.name;
  EXPECT_EQ(found[0], rule.planted_path + ":2: " + rule.planted_line);
}

INSTANTIATE_TEST_SUITE_P(Rules, Layering, testing::ValuesIn(kRules), [](const testing::TestParamInfo<Rule>& info) {
  std::string name = info.param.name;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
});

}  // namespace
