// The pages that people look at: of a case, of one that failed, of a batch, of a calibration. In a real browser where there is one.
#include <ATen/ATen.h>

#include <array>
#include <cmath>

#include "../data/dicom_files.hpp"
#include "app_fixture.hpp"
#include "batch/batch_index.hpp"
#include "browser.hpp"
#include "postrec/data/scan.hpp"
#include "report/html.hpp"
#include "report/html_picture.hpp"
#include "report/report_page_names.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

std::size_t count_of(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++n;
  return n;
}

std::string decoded(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned bits = 0;
  int n = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<unsigned>(digits.find(c));
    n += 6;
    if (n >= 8) bytes += static_cast<char>(bits >> (n -= 8) & 255);
  }
  return bytes;
}

/// The pictures of a page, in their order.
std::vector<std::string> pictures_of(const std::string& page) {
  const std::string begin = "src=\"data:image/png;base64,";
  std::vector<std::string> pictures;
  for (std::size_t at = page.find(begin); at != std::string::npos; at = page.find(begin, at + 1)) {
    const std::size_t from = at + begin.size();
    pictures.push_back(decoded(page.substr(from, page.find('"', from) - from)));
  }
  return pictures;
}

/// One run for all that look at it.
class ReportPage : public AppTest {
 protected:
  static constexpr std::int64_t kSamples = 3;
  static constexpr std::size_t kPictures = 6 + kSamples;  // mean, standard deviation, direct, difference, truth, error

  void SetUp() override {
    AppTest::SetUp();
    fs::create_directories(folder_ / "private_place");
    fs::copy_file(path("mr.nii.gz"), path("private_place/mr.nii.gz"));
    std::vector<std::string> arguments = mr_arguments("out");
    arguments[1] = path("private_place/mr.nii.gz");
    ended_ = run_postrec(arguments);
    ASSERT_EQ(ended_.code, 0) << ended_.err;
    page_ = content("out/report.html");
  }

  Ended ended_;
  std::string page_;
};

TEST_F(ReportPage, SaysWhatPeopleLookFor) {
  const auto run = run_json("out");
  double chi2 = 0.0;
  for (const auto& slice : run["slices"])
    for (const auto& value : slice["reduced_chi2"]) chi2 += value.get<double>() / (kSlices * kSamples);
  const std::vector<std::string> words = {"Research software, not a medical device. Not for diagnosis.", "SIMULATED: the measurement was computed from an image", "<h1>mr.nii.gz</h1>",
                                          run["prior"]["sha256"], run["operator"]["plugin"]["sha256"], run["operator"]["plugin"]["id"], "postrec " + run["program"]["version"].get<std::string>(),
                                          "mri-fourier: acceleration 2", "seed 0", "4 evaluations", number_text(chi2, "%.2f"), "of the object&#39;s true pixel values", "For a methods section",
                                          "bridge, 4 noise levels", " dB</td>", " a.u."};
  for (const auto& word : words) EXPECT_NE(page_.find(word), std::string::npos) << word;
}

TEST_F(ReportPage, HoldsNoPathAndNamesNoOtherPlace) {
  EXPECT_EQ(page_.find("private_place"), std::string::npos);
  EXPECT_EQ(page_.find(folder_.string()), std::string::npos);
  for (const char* remote : {"http:", "https:", "url(", "@import", "<link", "<iframe"}) EXPECT_EQ(page_.find(remote), std::string::npos) << remote;
}

TEST_F(ReportPage, EveryPictureHasWordsForWhoCannotSeeIt) {
  EXPECT_EQ(count_of(page_, "<img"), kPictures * kSlices);
  EXPECT_EQ(count_of(page_, " alt=\""), kPictures * kSlices);
  EXPECT_EQ(count_of(page_, " alt=\"\""), 0u);
  for (const char* title : {"Mean", "Standard deviation", "Samples", "Direct reconstruction", "Mean minus direct", "Truth", "Error: mean minus truth"})
    EXPECT_EQ(count_of(page_, std::string("<figcaption>") + title + "</figcaption>"), static_cast<std::size_t>(kSlices)) << title;
}

TEST_F(ReportPage, ItsMeanIsThatOfThePreview) {
  const auto pictures = pictures_of(page_);
  ASSERT_EQ(pictures.size(), kPictures * kSlices);
  const std::size_t middle = kSlices / 2;
  for (const auto& [index, name] : {std::pair<std::size_t, const char*>{0, "mean"}, {1, "standard_deviation"}, {2, "sample_1"}, {2 + kSamples, "pseudo_inverse"}, {4 + kSamples, "truth"}}) {
    write_text("page.png", pictures[middle * kPictures + index]);
    const at::Tensor shown = read_scan(path("page.png")).image.pixels, preview = read_scan(path(std::string("out/") + name + ".png")).image.pixels;
    EXPECT_TRUE(at::equal(shown, preview)) << name;
    EXPECT_GT(shown.std().item<double>(), 1.0) << name;
  }
}

TEST_F(ReportPage, InABrowserSlidersChangeThePictureAndNothingIsFetched) {
  if (!Browser::available()) GTEST_SKIP() << "chromium is not installed";
  Browser browser(folder_ / "profile");
  browser.open(path("out/report.html"));
  EXPECT_EQ(browser.complaints(), std::vector<std::string>{});
  EXPECT_EQ(browser.requests(), std::vector<std::string>{"file://" + path("out/report.html")});
  EXPECT_EQ(browser.evaluate("Array.from(document.images).filter(i => i.naturalWidth === 19 && i.naturalHeight === 17).length"), kPictures * kSlices);

  // The middle slice and its first sample are shown.
  const std::string shown = "Array.from(document.images).filter(i => i.checkVisibility()).map(i => i.alt.split(',').slice(0, 2).join()).join('|')";
  EXPECT_EQ(browser.evaluate(shown), "Mean, slice 1|Standard deviation, slice 1|Sample 1 of 3, slice 1|Direct reconstruction, slice 1|Mean minus direct, slice 1|Truth, slice 1|Error: mean minus truth, slice 1");
  const auto slide = [&](const std::string& name, int to) {
    browser.evaluate("(() => { const s = Array.from(document.querySelectorAll('.slider input')).find(i => i.checkVisibility() && i.parentNode.textContent.startsWith('" + name + "')); s.value = " + std::to_string(to) +
                     "; s.dispatchEvent(new Event('input')); })()");
  };
  slide("Sample", 2);
  EXPECT_NE(browser.evaluate(shown).get<std::string>().find("Sample 3 of 3, slice 1"), std::string::npos);
  slide("Slice", 2);
  EXPECT_EQ(browser.evaluate(shown), "Mean, slice 2|Standard deviation, slice 2|Sample 3 of 3, slice 2|Direct reconstruction, slice 2|Mean minus direct, slice 2|Truth, slice 2|Error: mean minus truth, slice 2");
  EXPECT_EQ(browser.evaluate("document.querySelector('.slider input').getAttribute('aria-valuetext')"), "2");

  const std::string background = "getComputedStyle(document.body).backgroundColor", sliders = "getComputedStyle(document.querySelector('.slider')).display";
  browser.emulate("screen", "light");
  EXPECT_EQ(browser.evaluate(background), "rgb(255, 255, 255)");
  browser.emulate("screen", "dark");
  EXPECT_EQ(browser.evaluate(background), "rgb(21, 24, 27)");
  EXPECT_NE(browser.evaluate(sliders), "none");
  browser.emulate("print", "dark");
  EXPECT_EQ(browser.evaluate(background), "rgb(255, 255, 255)");
  EXPECT_EQ(browser.evaluate(sliders), "none");

  // The policy is in force: what would fetch does not, and is told.
  browser.evaluate("(() => { const i = new Image(); i.src = 'http://localhost:9/x.png'; document.body.append(i); })()");
  browser.evaluate("new Promise(done => setTimeout(done, 300))");
  EXPECT_FALSE(browser.complaints().empty());
  EXPECT_EQ(browser.requests().size(), 1u);
}

TEST_F(ReportPage, UncertaintyThatIsWithheldIsNotShown) {
  // The file's noise is ten times what is told.
  ASSERT_EQ(run_postrec({"simulate", path("mr.nii.gz"), "--operator", "mri-fourier", "--set", "mask-pattern=equispaced", "--set", "acceleration=2", "--set", "n-acs-lines=5", "--simulate-coils", "2", "--noise", "0.1",
                         "--slice", "1", "--output", path("kspace")}).code, 0);
  ASSERT_EQ(run_postrec({"reconstruct", path("kspace"), "--sigma-y", "0.8", "--prior", path("mr.safetensors"), "--samples", "3", "--steps", "4", "--output", path("refused")}).code, 0);
  ASSERT_EQ(run_json("refused")["prior_fit"]["fits"], false);
  const std::string page = content("refused/report.html");
  EXPECT_NE(page.find("Withheld: the reduced chi-square of the samples is "), std::string::npos);
  EXPECT_NE(page.find("Do not trust the uncertainty: the prior does not fit slice(s) 0"), std::string::npos);
  EXPECT_EQ(page.find("alt=\"Standard deviation"), std::string::npos);
  EXPECT_EQ(page.find("Intervals are made to hold"), std::string::npos);
  EXPECT_EQ(pictures_of(page).size(), 3u + kSamples);  // mean, direct, difference: no truth either
}

class FailurePage : public AppTest {};

TEST_F(FailurePage, SaysWhyThereIsNoResultAndGoesWhenThereIsOne) {
  fs::create_directories(folder_ / "private_place");
  const std::string whole = content("mr.nii.gz");
  write_text("private_place/mr.nii.gz", whole.substr(0, whole.size() / 2));
  std::vector<std::string> arguments = mr_arguments("a/out", {"--slice", "1"});
  arguments[1] = path("private_place/mr.nii.gz");
  const Ended ended = run_postrec(arguments);
  ASSERT_EQ(ended.code, 65) << ended.err;
  EXPECT_FALSE(fs::exists(path("a/out")));
  const std::string page = content("a/out.failed.html");
  for (const char* words : {"Research software, not a medical device", "<h1>mr.nii.gz: ", "failed", "There is no result: &#39;mr.nii.gz&#39;", "bad data: a file or value that cannot be right", "<td>65</td>", "What would be right"})
    EXPECT_NE(page.find(words), std::string::npos) << words << "\n" << page;
  EXPECT_EQ(page.find("private_place"), std::string::npos);

  write_text("private_place/mr.nii.gz", whole);
  ASSERT_EQ(run_postrec(arguments).code, 0);
  EXPECT_TRUE(fs::exists(path("a/out/report.html")));
  EXPECT_FALSE(fs::exists(path("a/out.failed.html")));
}

TEST_F(FailurePage, DoesNotNameTheFolderOfTheDicomSource) {
  const std::string patient = "DOE^JANE 19700102";
  test::write_tilted_series(path(patient));
  const Ended ended = run_postrec(mr_arguments("out", {"--slice", "1", "--dicom-source", path(patient)}));
  ASSERT_EQ(ended.code, 65) << ended.err;
  const std::string page = content("out.failed.html");
  EXPECT_NE(page.find("of &#39;the input&#39; (by name): it is shifted sideways"), std::string::npos) << page;
  EXPECT_EQ(page.find("DOE"), std::string::npos) << page;
}

TEST_F(FailurePage, IsNotWrittenForAWrongCommandLineNorOverWhatIsNotOurs) {
  EXPECT_EQ(run_postrec(mr_arguments("out", {"--slice", "99"})).code, 64);
  EXPECT_FALSE(fs::exists(path("out.failed.html")));
  write_text("out.failed.html", "mine");
  const Ended ended = run_postrec(mr_arguments("out", {"--prior", path("none.safetensors")}));
  EXPECT_NE(ended.code, 0);
  EXPECT_NE(ended.err.find("warning"), std::string::npos) << ended.err;
  EXPECT_EQ(content("out.failed.html"), "mine");
  ASSERT_EQ(run_postrec(mr_arguments("out", {"--slice", "1"})).code, 0);
  EXPECT_EQ(content("out.failed.html"), "mine");
}

TEST(ReportNames, AreThoseOfFilesThatAreNoDicom) {
  EXPECT_EQ(reported_name("/home/x/head.nii.gz"), "head.nii.gz");
  EXPECT_EQ(reported_name("Scan.NRRD"), "Scan.NRRD");
  for (const char* name : {"/data/DOE^JANE", "/data/DOE^JANE/", "DOE.dcm", "IM0001", "/data/doe.jane.19700101"}) EXPECT_EQ(reported_name(name), "") << name;
}

TEST(ReportNames, PathsInMessagesAreCut) {
  EXPECT_EQ(without_paths("'/a/b c/head.nii.gz' is cut; see /x/y.json, or 1/mm and HxW/2", {"/a/b c/head.nii.gz"}), "'head.nii.gz' is cut; see y.json, or 1/mm and HxW/2");
  EXPECT_EQ(without_paths("file 3 of '/data/DOE^JANE' and '/data/DOE^JANE/IM0001' is short", {"/data/DOE^JANE"}), "file 3 of 'the input' and 'the input' is short");
  EXPECT_EQ(without_paths("'DOE^JANE' is no folder", {"DOE^JANE"}), "'the input' is no folder");
  EXPECT_EQ(without_paths("a plain sentence", {"a"}), "a plain sentence");
  EXPECT_EQ(without_paths("'in/DOE' and in/DOE/IM1 are bad", {"in/DOE"}), "'the input' and the input are bad");
}

TEST(Html, EscapesWhatWouldBeMarkup) {
  EXPECT_EQ(html_escaped("<a b=\"c\" d='e'>&\x01"), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp; ");
  EXPECT_EQ(html_escaped("\xc3\xa4 \xff"), "\xc3\xa4 \xef\xbf\xbd");
  EXPECT_EQ(base64("Man", 3), "TWFu");
  EXPECT_EQ(base64("Ma", 2), "TWE=");
  EXPECT_EQ(base64("M", 1), "TQ==");
}

class Pages : public AppTest {};

TEST_F(Pages, ADifferenceIsBlueBelowAndRedAboveZero) {
  const std::string uri = signed_data_uri(at::tensor({-2.0f, 0.0f, 1.0f, 5.0f}).view({1, 1, 4}), 2.0);
  write_text("signed.png", decoded(uri.substr(uri.find(',') + 1)));
  const at::Tensor pixels = read_scan(path("signed.png")).image.pixels;  // [1, 3, 1, 4]
  const auto colour = [&](int x) { return std::array<int, 3>{pixels[0][0][0][x].item<int>(), pixels[0][1][0][x].item<int>(), pixels[0][2][0][x].item<int>()}; };
  EXPECT_EQ(colour(0), (std::array<int, 3>{33, 102, 172}));
  EXPECT_EQ(colour(1), (std::array<int, 3>{255, 255, 255}));
  EXPECT_EQ(colour(3), (std::array<int, 3>{178, 24, 43}));
  EXPECT_GT(colour(2)[0], colour(2)[2]);
}

BatchIndex hostile_index() {
  BatchIndex index = {"Batch of 3 cases", {"PSNR (dB)", "cost (s)"}, {}};
  index.rows.push_back({"sub-10", "done", "", {{"report", "sub-10/report.html"}}, "sub-10/mean.png", {9.5, 100.0}});
  index.rows.push_back({"sub-9", "failed", "bad data: <b>it</b> is \"cut\"", {}, {}, {std::nan(""), 3.0}});
  index.rows.push_back({"<script>window.hit=1</script>", "done", "", {{"report", "javascript:alert(1)"}}, "a\" onerror=\"window.hit=1", {30.25, 20.0}});
  return index;
}

TEST_F(Pages, TheIndexOfABatchSortsAndShowsThumbnails) {
  fs::create_directories(folder_ / "sub-10");
  const std::string uri = grey_data_uri(at::rand({1, 7, 5}), {0.0, 1.0});
  write_text("sub-10/mean.png", decoded(uri.substr(uri.find(',') + 1)));
  write_batch_index(folder_, hostile_index());
  const std::string page = content("index.html");
  EXPECT_EQ(page.find("<b>it</b>"), std::string::npos);
  EXPECT_EQ(page.find("href=\"javascript:"), std::string::npos);
  EXPECT_NE(page.find("<span class=\"good\">2 done</span>, <span class=\"bad\">1 failed</span>"), std::string::npos);
  if (!Browser::available()) GTEST_SKIP() << "chromium is not installed";
  Browser browser(folder_ / "profile");
  browser.open(path("index.html"));
  EXPECT_EQ(browser.evaluate("typeof window.hit"), "undefined");
  EXPECT_EQ(browser.evaluate("document.images[0].decode().then(() => document.images[0].naturalWidth)"), 5);  // a lazy image may come after the page
  for (const auto& address : browser.requests()) EXPECT_EQ(address.rfind("file://" + folder_.string(), 0), 0u) << address;
  const std::string order = "Array.from(document.querySelectorAll('tbody tr')).map(r => r.cells[1].textContent.slice(0, 6)).join()";
  const auto click = [&](int column) {
    std::string script = "document.querySelectorAll('thead th button')[";
    script += std::to_string(column - 1) + "].click()";
    browser.evaluate(script);
  };
  EXPECT_EQ(browser.evaluate(order), "sub-10,sub-9,<scrip");
  click(3);  // PSNR: what is not known stays last
  EXPECT_EQ(browser.evaluate(order), "sub-10,<scrip,sub-9");
  click(3);
  EXPECT_EQ(browser.evaluate(order), "<scrip,sub-10,sub-9");
  EXPECT_EQ(browser.evaluate("document.querySelectorAll('thead th')[3].getAttribute('aria-sort')"), "descending");
  click(4);  // seconds, as numbers: 3, 20, 100
  EXPECT_EQ(browser.evaluate(order), "sub-9,<scrip,sub-10");
  click(1);  // names, their numbers as numbers
  EXPECT_EQ(browser.evaluate(order), "<scrip,sub-9,sub-10");
}

TEST_F(Pages, TheCalibrationPageLoadsWithoutComplaint) {
  ASSERT_EQ(run_postrec({"calibrate", "--prior", path("mr.safetensors"), "--size", "12x11", "--operator", "mri-fourier", "--set", "mask-pattern=equispaced", "--noise", "0.1", "--steps", "2", "--truth-steps", "2",
                         "--replicates", "6", "--samples", "7", "--threads", "1", "--output", path("certificate")}).code, 0);
  EXPECT_EQ(content("certificate/certificate.html").find(folder_.string()), std::string::npos);
  if (!Browser::available()) GTEST_SKIP() << "chromium is not installed";
  Browser browser(folder_ / "profile");
  browser.open(path("certificate/certificate.html"));
  EXPECT_EQ(browser.complaints(), std::vector<std::string>{});
  EXPECT_EQ(browser.requests().size(), 1u);
  EXPECT_GT(browser.evaluate("document.querySelectorAll('svg').length").get<int>(), 3);
  // Nothing is wider than the window, and letters differ from their ground in the dark.
  EXPECT_EQ(browser.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), true);
  browser.emulate("screen", "dark");
  EXPECT_NE(browser.evaluate("getComputedStyle(document.querySelector('svg text')).fill"), browser.evaluate("getComputedStyle(document.querySelector('.pair')).backgroundColor"));
}

}  // namespace
}  // namespace postrec
