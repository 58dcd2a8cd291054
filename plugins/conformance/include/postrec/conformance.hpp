#pragma once

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

/// Checks every law on one operator with random data, on the CPU. Deterministic: the same operator gets the same numbers.
///
/// adjoint       |<Ax, v> - <x, A^H v>| <= 1e-6 ||Ax|| ||v||; for a non-linear operator A is the derivative, by central differences
/// linear        ||A(ax + bz) - aAx - bAz|| <= 1e-5 (||aAx|| + ||bAz||)
/// normal        ||normal(x) - A^H A x|| <= 1e-5 ||A^H A x||
/// normal_solve  ||b - (A^H A + lambda I) s|| <= 1e-5 ((N^2 + lambda) ||s|| + ||b||), N = norm_bound, for three lambda
/// pseudo_inverse  finite and of the right shape; when exact, ||A A^+ A x - A x|| <= 1e-4 ||A x||
/// batch         a batch of 3 equals its singles bit for bit
/// strided       inputs that are not contiguous give the same up to 1e-6
/// determinism   the same call twice, and with one thread, gives the same bit for bit
/// concurrency   four threads at once get what one gets, bit for bit
/// norm_bound    ||Ax|| <= (1 + 1e-5) N ||x||, for the largest singular vector that power iteration finds
/// bad_shape     other sizes and a missing batch axis give an Error
std::vector<LawResult> check_operator(const Operator& op, int n_trials = 10);

/// Makes operators of a type at prime and odd sizes (`height`, `width`, `channels`, `pixel-mm` where declared), each size with the
/// defaults, with each value of every boolean and choice parameter, with three `coils` where declared, and with random smooth coil maps
/// where `sens-maps` [coils, height, width] is declared. Checks each; checks that the same parameters make the same operator ("make"), and
/// that unknown keys and values out of range give an Error ("bad_parameter"). `base` holds parameters that the caller must set (tensors,
/// for example); they are never varied. A law's result is the worst over all variants, and `detail` begins with the variant. Variants that
/// the operator refuses with an Error are told in "refused"; "make" fails when none could be made.
std::vector<LawResult> check_operator_type(const OperatorType& type, const Parameters& base = {});

}  // namespace postrec
