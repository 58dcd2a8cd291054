#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "postrec/gaussian_prior.hpp"
#include "postrec/trainer.hpp"

namespace postrec {

/// What a step of a training depends on beside its number and the weights, by the names of the options as far as there are some: a checkpoint goes on only where all are as they were.
/// The numbers of steps are not among them, so that a training may be made longer; nor is the network, which the tensors tell, nor the device.
std::map<std::string, std::string> training_identity(const TrainingOptions& options, const GaussianPrior& gaussian, const std::vector<at::Tensor>& images);

}  // namespace postrec
