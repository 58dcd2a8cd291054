#include "report/html.hpp"

#include <array>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "postrec/sha256.hpp"

namespace postrec {
namespace {

/// The colours are variables, so that a page says each once for light and dark.
constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--page:#fff;--text:#1c2126;--soft:#59636e;--line:#d3d9df;--panel:#f4f6f8;--accent:#1f5fa8;--good:#1a6b3c;--bad:#a8400a;--bar:#9ab8d8;--band:#d5e4f4}
@media (prefers-color-scheme:dark){:root{--page:#15181b;--text:#e3e7ea;--soft:#9aa5af;--line:#394048;--panel:#1f2428;--accent:#7db4ee;--good:#74cf98;--bad:#f0a06a;--bar:#49709a;--band:#263f59}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;max-width:78rem;margin:0 auto;padding:0 1.25rem 3rem;background:var(--page);color:var(--text)}
h1{font-size:1.6rem;line-height:1.2;margin:1.2rem 0 .4rem}h2{font-size:1.2rem;margin:2rem 0 .5rem}p{max-width:50rem;margin:.5rem 0}
table{border-collapse:collapse;margin:.7rem 0;font-variant-numeric:tabular-nums}
th,td{border-bottom:1px solid var(--line);padding:.3rem .8rem .3rem 0;text-align:left;vertical-align:top;overflow-wrap:anywhere}thead th{color:var(--soft);font-weight:600}th[scope=row]{white-space:nowrap}
code{font:.9em ui-monospace,"Liberation Mono",monospace;overflow-wrap:anywhere}
.banner{border:2px solid var(--bad);color:var(--bad);border-radius:.3rem;padding:.35rem .8rem;margin:1rem 0 0;font-weight:600;max-width:none}
.soft{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}
[hidden]{display:none!important}
@media print{:root{color-scheme:light;--page:#fff;--text:#000;--soft:#444;--line:#bbb;--panel:#fff;--accent:#1f5fa8;--good:#1a6b3c;--bad:#a8400a;--bar:#9ab8d8;--band:#d5e4f4}
body{font-size:10pt;max-width:none;padding:0}figure,tr{break-inside:avoid}h2{break-after:avoid}.slider{display:none}}
)";

std::string base64_of_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return base64(bytes.data(), bytes.size());
}

std::string security_policy(const HtmlPage& page) {
  std::string policy = std::string("default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; img-src data:") + (page.files_beside ? " 'self' file:" : "");
  if (!page.script.empty()) policy += "; script-src 'sha256-" + base64_of_hex(sha256_hex(page.script.data(), page.script.size())) + "'";
  return "<meta http-equiv=\"Content-Security-Policy\" content=\"" + policy + "\">";
}

/// nlohmann's serialiser is the one place of the program that mends broken UTF-8.
std::string valid_utf8(const std::string& text) {
  const std::string quoted = nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return nlohmann::json::parse(quoted).get<std::string>();
}

}  // namespace

std::string html_escaped(const std::string& text) {
  std::string result;
  for (const char c : valid_utf8(text)) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      case '\'': result += "&#39;"; break;
      default: result += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    }
  }
  return result;
}

std::string base64(const void* data, std::size_t n_bytes) {
  constexpr const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::string text;
  text.reserve((n_bytes + 2) / 3 * 4);
  for (std::size_t i = 0; i < n_bytes; i += 3) {
    const std::size_t n = n_bytes - i < 3 ? n_bytes - i : 3;
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) group = group << 8 | (k < n ? bytes[i + k] : 0u);
    for (std::size_t k = 0; k < 4; ++k) text += k <= n ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::string number_text(double value, const char* format) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), format, value + 0.0);  // no -0
  return text.data();
}

std::string html_banner() { return "<p class=\"banner\">Research software, not a medical device. Not for diagnosis.</p>\n"; }

std::string html_page(const HtmlPage& page) {
  std::string text = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">" + security_policy(page) +
                     "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"generator\" content=\"postrec\"><title>" + html_escaped(page.title) + "</title><style>" + kStyle +
                     page.style + "</style></head><body>\n" + page.body;
  if (!page.script.empty()) text += "<script>" + page.script + "</script>\n";
  return text + "</body></html>\n";
}

}  // namespace postrec
