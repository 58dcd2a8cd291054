// Times the U-Net of a prior file:  postrec_network PRIOR BATCH CHANNELS ROWS COLUMNS THREADS INPUT.f32 OUTPUT.f32
// Prints the seconds of the best of five evaluations; unet_peer.py runs it between its own.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "postrec/network_prior.hpp"
#include "postrec/prior_file.hpp"

int main(int argc, char** argv) {
  if (argc != 9) {
    std::fprintf(stderr, "usage: postrec_network PRIOR BATCH CHANNELS ROWS COLUMNS THREADS INPUT.f32 OUTPUT.f32\n");
    return 64;
  }
  at::set_num_threads(std::stoi(argv[6]));
  const auto prior = postrec::load_prior(argv[1]);
  const auto* network = dynamic_cast<const postrec::NetworkPrior*>(prior.get());
  if (network == nullptr) {
    std::fprintf(stderr, "'%s' holds no network\n", argv[1]);
    return 65;
  }
  at::Tensor x = at::empty({std::stoll(argv[2]), std::stoll(argv[3]), std::stoll(argv[4]), std::stoll(argv[5])}, at::kFloat);
  std::ifstream(argv[7], std::ios::binary).read(reinterpret_cast<char*>(x.data_ptr<float>()), static_cast<std::streamsize>(x.nbytes()));
  const at::NoGradGuard no_grad;
  const at::Tensor c_noise = at::full({x.size(0)}, std::log(0.1) / 4.0, at::kFloat);
  const auto evaluate = [&] { return network->network().network().forward(x, c_noise); };
  const at::Tensor y = evaluate().contiguous();
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    evaluate();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::ofstream(argv[8], std::ios::binary).write(reinterpret_cast<const char*>(y.const_data_ptr<float>()), static_cast<std::streamsize>(y.nbytes()));
  std::printf("%.6f\n", best);
  return 0;
}
