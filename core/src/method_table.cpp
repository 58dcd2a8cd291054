#include "method_table.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "entries.hpp"
#include "postrec/error.hpp"

namespace postrec {
namespace {

template <class Entry>
std::map<std::string, Entry> by_name(std::vector<Entry> entries) {
  std::map<std::string, Entry> table;
  for (Entry& entry : entries) table.emplace(entry.info.name, std::move(entry));
  return table;
}

template <class Entry>
const Entry& find(const std::map<std::string, Entry>& table, const std::string& option, const std::string& name) {
  const auto found = table.find(name);
  if (found != table.end()) return found->second;
  std::string names;
  for (const auto& [known, entry] : table) names += (names.empty() ? "" : ", ") + known;
  throw Error(ErrorKind::kUsage, "sampler option " + option + " is '" + name + "'", "known " + option + "s are " + names);
}

template <class Entry>
std::vector<SamplerInfo> infos(const std::map<std::string, Entry>& table) {
  std::vector<SamplerInfo> result;
  for (const auto& [name, entry] : table) result.push_back(entry.info);
  return result;
}

/// A solver whose denoiser is bent by a measurement.
class GuidedMethod : public SamplingMethod {
 public:
  GuidedMethod(const SamplingTask& task, std::unique_ptr<Guidance> guidance, std::unique_ptr<Solver> solver)
      : SamplingMethod(task), guidance_(std::move(guidance)), solver_(std::move(solver)) {}

  at::Tensor advance(const at::Tensor& x_t, const Level& level, LevelRecord& record) override {
    GuidanceCall call{level.step, 0, level.sigma, level.next_sigma};
    const Denoiser denoise = [&](const at::Tensor& x, double sigma) {
      const at::Tensor x0 = guidance_->denoise(x, sigma, call, record);
      ++call.call;
      return x0;
    };
    return solver_->step(guidance_->prepare(x_t, level), level, denoise);
  }

  std::map<std::string, at::Tensor> state() const override { return solver_->state(); }
  void restore(const std::map<std::string, at::Tensor>& state) override { solver_->restore(state); }

 private:
  std::unique_ptr<Guidance> guidance_;
  std::unique_ptr<Solver> solver_;
};

const SamplerSetting* declared(const std::vector<SamplerSetting>& settings, const std::string& name) {
  const auto found = std::find_if(settings.begin(), settings.end(), [&](const SamplerSetting& setting) { return setting.name == name; });
  return found == settings.end() ? nullptr : &*found;
}

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.12g", value);
  return text;
}

}  // namespace

const std::map<std::string, MethodEntry>& method_table() {
  static const auto table = by_name<MethodEntry>({bridge_entry(), bridge_smc_entry(), twisted_smc_entry(), unguided_entry(), class_guidance_entry(),
                                                   dds_entry(), dps_entry(), eps_entry(), mmps_entry(), pigdm_entry(), pigdm_calibrated_entry(), projection_entry(),
                                                   annealed_langevin_entry(), daps_entry(), daps_exact_entry(), ddrm_entry(), diffpir_entry(),
                                                   preconditioned_langevin_entry(), split_gibbs_entry()});
  return table;
}

const std::map<std::string, SolverEntry>& solver_table() {
  static const auto table = by_name<SolverEntry>({dpm_solver_2m_entry(), adaptive_sde_entry(), ancestral_entry(), dpm_solver_2m_sde_entry(), euler_maruyama_entry(),
                                                   flow_adaptive_entry(), flow_heun_entry(), predictor_corrector_entry(), predictor_corrector_hmc_entry(),
                                                   reverse_diffusion_entry(), stochastic_heun_entry()});
  return table;
}

std::vector<SamplerInfo> sampling_methods() { return infos(method_table()); }
std::vector<SamplerInfo> reverse_solvers() { return infos(solver_table()); }

const MethodEntry& find_method(const std::string& name) { return find(method_table(), "method", name); }
const SolverEntry& find_solver(const std::string& name) { return find(solver_table(), "solver", name); }

const SolverEntry* solver_of(const MethodEntry& method, const std::string& asked) {
  if (method.guide) return &find_solver(asked.empty() ? method.info.solver : asked);
  if (!asked.empty())
    throw Error(ErrorKind::kUsage, "sampler option solver is '" + asked + "'", "method '" + method.info.name + "' takes steps of its own; leave it out");
  return nullptr;
}

std::map<std::string, double> complete_settings(const MethodEntry& method, const SolverEntry* solver, const std::map<std::string, double>& given) {
  std::vector<SamplerSetting> known = method.info.settings;
  if (solver) known.insert(known.end(), solver->info.settings.begin(), solver->info.settings.end());
  std::map<std::string, double> complete;
  for (const SamplerSetting& setting : known) complete[setting.name] = setting.standard;
  for (const auto& [name, value] : given) {
    const SamplerSetting* setting = declared(known, name);
    if (!setting) {
      std::string names;
      for (const SamplerSetting& each : known) names += (names.empty() ? "" : ", ") + each.name;
      throw Error(ErrorKind::kUsage, "method '" + method.info.name + "' has no setting '" + name + "'", names.empty() ? "it has none" : "it has " + names);
    }
    if (!(value >= setting->minimum && value <= setting->maximum) || !std::isfinite(value))
      throw Error(ErrorKind::kUsage, "sampler setting " + name + " is " + number_text(value),
                  std::isinf(setting->maximum) ? "it must be at least " + number_text(setting->minimum)
                                               : "it must lie between " + number_text(setting->minimum) + " and " + number_text(setting->maximum));
    complete[name] = value;
  }
  return complete;
}

std::unique_ptr<SamplingMethod> make_method(const MethodEntry& method, const SolverEntry* solver, const SamplingTask& task) {
  if (method.walk) return method.walk(task);
  return std::make_unique<GuidedMethod>(task, method.guide(task), solver->make(task));
}

}  // namespace postrec
