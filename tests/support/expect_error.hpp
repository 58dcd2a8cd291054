#pragma once

#include <gtest/gtest.h>

#include <string>

#include "postrec/error.hpp"

namespace postrec::test {

/// Expects body() to throw an Error of this kind, on one line, that names `named`.
template <class Body>
void expect_error(ErrorKind kind, const std::string& named, const Body& body) {
  try {
    body();
    ADD_FAILURE() << "no error was thrown; one that names '" << named << "' was expected";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    EXPECT_NE(std::string(error.what()).find(named), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
  }
}

}  // namespace postrec::test
