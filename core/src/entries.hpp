#pragma once

#include "method_table.hpp"

namespace postrec {

// In methods/, guidance/ and solvers/; near relatives share a file.
MethodEntry bridge_entry();
MethodEntry bridge_smc_entry();
MethodEntry twisted_smc_entry();
MethodEntry unguided_entry();
MethodEntry annealed_langevin_entry();
MethodEntry daps_entry();
MethodEntry daps_exact_entry();
MethodEntry ddrm_entry();
MethodEntry diffpir_entry();
MethodEntry preconditioned_langevin_entry();
MethodEntry split_gibbs_entry();
MethodEntry class_guidance_entry();
MethodEntry dds_entry();
MethodEntry dps_entry();
MethodEntry eps_entry();
MethodEntry mmps_entry();
MethodEntry pigdm_entry();
MethodEntry pigdm_calibrated_entry();
MethodEntry projection_entry();

SolverEntry dpm_solver_2m_entry();
SolverEntry adaptive_sde_entry();
SolverEntry ancestral_entry();
SolverEntry dpm_solver_2m_sde_entry();
SolverEntry euler_maruyama_entry();
SolverEntry flow_adaptive_entry();
SolverEntry flow_heun_entry();
SolverEntry predictor_corrector_entry();
SolverEntry predictor_corrector_hmc_entry();
SolverEntry reverse_diffusion_entry();
SolverEntry stochastic_heun_entry();

}  // namespace postrec
