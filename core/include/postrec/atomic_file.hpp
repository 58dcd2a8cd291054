#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "postrec/error.hpp"

namespace postrec {

/// Calls write(temporary) with a temporary name in the folder of `path` (same extension), syncs it and renames it to `path`.
/// On any failure the temporary is removed. Throws Error: kCannotCreate (folder missing, no permission), kInputOutput (disk full).
void write_atomically(const std::filesystem::path& path, const std::function<void(const std::filesystem::path&)>& write);

/// The same for a text.
void write_text_atomically(const std::filesystem::path& path, const std::string& text);

/// Writes a whole file in place: for the temporary of write_atomically. Throws Error: kCannotCreate, kInputOutput (disk full).
void write_bytes(const std::filesystem::path& path, const void* data, std::size_t n_bytes);

/// Waits until a file or the entries of a folder are on the disk; `named` is what the user knows it as. Throws Error: kInputOutput, kCannotCreate.
void sync_to_disk(const std::filesystem::path& path, const std::filesystem::path& named);

/// Writes all of `text` to an open file; false, with errno, when that cannot be.
bool write_all(int file, std::string_view text);

/// What it means that something could not be made or written: kInputOutput when the disk is full or broken, else kCannotCreate.
ErrorKind write_error_kind(int error);

/// A path for a message: in quotes, control characters replaced (a file name can hold a terminal's escape sequences).
std::string quoted_path(const std::filesystem::path& path);

}  // namespace postrec
