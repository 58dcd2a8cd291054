#include "common/reconstruct_case.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "common/simulation.hpp"
#include "postrec/likelihood.hpp"
#include "postrec/summary.hpp"

namespace postrec {
namespace {

std::vector<double> reduced_chi2(const GaussianLikelihood& likelihood, const at::Tensor& samples) {
  const at::Tensor chi2 = likelihood.reduced_chi2(samples).cpu().to(at::kDouble).contiguous();
  return {chi2.data_ptr<double>(), chi2.data_ptr<double>() + chi2.numel()};
}

SliceResult as_stored(const Samples& samples, const Summary& summary, const IntensityScale& scale, const at::Tensor& direct) {
  SliceResult result;
  result.scale = scale.scale;
  result.mean = scale.model_to_stored(summary.mean).cpu();
  result.standard_deviation = scale.model_width_to_stored(summary.standard_deviation).cpu();
  result.lower = scale.model_to_stored(summary.lower).cpu();
  result.upper = scale.model_to_stored(summary.upper).cpu();
  result.interval_level = summary.level;
  result.samples = scale.model_to_stored(displayed(samples.x)).cpu();
  result.pseudo_inverse = scale.model_to_stored(displayed(scale.physical_to_model(direct))).cpu();
  result.report = samples.report;
  return result;
}

/// A volume of samples needs as many of each slice; a deadline may have left out some. What was computed from all of them stays.
void keep_as_many_samples(std::vector<SliceResult>& slices) {
  std::int64_t fewest = slices.front().samples.size(0);
  for (const SliceResult& slice : slices) fewest = std::min(fewest, slice.samples.size(0));
  for (SliceResult& slice : slices) slice.samples = slice.samples.narrow(0, 0, fewest);
}

}  // namespace

at::Tensor direct_reconstruction(const Operator& op, const at::Tensor& y) {
  const at::Tensor batch = y.unsqueeze(0);
  return (op.traits().pseudo_inverse == PseudoInverseKind::kNone ? op.adjoint(batch) : op.pseudo_inverse(batch)).squeeze(0);
}

IntensityScale scale_of(const Measurement& measurement, const Prior& prior, const at::Tensor& direct) {
  const bool empty = direct.abs().max().item<double>() == 0.0;
  const at::Tensor reference = empty ? at::full({1}, measurement.sigma_y, at::kFloat) : direct;
  return IntensityScale::make(measurement.unit, prior.info().intensity, reference);
}

CaseResult reconstruct_case(const Case& input, Session& session, Progress& progress) {
  const Measurement& measurement = input.measurement;
  std::unique_ptr<Prior> prior;
  CaseResult result;
  for (const CaseSlice& slice : input.slices) {
    const auto op = make_operator(session.registry(), measurement, slice.index);
    if (!prior) prior = session.prior(op->domain(), measurement.unit, measurement.geometry.spacing_mm[0]);

    progress.begin_part(&slice - input.slices.data());

    const at::Tensor y = measurement.y[slice.index].to(session.device());
    const SliceNoise noise = input.noise.slice(slice.number, op->codomain());
    const at::Tensor direct = direct_reconstruction(*op, noise.linear_data(y));
    const IntensityScale scale = scale_of(measurement, *prior, direct);
    const std::int64_t n_left = input.slices.data() + input.slices.size() - &slice;
    const FoundLikelihood found = noise.likelihood(op, y, measurement.sigma_y, scale.scale, *prior, session.sampler_options(slice.number, n_left), progress);

    const SamplerOptions options = session.sampler_options(slice.number, n_left);
    const Samples samples = sample(*prior, &found.likelihood, op->domain().shape, options, progress);
    result.interrupted = samples.report.interrupted;
    if (result.interrupted && (samples.x.size(0) == 0 || !result.slices.empty())) break;

    const Summary summary = summarize(samples.x, session.options().interval_level);
    SliceResult& finished = result.slices.emplace_back(as_stored(samples, summary, scale, direct));
    finished.number = slice.number;
    finished.seed = options.seed;
    finished.report.nfe += found.nfe;
    finished.report.seconds += found.seconds;
    finished.fit = examine_prior_fit(*prior, found.likelihood, samples.x, options.seed);
    finished.reduced_chi2 = reduced_chi2(found.likelihood, samples.x);
    if (result.interrupted) break;
  }
  if (result.slices.empty()) throw Error(ErrorKind::kInterrupted, "interrupted before the first sample was finished", "nothing is written");
  result.prior = prior->info();
  keep_as_many_samples(result.slices);
  return result;
}

}  // namespace postrec
