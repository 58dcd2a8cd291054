#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "guidance.hpp"
#include "postrec/sampler.hpp"
#include "sampling_method.hpp"
#include "solver.hpp"

namespace postrec {

enum class Needs { kMeasurement, kNoMeasurement, kEither };

/// Evaluations of the network, for budgets: a number, and a setting that adds its own.
struct EvaluationCount {
  double number = 1.0;
  std::string setting = {};                    ///< empty: none

  double with(const std::map<std::string, double>& settings) const { return number + (setting.empty() ? 0.0 : settings.at(setting)); }
};

/// A method as the loop finds it: either it walks by itself, or it guides a solver.
struct MethodEntry {
  SamplerInfo info;
  Needs needs = Needs::kMeasurement;
  EvaluationCount evaluations;                 ///< a level (walks) or a call (guidance), at most; products with the Jacobian count
  EvaluationCount evaluations_besides = {0.0}; ///< of a run: a start, or what the last level takes more; less when negative
  /// For methods of one evaluation a level: whether a level at sigma, of a walk of `n_levels`, takes two, of images of a shape, with a measurement. Empty: none does.
  std::function<bool(const Prior&, const std::vector<std::int64_t>& image_shape, double sigma, std::size_t n_levels, const std::map<std::string, double>& settings)> takes_two;
  std::string group_setting;                   ///< which setting has the number of samples that know of each other; empty where none do
  bool leaps = false;                          ///< its first draw of x0 follows y, so that the high levels after it say little: see NoiseSchedule::leap
  std::function<std::unique_ptr<SamplingMethod>(const SamplingTask&)> walk;
  std::function<std::unique_ptr<Guidance>(const SamplingTask&)> guide;
};

struct SolverEntry {
  SamplerInfo info;
  EvaluationCount evaluations;                 ///< calls of the denoiser a level; the last level, whose next_sigma is 0, has one
  bool adaptive = false;                       ///< steps follow a tolerance, for each sample by itself: batches of one, and no budget
  std::function<std::unique_ptr<Solver>(const SamplingTask&)> make;
};

/// Every method and solver by name. Each file of methods/, guidance/ and solvers/ has one function that makes its entry; method_table.cpp lists them.
const std::map<std::string, MethodEntry>& method_table();
const std::map<std::string, SolverEntry>& solver_table();

/// Throws Error(kUsage) that lists the known ones.
const MethodEntry& find_method(const std::string& name);
const SolverEntry& find_solver(const std::string& name);

/// The solver that goes with a method: the one asked for, or the method's own; null for a method that walks by itself.
/// Throws Error(kUsage) when it takes none.
const SolverEntry* solver_of(const MethodEntry& method, const std::string& asked);

/// The settings of method and solver with defaults filled in. Throws Error(kUsage) on unknown names and values out of range.
std::map<std::string, double> complete_settings(const MethodEntry& method, const SolverEntry* solver, const std::map<std::string, double>& given);

/// The method for one batch: the walk itself, or its guidance with the solver.
std::unique_ptr<SamplingMethod> make_method(const MethodEntry& method, const SolverEntry* solver, const SamplingTask& task);

}  // namespace postrec
