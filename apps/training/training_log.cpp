#include "training/training_log.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "cli/console.hpp"
#include "cli/progress.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::chrono::milliseconds kInterval{200};

std::string sigma_text(double sigma) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", sigma);
  return text;
}

Json json_of(const TrainingRecord& record) {
  Json line = {{"step", record.step}, {"loss", record.loss}, {"learning_rate", record.learning_rate}, {"seconds", record.seconds}};
  for (const auto& [sigma, psnr] : record.psnr_db) line["psnr_db"][sigma_text(sigma)] = psnr;
  return line;
}

TrainingRecord record_of(const Json& line) {
  TrainingRecord record;
  record.step = line.at("step").get<std::int64_t>();
  record.loss = line.at("loss").get<double>();
  record.learning_rate = line.value("learning_rate", 0.0);
  record.seconds = line.value("seconds", 0.0);
  if (line.contains("psnr_db"))
    for (const auto& [sigma, psnr] : line["psnr_db"].items()) record.psnr_db[std::stod(sigma)] = psnr.get<double>();
  return record;
}

std::vector<TrainingRecord> read_records(const fs::path& path, std::int64_t up_to) {
  std::vector<TrainingRecord> records;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    // The last line of a run that was killed may be a part of one.
    if (file.eof()) break;
    try {
      const TrainingRecord record = record_of(Json::parse(line));
      if (record.step > up_to) continue;
      while (!records.empty() && records.back().step >= record.step) records.pop_back();
      records.push_back(record);
    } catch (const std::exception&) {
      throw Error(ErrorKind::kBadData, quoted_path(path) + " is not the log of a training: '" + one_line(line.substr(0, 60)) + "'", "move it away");
    }
  }
  return records;
}

}  // namespace

TrainingLog::TrainingLog(fs::path path, std::int64_t first_step) : path_(std::move(path)) {
  if (first_step > 0) records_ = read_records(path_, first_step);
  std::string kept;
  for (const TrainingRecord& record : records_) kept += json_of(record).dump() + "\n";
  write_text_atomically(path_, kept);
  file_.open(path_, std::ios::app);
}

void TrainingLog::add(const TrainingRecord& record) {
  records_.push_back(record);
  errno = 0;
  file_ << json_of(record).dump() << std::endl;
  if (!file_) throw Error(ErrorKind::kInputOutput, quoted_path(path_) + " cannot be written: " + std::strerror(errno != 0 ? errno : EIO), "check the free space");
}

TrainingProgress::TrainingProgress(std::int64_t first_step, std::int64_t n_steps) : first_step_(first_step), n_steps_(n_steps), terminal_(isatty(STDERR_FILENO) == 1) {}

TrainingProgress::~TrainingProgress() {
  if (line_drawn_) std::fputs("\n", stderr);
}

void TrainingProgress::show(const TrainingRecord& record) {
  const bool measured = !record.psnr_db.empty(), json = console().json();
  const auto now = Clock::now();
  if (console().quiet || (!measured && ((!json && !terminal_) || now - last_shown_ < kInterval))) return;
  last_shown_ = now;
  const double left = record.seconds / static_cast<double>(std::max<std::int64_t>(record.step - first_step_, 1)) * static_cast<double>(n_steps_ - record.step);
  if (json) {
    Json line = {{"level", "progress"}, {"steps", n_steps_}, {"seconds_left", left}};
    line.update(json_of(record));
    std::fputs((line.dump() + "\n").c_str(), stderr);
    return;
  }
  std::string text = "step " + std::to_string(record.step) + " of " + std::to_string(n_steps_);
  char numbers[64];
  std::snprintf(numbers, sizeof(numbers), "  loss %.4f", record.loss);
  text += numbers;
  for (const auto& [sigma, psnr] : record.psnr_db) {
    std::snprintf(numbers, sizeof(numbers), "  %.2f dB at %g", psnr, sigma);
    text += numbers;
  }
  text += "  " + clock_text(left) + " left";
  std::fprintf(stderr, terminal_ ? "\r\033[K%s" : "%s\n", text.c_str());
  std::fflush(stderr);
  line_drawn_ = terminal_;
}

}  // namespace postrec
