#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/console.hpp"
#include "cli/interrupt.hpp"
#include "commands/commands.hpp"
#include "options/options.hpp"
#include "postrec/data/pacs_get.hpp"
#include "postrec/data/pacs_listen.hpp"
#include "postrec/data/pacs_send.hpp"
#include "postrec/error.hpp"
#include "postrec/nearest_name.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;
using nlohmann::ordered_json;

constexpr const char* kOverview =
    R"(Usage: postrec pacs send | get | listen ...
Brings instances to and from a DICOM archive.

  send FOLDER   sends what the archive does not have yet (C-STORE)
  get           fetches series by UID or accession number (C-FIND, C-GET)
  listen        takes what scanners and archives send (C-STORE, C-ECHO)

Each has --help. TLS for all three: postrec pacs send --help-tls

Example:
  postrec pacs send result/dicom --peer ARCHIVE@pacs.example.org:104 --aet RECON
)";

PacsHooks hooks() {
  return {[] { return interrupting_signal() != 0; }, [](const std::string& text) { console().information(text); }};
}

double not_negative(const CommandOptions& options, const std::string& name) {
  const double value = options.get<double>(name);
  if (!(value >= 0) || !std::isfinite(value)) throw Error(ErrorKind::kUsage, "--" + name + " is " + std::to_string(value), "it must be a number from 0 on");
  return value;
}

int in_range(const CommandOptions& options, const std::string& name, int least, int most) {
  const int value = options.get<int>(name);
  if (value < least || value > most)
    throw Error(ErrorKind::kUsage, "--" + name + " is " + std::to_string(value), "it must be from " + std::to_string(least) + " to " + std::to_string(most));
  return value;
}

po::typed_value<std::string>* file_value() { return po::value<std::string>()->value_name("FILE"); }

void add_tls_options(CommandOptions& options) {
  options.add_topic("tls", "TLS", "DICOM's non-downgrading BCP 195 profile: TLS 1.2 or later. The peer's certificate is always verified. Its host name is not compared: pin the certificate.\n"
                                  "Example: --tls-key our.key --tls-cert our.pem --tls-ca hospital-ca.pem\n")
      ("tls-ca", file_value(), "use TLS, and trust certificates that these (PEM) have signed")
      ("tls-cert", file_value(), "our certificate (PEM)")
      ("tls-key", file_value(), "our private key (PEM, without a password)")
      ("tls-peer-fingerprint", po::value<std::string>()->value_name("SHA256"), "take this certificate of the peer only (with or without colons)");
}

std::string digits_of(const std::string& fingerprint) {
  std::string digits;
  for (const char c : fingerprint)
    if (c != ':') digits += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return digits;
}

PacsTls tls_of(const CommandOptions& options) {
  const auto text = [&](const char* name) { return options.has(name) ? options.get<std::string>(name) : std::string(); };
  return {text("tls-key"), text("tls-cert"), text("tls-ca"), digits_of(text("tls-peer-fingerprint"))};
}

void add_peer_options(CommandOptions& options) {
  options.add()("peer", po::value<std::string>()->value_name("TITLE@HOST:PORT"), "the archive: its application entity title and address")
      ("aet", po::value<std::string>()->default_value("POSTREC"), "our application entity title")
      ("timeout", po::value<int>()->default_value(30)->value_name("SECONDS"), "longest wait for an answer")
      ("connect-timeout", po::value<int>()->default_value(10)->value_name("SECONDS"), "longest wait for the connection")
      ("retries", po::value<int>()->default_value(5), "how often a lost or busy archive is tried again without progress")
      ("retry-delay", po::value<double>()->default_value(1.0, "1")->value_name("SECONDS"), "before the first new try; doubled for each further one, times .5 to 1 by chance")
      ("retry-delay-max", po::value<double>()->default_value(60.0, "60")->value_name("SECONDS"), "but never more than this");
}

PacsPeer peer_of(const CommandOptions& options) {
  if (!options.has("peer")) throw Error(ErrorKind::kUsage, "--peer is missing", "give --peer TITLE@HOST:PORT");
  PacsPeer peer = parse_pacs_peer(options.get<std::string>("peer"));
  peer.calling_title = options.get<std::string>("aet");
  check_pacs_title(peer.calling_title);
  peer.tls = tls_of(options);
  peer.answer_seconds = in_range(options, "timeout", 1, 3600);
  peer.connect_seconds = in_range(options, "connect-timeout", 1, 3600);
  return peer;
}

PacsRetry retry_of(const CommandOptions& options) {
  return {in_range(options, "retries", 0, 1000000), not_negative(options, "retry-delay"), not_negative(options, "retry-delay-max")};
}

void print(const ordered_json& result, const std::string& text) {
  if (console().json())
    std::cout << result.dump() << "\n";
  else
    std::cout << text << "\n";
}

std::uint64_t instance_bytes(const CommandOptions& options) { return static_cast<std::uint64_t>(in_range(options, "max-instance-mb", 1, 1 << 20)) << 20; }

void add_instance_limit(CommandOptions& options) {
  options.add()("max-instance-mb", po::value<int>()->default_value(2048)->value_name("MB"), "an instance that is larger is not taken");
}

int send(const std::vector<std::string>& arguments) {
  CommandOptions options("pacs send", "FOLDER", 1, 1,
                         "Sends every DICOM instance below FOLDER. Those that arrived stand in the ledger: after a failure or a kill the same command sends the rest.",
                         "postrec pacs send result/dicom --peer ARCHIVE@pacs.example.org:104 --aet RECON");
  add_peer_options(options);
  options.add()("ledger", po::value<std::string>()->value_name("FILE"), "what arrived where, by digests; default: FOLDER.sent.jsonl")
      ("verify", po::bool_switch(), "ask the archive afterwards whether it lists every instance (C-FIND)")
      ("refuse-warnings", po::bool_switch(), "a warning (status 0xBxxx: stored, but changed or doubted) is a failure");
  add_tls_options(options);
  add_common_options(options);
  if (!options.parse(arguments)) return 0;
  const std::filesystem::path folder = std::filesystem::path(options.operands().front() + "/").lexically_normal().parent_path();
  PacsSendOptions send_options;
  send_options.ledger = options.has("ledger") ? options.get<std::string>("ledger") : folder.string() + ".sent.jsonl";
  send_options.retry = retry_of(options);
  send_options.accept_warnings = !options.get<bool>("refuse-warnings");
  send_options.verify = options.get<bool>("verify");
  send_options.hooks = hooks();
  const PacsSendReport report = send_to_pacs(folder, peer_of(options), send_options);
  print({{"instances", report.instances}, {"sent", report.sent}, {"sent_before", report.known}, {"warnings", report.warnings}, {"verified", report.verified}},
        std::to_string(report.sent) + " of " + std::to_string(report.instances) + " instances sent, " + std::to_string(report.known) + " were sent before" +
            (report.warnings ? ", " + std::to_string(report.warnings) + " with a warning" : "") + (report.verified ? "; the archive lists them all" : ""));
  return 0;
}

int get(const std::vector<std::string>& arguments) {
  CommandOptions options("pacs get", "", 0, 0,
                         "Fetches the series that match into DIR/SERIES/INSTANCE.dcm, named by digests of the UIDs. DIR appears when all is there.\n"
                         "Until then it is DIR.partial; --resume fetches what is missing.",
                         "postrec pacs get --peer ARCHIVE@pacs.example.org:104 --study 1.2.840.1 --output case");
  options.add()("study", po::value<std::string>()->default_value("")->value_name("UID"), "StudyInstanceUID")
      ("series", po::value<std::string>()->default_value("")->value_name("UID"), "SeriesInstanceUID; many archives want the study, too")
      ("query", file_value(), "lines study = UID, series = UID, accession = NUMBER (which a command line would show to others)")
      ("output", po::value<std::string>()->value_name("DIR"), "where to; must not exist")
      ("resume", po::bool_switch(), "go on with DIR.partial if there is one");
  add_peer_options(options);
  add_instance_limit(options);
  add_tls_options(options);
  add_common_options(options);
  if (!options.parse(arguments)) return 0;
  if (!options.has("output")) throw Error(ErrorKind::kUsage, "--output is missing", "give the name of a folder to write");
  PacsQuery query;
  if (options.has("query")) query = read_pacs_query(options.get<std::string>("query"));
  if (const auto study = options.get<std::string>("study"); !study.empty()) query.study_uid = study;
  if (const auto series = options.get<std::string>("series"); !series.empty()) query.series_uid = series;
  PacsGetOptions get_options;
  get_options.retry = retry_of(options);
  get_options.resume = options.get<bool>("resume");
  get_options.instance_bytes = instance_bytes(options);
  get_options.hooks = hooks();
  const PacsGetReport report = get_from_pacs(query, peer_of(options), options.get<std::string>("output"), get_options);
  print({{"series", report.series}, {"instances", report.instances}, {"fetched", report.fetched}},
        std::to_string(report.instances) + " instances of " + std::to_string(report.series) + " series, " + std::to_string(report.fetched) + " fetched now");
  return 0;
}

int listen(const std::vector<std::string>& arguments) {
  CommandOptions options("pacs listen", "", 0, 0,
                         "Takes what is sent, into DIR/SERIES/INSTANCE.dcm, named by digests of the UIDs, until Ctrl-C or SIGTERM (exit code 0).\n"
                         "DIR/SERIES/complete appears when nothing came for --stable-age, and goes when something does.",
                         "postrec pacs listen --output inbox --aet RECON --port 11112 --bind 0.0.0.0 --allow-aet SCANNER");
  options.add()("output", po::value<std::string>()->value_name("DIR"), "where to")
      ("aet", po::value<std::string>()->default_value("POSTREC"), "our application entity title; callers must use it")
      ("allow-aet", po::value<std::vector<std::string>>()->composing()->value_name("TITLE"), "only this caller (repeatable); a title proves nothing, TLS does")
      ("bind", po::value<std::string>()->default_value("127.0.0.1")->value_name("ADDRESS"), "IPv4 address to listen on; 0.0.0.0: all")
      ("port", po::value<int>()->default_value(11112), "0: any free one")
      ("stable-age", po::value<double>()->default_value(30.0, "30")->value_name("SECONDS"), "a series that did not grow for so long is complete")
      ("timeout", po::value<int>()->default_value(30)->value_name("SECONDS"), "longest silence of a caller")
      ("max-associations", po::value<int>()->default_value(8), "callers at the same time");
  add_instance_limit(options);
  add_tls_options(options);
  add_common_options(options);
  if (!options.parse(arguments)) return 0;
  if (!options.has("output")) throw Error(ErrorKind::kUsage, "--output is missing", "give the name of a folder to write");
  PacsListenOptions listen_options;
  listen_options.folder = options.get<std::string>("output");
  listen_options.bind_address = options.get<std::string>("bind");
  listen_options.port = in_range(options, "port", 0, 65535);
  listen_options.title = options.get<std::string>("aet");
  if (options.has("allow-aet")) listen_options.callers = options.get<std::vector<std::string>>("allow-aet");
  listen_options.tls = tls_of(options);
  listen_options.answer_seconds = in_range(options, "timeout", 1, 3600);
  listen_options.stable_seconds = not_negative(options, "stable-age");
  listen_options.associations = in_range(options, "max-associations", 1, 1000);
  listen_options.instance_bytes = instance_bytes(options);
  listen_options.hooks = hooks();
  listen_for_dicom(listen_options);
  return 0;
}

}  // namespace

int run_pacs(const std::vector<std::string>& arguments) {
  if (arguments.empty()) throw Error(ErrorKind::kUsage, "postrec pacs needs send, get or listen", "see postrec pacs --help");
  const std::string& word = arguments.front();
  if (word == "--help" || word == "-h") {
    std::cout << kOverview;
    return 0;
  }
  catch_interrupts();
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  if (word == "send") return send(rest);
  if (word == "get") return get(rest);
  if (word == "listen") return listen(rest);
  throw Error(ErrorKind::kUsage, "postrec pacs '" + word + "' is not known", nearest_hint(word, {"send", "get", "listen"}));
}

}  // namespace postrec
