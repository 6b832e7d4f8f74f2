// What tch does not reach: the operators of a TorchScript graph, changed ahead of its first run.
//
// A linear layer whose weight is an input of the graph becomes oneDNN's, which takes the weight in oneDNN's own layout
// and can apply the activation behind it. packed.rs declares these functions; each returns null, or a message to free.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/cpu/Utils.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/common_subexpression_elimination.h>
#include <torch/csrc/jit/passes/constant_pooling.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/runtime/interpreter.h>
#include <torch/csrc/jit/serialization/import.h>

namespace {

using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

struct Loaded {
  // The module of the file. None once its graph was rewritten, unless that takes something from it.
  std::optional<Module> module;
  // The graph that was rewritten: runs in place of the module, which keeps three more copies of it.
  std::unique_ptr<torch::jit::Code> code = nullptr;

  std::shared_ptr<Graph> graph() const {
    return torch::jit::toGraphFunction(module.value().get_method("forward").function()).graph();
  }

  torch::jit::IValue self() const { return module ? torch::jit::IValue(module->_ivalue()) : torch::jit::IValue(); }

  // The first input of the graph is the module itself.
  Value* weight(size_t index) const { return graph()->inputs().at(index + 1); }
};

bool is_a(const Node* node, const char* op) { return node->kind() == c10::Symbol::fromQualString(op); }

bool is_its_weight(const torch::jit::Use& use) { return is_a(use.user, "aten::linear") && use.offset == 1; }

// True for a cast of the tensor to `kind` and nothing else.
bool is_cast_to(const Node* node, c10::ScalarType kind) {
  if (!is_a(node, "aten::to") || node->inputs().size() != 5) return false;
  const auto to = torch::jit::toIValue(node->input(1));
  return to && to->isInt() && to->toInt() == static_cast<int64_t>(kind);
}

Node* only_user(const Value* value) { return value->uses().size() == 1 ? value->uses()[0].user : nullptr; }

// What becomes one operator: the layer, and the activation behind it, whose output it then has.
struct Layer {
  Node* linear = nullptr;
  Node* gelu = nullptr;
  // Casts of the activation's output back to the type of the layer.
  std::vector<Node*> casts = {};
};

// In a smaller type than fp32 the layer is followed by a cast to fp32, and the activation by casts back: oneDNN
// computes in fp32 between them, too.
Layer layer_of(Node* linear, c10::ScalarType kind) {
  Layer layer;
  layer.linear = linear;
  Node* user = only_user(linear->output());
  const bool is_cast = kind != c10::kFloat;
  if (is_cast && user != nullptr && is_cast_to(user, c10::kFloat)) user = only_user(user->output());
  else if (is_cast) return layer;
  if (user == nullptr || !is_a(user, "aten::gelu")) return layer;
  if (is_cast) {
    for (const auto& use : user->output()->uses()) {
      if (!is_cast_to(use.user, kind)) return layer;
      layer.casts.push_back(use.user);
    }
  }
  layer.gelu = user;
  return layer;
}

void replace(Graph& graph, const Layer& layer) {
  torch::jit::WithInsertPoint at(layer.linear);
  auto* no_scalars = graph.insertNode(
      graph.createList(c10::OptionalType::create(c10::NumberType::get()), {}))->output();
  auto* activation = graph.insertConstant(layer.gelu != nullptr ? "gelu" : "none");
  auto* algorithm = layer.gelu != nullptr
      ? graph.insertConstant(torch::jit::toIValue(layer.gelu->input(1)).value())
      : graph.insertConstant("");
  auto* packed = graph.insertNode(graph.create(
      c10::Symbol::fromQualString("mkldnn::_linear_pointwise"),
      {layer.linear->input(0), layer.linear->input(1), layer.linear->input(2), activation, no_scalars, algorithm}));
  Node* last = layer.gelu != nullptr ? layer.gelu : layer.linear;
  for (auto* cast : layer.casts) cast->output()->replaceAllUsesWith(packed->output());
  last->output()->replaceAllUsesWith(packed->output());
}

// No exception may leave into Rust.
template <typename Function>
char* guarded(Function function) {
  try {
    function();
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an unknown exception");
  }
}

}  // namespace

extern "C" {

bool packed_is_faster() { return at::cpu::is_avx512_supported(); }

char* packed_load(const char* path, Loaded** loaded) {
  return guarded([&] { *loaded = new Loaded{torch::jit::load(path)}; });
}

void packed_free(Loaded* loaded) { delete loaded; }

// Clears the flags of the weights that have another use than that of a layer, or none.
char* packed_find(const Loaded* loaded, bool* flags, size_t count) {
  return guarded([&] {
    for (size_t index = 0; index < count; ++index) {
      const auto& uses = loaded->weight(index)->uses();
      flags[index] = flags[index] && !uses.empty() && std::all_of(uses.begin(), uses.end(), is_its_weight);
    }
  });
}

// From now on the graph takes the weights with flags packed. `kinds` has the type of each, as libtorch numbers them.
char* packed_rewrite(Loaded* loaded, const bool* flags, const int8_t* kinds, size_t count) {
  return guarded([&] {
    const auto graph = loaded->graph();
    // The layers of an attention cast the same tensor.
    torch::jit::ConstantPooling(graph);
    torch::jit::EliminateCommonSubexpression(graph);
    for (size_t index = 0; index < count; ++index) {
      if (!flags[index]) continue;
      const auto uses = loaded->weight(index)->uses();
      for (const auto& use : uses)
        replace(*graph, layer_of(use.user, static_cast<c10::ScalarType>(kinds[index])));
    }
    torch::jit::EliminateDeadCode(graph);
    loaded->code = std::make_unique<torch::jit::Code>(graph, "");
    if (!graph->inputs().at(0)->hasUses()) loaded->module.reset();
  });
}

// `weight`, `[outputs, inputs]`, in the layout of oneDNN.
char* packed_weight(const at::Tensor* weight, at::Tensor** packed) {
  return guarded([&] {
    static const auto reorder = c10::Dispatcher::singleton()
        .findSchemaOrThrow("mkldnn::_reorder_linear_weight", "");
    torch::jit::Stack stack{*weight, c10::IValue()};
    reorder.callBoxed(stack);
    *packed = new at::Tensor(stack.at(0).toTensor());
  });
}

char* packed_run(Loaded* loaded, const at::Tensor* const* inputs, size_t count, at::Tensor** output) {
  return guarded([&] {
    torch::jit::Stack stack;
    stack.reserve(count + 1);
    if (loaded->code != nullptr) stack.push_back(loaded->self());
    for (size_t index = 0; index < count; ++index) stack.emplace_back(*inputs[index]);
    if (loaded->code != nullptr) {
      TORCH_CHECK(stack.size() == loaded->code->num_inputs(), "the graph takes ", loaded->code->num_inputs() - 1,
                  " inputs and got ", count);
      torch::jit::InterpreterState(*loaded->code).run(stack);
    } else {
      auto answer = loaded->module.value().forward(std::move(stack));
      stack = {std::move(answer)};
    }
    *output = new at::Tensor(stack.at(0).toTensor());
  });
}
}
