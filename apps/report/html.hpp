#pragma once

#include <cstddef>
#include <string>

namespace postrec {

/// Text for HTML, between tags and in quoted attributes. What is not UTF-8 becomes "?".
std::string html_escaped(const std::string& text);

/// RFC 4648, with padding.
std::string base64(const void* data, std::size_t n_bytes);

/// "%.4g" and the like, for tables and captions.
std::string number_text(double value, const char* format = "%.4g");

/// One page that needs no other file. Its content security policy forbids every request; only this script runs, known by its hash, so that
/// text which was not escaped by mistake could not run either. Follows the reader's light or dark setting, and prints on white.
struct HtmlPage {
  std::string title;                           ///< escaped here
  std::string body;                            ///< HTML
  std::string style = {};                      ///< CSS, after what all pages share
  std::string script = {};                     ///< JavaScript, run at the end of the page; without it (or with scripts off) the page shows all it has
  bool files_beside = false;                   ///< pictures may also come from files beside the page
};
std::string html_page(const HtmlPage& page);

/// "Research software, not a medical device. Not for diagnosis." as the banner that stands on top of every page.
std::string html_banner();

}  // namespace postrec
