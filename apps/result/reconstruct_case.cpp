#include "result/reconstruct_case.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "postrec/data/scratch_tensor.hpp"
#include "postrec/likelihood.hpp"
#include "postrec/summary.hpp"

namespace postrec {
namespace {

std::vector<double> reduced_chi2(const GaussianLikelihood& likelihood, const at::Tensor& samples) {
  const at::Tensor chi2 = likelihood.reduced_chi2(samples).cpu().to(at::kDouble).contiguous();
  return {chi2.data_ptr<double>(), chi2.data_ptr<double>() + chi2.numel()};
}

ResultVolumes new_volumes(const Case& input, const TensorSpec& domain, std::int64_t n_samples) {
  std::vector<std::int64_t> shape = domain.shape;
  shape.insert(shape.begin(), static_cast<std::int64_t>(input.slices.size()));
  const auto volume = [&] { return scratch_tensor(input.scratch, shape, at::kFloat); };
  ResultVolumes volumes = {volume(), volume(), volume(), volume(), volume(), {}};
  shape.insert(shape.begin(), n_samples);
  volumes.samples = scratch_tensor(input.scratch, shape, at::kFloat);
  return volumes;
}

/// Images that cross between the session's device and the CPU at each product are a slowness whose cause nobody could see.
void say_where_it_works(const OperatorType& type, c10::Device device, Progress& progress) {
  if (device.is_cpu() || (device.is_cuda() && type.devices.cuda)) return;
  progress.on_message("'" + type.name + "' works on the CPU, so each of its products takes its images there and back to " + device.str() + " (postrec plugins describe " + type.name + ")");
}

/// Puts the images of slice `index` of the case into their places.
SliceResult as_stored(const Samples& samples, const Summary& summary, const IntensityScale& scale, const at::Tensor& direct, ResultVolumes& volumes, std::int64_t index) {
  const auto put = [&](const at::Tensor& volume, const at::Tensor& stored) { return volume[index].copy_(stored); };
  SliceResult result;
  result.scale = scale.scale;
  result.mean = put(volumes.mean, scale.model_to_stored(summary.mean));
  result.standard_deviation = put(volumes.standard_deviation, scale.model_width_to_stored(summary.standard_deviation));
  result.lower = put(volumes.lower, scale.model_to_stored(summary.lower));
  result.upper = put(volumes.upper, scale.model_to_stored(summary.upper));
  result.interval_level = summary.level;
  result.samples = volumes.samples.narrow(0, 0, samples.x.size(0)).select(1, index).copy_(scale.model_to_stored(displayed(samples.x)));
  result.pseudo_inverse = put(volumes.pseudo_inverse, scale.model_to_stored(displayed(scale.physical_to_model(direct))));
  result.report = samples.report;
  return result;
}

/// A volume of samples needs as many of each slice; a deadline may have left out some. What was computed from all of them stays.
void keep_as_many_samples(CaseResult& result) {
  std::int64_t fewest = result.slices.front().samples.size(0);
  for (const SliceResult& slice : result.slices) fewest = std::min(fewest, slice.samples.size(0));
  for (SliceResult& slice : result.slices) slice.samples = slice.samples.narrow(0, 0, fewest);
  result.volumes.samples = result.volumes.samples.narrow(0, 0, fewest);
}

/// Cuts the volumes to the slices that were finished.
void keep_finished_slices(CaseResult& result, const std::filesystem::path& scratch) {
  ResultVolumes& volumes = result.volumes;
  const auto n = static_cast<std::int64_t>(result.slices.size());
  if (volumes.mean.size(0) == n) return;
  for (at::Tensor* volume : {&volumes.mean, &volumes.standard_deviation, &volumes.lower, &volumes.upper, &volumes.pseudo_inverse}) *volume = volume->narrow(0, 0, n);
  const at::Tensor finished = volumes.samples.narrow(1, 0, n);
  volumes.samples = scratch_tensor(scratch, finished.sizes(), at::kFloat).copy_(finished);  // in one piece, as a file is
}

}  // namespace

CaseResult reconstruct_case(const Case& input, Session& session, Progress& progress) {
  const Measurement& measurement = input.measurement;
  std::unique_ptr<Prior> prior;
  CaseResult result;
  for (const CaseSlice& slice : input.slices) {
    const auto op = make_operator(session.registry(), measurement, slice.index);
    if (!prior) {
      say_where_it_works(session.registry().operator_type(measurement.operator_name), session.device(), progress);
      prior = session.prior(op->domain(), measurement.unit, measurement.geometry.spacing_mm[0]);
      result.volumes = new_volumes(input, op->domain(), session.options().sampler.n_samples);
    }

    progress.begin_part(&slice - input.slices.data());

    const at::Tensor y = measurement.y[slice.index].to(session.device());
    const SliceNoise noise = input.noise.slice(slice.number, op->codomain());
    const at::Tensor direct = direct_reconstruction(*op, noise.linear_data(y));
    const IntensityScale scale = scale_of(measurement, *prior, direct, input.volume_intensity);
    const std::int64_t n_left = input.slices.data() + input.slices.size() - &slice;
    const FoundLikelihood found = noise.likelihood(op, y, measurement.sigma_y, scale.scale, *prior, session.sampler_options(slice.number, n_left), progress);
    result.interrupted = found.interrupted;
    if (result.interrupted) break;

    SamplerOptions options = session.sampler_options(slice.number, n_left);
    if (!found.repeatable) options.checkpoint.clear();  // nothing could go on from it
    const Samples samples = sample(*prior, &found.likelihood, op->domain().shape, options, progress);
    result.interrupted = samples.report.interrupted;
    if (result.interrupted && (samples.x.size(0) == 0 || !result.slices.empty())) break;

    const Summary summary = summarize(samples.x.cpu(), session.options().interval_level);
    SliceResult& finished = result.slices.emplace_back(as_stored(samples, summary, scale, direct, result.volumes, &slice - input.slices.data()));
    finished.number = slice.number;
    finished.seed = options.seed;
    finished.report.nfe += found.nfe;
    finished.report.seconds += found.seconds;
    finished.fit = examine_prior_fit(*prior, found.likelihood, samples.x, options.seed);
    finished.reduced_chi2 = reduced_chi2(found.likelihood, samples.x);
    if (result.interrupted) break;
  }
  if (result.slices.empty()) throw Error(ErrorKind::kInterrupted, "interrupted before the first sample was finished", "no result is written; what a checkpoint holds, --resume takes up");
  result.prior = prior->info();
  result.precision = precision_of(*prior);
  keep_as_many_samples(result);
  keep_finished_slices(result, input.scratch);
  return result;
}

}  // namespace postrec
