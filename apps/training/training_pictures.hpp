#pragma once

#include <filesystem>
#include <vector>

#include "training/denoising_check.hpp"
#include "training/training_log.hpp"

namespace postrec {

/// The loss and the validation PSNRs over the steps.
void write_curve(const std::filesystem::path& png, const std::vector<TrainingRecord>& records);

/// Magnitudes of the check's crops: the clean ones on top, below them for each sigma the noisy and the denoised ones.
void write_sample_sheet(const std::filesystem::path& png, const at::Tensor& clean, const std::vector<DenoisingCheck::Row>& rows);

}  // namespace postrec
