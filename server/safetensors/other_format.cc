#include "server/safetensors/other_format.h"

namespace mlpserve {
namespace {

using namespace std::string_view_literals;

struct Format {
  std::string_view begin;
  std::string_view name;
};

constexpr Format kFormats[] = {
    {"version https://git-lfs.github.com/spec/"sv,
     "a Git LFS pointer, not the file that it stands for (git lfs pull fetches it)"sv},
    {"PK\x03\x04"sv,
     "a zip archive, as torch.save writes (mlpserve.export or safetensors.torch.save_file write "
     "what is expected)"sv},
    {"\x80\x02"sv, "a Python pickle"sv},
    {"\x80\x03"sv, "a Python pickle"sv},
    {"\x80\x04"sv, "a Python pickle"sv},
    {"\x80\x05"sv, "a Python pickle"sv},
    {"\x89HDF"sv, "an HDF5 file, as Keras writes"sv},
    {"\x93NUMPY"sv, "a NumPy array"sv},
    {"GGUF"sv, "a GGUF file"sv},
    {"\x1f\x8b"sv, "a gzip file"sv},
    {"<!DOCTYPE"sv, "an HTML page"sv},
    {"<!doctype"sv, "an HTML page"sv},
    {"<html"sv, "an HTML page"sv},
};

}  // namespace

std::string_view NameOtherFormat(std::string_view first_bytes) {
  for (const Format& format : kFormats) {
    if (first_bytes.substr(0, format.begin.size()) == format.begin) return format.name;
  }
  return {};
}

}  // namespace mlpserve
