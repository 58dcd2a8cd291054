#pragma once

#include "method_table.hpp"

namespace postrec {

// One per file in methods/, guidance/ and solvers/.
MethodEntry bridge_entry();
MethodEntry unguided_entry();

SolverEntry dpm_solver_2m_entry();

}  // namespace postrec
