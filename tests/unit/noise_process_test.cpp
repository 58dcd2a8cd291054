#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "expect_error.hpp"
#include "postrec/noise_process.hpp"

namespace postrec::test {
namespace {

const std::vector<std::string> kAll = {"ve", "vp", "sub-vp", "edm", "ncsn"};

NoiseProcessOptions options(double sigma_min = 0.01, double sigma_max = 50.0) {
  NoiseProcessOptions result;
  result.sigma_min = sigma_min;
  result.sigma_max = sigma_max;
  return result;
}

// The kernels p(x'_t | x) as the papers write them: mean scale x, standard deviation scale sigma. Bounds: rounding of doubles.
TEST(NoiseProcess, KernelsOfThePapers) {
  const NoiseProcess ve = make_noise_process("ve", options()), vp = make_noise_process("vp", options());
  const NoiseProcess sub_vp = make_noise_process("sub-vp", options()), edm = make_noise_process("edm", options());
  const NoiseProcess ncsn = make_noise_process("ncsn", options());
  for (const double t : {0.01, 0.2, 0.5, 1.0}) {
    // [Song 2021, eq. 31]: sigma_min (sigma_max/sigma_min)^t.
    EXPECT_NEAR(ve.sigma(t) / (0.01 * std::pow(5000.0, t)), 1.0, 1e-14);
    EXPECT_EQ(ncsn.sigma(t), ve.sigma(t));
    // [Song 2021, eq. 33]: mean exp(-t^2 (20 - 0.1)/4 - t 0.1/2) x, variance 1 - exp(-t^2 (20 - 0.1)/2 - t 0.1).
    const double mean = std::exp(-0.25 * t * t * 19.9 - 0.5 * t * 0.1), variance = 1.0 - std::exp(-0.5 * t * t * 19.9 - t * 0.1);
    EXPECT_NEAR(vp.scale(t) / mean, 1.0, 1e-14);
    EXPECT_NEAR(std::pow(vp.scale(t) * vp.sigma(t), 2) / variance, 1.0, 1e-12);
    // [Song 2021, eq. 29]: the same mean, variance squared.
    EXPECT_NEAR(sub_vp.scale(t) / mean, 1.0, 1e-14);
    EXPECT_NEAR(sub_vp.scale(t) * sub_vp.sigma(t) / variance, 1.0, 1e-12);
    // [Karras 2022, table 1]: sigma = time, here in units of sigma_max.
    EXPECT_EQ(edm.sigma(t), 50.0 * t);
    for (const NoiseProcess& process : {ve, edm, ncsn}) EXPECT_EQ(process.scale(t), 1.0);
  }
}

// g^2 = d sigma^2/dt by central differences, whose error is O(h^2) = 1e-8 relative.
TEST(NoiseProcess, DiffusionIsTheRateOfTheVariance) {
  for (const std::string& name : kAll) {
    const NoiseProcess process = make_noise_process(name, options());
    for (const double t : {0.05, 0.3, 0.9}) {
      const double h = 1e-5, rate = (std::pow(process.sigma(t + h), 2) - std::pow(process.sigma(t - h), 2)) / (2.0 * h);
      EXPECT_NEAR(process.g_squared(t) / rate, 1.0, 1e-6) << name << " at " << t;
    }
  }
}

// The diffusion of x'_t is scale^2 g^2: beta in [Song 2021, eq. 32], beta (1 - e^(-2 B)) in eq. 12.
TEST(NoiseProcess, DiffusionOfThePapers) {
  const NoiseProcess vp = make_noise_process("vp", options()), sub_vp = make_noise_process("sub-vp", options());
  for (const double t : {0.01, 0.4, 1.0}) {
    const double beta = 0.1 + t * 19.9, integral = 0.1 * t + 0.5 * 19.9 * t * t;
    EXPECT_NEAR(std::pow(vp.scale(t), 2) * vp.g_squared(t) / beta, 1.0, 1e-12);
    EXPECT_NEAR(std::pow(sub_vp.scale(t), 2) * sub_vp.g_squared(t) / (beta * (1.0 - std::exp(-2.0 * integral))), 1.0, 1e-12);
  }
}

TEST(NoiseProcess, TimeInvertsSigma) {
  for (const std::string& name : kAll)
    for (const auto& [beta_min, beta_max] : std::map<double, double>{{0.0, 20.0}, {0.1, 20.0}, {9.0, 9.0}}) {
      NoiseProcessOptions how = options();
      how.beta_min = beta_min;
      how.beta_max = beta_max;
      const NoiseProcess process = make_noise_process(name, how);
      for (const double sigma : {0.01, 0.3, 1.0, 50.0}) EXPECT_NEAR(process.sigma(process.time(sigma)) / sigma, 1.0, 1e-11) << name;
    }
}

TEST(NoiseProcess, DrawsStayInTheRangeAndRise) {
  for (const std::string& name : kAll) {
    const NoiseProcess process = make_noise_process(name, options());
    EXPECT_NEAR(process.sigma_of(0.0) / 0.01, 1.0, 1e-12) << name;
    EXPECT_NEAR(process.sigma_of(1.0) / 50.0, 1.0, 1e-12) << name;
    double previous = 0.0;
    for (int i = 0; i <= 1000; ++i) {
      const double sigma = process.sigma_of(i / 1000.0);
      EXPECT_GE(sigma, std::max(previous, 0.01)) << name;
      EXPECT_LE(sigma, 50.0) << name;
      previous = sigma;
    }
  }
}

TEST(NoiseProcess, DrawsHaveTheLawOfThePapers) {
  for (const std::string name : {"ve", "vp", "sub-vp"}) {
    const NoiseProcess process = make_noise_process(name, options());
    const double first = process.time(0.01), last = process.time(50.0);
    for (const double u : {0.1, 0.5, 0.75}) EXPECT_NEAR(process.time(process.sigma_of(u)), first + u * (last - first), 1e-12) << name;
  }
  EXPECT_NEAR(make_noise_process("ve", options()).sigma_of(0.5), std::sqrt(0.01 * 50.0), 1e-12);
  const auto phi = [](double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); };
  // With a range so wide that nothing is cut, Phi(z) draws exp(P_mean + z P_std).
  const NoiseProcess edm = make_noise_process("edm", options(1e-8, 1e8));
  for (const double z : {-2.0, 0.0, 1.0, 2.5}) EXPECT_NEAR(std::log(edm.sigma_of(phi(z))), -1.2 + 1.2 * z, 1e-9);
  // Cut to z in [-1, 0], the number (Phi(-1/2) - Phi(-1)) / (Phi(0) - Phi(-1)) draws z = -1/2.
  const NoiseProcess cut = make_noise_process("edm", options(std::exp(-2.4), std::exp(-1.2)));
  EXPECT_NEAR(std::log(cut.sigma_of((phi(-0.5) - phi(-1.0)) / (phi(0.0) - phi(-1.0)))), -1.8, 1e-12);
}

TEST(NoiseProcess, NcsnDrawsGeometricLevelsEquallyOften) {
  NoiseProcessOptions how = options(0.01, 1.0);   // [Song 2019, section 5]: ten levels from 1 to 0.01
  how.n_levels = 10;
  const NoiseProcess process = make_noise_process("ncsn", how);
  std::map<double, int> count;
  for (int i = 0; i < 1000; ++i) ++count[process.sigma_of((i + 0.5) / 1000.0)];
  ASSERT_EQ(count.size(), 10u);
  double expected = 0.01;
  for (const auto& [sigma, n] : count) {
    EXPECT_NEAR(sigma / expected, 1.0, 1e-12);
    EXPECT_EQ(n, 100);
    expected *= std::pow(100.0, 1.0 / 9.0);
  }
}

TEST(NoiseProcess, TensorsAreDrawnOneByOne) {
  const at::Tensor u = at::linspace(0.0, 0.999, 37, at::kFloat);
  for (const std::string& name : kAll) {
    const NoiseProcess process = make_noise_process(name, options());
    const at::Tensor sigma = process.sigma_of(u);
    ASSERT_EQ(sigma.scalar_type(), at::kFloat);
    ASSERT_EQ(sigma.sizes(), u.sizes());
    for (int i = 0; i < 37; ++i) {
      EXPECT_EQ(sigma[i].item<float>(), static_cast<float>(process.sigma_of(double{u[i].item<float>()}))) << name;
      EXPECT_EQ(sigma[i].item<float>(), process.sigma_of(u.narrow(0, i, 1)).item<float>()) << name;
    }
    EXPECT_NE(u.data_ptr(), sigma.data_ptr());
  }
  EXPECT_FLOAT_EQ(u[36].item<float>(), 0.999f);   // the draws did not overwrite their input
}

TEST(NoiseProcess, RefusesWhatIsNoProcess) {
  expect_error(ErrorKind::kUsage, "unknown noise process 'vpx'; known are ve, vp, sub-vp, edm, ncsn", [] { make_noise_process("vpx", options()); });
  expect_error(ErrorKind::kUsage, "from sigma 0 to 50", [] { make_noise_process("ve", options(0.0)); });
  expect_error(ErrorKind::kUsage, "sigma must rise", [] { make_noise_process("edm", options(2.0, 1.0)); });
  expect_error(ErrorKind::kUsage, "sigma", [] { make_noise_process("edm", options(0.1, INFINITY)); });
  expect_error(ErrorKind::kUsage, "sigma", [] { make_noise_process("edm", options(NAN)); });
  expect_error(ErrorKind::kUsage, "these betas reach sigma 152.1", [] { make_noise_process("sub-vp", options(0.01, 200.0)); });
  expect_error(ErrorKind::kUsage, "these betas reach sigma 152.1", [] { make_noise_process("vp", options(0.01, 200.0)); });
  NoiseProcessOptions how = options();
  how.beta_max = 0.05;
  expect_error(ErrorKind::kUsage, "beta from 0.1 to 0.05", [&] { make_noise_process("vp", how); });
  how = options();
  how.log_sigma_deviation = 0.0;
  expect_error(ErrorKind::kUsage, "standard deviation 0", [&] { make_noise_process("edm", how); });
  how = options();
  how.n_levels = 1;
  expect_error(ErrorKind::kUsage, "1 levels", [&] { make_noise_process("ncsn", how); });
}

}  // namespace
}  // namespace postrec::test
