// Test code. Makes an artifact of a chip from a TorchScript file that holds its weights:
//
//   artifact PLUGIN GRAPH BATCH SEQUENCE INPUTS OUT [NEFF-MAJOR]
//
// What comes out is what torch_neuronx.trace saves: a module whose forward gives its inputs and a neuron::Model to
// neuron::forward_v2_1. The graph is the data of the double's NEFF. Made in C++, so that a test needs no Python.

#include <dlfcn.h>
#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/frontend/sugared_value.h>
#include <torch/script.h>

#include <iostream>
#include <sstream>

#include "runtime.h"

namespace {

// Finds the operator by a name that an expression can have.
struct Operator : torch::jit::Resolver {
  std::shared_ptr<torch::jit::SugaredValue> resolveValue(const std::string& name, torch::jit::GraphFunction& function,
                                                         const torch::jit::SourceRange& range) override {
    if (name != "forward_v2_1") return torch::jit::nativeResolver()->resolveValue(name, function, range);
    return std::make_shared<torch::jit::BuiltinFunction>(c10::Symbol::fromQualString("neuron::forward_v2_1"),
                                                         std::nullopt);
  }
};

// `a0, a1, a2`
std::string names(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += (i ? ", a" : "a") + std::to_string(i);
  return text;
}

at::Tensor bytes(const std::string& text) {
  auto tensor = at::empty({static_cast<int64_t>(text.size())}, at::kByte);
  std::memcpy(tensor.data_ptr(), text.data(), text.size());
  return tensor;
}

std::string neff_of(const std::string& data, std::uint64_t major) {
  std::string header(1024, '\0');
  const std::uint64_t fields[5] = {2, header.size(), data.size(), major, 0};
  std::memcpy(&header[0], fields, sizeof fields);
  const std::uint64_t digest = neuron_double::digest(data.data(), data.size());
  std::memcpy(&header[172], &digest, sizeof digest);
  return header + data;
}

void make(char** arguments, std::uint64_t major) {
  const int batch = std::stoi(arguments[3]), sequence = std::stoi(arguments[4]), count = std::stoi(arguments[5]);
  torch::jit::Module graph = torch::jit::load(arguments[2]);
  graph.eval();

  // A compiled model returns all its outputs, as a tuple.
  torch::jit::Module program("program");
  program.register_module("graph", graph);
  program.define("def forward(self, " + names(count) + "):\n  return (self.graph.forward(" + names(count) + "),)\n");
  std::ostringstream data;
  program.save(data);

  const std::vector<torch::jit::IValue> zeros(count, at::zeros({batch, sequence}, at::kLong));
  const auto output = graph.forward(zeros).toTensor();
  std::ostringstream interface;
  for (int i = 0; i < count; ++i) interface << "in long " << batch << "," << sequence << "\n";
  interface << "out float ";
  for (int64_t i = 0; i < output.dim(); ++i) interface << (i ? "," : "") << output.size(i);

  const auto type = torch::getCustomClass("__torch__.torch.classes.neuron.Model");
  if (!type) throw std::runtime_error("the plugin has no class neuron::Model");
  const auto model = c10::ivalue::Object::create(c10::StrongTypePtr(nullptr, type), 1);
  torch::jit::Stack stack{model, bytes(neff_of(data.str(), major)), bytes(interface.str())};
  type->getMethod("__init__").run(stack);

  torch::jit::Module artifact("artifact");
  artifact.register_attribute("model", type, model);
  artifact.define("def forward(self, " + names(count) + "):\n  return forward_v2_1([" + names(count) + "], self.model)\n",
                  std::make_shared<Operator>());
  artifact.save(arguments[6]);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 7 && count != 8) {
    std::cerr << "usage: artifact PLUGIN GRAPH BATCH SEQUENCE INPUTS OUT [NEFF-MAJOR]\n";
    return 2;
  }
  if (dlopen(arguments[1], RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    std::cerr << dlerror() << "\n";
    return 1;
  }
  try {
    make(arguments, count == 8 ? std::stoull(arguments[7]) : neuron_double::neff_major);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
