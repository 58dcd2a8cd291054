#include "batch/batch_index.hpp"

#include <cmath>
#include <map>

#include "postrec/atomic_file.hpp"
#include "report/html.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStyle = R"(
table{width:100%}td img{display:block;width:5rem;height:auto;background:#000;border-radius:.2rem}
th button{all:unset;cursor:pointer;color:var(--accent);font-weight:600}th button:focus-visible{outline:2px solid var(--accent)}
th[aria-sort=ascending] button::after{content:" \25B2"}th[aria-sort=descending] button::after{content:" \25BC"}
td.number{font-variant-numeric:tabular-nums}a{color:var(--accent)}
@media print{th button{color:inherit}}
)";

/// A click on a heading sorts by its column, numbers as numbers, a second one the other way round. Cells without a number stay at the end.
constexpr const char* kScript = R"(
'use strict';
(function () {
  var body = document.querySelector('tbody'), heads = Array.from(document.querySelectorAll('thead th'));
  if (!body) return;
  heads.forEach(function (head, column) {
    var button = head.querySelector('button');
    if (!button) return;
    button.addEventListener('click', function () {
      var down = head.getAttribute('aria-sort') === 'ascending', sign = down ? -1 : 1;
      var key = function (row) { return row.cells[column].getAttribute('data-key') || row.cells[column].textContent; };
      var rows = Array.from(body.rows);
      rows.sort(function (a, b) {
        var x = key(a), y = key(b);
        if (!head.hasAttribute('data-number')) return sign * x.localeCompare(y, 'en', { numeric: true });
        var p = parseFloat(x), q = parseFloat(y);
        return isNaN(p) || isNaN(q) ? isNaN(p) - isNaN(q) : sign * (p - q);
      });
      rows.forEach(function (row) { body.append(row); });
      heads.forEach(function (other) { other.removeAttribute('aria-sort'); });
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    });
  });
})();
)";

/// A relative path as an address: whatever is not plain is %XX, so that no name can be taken for a scheme or leave the attribute.
std::string address(const fs::path& path) {
  constexpr const char* kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~/";
  constexpr const char* kDigits = "0123456789ABCDEF";
  std::string text = "./";
  for (const unsigned char c : path.relative_path().generic_string()) {
    if (std::string(kPlain).find(static_cast<char>(c)) != std::string::npos) {
      text += static_cast<char>(c);
    } else {
      text += {'%', kDigits[c >> 4], kDigits[c & 15]};
    }
  }
  return text;
}

const char* style_of(const std::string& state) { return state == "done" ? "good" : state == "failed" ? "bad" : "soft"; }

std::string heading(const std::string& title, bool number) {
  return std::string("<th scope=\"col\"") + (number ? " data-number" : "") + "><button type=\"button\">" + html_escaped(title) + "</button></th>";
}

std::string row_text(const BatchIndexRow& row, std::size_t n_figures) {
  std::string text = "<tr><td>";
  if (!row.thumbnail.empty()) text += "<img loading=\"lazy\" alt=\"" + html_escaped("mean of " + row.case_id) + "\" src=\"" + address(row.thumbnail) + "\">";
  text += "</td><th scope=\"row\">" + html_escaped(row.case_id) + "</th><td class=\"" + style_of(row.state) + "\">" + html_escaped(row.state) + "</td>";
  for (std::size_t i = 0; i < n_figures; ++i) {
    const double value = i < row.figures.size() ? row.figures[i] : std::nan("");
    text += std::isfinite(value) ? "<td class=\"number\" data-key=\"" + number_text(value, "%.9g") + "\">" + number_text(value) + "</td>" : "<td class=\"number\">-</td>";
  }
  text += "<td>";
  for (const auto& [title, file] : row.links) text += "<a href=\"" + address(file) + "\">" + html_escaped(title) + "</a> ";
  return text + html_escaped(row.reason) + "</td></tr>\n";
}

std::string states_text(const BatchIndex& index) {
  std::map<std::string, int> counts;
  for (const BatchIndexRow& row : index.rows) ++counts[row.state];
  std::string text;
  for (const auto& [state, count] : counts)
    text += (text.empty() ? "" : ", ") + ("<span class=\"" + std::string(style_of(state)) + "\">" + std::to_string(count) + " " + html_escaped(state) + "</span>");
  return "<p>" + (text.empty() ? "There is no case." : text) + "</p>\n";
}

}  // namespace

std::string batch_index_page(const BatchIndex& index) {
  HtmlPage page;
  page.title = "PostRec: " + index.title;
  page.style = kStyle;
  page.script = kScript;
  page.files_beside = true;
  page.body = html_banner() + "<h1>" + html_escaped(index.title) + "</h1>\n" + states_text(index) + "<table><thead><tr><th scope=\"col\">mean</th>" + heading("case", false) + heading("state", false);
  for (const auto& title : index.figure_titles) page.body += heading(title, true);
  page.body += "<th scope=\"col\">more</th></tr></thead><tbody>\n";
  for (const BatchIndexRow& row : index.rows) page.body += row_text(row, index.figure_titles.size());
  page.body += "</tbody></table>\n";
  return html_page(page);
}

void write_batch_index(const fs::path& folder, const BatchIndex& index) { write_text_atomically(folder / "index.html", batch_index_page(index)); }

}  // namespace postrec
