#include "result/report_page_failure.hpp"

#include <fstream>
#include <iterator>

#include "cli/exit_codes.hpp"
#include "cli/version.hpp"
#include "postrec/atomic_file.hpp"
#include "postrec/error.hpp"
#include "report/html.hpp"
#include "report/report_page_names.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

/// By this a page is known as ours.
constexpr const char* kMark = "<!-- postrec: a case that failed -->";

bool is_failure(int code) {
  // Where the result cannot be written, neither can the page. 128 + signal: interrupted, and --resume goes on.
  for (const ErrorKind kind : {ErrorKind::kUsage, ErrorKind::kCannotCreate, ErrorKind::kInputOutput})
    if (code == static_cast<int>(kind)) return false;
  return code < 128;
}

bool is_ours(const fs::path& page) {
  std::ifstream file(page, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return text.find(kMark) != std::string::npos;
}

std::string row(const std::string& name, const std::string& value) { return "<tr><th scope=\"row\">" + name + "</th><td>" + html_escaped(value) + "</td></tr>\n"; }

}  // namespace

fs::path failure_page_of(const fs::path& output) { return output.string() + ".failed.html"; }

std::string failure_page(const std::vector<fs::path>& inputs, const Failure& failure) {
  const std::string name = reported_name(inputs.front());
  HtmlPage page;
  page.title = "PostRec: " + (name.empty() ? "a case" : name) + " failed";
  page.body = std::string(kMark) + html_banner() + "<h1>" + html_escaped(name.empty() ? "Reconstruction" : name) + ": <span class=\"bad\">failed</span></h1>\n<p>" +
              html_escaped("There is no result: " + without_paths(failure.message, inputs) + ".") + "</p>\n";
  if (!failure.hint.empty()) page.body += "<p>" + html_escaped("What would be right: " + without_paths(failure.hint, inputs) + ".") + "</p>\n";
  page.body += "<table>\n" + row("kind", exit_code_meaning(failure.code)) + row("exit code", std::to_string(failure.code)) + row("program", "postrec " + program_version() + ", LibTorch " + libtorch_version()) +
               "</table>\n";
  return html_page(page);
}

void write_failure_page(const fs::path& page, const std::vector<fs::path>& inputs, const Failure& failure) {
  if (!is_failure(failure.code)) return;
  std::error_code ignored;
  if (fs::exists(page, ignored) && !is_ours(page))
    throw Error(ErrorKind::kCannotCreate, quoted_path(page) + " exists and is not a page of postrec", "the reason of the failure is written nowhere else than here");
  fs::create_directories(page.has_parent_path() ? page.parent_path() : fs::path("."), ignored);
  write_text_atomically(page, failure_page(inputs, failure));
}

void remove_failure_page(const fs::path& page) {
  std::error_code ignored;
  if (fs::exists(page, ignored) && is_ours(page)) fs::remove(page, ignored);
}

}  // namespace postrec
