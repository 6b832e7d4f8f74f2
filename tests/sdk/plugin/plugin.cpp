// Test code. A double of libtorchneuron.so: it registers the class neuron::Model and the operators neuron::forward_* with
// libtorch, as the real library does, and runs "compiled" models on the CPU: the data of a double's NEFF is a TorchScript
// file. Built by tests/sdk/plugin/build.py, for torch 1.13.1 (-DNEURON_DOUBLE_INF1) and for torch 2.9.0.

#include <torch/custom_class.h>
#include <torch/library.h>
#include <torch/script.h>

#include <atomic>
#include <chrono>
#include <map>
#include <sstream>
#include <thread>

#include "runtime.h"

namespace neuron_double {

// While a trace is put together nothing is loaded, and outputs have only their shapes.
std::atomic<bool> load_disabled{false};

struct Interface {
  std::vector<at::ScalarType> types;
  std::vector<std::vector<int64_t>> shapes;
};

// The double's metaneff is text: a line `in float 1,128` or `out long 1,384` for each tensor.
void parse_metaneff(const std::string& text, Interface& inputs, Interface& outputs) {
  const std::map<std::string, at::ScalarType> types = {
      {"float", at::kFloat}, {"half", at::kHalf}, {"bfloat16", at::kBFloat16}, {"double", at::kDouble},
      {"long", at::kLong},   {"int", at::kInt},   {"bool", at::kBool},
  };
  std::istringstream lines(text);
  std::string direction, type, shape;
  while (lines >> direction >> type >> shape) {
    Interface& side = direction == "in" ? inputs : outputs;
    side.types.push_back(types.at(type));
    side.shapes.emplace_back();
    std::istringstream sizes(shape);
    for (std::string size; std::getline(sizes, size, ',');) {
      if (size != "-") side.shapes.back().push_back(std::stoll(size));
    }
  }
}

std::string shape_text(at::IntArrayRef shape) {
  std::ostringstream text;
  for (std::size_t i = 0; i < shape.size(); ++i) text << (i ? " " : "") << shape[i];
  return text.str();
}

struct Model : torch::CustomClassHolder {
  Model(std::string neff, std::string metaneff) : neff(std::move(neff)), metaneff(std::move(metaneff)) {
    parse_metaneff(this->metaneff, inputs, outputs);
  }

  // True once it is on a core.
  bool load() {
    const std::lock_guard<std::mutex> guard(mutex);
    if (module) return true;
    if (!Runtime::get().initialize()) return false;
    if (fault() == "allocation") {
      log_error("NRT:nrt_infodump", "Failure: NRT_RESOURCE in nrt_load_util");
      throw not_loaded(4);
    }
    std::istringstream data(neff_data(neff));
    module = std::make_unique<torch::jit::Module>(torch::jit::load(data, at::Device(at::kCPU)));
    return true;
  }

  // What torch.jit.load does. Without a device the model stays where it is, with a warning.
  void load_when_read() {
    if (load_disabled || lazy) return;
    if (!load()) {
      TORCH_WARN("Neuron runtime could not be initialized. Model was not sent to NeuronCore (function load)");
    }
  }

  std::vector<at::Tensor> placeholders() const {
    std::vector<at::Tensor> made;
    for (std::size_t i = 0; i < outputs.shapes.size(); ++i) {
      made.push_back(at::zeros(outputs.shapes[i], at::TensorOptions().dtype(outputs.types[i])));
    }
    return made;
  }

  void check(const std::vector<at::Tensor>& given) const {
    if (given.size() != inputs.shapes.size()) {
      throw std::runtime_error("Expected " + std::to_string(inputs.shapes.size()) + " input tensors, received " +
                               std::to_string(given.size()));
    }
    for (std::size_t i = 0; i < given.size(); ++i) {
      auto shape = given[i].sizes().vec();
      if (dynamic_batch && !shape.empty()) shape[0] = inputs.shapes[i][0];
      if (shape != inputs.shapes[i]) {
        throw std::runtime_error("Incorrect tensor shape at input tensor #" + std::to_string(i) + ": received " +
                                 shape_text(given[i].sizes()) + ", expected " + shape_text(inputs.shapes[i]));
      }
      if (given[i].scalar_type() != inputs.types[i]) {
        throw std::runtime_error("Incorrect tensor type at input tensor #" + std::to_string(i) + ": received " +
                                 at::toString(given[i].scalar_type()) + ", expected " + at::toString(inputs.types[i]));
      }
    }
  }

  std::vector<at::Tensor> execute(const std::vector<at::Tensor>& given) {
    std::string value;
    const std::string wrong = fault();
    if (fault_with("exec", value)) {
      const int status = std::stoi(value);
      log_error("NRT:nrt_infodump", "Failure: status " + value + " in nrt_execute()");
      throw std::runtime_error("nrt_execute status=" + value + " message=" + status_text(status));
    }
    while (wrong == "hang") pause();
    if (wrong == "crash") std::abort();
    if (fault_with("slow", value)) std::this_thread::sleep_for(std::chrono::milliseconds(std::stoi(value)));
    const torch::NoGradGuard no_grad;
    std::vector<torch::jit::IValue> arguments(given.begin(), given.end());
    auto results = module->forward(std::move(arguments)).toTupleRef().elements().vec();
    std::vector<at::Tensor> tensors;
    for (auto& result : results) {
      at::Tensor tensor = result.toTensor();
      if (wrong == "nan" && tensor.is_floating_point()) tensor = at::full_like(tensor, NAN);
      if (fault_with("off", value) && tensor.is_floating_point()) tensor = tensor + std::stod(value);
      tensors.push_back(tensor);
    }
    return tensors;
  }

  // Any number of rows, in pieces of the batch that was compiled; the last is padded with its own rows.
  std::vector<at::Tensor> execute_rows(const std::vector<at::Tensor>& given) {
    const int64_t piece = inputs.shapes.at(0).at(0), rows = given.at(0).size(0);
    std::vector<std::vector<at::Tensor>> columns(outputs.shapes.size());
    for (int64_t start = 0; start < rows; start += piece) {
      std::vector<at::Tensor> part;
      for (const auto& tensor : given) {
        auto index = at::arange(start, start + piece).clamp_max(rows - 1);
        part.push_back(tensor.index_select(0, index));
      }
      const auto results = execute(part);
      for (std::size_t i = 0; i < results.size(); ++i) columns[i].push_back(results[i]);
    }
    std::vector<at::Tensor> whole;
    for (const auto& column : columns) whole.push_back(at::cat(column, 0).narrow(0, 0, rows));
    return whole;
  }

  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& given) {
    check(given);
    if (load_disabled) return placeholders();
    if (!load()) {
#ifdef NEURON_DOUBLE_INF1
      TORCH_WARN_ONCE(
          "Neuron runtime cannot be initialized; falling back to CPU execution\n"
          "Tensor output are ** NOT CALCULATED ** during CPU execution and only indicate tensor shape");
      return placeholders();
#else
      throw not_initialized();
#endif
    }
    const bool other_batch = dynamic_batch && given.at(0).size(0) != inputs.shapes.at(0).at(0);
    return other_batch ? execute_rows(given) : execute(given);
  }

  std::string neff, metaneff;
  bool lazy = false, async = false, dynamic_batch = false;
  int64_t start_core = -1, core_count = -1;
  Interface inputs, outputs;
  std::mutex mutex;
  std::unique_ptr<torch::jit::Module> module;
};

std::string bytes_of(const at::Tensor& tensor) {
  const at::Tensor data = tensor.contiguous();
  return {static_cast<const char*>(data.data_ptr()), static_cast<std::size_t>(data.numel())};
}

at::Tensor tensor_of(const std::string& bytes) {
  auto tensor = at::empty({static_cast<int64_t>(bytes.size())}, at::kByte);
  std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

// (Tensor[] inputs, Model) -> one list, or as many tensors as the operator's name says.
void forward_v2(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  auto model = torch::jit::pop(*stack).toCustomClass<Model>();
  auto results = model->forward(torch::jit::pop(*stack).toTensorVector());
  if (op.schema().returns().at(0).type()->kind() == c10::TypeKind::ListType) {
    torch::jit::push(*stack, results);
    return;
  }
  for (auto& result : results) torch::jit::push(*stack, std::move(result));
}

// (Tensor[] inputs, Tensor uuid, Tensor metaneff, Tensor neff, int[] alias_ins, int[] alias_outs) -> tensors
void forward_v1(const c10::OperatorHandle&, torch::jit::Stack* stack) {
  static std::mutex mutex;
  static std::map<std::string, c10::intrusive_ptr<Model>> models;
  torch::jit::drop(*stack, 2);
  const at::Tensor neff = torch::jit::pop(*stack).toTensor(), metaneff = torch::jit::pop(*stack).toTensor();
  const std::string uuid = bytes_of(torch::jit::pop(*stack).toTensor());
  const auto inputs = torch::jit::pop(*stack).toTensorVector();
  c10::intrusive_ptr<Model> model;
  {
    const std::lock_guard<std::mutex> guard(mutex);
    auto& known = models[uuid];
    if (!known) known = c10::make_intrusive<Model>(bytes_of(neff), bytes_of(metaneff));
    model = known;
  }
  for (auto& result : model->forward(inputs)) torch::jit::push(*stack, std::move(result));
}

struct RuntimeClass : torch::CustomClassHolder {
  int64_t start = -1, count = -1;
};

using State = std::tuple<at::Tensor, at::Tensor, std::vector<int64_t>>;

}  // namespace neuron_double

TORCH_LIBRARY(neuron, m) {
  using namespace neuron_double;
  using Self = c10::intrusive_ptr<Model>;
  m.class_<Model>("Model")
      .def(torch::init([](const at::Tensor& neff, const at::Tensor& metaneff) {
        return c10::make_intrusive<Model>(bytes_of(neff), bytes_of(metaneff));
      }))
      .def("set_lazy_load", [](const Self& self, bool value) { self->lazy = value; })
      .def("set_async_load", [](const Self& self, bool value) { self->async = value; })
      .def("set_dynamic_batching", [](const Self& self, bool value) { self->dynamic_batch = value; })
      .def("set_neuron_devices",
           [](const Self& self, int64_t start, int64_t count) {
             self->start_core = start;
             self->core_count = count;
           })
      .def_pickle(
          [](const Self& self) -> State {
            return State(tensor_of(self->neff), tensor_of(self->metaneff),
                         {self->lazy, self->async, self->dynamic_batch, self->start_core, self->core_count});
          },
          [](State state) -> Self {
            auto self = c10::make_intrusive<Model>(bytes_of(std::get<0>(state)), bytes_of(std::get<1>(state)));
            const auto& settings = std::get<2>(state);
            self->lazy = settings.at(0) != 0;
            self->async = settings.at(1) != 0;
            self->dynamic_batch = settings.at(2) != 0;
            self->load_when_read();
            return self;
          });

  using Handle = c10::intrusive_ptr<RuntimeClass>;
  m.class_<RuntimeClass>("Runtime")
      .def(torch::init<>())
      .def("initialize",
           [](const Handle&) {
             if (!Runtime::get().initialize()) throw not_initialized();
           })
      .def("get_visible_nc_count",
           [](const Handle&) -> int64_t {
             if (!Runtime::get().initialize()) {
               throw std::runtime_error(
                   "Neuron runtime cannot be initialized; cannot determine the number of available NeuronCores");
             }
             return Runtime::get().visible_count();
           })
      .def("get_default_start_nc", [](const Handle& self) -> int64_t { return self->start; })
      .def("get_default_nc_count", [](const Handle& self) -> int64_t { return self->count; })
      .def("set_default_neuron_cores",
           [](const Handle& self, int64_t start, int64_t count) {
             self->start = start;
             self->count = count;
           })
      .def("unsafe_close", [](const Handle&) { Runtime::get().close(); })
      .def("double_disable_load", [](const Handle&, bool disabled) { load_disabled = disabled; });

  const std::string model = "__torch__.torch.classes.neuron.Model";
  m.def(("forward_v2(Tensor[] _0, " + model + " _1) -> Tensor[]").c_str(),
        torch::CppFunction::makeFromBoxedFunction<&forward_v2>());
  std::string returns;
  for (int count = 1; count <= 32; ++count) {
    returns += count == 1 ? "Tensor" : ", Tensor";
    const std::string number = std::to_string(count);
    m.def(("forward_v2_" + number + "(Tensor[] _0, " + model + " _1) -> (" + returns + ")").c_str(),
          torch::CppFunction::makeFromBoxedFunction<&forward_v2>());
    m.def(("forward_" + number +
           "(Tensor[] inputs, Tensor uuid, Tensor metaneff, Tensor neff, int[] alias_ins, int[] alias_outs) -> (" +
           returns + ")")
              .c_str(),
          torch::CppFunction::makeFromBoxedFunction<&forward_v1>());
  }
}
