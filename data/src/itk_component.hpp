#pragma once

#include <itkImageIOBase.h>

#include <cstdint>

namespace postrec {

template <class T>
void convert_to_float(const void* values, std::uint64_t n, float* out) {
  const T* typed = static_cast<const T*>(values);
  for (std::uint64_t i = 0; i < n; ++i) out[i] = static_cast<float>(typed[i]);
}

/// n values of ITK's component type to float32; false for a type that is not a number. Plain loops, because a forked child calls it too
/// and must not wake a thread pool.
inline bool itk_values_to_float(itk::IOComponentEnum type, const void* values, std::uint64_t n, float* out) {
  switch (type) {
    case itk::IOComponentEnum::UCHAR:
      convert_to_float<std::uint8_t>(values, n, out);
      return true;
    case itk::IOComponentEnum::CHAR:
      convert_to_float<std::int8_t>(values, n, out);
      return true;
    case itk::IOComponentEnum::USHORT:
      convert_to_float<std::uint16_t>(values, n, out);
      return true;
    case itk::IOComponentEnum::SHORT:
      convert_to_float<std::int16_t>(values, n, out);
      return true;
    case itk::IOComponentEnum::UINT:
      convert_to_float<std::uint32_t>(values, n, out);
      return true;
    case itk::IOComponentEnum::INT:
      convert_to_float<std::int32_t>(values, n, out);
      return true;
    case itk::IOComponentEnum::ULONG:
    case itk::IOComponentEnum::ULONGLONG:
      convert_to_float<std::uint64_t>(values, n, out);
      return true;
    case itk::IOComponentEnum::LONG:
    case itk::IOComponentEnum::LONGLONG:
      convert_to_float<std::int64_t>(values, n, out);
      return true;
    case itk::IOComponentEnum::FLOAT:
      convert_to_float<float>(values, n, out);
      return true;
    case itk::IOComponentEnum::DOUBLE:
      convert_to_float<double>(values, n, out);
      return true;
    default:
      return false;
  }
}

}  // namespace postrec
