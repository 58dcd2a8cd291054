// What the host does around a call of a plugin, with C functions of this file in place of a library's.
#include <ATen/ATen.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <utility>

#include "host_call.hpp"
#include "plugin_operator.hpp"

namespace postrec {
namespace {

// ---- What is given comes back once, with or without an owner ----

int n_returned = 0;
void* last_owner = nullptr;

void note_return(void* owner) {
  ++n_returned;
  last_owner = owner;
}

class GivenResult : public testing::TestWithParam<void*> {
 protected:
  void SetUp() override {
    n_returned = 0;
    call_.abi()->give_result(call_.abi()->host, memory_.data(), GetParam(), note_return);
  }

  std::array<float, 15> memory_{};
  PluginHooks hooks_;
  HostCall call_{hooks_, at::kCPU};
};

int some_owner = 0;
INSTANTIATE_TEST_SUITE_P(Owner, GivenResult, testing::Values(nullptr, &some_owner), [](const auto& info) { return info.param ? "given" : "null"; });

TEST_P(GivenResult, ReturnsWithItsTensor) {
  at::Tensor result = call_.take_given({3, 5}, at::kFloat);
  EXPECT_EQ(result.const_data_ptr(), memory_.data());
  EXPECT_EQ(n_returned, 0);
  result.reset();
  EXPECT_EQ(n_returned, 1);
  EXPECT_EQ(last_owner, GetParam());
}

TEST_P(GivenResult, ReturnsWhenNoTensorCanBeMade) {
  EXPECT_THROW(call_.take_given({-3, 5}, at::kFloat), c10::Error);
  EXPECT_EQ(n_returned, 1);
}

// ---- The device of a call ----

/// CUDA as far as the current device goes: none is needed. Tensors that lie there cannot be computed with.
struct PretendCuda final : c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA> {
  c10::Device exchangeDevice(c10::Device device) const override { return {at::kCUDA, std::exchange(current, device.index())}; }
  c10::Device getDevice() const override { return {at::kCUDA, current}; }
  void uncheckedSetDevice(c10::Device device) const noexcept override { current = device.index(); }
  void* getStreamNativeHandle(const c10::Stream) const override { return nullptr; }

  inline static c10::DeviceIndex current = 0;
};

/// In place of what LibTorch has for CUDA, while this lives.
class WithPretendCuda {
 public:
  WithPretendCuda() : before_(registered().exchange(&pretend_)) {}
  ~WithPretendCuda() { registered() = before_; }

 private:
  static std::atomic<const c10::impl::DeviceGuardImplInterface*>& registered() {
    return c10::impl::device_guard_impl_registry[static_cast<std::size_t>(c10::DeviceType::CUDA)];
  }

  PretendCuda pretend_;
  const c10::impl::DeviceGuardImplInterface* before_;
};

struct Seen {
  std::int32_t table_device = 0;
  c10::DeviceIndex current = -1;
};
Seen seen;

/// For the CPU and CUDA, on images [3]. It notes where its parameter lies and what is current, and then fails.
postrec_operator_type noting_type() {
  postrec_operator_type type{};
  type.abi_version = POSTREC_ABI_VERSION;
  type.struct_size = sizeof type;
  type.devices = POSTREC_DEVICE_CPU | POSTREC_DEVICE_CUDA;
  type.flags = POSTREC_GIVES_RESULTS;
  type.create = [](const postrec_operator_type*, const postrec_call*, const postrec_parameter* const* parameters, std::size_t n, void** op,
                   postrec_error*) -> postrec_status {
    if (n > 0) seen.table_device = parameters[0]->tensor->device_type;
    *op = &seen;
    return POSTREC_OK;
  };
  type.destroy = [](void*) {};
  type.traits = [](const void*, postrec_traits* traits, postrec_error*) -> postrec_status { return traits->linear = 1, POSTREC_OK; };
  type.domain = type.codomain = [](const void*, postrec_tensor_spec* spec, postrec_error*) -> postrec_status {
    spec->n_dims = 1;
    spec->dtype = POSTREC_F32;
    spec->shape[0] = 3;
    return POSTREC_OK;
  };
  type.forward = [](const void*, const postrec_call*, const postrec_tensor*, const postrec_tensor*, postrec_error*) -> postrec_status {
    seen.current = PretendCuda::current;
    return POSTREC_NUMERICAL;
  };
  return type;
}

PluginOperator noting_operator(const postrec_operator_type& abi, const Parameters& parameters) {
  const OperatorType type = {"noting", "Notes", {{"table", ParameterType::kTensor, "", "", false, {}, {}, {}, "Any."}}, {}};
  return {abi, type, parameters, std::make_shared<const PluginHooks>()};
}

TEST(DeviceOfACall, IsCurrentWhileItLastsAndNoLonger) {
  const WithPretendCuda cuda;
  const postrec_operator_type abi = noting_type();
  const PluginOperator op = noting_operator(abi, {});
  const at::Device second(at::kCUDA, 1);
  std::array<float, 3> memory{};
  const at::Tensor x = at::for_blob(memory.data(), {1, 3}).target_device(second).options(at::TensorOptions(at::kFloat).device(second)).make_tensor();
  EXPECT_THROW(op.forward(x), Error);
  EXPECT_EQ(seen.current, 1);
  EXPECT_EQ(PretendCuda::current, 0);
}

TEST(DeviceOfACall, TensorParametersLieOnTheCpuWhereTheTypeWorksThere) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  Parameters parameters;
  parameters.set("table", at::ones({4}).to(at::kCUDA));
  const postrec_operator_type abi = noting_type();
  (void)noting_operator(abi, parameters);
  EXPECT_EQ(seen.table_device, POSTREC_DEVICE_CPU);
}

}  // namespace
}  // namespace postrec
