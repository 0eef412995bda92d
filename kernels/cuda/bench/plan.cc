#include "kernels/cuda/bench/plan.h"

#include <fstream>
#include <sstream>

namespace mlpserve::bench {
namespace {

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

}  // namespace

const std::map<std::string, Compute> kComputes{{"bf16", Compute::kBf16},
                                               {"fp16", Compute::kFp16},
                                               {"tf32", Compute::kTf32},
                                               {"fp32", Compute::kFp32}};
const std::map<std::string, EpilogueName> kEpilogues{{"identity", EpilogueName::kIdentity},
                                                     {"gelu", EpilogueName::kGelu},
                                                     {"sigmoid", EpilogueName::kSigmoid},
                                                     {"affine", EpilogueName::kAffine},
                                                     {"input", EpilogueName::kInput}};

std::vector<Step> ReadPlan(const std::string& path) {
  std::vector<Step> steps;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string mode;
    if (!(words >> mode)) continue;
    std::map<std::string, std::string> fields{
        {"type", "bf16"}, {"epilogue", "gelu"}, {"pad", "0"}, {"seconds", "0.3"}};
    std::vector<Variant> variants;
    for (std::string word; words >> word;) {
      if (word[1] == ':') {
        variants.push_back(ParseVariant(word));
      } else {
        fields[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
      }
    }
    for (const auto& type : Split(fields["type"], ','))
      for (const auto& epilogue : Split(fields["epilogue"], ','))
        for (const auto& m : Split(fields["m"], ','))
          for (const auto& n : Split(fields["n"], ','))
            for (const auto& k : Split(fields["k"], ','))
              steps.push_back({mode,
                               {std::stoi(m), std::stoi(n), std::stoi(k), kComputes.at(type),
                                kEpilogues.at(epilogue), std::stoi(fields["pad"])},
                               std::stod(fields["seconds"]),
                               variants});
  }
  return steps;
}

std::string Describe(const Problem& p) {
  return NameOf(kComputes, p.compute) + " " + NameOf(kEpilogues, p.epilogue) + " " +
         std::to_string(p.m) + "x" + std::to_string(p.n) + "x" + std::to_string(p.k) +
         (p.pad ? "+" + std::to_string(p.pad) : "");
}

}  // namespace mlpserve::bench
