#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace postrec {

/// What a safetensors file holds: named float32 tensors and text.
struct SafeTensors {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads a file by memory map and checks it whole: the header's length, JSON and nesting; each tensor's type, shape and place; that the
/// tensors cover the data without gap or overlap; that every number is finite. Tensors are copies: the file may change later.
/// Throws Error: kNoInput, kBadData.
SafeTensors read_safetensors(const std::filesystem::path& path);

/// The file's bytes. Tensors must be float32.
std::string safetensors_bytes(const SafeTensors& content);

}  // namespace postrec
