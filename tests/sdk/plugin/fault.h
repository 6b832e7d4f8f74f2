// Test code. What the double is told to do wrong, and where its devices are.
//
// Both come from the environment (NEURON_DOUBLE_RUNTIME, NEURON_DOUBLE_DEVICE_ROOT) or from the keys "runtime" and
// "device_root" of neuronc-double.json, which lies beside the library or at the root of its Python environment. The
// file is read anew each time. tests/sdk/README.md lists the faults.
#pragma once

#include <dlfcn.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>

namespace neuron_double {

inline std::string folder_of_library() {
  Dl_info info{};
  static const char anchor = 0;
  if (dladdr(&anchor, &info) == 0 || info.dli_fname == nullptr) return ".";
  const std::string path = info.dli_fname;
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

inline std::string setting(const char* variable, const std::string& key) {
  if (const char* value = std::getenv(variable)) return value;
  const std::string folder = folder_of_library();
  // <environment>/lib/python3.11/site-packages/torch_neuronx/lib
  for (const auto& root : {folder, folder + "/../../../../.."}) {
    std::ifstream file(root + "/neuronc-double.json");
    if (!file) continue;
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    std::smatch found;
    if (std::regex_search(text, found, std::regex("\"" + key + "\"\\s*:\\s*\"([^\"]*)\""))) return found[1];
  }
  return "";
}

inline std::string fault() { return setting("NEURON_DOUBLE_RUNTIME", "runtime"); }

// What follows `name:` in a fault such as `exec:1202`; nothing if the fault is another.
inline bool fault_with(const std::string& name, std::string& value) {
  const std::string text = fault();
  if (text.compare(0, name.size() + 1, name + ":") != 0) return false;
  value = text.substr(name.size() + 1);
  return true;
}

inline std::string device_root() {
  const std::string root = setting("NEURON_DOUBLE_DEVICE_ROOT", "device_root");
  return root.empty() ? "/" : root;
}

}  // namespace neuron_double
