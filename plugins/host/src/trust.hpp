#pragma once

#include <filesystem>
#include <set>
#include <string>

namespace postrec {

/// Throws Error(kUnavailable) when others could put code there: `path` (a folder or file) is world-writable, or its owner is neither root,
/// nor the user who runs the program, nor the owner of the program itself.
void check_trusted(const std::filesystem::path& path);

/// The hashes of an allow file: one sha256 a line, what follows it on the line is a remark (so `sha256sum` makes such a file), # begins a
/// comment. Throws Error(kNoInput or kConfiguration).
std::set<std::string> read_allow_file(const std::filesystem::path& path);

}  // namespace postrec
