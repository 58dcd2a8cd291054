#include "common/network_training.hpp"

#include <ATen/ATen.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/console.hpp"
#include "common/interrupt.hpp"
#include "common/progress.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr double kLogSeconds = 10.0;
constexpr double kSmoothing = 0.98;  // of the loss that is shown

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// The running mean of the loss, shown as a line and kept as a curve.
class LossLog {
 public:
  LossLog(const fs::path& path, std::int64_t n_steps, std::int64_t first_step) : file_(path, std::ios::app), n_steps_(n_steps), first_step_(first_step) {
    if (!file_) throw Error(ErrorKind::kCannotCreate, "cannot create '" + path.string() + "'", "check the folder");
  }

  void add(std::int64_t steps_done, double loss) {
    mean_ = n_seen_ == 0 ? loss : kSmoothing * mean_ + (1.0 - kSmoothing) * loss;
    ++n_seen_;
    if (seconds_since(last_) < kLogSeconds && steps_done < n_steps_) return;
    last_ = Clock::now();
    const double seconds = seconds_since(start_);
    const double left = seconds / static_cast<double>(steps_done - first_step_) * static_cast<double>(n_steps_ - steps_done);
    file_ << nlohmann::json({{"step", steps_done}, {"loss", mean_}, {"seconds", seconds}}).dump() << std::endl;
    if (!console().quiet)
      std::fprintf(stderr, "step %lld of %lld  loss %.4f  %s left\n", static_cast<long long>(steps_done), static_cast<long long>(n_steps_), mean_,
                   clock_text(left).c_str());
  }

 private:
  std::ofstream file_;
  std::int64_t n_steps_;
  std::int64_t first_step_;
  double mean_ = 0.0;
  std::int64_t n_seen_ = 0;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
};

}  // namespace

DenoisingNetwork train_network(const TrainingOptions& options, const GaussianPrior& gaussian, const std::vector<TrainingSlice>& slices, const TrainingRun& run) {
  std::vector<at::Tensor> images;
  for (const TrainingSlice& slice : slices) images.push_back(slice.image);
  Trainer trainer(options, gaussian, std::move(images));
  if (run.resume) trainer.resume(run.checkpoint);
  LossLog log(run.log, options.n_steps, trainer.steps_done());
  auto saved = Clock::now();
  while (!trainer.finished()) {
    const double loss = trainer.step();
    log.add(trainer.steps_done(), loss);
    const bool stop = interrupting_signal() != 0;
    if (stop || trainer.finished() || seconds_since(saved) >= run.checkpoint_seconds) {
      trainer.save_checkpoint(run.checkpoint);
      saved = Clock::now();
    }
    if (stop) throw Error(ErrorKind::kInterrupted, "stopped after step " + std::to_string(trainer.steps_done()), "go on with --resume");
  }
  return trainer.averaged();
}

}  // namespace postrec
