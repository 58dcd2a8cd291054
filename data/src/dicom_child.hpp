#pragma once

// Reading many DICOM files with DCMTK where a crash costs one file.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/oflog/oflog.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <type_traits>
#include <vector>

#include "child_process.hpp"

namespace postrec {

/// A Header for each file, which has a member was_read, by read(file, header) in a child process without DCMTK's messages. After a death the next child goes on behind
/// the file that caused it, whose header is made anew and given to died(header, how it ended).
template <class Header, class Read, class Died>
std::vector<Header> read_each_in_child(const std::vector<std::filesystem::path>& files, std::uint64_t memory_bytes, const Read& read, const Died& died) {
  static_assert(std::is_trivially_copyable_v<Header>);
  const SharedMemory shared(files.size() * sizeof(Header));
  auto* headers = static_cast<Header*>(shared.data());
  std::fill_n(headers, files.size(), Header{});
  const ChildLimits limits{memory_bytes, static_cast<unsigned>(60 + files.size() / 10)};
  for (std::size_t first = 0; first < files.size(); ++first) {
    const std::string death = run_in_child(
        [&] {
          ::unsetenv("DCMDICTPATH");
          OFLog::configure(OFLogger::OFF_LOG_LEVEL);
          for (std::size_t i = first; i < files.size(); ++i) {
            read(files[i], headers[i]);
            headers[i].was_read = true;
          }
        },
        limits);
    while (first < files.size() && headers[first].was_read) ++first;
    if (first == files.size()) break;
    headers[first] = Header{};
    died(headers[first], death);
  }
  return {headers, headers + files.size()};
}

}  // namespace postrec
