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
  std::string file_sha256;                     ///< of all its bytes; empty for one made in memory
};

/// The metadata that holds content_sha256(), so that a changed bit anywhere is seen when the file is read.
constexpr const char* kContentHash = "content_sha256";

/// SHA-256 of what it holds, whatever the order in the file: of the compact JSON, keys sorted, {"metadata":{key:value,...},"tensors":{name:{"sha256":...,
/// "shape":[...]},...}}, with the SHA-256 of each tensor's bytes and without the metadata kContentHash.
std::string content_sha256(const SafeTensors& content);

/// Whether it says that it held something else when it was written. False where it says nothing of it.
bool contradicts_its_hash(const SafeTensors& content);

/// Reads a file by memory map and checks it whole: the header's length, JSON and nesting; that no name stands twice in it; each tensor's type, shape and place; that the
/// tensors cover the data without gap or overlap; that every number is finite. Tensors are copies: the file may change later.
/// Throws Error: kNoInput, kBadData.
SafeTensors read_safetensors(const std::filesystem::path& path);

/// The file's bytes. Tensors must be float32.
std::string safetensors_bytes(const SafeTensors& content);

/// Text of a file for a message: control characters replaced, so that it stays on one line and moves no cursor.
std::string printable(std::string text);

}  // namespace postrec
