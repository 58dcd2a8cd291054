#pragma once

#include <ATen/ATen.h>

#include <ostream>
#include <string>

#include "postrec/parameters.hpp"

namespace postrec::test {

/// An operator that ships, with what the user would have to choose; sizes, booleans and other choices are varied by the check.
struct Setup {
  const char* name;
  const char* operator_name;
  void (*set)(Parameters&);
};

inline void PrintTo(const Setup& setup, std::ostream* out) { *out << setup.name; }

inline void set_fan(Parameters& p, const std::string& beam) {
  p.set("beam", beam);
  p.set("source-to-isocenter-mm", 100.0);
  p.set("source-to-detector-mm", 180.0);
}

/// Three complex coils with a phase that turns, and a quarter of the lines.
inline void set_coils(Parameters& p) {
  p.set("height", std::int64_t{17});
  p.set("width", std::int64_t{23});
  const at::Tensor magnitude = at::linspace(0.2, 1.0, 3 * 17 * 23).view({3, 17, 23});
  p.set("sens-maps", at::polar(magnitude, 5 * magnitude));
  p.set("mask-pattern", std::string("equispaced"));
}

inline const Setup kBuiltinSetups[] = {
    {"mri_fourier_one_coil", "mri-fourier", [](Parameters&) {}},
    {"mri_fourier_three_coils", "mri-fourier", set_coils},
    {"ct_radon_parallel", "ct-radon", [](Parameters&) {}},
    {"ct_radon_fan_flat", "ct-radon", [](Parameters& p) { set_fan(p, "fan-flat"); }},
    {"ct_radon_fan_curved", "ct-radon", [](Parameters& p) { set_fan(p, "fan-curved"); }},
    {"masking", "masking", [](Parameters& p) { p.set("pattern", std::string("random")); }},
    {"grayscale", "grayscale", [](Parameters&) {}},
};

}  // namespace postrec::test
