#include "options/command_text.hpp"

namespace postrec {

std::vector<CommandText>*& command_text_collector() {
  static std::vector<CommandText>* texts = nullptr;
  return texts;
}

}  // namespace postrec
