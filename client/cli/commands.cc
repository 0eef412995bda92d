#include "client/cli/commands.h"

#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/cli/infer_command.h"
#include "client/client.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::client {
namespace {

constexpr int kFailed = 1;

const char* YesNo(bool value) { return value ? "yes" : "no"; }

// Columns as wide as their widest cell.
void PrintTable(std::ostream& out, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      absl::StrAppend(&line, row[i], std::string(widths[i] - row[i].size() + 2, ' '));
    }
    out << line.substr(0, line.find_last_not_of(' ') + 1) << '\n';
  }
}

// The signature of a ready block, or why there is none.
std::string Signature(Client& client, const IndexEntry& entry, Deadline deadline) {
  if (entry.state != "READY") return entry.reason;
  const absl::StatusOr<BlockMetadata> metadata =
      client.Describe(entry.name, entry.version, deadline);
  if (!metadata.ok()) return std::string(metadata.status().message());
  return absl::StrCat(Describe(metadata->inputs), " -> ", Describe(metadata->outputs));
}

absl::Status Run(const ListCommand&, Client& client, const Arguments& arguments,
                 const Streams& streams) {
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<IndexEntry> entries,
                            client.List(Deadline::In(arguments.deadline)));
  std::vector<std::vector<std::string>> table = {{"NAME", "VERSION", "STATE", "REASON"}};
  for (const IndexEntry& entry : entries) {
    table.push_back({entry.name, entry.version, entry.state, entry.reason});
  }
  PrintTable(streams.out, table);
  return absl::OkStatus();
}

absl::Status Run(const StatusCommand&, Client& client, const Arguments& arguments,
                 const Streams& streams) {
  const Deadline deadline = Deadline::In(arguments.deadline);
  MLPSERVE_ASSIGN_OR_RETURN(const bool live, client.Live(deadline));
  MLPSERVE_ASSIGN_OR_RETURN(const bool ready, client.Ready(deadline));
  MLPSERVE_ASSIGN_OR_RETURN(const ServerMetadata metadata, client.Metadata(deadline));
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<IndexEntry> entries, client.List(deadline));

  const auto ready_blocks = std::count_if(entries.begin(), entries.end(),
                                          [](const auto& entry) { return entry.state == "READY"; });
  PrintTable(streams.out,
             {{"address", client.address()},
              {"server", absl::StrCat(metadata.name, " ", metadata.version)},
              {"extensions", absl::StrJoin(metadata.extensions, ", ")},
              {"live", YesNo(live)},
              {"ready", YesNo(ready)},
              {"blocks", absl::StrCat(ready_blocks, " of ", entries.size(), " ready")}});
  std::vector<std::vector<std::string>> table;
  for (const IndexEntry& entry : entries) {
    table.push_back(
        {"  " + entry.name, entry.version, entry.state, Signature(client, entry, deadline)});
  }
  PrintTable(streams.out, table);
  if (!live || !ready) return absl::UnavailableError("expected a server that is ready");
  return absl::OkStatus();
}

absl::Status Run(const InferCommand& command, Client& client, const Arguments& arguments,
                 const Streams& streams) {
  return RunInfer(command, client, arguments.deadline, streams);
}

const char* NameOf(const Arguments& arguments) {
  constexpr const char* kNames[] = {"status", "list", "infer"};
  return kNames[arguments.command.index()];
}

}  // namespace

int RunCommand(const Arguments& arguments, const Streams& streams) {
  Client client(arguments.address);
  const absl::Status status =
      std::visit([&](const auto& command) { return Run(command, client, arguments, streams); },
                 arguments.command);
  streams.out.flush();
  if (status.ok()) return 0;
  const std::string line = absl::StrReplaceAll(status.message(), {{"\n", " "}});
  streams.err << "mlpserve-client: " << NameOf(arguments) << " (" << arguments.address
              << "): " << absl::StatusCodeToString(status.code()) << ": " << line << std::endl;
  return kFailed;
}

}  // namespace mlpserve::client
