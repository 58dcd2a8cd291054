#pragma once

#include <string>
#include <vector>

namespace postrec {

/// One option as the help shows it.
struct OptionText {
  std::string name;                            ///< without dashes
  char letter = 0;                             ///< of its short form; 0: none
  std::string value;                           ///< what it takes, "DIR"; empty: a switch
  std::string standard;                        ///< value when it is not given; empty: none
  std::string help;
};

struct OptionSection {
  std::string title;                           ///< empty: the main options
  std::vector<OptionText> options;
  std::string more;                            ///< text below them
};

/// The help of one command, or of a sub-command ("batch run"), as data: for the man page and the completion of shells.
struct CommandText {
  std::string name;
  std::string operands;
  std::string purpose;
  std::string example;
  std::vector<OptionSection> sections;
};

/// Where CommandOptions puts its help instead of printing it; null: it prints.
std::vector<CommandText>*& command_text_collector();

}  // namespace postrec
