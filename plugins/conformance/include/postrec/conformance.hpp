#pragma once

#include <c10/core/Device.h>

#include <string>
#include <vector>

#include "postrec/operator.hpp"

namespace postrec {

/// The outcome of one law of operator.hpp on one operator.
struct LawResult {
  std::string law;                             ///< "adjoint", "linear", "normal", ...
  bool applies = true;                         ///< false: the operator does not offer what the law is about
  bool passed = false;
  double error = 0.0;                          ///< normalised as `detail` says
  double tolerance = 0.0;
  std::string detail;
};

/// Where the laws of one operator are checked, and how thoroughly.
struct CheckOptions {
  int n_trials = 10;
  at::Device device = at::kCPU;
  bool works_on_cpu = true;                    ///< the operator works on the CPU too, so that its results on another device must be the CPU's
};

/// Checks every law on one operator with random data, on one device. Deterministic: the same operator gets the same numbers, on every device.
///
/// adjoint       |<Ax, v> - <x, A^H v>| <= 1e-6 ||Ax|| ||v||; for a non-linear operator A is the derivative, by central differences
/// linear        ||A(ax + bz) - aAx - bAz|| <= 1e-5 (||aAx|| + ||bAz||)
/// normal        ||normal(x) - A^H A x|| <= 1e-5 ||A^H A x||
/// normal_solve  ||b - (A^H A + lambda I) s|| <= 1e-5 ((N^2 + lambda) ||s|| + ||b||), N = norm_bound, for three lambda
/// pseudo_inverse  finite and of the right shape; when exact, ||A A^+ A x - A x|| <= 1e-4 ||A x||
/// batch         a batch of 3 equals its singles, on the CPU bit for bit, elsewhere up to 1e-5
/// strided       inputs that are not contiguous give the same up to 1e-6, off the CPU up to 1e-5
/// determinism   the same call twice, and with one thread, gives the same bit for bit
/// concurrency   four threads at once, on CUDA each on a stream of its own, get what one gets, bit for bit
/// norm_bound    ||Ax|| <= (1 + 1e-5) N ||x||, for the largest singular vector that power iteration finds
/// bad_shape     other sizes and a missing batch axis give an Error
/// device        results lie on the device of the inputs, which are not written to; off the CPU ||result - the CPU's|| <= 1e-5 ||the CPU's||
/// stream        on CUDA: work is queued on the current stream, behind what is queued there already
std::vector<LawResult> check_operator(const Operator& op, const CheckOptions& options = {});

/// Where an operator type says that it works.
struct DevicesToCheck {
  std::vector<at::Device> here;                ///< the CPU, the first CUDA device
  std::vector<std::string> missing;            ///< "cuda": no such device is visible on this machine
};

DevicesToCheck devices_to_check(const OperatorType& type);

/// Makes operators of a type at prime and odd sizes (`height`, `width`, `channels`, `pixel-mm` where declared), each size with the
/// defaults, with each value of every boolean and choice parameter, with three `coils` where declared, and with random smooth coil maps
/// where `sens-maps` [coils, height, width] is declared. Checks each on each of `devices`; checks that the same parameters make the same
/// operator ("make"), and that unknown keys and values out of range give an Error ("bad_parameter"). `base` holds parameters that the caller
/// must set (tensors, for example); they are never varied. A law has one result for each device: the worst over all variants, whose `detail`
/// begins with the variant, and with the device where that is not the CPU ("17x23 coils=3 on cuda:0: ..."). Variants that the operator refuses
/// with an Error are told in "refused"; "make" fails when none could be made. Throws Error(kUnavailable) when there is no device to check on.
std::vector<LawResult> check_operator_type(const OperatorType& type, const Parameters& base, const std::vector<at::Device>& devices);

/// The same on every device that the type names and that is here.
std::vector<LawResult> check_operator_type(const OperatorType& type, const Parameters& base = {});

}  // namespace postrec
