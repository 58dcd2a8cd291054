// Help, version, unknown words, config files: what happens before any computing.
#include "app_fixture.hpp"

namespace postrec {
namespace {

std::ptrdiff_t lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

const std::vector<std::string> kCommands = {"reconstruct", "simulate", "train", "evaluate", "plugins"};

TEST(CommandLine, VersionSaysWhatItIsNot) {
  const Ended ended = run_postrec({"--version"});
  EXPECT_EQ(ended.code, 0);
  EXPECT_EQ(ended.out.rfind("postrec ", 0), 0u) << ended.out;
  EXPECT_NE(ended.out.find("not a medical device"), std::string::npos);
  EXPECT_EQ(ended.err, "");
}

TEST(CommandLine, HelpOfEachCommandFitsAScreenAndEndsWithAnExample) {
  for (const auto& command : kCommands) {
    const Ended ended = run_postrec({command, "--help"});
    EXPECT_EQ(ended.code, 0) << command;
    EXPECT_LE(lines(ended.out), 50) << command;
    const auto example = ended.out.find("\nExample:\n  postrec " + command);
    ASSERT_NE(example, std::string::npos) << ended.out;
    EXPECT_LE(lines(ended.out.substr(example)), 5) << command;
    EXPECT_EQ(run_postrec({"help", command}).out, ended.out) << command;
  }
}

TEST(CommandLine, ExitCodesAreDocumented) {
  const Ended ended = run_postrec({"help", "exit-codes"});
  EXPECT_EQ(ended.code, 0);
  for (const char* code : {" 64 ", " 65 ", " 66 ", " 69 ", " 70 ", " 71 ", " 73 ", " 74 ", " 75 ", " 78 ", " 130 "})
    EXPECT_NE(ended.out.find(std::string(" ") + code), std::string::npos) << code;
}

TEST(CommandLine, UnknownWordsNameTheNearest) {
  const Ended command = run_postrec({"recontruct"});
  EXPECT_EQ(command.code, 64);
  EXPECT_EQ(command.err, "postrec: error: unknown command 'recontruct'; did you mean 'reconstruct'?\n");
  const Ended option = run_postrec({"reconstruct", "x", "--smaples", "3"});
  EXPECT_EQ(option.code, 64);
  EXPECT_EQ(option.err, "postrec: error: unknown option '--smaples'; did you mean '--samples'?\n");
  EXPECT_EQ(run_postrec({}).code, 64);
  EXPECT_EQ(run_postrec({"help", "exitcodes"}).err, "postrec: error: there is no help on 'exitcodes'; did you mean 'exit-codes'?\n");
}

TEST(CommandLine, ErrorsAreJsonOnRequest) {
  for (const auto& arguments : {std::vector<std::string>{"reconstruct", "--log-format", "json", "--nonsense"}, {"reconstruct", "--nonsense", "--log-format=json"}}) {
    const Ended ended = run_postrec(arguments);
    EXPECT_EQ(ended.code, 64);
    ASSERT_EQ(ended.error_lines(), 1) << ended.err;
    const auto line = nlohmann::json::parse(ended.err);
    EXPECT_EQ(line["level"], "error");
    EXPECT_EQ(line["exit_code"], 64);
    EXPECT_NE(line["message"].get<std::string>().find("--nonsense"), std::string::npos);
  }
}

TEST(CommandLine, AFullStandardOutputIsAnError) {
  ASSERT_TRUE(std::filesystem::exists("/dev/full"));
  const std::string command = std::string("'") + POSTREC_PROGRAM + "' --version >/dev/full 2>/dev/null";
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 74);
}

class ConfigFile : public AppTest {};

TEST_F(ConfigFile, GivesOptionsAndTheCommandLineWins) {
  write_text("run.ini", "# a comment\noperator = mri-fourier\nsamples = 2\nsteps = 3\nnoise = 0.05\nset = mask-pattern=equispaced\nset = acceleration=3\nset = n-acs-lines=5\n"
                        "simulate = true\nslice = 1\nprior = " + path("mr.safetensors") + "\n");
  const Ended ended = run_postrec({"reconstruct", path("mr.nii.gz"), "--config", path("run.ini"), "--steps", "4", "--set", "acceleration=2", "--output", path("out")});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto run = run_json("out");
  EXPECT_EQ(run["sampler"]["samples"], 2);
  EXPECT_EQ(run["sampler"]["steps"], 4);
  EXPECT_EQ(run["operator"]["parameters"]["acceleration"], 2.0);
  EXPECT_EQ(run["operator"]["parameters"]["n-acs-lines"], 5);
  EXPECT_EQ(run["slices"].size(), 1u);
  EXPECT_EQ(run["slices"][0]["slice"], 1);
}

TEST_F(ConfigFile, MistakesNameFileAndNearestOption) {
  write_text("bad.ini", "sampels = 3\n");
  expect_error(run_postrec({"reconstruct", "x", "--config", path("bad.ini"), "--output", path("out")}), 78, {"bad.ini", "sampels", "samples"});
  write_text("value.ini", "samples = many\n");
  expect_error(run_postrec({"reconstruct", "x", "--config", path("value.ini"), "--output", path("out")}), 78, {"value.ini", "many", "samples"});
  expect_error(run_postrec({"reconstruct", "x", "--config", path("none.ini"), "--output", path("out")}), 66, {"none.ini"});
  expect_error(run_postrec({"reconstruct", "x", "--config", folder_.string(), "--output", path("out")}), 66, {"option = value"});
  write_text("twice.ini", "set = acceleration=2\nset = acceleration=8\n");
  expect_error(run_postrec({"reconstruct", "x", "--config", path("twice.ini"), "--output", path("out")}), 64, {"acceleration", "given twice"});
  write_text("nested.ini", "config = other.ini\n");
  expect_error(run_postrec({"reconstruct", "x", "--config", path("nested.ini"), "--output", path("out")}), 78, {"nested.ini", "config"});
}

}  // namespace
}  // namespace postrec
